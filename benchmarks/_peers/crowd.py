"""1,000 and 5,000 slow clients at once: how long does each way take, with how many threads and bytes?

Each has 20 chunks, of which it takes one every 20 ms; at most four are buffered. Each measurement is a
process of its own, with a limit: ways that need a thread for each client may not get there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks._measuring.harness import figure, ratio
from benchmarks._measuring.own_process import seen_by

from . import ways

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks._measuring.harness import Figure, Run

    from .way import Way

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Crowd:
    """So many clients, and who is to serve them in which time. A quick run takes half of that."""

    clients: int
    seconds: float
    full: Sequence[Way]
    quick: Sequence[Way]


# Those that are left out do as their like: anyio as Trio, for instance.
CROWDS = (
    Crowd(
        1_000,
        4.0,
        full=(
            ways.EWB,
            ways.ROUND_TRIP,
            ways.CHANNEL,
            ways.NEXT,
            ways.STARLETTE,
            ways.CULSANS,
            ways.JANUS,
            ways.AIOTHREADS,
            ways.ASGIREF,
        ),
        quick=(ways.EWB, ways.CHANNEL),
    ),
    Crowd(5_000, 10.0, full=(ways.EWB, ways.CHANNEL, ways.NEXT, ways.CULSANS), quick=()),
)


@dataclass(frozen=True)
class Seen:
    """One measurement."""

    seconds: float
    """Until all was delivered, or the time was up."""
    delivered: float
    """The share of all chunks."""
    threads: int = 0
    """The most that the process had."""
    growth: int = 0
    """Bytes of memory, at the most."""

    @property
    def done(self) -> bool:
        """Did every client get all?"""
        return self.delivered == 1


def measure(run: Run) -> list[Figure]:
    """Time, threads and memory for each number of clients."""
    return [row for crowd in CROWDS for row in _measure_crowd(run, crowd)]


def _measure_crowd(run: Run, crowd: Crowd) -> list[Figure]:
    served = {
        way.name: partial(serve, way, crowd.clients, crowd.seconds / run.pick(1, 2))
        for way in run.pick(crowd.full, crowd.quick)
    }
    seen = run.interleaved(served, repetitions=1, warm_up=False)
    label = f"{crowd.clients:,} clients"
    figures = [row for name in seen for row in rows(f"{label}: {name}", seen[name])]
    figures += (
        compared(f"{label}: {name} / ewb", theirs, seen[ways.EWB.name])
        for name, theirs in seen.items()
        if name != ways.EWB.name
    )
    return figures


def rows(label: str, seen: Sequence[Seen]) -> list[Figure]:
    """What one way took."""
    least = min(seen, key=lambda s: s.delivered)
    note = None if least.done else f"not done in {least.seconds:.0f} s: {least.delivered:.0%} delivered"
    return [
        figure(f"{label}: all done after", [s.seconds for s in seen], "s", note=note),
        figure(f"{label}: threads", [s.threads for s in seen], ""),
        figure(f"{label}: memory", [s.growth / MEBIBYTE for s in seen], "MiB"),
    ]


def compared(label: str, theirs: Sequence[Seen], ours: Sequence[Seen]) -> Figure:
    """How many times as long it took; who was not done would have taken longer."""
    times = ratio(label, [s.seconds for s in theirs], [s.seconds for s in ours])
    if not all(s.done for s in ours):
        return replace(times, note="says nothing: ewb was not done")
    return times if all(s.done for s in theirs) else replace(times, note="at least: it was not done")


def serve(way: Way, clients: int, seconds: float) -> Seen:
    """Start the process, and wait for it. If it cannot even tell, nothing was delivered."""
    told = seen_by("_peers.crowd_probe", seconds, way=way.name, clients=clients, seconds=seconds)
    return Seen(seconds, 0) if told is None else Seen(**told)
