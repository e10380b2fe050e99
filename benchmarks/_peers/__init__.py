"""The questions of `python -m benchmarks.peers`, and the ways that are compared."""
