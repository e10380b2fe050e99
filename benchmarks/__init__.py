"""Benchmarks of ewb. Run them from the project's folder: `python -m benchmarks.handoff --help`.

A program, `NAME.py`, lists its questions; each has a module in `_NAME/`, beside the clients and servers
that it needs. `_measuring/` is what all programs share, `_reporting/` makes the report of a run.
"""
