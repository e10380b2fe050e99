"""Benchmarks of ewb. Run them from the project's folder: `python -m benchmarks.handoff --help`."""
