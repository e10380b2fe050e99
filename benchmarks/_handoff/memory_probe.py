"""A process of its own that suspends many producers, and prints what they hold.

It is its own process because memory that an earlier benchmark gave back to Python, and Python not to
the system, would otherwise be used again, and look like no growth.
"""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import psutil
import trio

import ewb

if TYPE_CHECKING:
    from collections.abc import Iterator

PRODUCERS = 1_000
CHUNK_SIZE = 1024


@dataclass(frozen=True)
class Held:
    """What all producers hold, once all are suspended."""

    buffered: int
    """Bytes in all channels, by their statistics."""
    most: int
    """Bytes that the fullest channel ever held."""
    growth: int
    """Bytes by which the process's resident memory grew."""
    suspended: int
    """Producers, by the workers' statistics."""


def chunks() -> Iterator[bytes]:
    """Endless, and each chunk an object of its own, so that it takes memory."""
    while True:
        yield bytes(CHUNK_SIZE)


async def probe(high_water: int, memory: int | None) -> Held:
    """Suspend them all, and look."""
    async with ewb.open_workers(memory=memory) as workers, AsyncExitStack() as stack:
        before = psutil.Process().memory_info().rss
        receivers = [
            await stack.enter_async_context(workers.produce(chunks, high_water=high_water))
            for _ in range(PRODUCERS)
        ]
        with trio.fail_after(60):
            while workers.statistics().suspended < PRODUCERS:  # noqa: ASYNC110 - no event says so
                await trio.sleep(0.01)
        growth = psutil.Process().memory_info().rss - before
        seen = [receiver.statistics() for receiver in receivers]
        return Held(
            buffered=sum(s.buffered_bytes for s in seen),
            most=max(s.peak_bytes for s in seen),
            growth=growth,
            suspended=workers.statistics().suspended,
        )


if __name__ == "__main__":
    held = trio.run(probe, int(sys.argv[1]), int(sys.argv[2]) or None)
    print(json.dumps(asdict(held)))
