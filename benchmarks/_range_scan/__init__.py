"""The questions of `python -m benchmarks.range_scan`."""
