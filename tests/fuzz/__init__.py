"""Fuzzing of every parser that hears strangers: `python -m tests.fuzz`."""
