"""Does the event loop stay responsive while producers compute?

Four producers compute 200 µs for each chunk, in one thread. Meanwhile a neighbour, which is another
process, sends a byte a millisecond to an echo server of the same event loop.

The round trip is polite by nature: its thread waits, without the GIL, for each chunk to be taken. So it
is the measure of how long an echo may take. What it pays for its politeness is chunks.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from time import perf_counter
from typing import TYPE_CHECKING

import trio

import ewb
from benchmarks._measuring import client_process
from benchmarks._measuring.harness import FRACTION, at_least, at_most, figure, percentile, ratio
from benchmarks._measuring.work import compute, steps_for

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from benchmarks._measuring.harness import Figure, Run

PRODUCERS = 4
COMPUTED = 200e-6
CHUNK = bytes(64)

EWB = "ewb"
ROUND_TRIP = "round trip"
NO_COURTESY = "ewb, courtesy=False"
UNCONNECTED = "computing only (the limit)"
NOBODY = "no producers at all"


@dataclass(frozen=True)
class Seen:
    """One measurement."""

    rate: float
    """Chunks a second, of all producers together."""
    p50: float
    """Of the echo's time, in seconds."""
    p99: float


class Counter:
    """Chunks that have come. Front end only."""

    def __init__(self) -> None:
        self.chunks = 0


def measure(run: Run) -> list[Figure]:
    """Chunk rates and echo times."""
    steps = steps_for(COMPUTED)
    seconds = run.pick(3.0, 0.6)
    ways: dict[str, Callable[[], Seen]] = {
        ROUND_TRIP: partial(watch, partial(by_round_trip, steps), seconds),
        EWB: partial(watch, partial(by_ewb, steps), seconds),
        NO_COURTESY: partial(watch, partial(by_ewb, steps, courtesy=False), seconds),
        UNCONNECTED: partial(watch, partial(by_computing_alone, steps), seconds / 2),
        NOBODY: partial(watch, by_nobody, seconds / 2),
    }
    seen = run.interleaved(ways, repetitions=run.pick(9, 3))
    figures = [row for name in ways for row in _rows(name, seen[name])]
    ours, theirs = seen[EWB], seen[ROUND_TRIP]
    return [
        *figures,
        ratio(
            "echo p99: ewb / round trip", [s.p99 for s in ours], [s.p99 for s in theirs], at_most(1.25)
        ),
        ratio(
            "chunk rate: ewb / round trip",
            [s.rate for s in ours],
            [s.rate for s in theirs],
            at_least(1.4),
        ),
        ratio(
            "chunk rate: ewb / computing only",
            [s.rate for s in ours],
            [s.rate for s in seen[UNCONNECTED]],
            curve=FRACTION,
        ),
    ]


def _rows(name: str, seen: list[Seen]) -> Iterator[Figure]:
    if name != NOBODY:
        yield figure(f"{name}: chunks", [s.rate for s in seen], "/s")
    yield figure(f"{name}: echo p50", [1e3 * s.p50 for s in seen], "ms")
    yield figure(f"{name}: echo p99", [1e3 * s.p99 for s in seen], "ms")


def chunks_for_ever(steps: int) -> Iterator[bytes]:
    """What all ways run."""
    while True:
        compute(steps)
        yield CHUNK


# -- the neighbour ------------------------------------------------------------------------------------


def watch(producing: Callable[[Counter], AbstractAsyncContextManager[None]], seconds: float) -> Seen:
    """What the neighbour sees, and how many chunks come meanwhile."""

    async def main() -> Seen:
        counter = Counter()
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        async with listener, producing(counter):
            with client_process.start("_measuring.echo_client", port=port, seconds=seconds) as client:
                stream = await listener.accept()
                started, before = perf_counter(), counter.chunks
                await _echo(stream)
                rate = (counter.chunks - before) / (perf_counter() - started)
                latencies = await trio.to_thread.run_sync(client_process.seen_by, client, seconds)
        return Seen(rate, percentile(latencies, 50), percentile(latencies, 99))

    return trio.run(main)


async def _echo(stream: trio.SocketStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)


# -- the ways -----------------------------------------------------------------------------------------


@asynccontextmanager
async def by_ewb(steps: int, counter: Counter, *, courtesy: bool = True) -> AsyncGenerator[None]:
    """Four producers on one worker."""

    async def receive(workers: ewb.Workers) -> None:
        async with workers.produce(chunks_for_ever, steps) as chunks:
            async for batch in chunks.batches():
                counter.chunks += len(batch)

    async with ewb.open_workers(1, courtesy=courtesy) as workers, trio.open_nursery() as nursery:
        for _ in range(PRODUCERS):
            nursery.start_soon(receive, workers)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def by_round_trip(steps: int, counter: Counter) -> AsyncGenerator[None]:
    """One thread runs four generators in turn; for each chunk it waits in the event loop."""
    leaving = False

    def work(send_channels: list[trio.MemorySendChannel[bytes]]) -> None:
        generators = [chunks_for_ever(steps) for _ in send_channels]
        for generator, send_channel in cycle(list(zip(generators, send_channels, strict=True))):
            if leaving:
                return
            trio.from_thread.run(send_channel.send, next(generator))

    async def receive(channel: trio.MemoryReceiveChannel[bytes]) -> None:
        async for _ in channel:
            counter.chunks += 1

    async with trio.open_nursery() as nursery:
        send_channels = []
        for _ in range(PRODUCERS):
            send_channel, receive_channel = trio.open_memory_channel[bytes](16)
            send_channels.append(send_channel)
            nursery.start_soon(receive, receive_channel)
        async with trio.open_nursery() as thread:
            thread.start_soon(trio.to_thread.run_sync, work, send_channels)
            yield
            leaving = True
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def by_computing_alone(steps: int, counter: Counter) -> AsyncGenerator[None]:
    """A thread computes, and tells nobody, at the switch interval that ewb sets meanwhile."""
    leaving = False

    def work() -> None:
        for _ in chunks_for_ever(steps):
            counter.chunks += 1
            if leaving:
                return

    async with ewb.open_workers(1, switch_interval=20e-6), trio.open_nursery() as thread:
        thread.start_soon(trio.to_thread.run_sync, work)
        yield
        leaving = True


@asynccontextmanager
async def by_nobody(counter: Counter) -> AsyncGenerator[None]:
    """What the echo takes when there is nothing else to do."""
    del counter
    yield
