"""The questions of `python -m benchmarks.handoff`."""
