"""The questions of `python -m benchmarks.front_end`."""
