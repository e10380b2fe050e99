"""The clock of everything that both threads measure: seconds, monotonic, the same in all threads."""

from time import perf_counter as clock

__all__ = ["clock"]
