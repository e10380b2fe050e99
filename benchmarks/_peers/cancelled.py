"""What becomes of a producer that waits, when its reader is cancelled? How much had it read ahead?

Each way is tried in a process of its own, with two streams whose readers stop reading. These tell
whether the generator was closed, on which thread, and whether the reader's block was left at all.
A few at once: what is measured is not time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks._measuring.harness import at_most, exactly, figure
from benchmarks._measuring.own_process import seen_by

from . import ways

if TYPE_CHECKING:
    from benchmarks._measuring.harness import Figure, Run

    from .way import Way

AT_ONCE = 8
LIKE_OTHERS = (ways.ISLICE, ways.ANYIO, ways.ANYIO_NEXT)
"""A quick run leaves these out."""
MOST = 2
"""Times as much that ewb may hold of large chunks: its bound, and one chunk more."""


@dataclass(frozen=True)
class Fate:
    """What became of one stream."""

    size: int
    """Of its chunks, in bytes."""
    read_ahead: int
    """Bytes that were made and not taken."""
    left: bool
    """Was the reader's block left?"""
    closed: bool
    """Was the generator closed?"""
    closed_first: bool
    """Before the block was left?"""
    closed_on_event_loop: bool

    @property
    def in_words(self) -> str:
        """What a table says of it."""
        if not self.closed:
            return "left blocked" if self.left else "left blocked, and its block is never left"
        if self.closed_on_event_loop:
            return "closed on the event loop"
        return "ended" if self.closed_first else "ended, after its block was left"


def measure(run: Run) -> list[Figure]:
    """The table of all ways."""
    seconds = run.pick(2.0, 1.0)
    tried = [way for way in (*ways.WAYS, *ways.CAREFUL) if way not in run.pick((), LIKE_OTHERS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = [(way, pool.submit(fates, way, seconds)) for way in tried]
        figures: list[Figure] = []
        for place, (way, future) in enumerate(begun):
            run.tell(way.name, place / len(begun))
            figures += rows(way, future.result())
    return figures


def rows(way: Way, seen: list[Fate]) -> list[Figure]:
    """How many producers are left, and how much more was held of large chunks."""
    blocked = sum(not fate.closed for fate in seen)
    small, large = seen
    figures = [
        figure(
            f"{way.name}: producers left blocked, of {len(seen)}",
            [blocked],
            "",
            exactly(0) if way is ways.EWB else None,
            note=" / ".join(sorted({fate.in_words for fate in seen})),
        )
    ]
    if way.reads_ahead and way not in ways.CAREFUL:
        times = large.read_ahead / small.read_ahead
        figures.append(
            figure(
                f"{way.name}: read ahead of chunks of 64 KiB / of 1 KiB, in bytes",
                [times],
                "x",
                at_most(MOST) if way is ways.EWB else None,
                note="bounded in bytes" if times <= MOST else "no bound in bytes",
            )
        )
    return figures


def fates(way: Way, seconds: float) -> list[Fate]:
    """Try it, and give it so long to end.

    Raises:
        RuntimeError: the process told nothing.
    """
    told = seen_by("_peers.cancelled_probe", seconds, way=way.name, seconds=seconds)
    if told is None:
        msg = f"the process with {way.name} ended, or had to be ended, before it told what it saw"
        raise RuntimeError(msg)
    return [Fate(**stream) for stream in told["streams"]]
