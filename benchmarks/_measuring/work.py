"""Work for producers to compute: always the same amount, in pure Python, with the GIL held.

It is not a spin until the clock has moved on: that would do less work the more it is disturbed.
"""

from __future__ import annotations

from time import perf_counter


def compute(steps: int) -> int:
    """Some arithmetic, `steps` times."""
    value = 1
    for step in range(steps):
        value = (value * 31 + step) & 0xFFFF
    return value


def steps_for(seconds: float) -> int:
    """How many steps `compute` makes in so many seconds, undisturbed, on this machine."""
    steps = 1_000
    quickest = min(_time_of(steps) for _ in range(500))
    return max(1, round(seconds / quickest * steps))


def _time_of(steps: int) -> float:
    started = perf_counter()
    compute(steps)
    return perf_counter() - started
