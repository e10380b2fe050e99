"""The questions of `python -m benchmarks.limits`."""
