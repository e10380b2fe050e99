"""What does it cost to hand a chunk of 64 bytes from a thread to an event loop, by each way there is?

All run the same generator, all are bounded to the same number of chunks, and each chunk is one object:
what is measured is the way, not the making of chunks. The slow ways get fewer chunks.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice, repeat
from time import perf_counter
from typing import TYPE_CHECKING

import aiologic
import culsans
import janus
import trio

import ewb
from benchmarks._measuring.harness import at_least, at_most, figure, ratio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import TypeAlias

    from benchmarks._measuring.harness import Figure, Run

    Get: TypeAlias = Callable[[], Awaitable[bytes]]

BOUND = 16_384
"""Chunks that are buffered at most, by whichever way: the default of ewb."""
CHUNK = bytes(64)

EWB = "ewb"
SMALL_BOUND = "ewb, 256 chunks at most"
ROUND_TRIP = "from_thread.run(send_channel.send, x)"
CULSANS = "culsans on Trio"
JANUS = "janus on asyncio"
AIOLOGIC = "aiologic on Trio"
ISLICE = "to_thread.run_sync(list, islice(it, 64))"
BARE = "the bare generator in a loop (the limit)"


def chunks_of(count: int) -> Iterator[bytes]:
    """What all ways run."""
    for _ in repeat(None, count):
        yield CHUNK


def measure(run: Run) -> list[Figure]:
    """The table of all ways."""
    share = run.pick(1, 4)  # a quick run hands over a quarter
    ways: dict[str, Callable[[], float]] = {
        EWB: partial(by_ewb, 2_000_000 // share, BOUND),
        ROUND_TRIP: partial(by_round_trip, 6_000 // share),
        CULSANS: partial(by_culsans, 80_000 // share),
        JANUS: partial(by_janus, 100_000 // share),
        AIOLOGIC: partial(by_aiologic, 20_000 // share),
        ISLICE: partial(by_islice, 300_000 // share),
        SMALL_BOUND: partial(by_ewb, 1_000_000 // share, 256),
        BARE: partial(bare, 4_000_000 // share),
    }
    times = run.interleaved(ways, repetitions=run.pick(11, 5))
    targets = {EWB: at_most(0.25)}
    return [
        *(
            figure(name, [1e6 * seconds for seconds in times[name]], "µs", targets.get(name))
            for name in ways
        ),
        ratio("times as fast as the round trip", times[ROUND_TRIP], times[EWB], at_least(400)),
        ratio("times as fast as culsans on Trio", times[CULSANS], times[EWB], at_least(25)),
        ratio("times as fast as islice 64", times[ISLICE], times[EWB], at_least(5)),
        ratio("a chunk: the bare generator / ewb", times[BARE], times[EWB]),
        ratio("times as fast as janus", times[JANUS], times[EWB]),
        ratio("times as fast as aiologic", times[AIOLOGIC], times[EWB]),
    ]


def _per_chunk(started: float, received: int, count: int) -> float:
    """Seconds for each chunk, if all have come."""
    seconds = perf_counter() - started
    if received != count:
        msg = f"{received} chunks came, of {count}"
        raise RuntimeError(msg)
    return seconds / count


def bare(count: int) -> float:
    """No thread, no event loop."""
    started = perf_counter()
    received = 0
    for _ in chunks_of(count):
        received += 1
    return _per_chunk(started, received, count)


def by_ewb(count: int, bound: int) -> float:
    """The front end takes batches."""

    async def main() -> float:
        async with ewb.open_workers(threads=1) as workers:
            started = perf_counter()
            received = 0
            async with workers.produce(chunks_of, count, max_chunks=bound) as chunks:
                async for batch in chunks.batches():
                    received += len(batch)
            return _per_chunk(started, received, count)

    return trio.run(main)


def by_round_trip(count: int) -> float:
    """For each chunk the thread enters the event loop, and waits there."""

    async def main() -> float:
        send_channel, receive_channel = trio.open_memory_channel[bytes](BOUND)

        def work() -> None:
            for chunk in chunks_of(count):
                trio.from_thread.run(send_channel.send, chunk)
            trio.from_thread.run_sync(send_channel.close)

        started = perf_counter()
        received = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, work)
            async for _ in receive_channel:
                received += 1
        return _per_chunk(started, received, count)

    return trio.run(main)


def by_culsans(count: int) -> float:
    """A queue for threads and Trio."""

    async def main() -> float:
        queue = culsans.Queue[bytes](BOUND)
        return await _by_queue_on_trio(count, queue.sync_q.put, queue.async_q.get)

    return trio.run(main)


def by_aiologic(count: int) -> float:
    """What culsans is built upon, and its own queue."""

    async def main() -> float:
        queue = aiologic.Queue[bytes](BOUND)
        return await _by_queue_on_trio(count, queue.green_put, queue.async_get)

    return trio.run(main)


async def _by_queue_on_trio(count: int, put: Callable[[bytes], None], get: Get) -> float:
    def work() -> None:
        for chunk in chunks_of(count):
            put(chunk)

    started = perf_counter()
    received = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, work)
        while received < count:
            await get()
            received += 1
    return _per_chunk(started, received, count)


def by_janus(count: int) -> float:
    """A queue for threads and asyncio."""

    async def main() -> float:
        queue = janus.Queue[bytes](BOUND)

        def work() -> None:
            for chunk in chunks_of(count):
                queue.sync_q.put(chunk)

        started = perf_counter()
        received = 0
        thread = asyncio.get_running_loop().run_in_executor(None, work)
        while received < count:
            await queue.async_q.get()
            received += 1
        await thread
        seconds = _per_chunk(started, received, count)
        await queue.aclose()
        return seconds

    return asyncio.run(main())


def by_islice(count: int) -> float:
    """A thread hop for every 64 chunks, and nothing is made meanwhile."""

    async def main() -> float:
        iterator = chunks_of(count)
        started = perf_counter()
        received = 0
        while batch := await trio.to_thread.run_sync(list, islice(iterator, 64)):
            received += len(batch)
        return _per_chunk(started, received, count)

    return trio.run(main)
