"""The questions of `python -m benchmarks.scale`."""
