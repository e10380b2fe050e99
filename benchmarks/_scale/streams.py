"""What do chunks, producers and threads cost, the more of them there are?"""

from __future__ import annotations

from functools import partial
from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING

import trio

import ewb
from benchmarks._handoff.chunks import chunks_of

from .growth import growth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from benchmarks._measuring.harness import Figure, Run

    TimeOf: TypeAlias = Callable[[int], float]

WORKERS = 4
"""Threads, where their number is not the question."""
CHUNKS_EACH = 10
"""Chunks of each producer, where their number is not the question."""
CHUNKS_A_THREAD = 10_000
AT_LEAST = 1_000
"""Chunks that are measured together: fewer would be too short a time."""


def measure_chunks(run: Run) -> list[Figure]:
    """One stream, from its beginning to its end."""
    counts = run.pick(_decades(1_000_000), _decades(100_000))
    return _measure(run, "chunks", counts, time_of_chunks)


def measure_producers(run: Run) -> list[Figure]:
    """All at once, each with a task that reads."""
    counts = run.pick(_decades(10_000), _decades(1_000))
    return _measure(run, "producers", counts, time_of_producers)


def measure_threads(run: Run) -> list[Figure]:
    """Each with a producer; from starting them to their end."""
    return _measure(run, "threads", run.pick((1, 4, 16, 64, 256), (1, 4, 16, 64)), time_of_threads)


def _decades(most: int) -> Sequence[int]:
    counts = [1]
    while counts[-1] < most:
        counts.append(10 * counts[-1])
    return counts


def _measure(run: Run, of: str, counts: Sequence[int], time_of: TimeOf) -> list[Figure]:
    named = {f"{count:,} {of}": count for count in counts}
    ways = {name: partial(time_of, count) for name, count in named.items()}
    seconds = run.interleaved(ways, repetitions=run.pick(5, 3))
    return growth(of, {count: seconds[name] for name, count in named.items()})


def time_of_chunks(count: int) -> float:
    """Seconds of a stream of so many chunks."""
    streams = max(1, AT_LEAST // count)

    async def main() -> float:
        async with ewb.open_workers(threads=1) as workers:
            started = perf_counter()
            for _ in repeat(None, streams):
                await _read(workers, count)
            return (perf_counter() - started) / streams

    return trio.run(main)


def time_of_producers(count: int) -> float:
    """Seconds of so many short streams at once, on four threads."""

    async def main() -> float:
        async with ewb.open_workers(threads=WORKERS) as workers:
            started = perf_counter()
            await _read_all(workers, count, CHUNKS_EACH)
            return perf_counter() - started

    return trio.run(main)


def time_of_threads(count: int) -> float:
    """Seconds of so many threads with a stream each: they are started and ended, too."""

    async def main() -> float:
        started = perf_counter()
        async with ewb.open_workers(threads=count) as workers:
            await _read_all(workers, count, CHUNKS_A_THREAD)
        return perf_counter() - started

    return trio.run(main)


async def _read_all(workers: ewb.Workers, streams: int, count: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in repeat(None, streams):
            nursery.start_soon(_read, workers, count)


async def _read(workers: ewb.Workers, count: int) -> None:
    received = 0
    async with workers.produce(chunks_of, count) as chunks:
        async for batch in chunks.batches():
            received += len(batch)
    if received != count:
        msg = f"{received} chunks came, of {count}"
        raise RuntimeError(msg)
