"""A process of its own in which a reader is cancelled while its producer waits. It tells what happens.

There are two such streams at once, one of small chunks and one of large ones. Each reader takes once,
and then no more; when both producers have come as far as they do, both readers are cancelled.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

import anyio

from benchmarks._measuring.own_process import tell_and_end

from .way import Bounds
from .ways import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .way import Stream

SIZES = (1024, 64 * 1024)
"""Of the chunks of either stream."""
BOUNDS = Bounds(max_chunks=64, high_water=64 * 1024, streams=len(SIZES))
"""The same for the small chunks; for the large ones not."""
SETTLED = 0.3
"""Seconds without a new chunk after which a producer waits."""
LOOK_EVERY = 0.005

Told: TypeAlias = dict[str, int | bool]


@dataclass
class Watched:
    """One stream, as its producer and its reader see it."""

    size: int
    made: int = 0
    taken: int = 0
    cancelled: bool = False
    left: bool = False
    """Was the reader's block left?"""
    closed_on: int | None = None
    """The thread on which the generator was closed."""
    closed_first: bool = False
    """Before the block was left?"""

    def chunks(self) -> Iterator[bytes]:
        """Endless."""
        try:
            while True:
                chunk = bytes(self.size)
                self.made += 1
                yield chunk
        finally:
            self.closed_on = threading.get_ident()

    async def read(self, stream: Stream, scope: anyio.CancelScope) -> None:
        """Take once, and no more."""

        async def take(batch: Sequence[bytes]) -> None:
            self.taken += len(batch)
            await anyio.sleep_forever()

        with scope:
            await stream(self.chunks, take)
        self.left = True
        self.closed_first = self.closed_on is not None

    @property
    def over(self) -> bool:
        """Is nothing left of it?"""
        return self.left and self.closed_on is not None

    def told(self, read_ahead: int) -> Told:
        """What to tell of it."""
        return {
            "size": self.size,
            "read_ahead": read_ahead,
            "left": self.left,
            "closed": self.closed_on is not None,
            "closed_first": self.closed_first,
            "closed_on_event_loop": self.closed_on == threading.main_thread().ident,
        }


async def settled(streams: Sequence[Watched]) -> None:
    """Wait until each reader has taken, and no producer makes more."""
    before, since = [0], perf_counter()
    while perf_counter() < since + SETTLED or not all(one.taken for one in streams):
        await anyio.sleep(LOOK_EVERY)
        now = [one.made for one in streams]
        if now != before:
            before, since = now, perf_counter()


async def cancel_readers(seconds: float, stream: Stream) -> None:
    """See what becomes of producers whose readers are cancelled, for so long, and end the process."""
    streams = [Watched(size) for size in SIZES]
    scopes = [anyio.CancelScope() for _ in streams]
    async with anyio.create_task_group() as nursery:
        for one, scope in zip(streams, scopes, strict=True):
            nursery.start_soon(one.read, stream, scope)
        await settled(streams)
        read_ahead = [one.size * (one.made - one.taken) for one in streams]
        for scope in scopes:
            scope.cancel()
        end = perf_counter() + seconds
        while perf_counter() < end and not all(one.over for one in streams):
            await anyio.sleep(LOOK_EVERY)
            gc.collect()  # a generator that nobody holds is closed now, not later
        told = [one.told(ahead) for one, ahead in zip(streams, read_ahead, strict=True)]
        tell_and_end({"streams": told})


def main(*, way: str, seconds: float) -> None:
    """Be the process."""
    BY_NAME[way].run(partial(cancel_readers, seconds), BOUNDS)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
