"""Whether what was recorded is flat: memory, descriptors, threads and the file do not grow.

The first half is for warming up: caches fill, LMDB's file comes to hold what old snapshots keep,
Python's allocator its pools. Of the second half the medians of its two halves are compared: one peak,
or a machine that is busy for a while, moves them little; a leak moves them by what it leaks in a
quarter of the time. The bounds leave room for what varies by itself: the longer it lasts, the smaller
is the leak that it finds.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEBIBYTE: Final = 1024 * 1024
LEAST: Final = 8
"""Samples that are worth judging."""


@attrs.frozen
class Bound:
    """By how much something may grow in the second half."""

    name: str
    absolute: float
    share: float
    """Of what it was, besides."""
    unit: float = 1
    unit_name: str = ""


BOUNDS: Final = (
    Bound("memory", 16 * MEBIBYTE, 0.1, MEBIBYTE, " MiB"),
    Bound("descriptors", 8, 0.1),
    Bound("threads", 4, 0.1),
    Bound("used", 16 * MEBIBYTE, 0.1, MEBIBYTE, " MiB"),
    Bound("file", 192 * MEBIBYTE, 0.5, MEBIBYTE, " MiB"),  # what scans held when most was written
)


def not_flat(samples: Sequence[Mapping[str, float]]) -> list[str]:
    """What has grown, a line for each; nothing if all is flat, or there is too little to say."""
    second_half = samples[len(samples) // 2 :]
    if len(second_half) < LEAST:
        return []
    middle = len(second_half) // 2
    lines = []
    for bound in BOUNDS:
        before = median(sample[bound.name] for sample in second_half[:middle])
        after = median(sample[bound.name] for sample in second_half[middle:])
        growth, most = 2 * (after - before), bound.absolute + bound.share * before
        if growth > most:
            seconds = second_half[-1]["seconds"] - second_half[0]["seconds"]
            lines.append(
                f"not flat: {bound.name} grew by {growth / bound.unit:.1f}{bound.unit_name} "
                f"in the last {seconds:.0f} s, from {before / bound.unit:.1f}{bound.unit_name}, "
                f"and {most / bound.unit:.1f}{bound.unit_name} is the bound"
            )
    return lines
