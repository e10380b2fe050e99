"""A process of its own with many slow clients at once, served by one way. It tells what that took.

A client takes a chunk every 20 ms. At the end, or when the time is up, the process ends at once.
"""

from __future__ import annotations

import json
import sys
from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING, NoReturn

import anyio
import psutil

from benchmarks._handoff.slow_clients import CHUNKS, MAX_CHUNKS, PAUSE, chunks
from benchmarks._measuring.own_process import tell_and_end

from .way import Bounds
from .ways import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .way import Stream

LOOK_EVERY = 0.1
"""Seconds between two looks at memory and threads."""


class Crowd:
    """The clients, and what is seen of them."""

    def __init__(self, stream: Stream, clients: int) -> None:
        self._stream = stream
        self._clients = clients
        self._process = psutil.Process()
        self._memory_before = self._process.memory_info().rss
        self._started = perf_counter()
        self._delivered = self._threads = self._growth = 0

    async def run(self, seconds: float) -> None:
        """Serve them all, for so long at the most, and end the process."""
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(self._watch, seconds)
            async with anyio.create_task_group() as clients:
                for _ in repeat(None, self._clients):
                    clients.start_soon(self._client)
            self._end()

    async def _client(self) -> None:
        await self._stream(chunks, self._take)

    async def _take(self, batch: Sequence[bytes]) -> None:
        for _ in batch:
            self._delivered += 1
            await anyio.sleep(PAUSE)

    async def _watch(self, seconds: float) -> None:
        while perf_counter() - self._started < seconds:
            await anyio.sleep(LOOK_EVERY)
            self._look()
        self._end()

    def _look(self) -> None:
        self._threads = max(self._threads, self._process.num_threads())
        self._growth = max(self._growth, self._process.memory_info().rss - self._memory_before)

    def _end(self) -> NoReturn:
        seconds = perf_counter() - self._started
        self._look()
        tell_and_end(
            {
                "seconds": seconds,
                "delivered": self._delivered / (self._clients * CHUNKS),
                "threads": self._threads,
                "growth": self._growth,
            }
        )


def main(*, way: str, clients: int, seconds: float) -> None:
    """Be the process."""

    async def crowd(stream: Stream) -> None:
        await Crowd(stream, clients).run(seconds)

    BY_NAME[way].run(crowd, Bounds(MAX_CHUNKS, streams=clients))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
