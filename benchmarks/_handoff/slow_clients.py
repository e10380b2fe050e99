"""Can four threads serve 5,000 slow clients? In a quick run, 1,250.

Each has a producer of 20 chunks, of which at most four are buffered, and takes one every 20 ms. The
measure is the same number of tasks that only sleep: what Trio needs for these is not ewb's doing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING

import trio

import ewb
from benchmarks._measuring.harness import FRACTION, at_most, exactly, figure, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._measuring.harness import Figure, Run

CLIENTS, QUICK_CLIENTS = 5_000, 1_250
CHUNKS = 20
MAX_CHUNKS = 4
PAUSE = 0.02
THREADS = 4
CHUNK = bytes(64)

EWB = "with producers, on 4 threads"
SLEEPS = "the same sleeps, no producers"


@dataclass(frozen=True)
class Seen:
    """One measurement, in seconds since the start."""

    total: float
    last_first_chunk: float = 0.0
    threads: int = 0
    suspensions: int = 0


def measure(run: Run) -> list[Figure]:
    """Times and threads."""
    clients = run.pick(CLIENTS, QUICK_CLIENTS)
    ways: dict[str, Callable[[], Seen]] = {
        SLEEPS: partial(only_sleeps, clients),
        EWB: partial(by_ewb, clients),
    }
    seen = run.interleaved(ways, repetitions=run.pick(7, 2))
    sleeps, ours = seen[SLEEPS], seen[EWB]
    totals = [s.total for s in ours]
    return [
        figure(f"{SLEEPS}: all done after", [s.total for s in sleeps], "s"),
        figure(f"{EWB}: all done after", totals, "s"),
        ratio("with producers / only sleeps", totals, [s.total for s in sleeps], at_most(1.5)),
        ratio("only sleeps / with producers", [s.total for s in sleeps], totals, curve=FRACTION),
        figure("the last client's first chunk", [s.last_first_chunk for s in ours], "s", at_most(0.5)),
        figure("worker threads", [s.threads for s in ours], "threads", exactly(THREADS)),
        figure("suspensions", [s.suspensions for s in ours], "times"),
    ]


def chunks() -> Iterator[bytes]:
    """What each client's producer makes."""
    for _ in repeat(None, CHUNKS):
        yield CHUNK


def only_sleeps(clients: int) -> Seen:
    """What Trio needs for the sleeps alone."""

    async def client() -> None:
        for _ in repeat(None, CHUNKS):
            await trio.sleep(PAUSE)

    async def main() -> Seen:
        started = perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in repeat(None, clients):
                nursery.start_soon(client)
        return Seen(perf_counter() - started)

    return trio.run(main)


def by_ewb(clients: int) -> Seen:
    """The sleeps, and a chunk before each."""
    first_chunks: list[float] = []
    suspensions: list[int] = []

    async def client(workers: ewb.Workers) -> None:
        received = 0
        async with workers.produce(chunks, max_chunks=MAX_CHUNKS) as receiver:
            async for _ in receiver:
                if not received:
                    first_chunks.append(perf_counter())
                received += 1
                await trio.sleep(PAUSE)
        if received != CHUNKS:
            msg = f"{received} chunks came, of {CHUNKS}"
            raise RuntimeError(msg)
        suspensions.append(receiver.statistics().suspensions)

    async def main() -> Seen:
        async with ewb.open_workers(threads=THREADS) as workers:
            started = perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in repeat(None, clients):
                    nursery.start_soon(client, workers)
                await trio.sleep(0.2)
                threads = _worker_threads()
            total = perf_counter() - started
        return Seen(total, max(first_chunks) - started, threads, sum(suspensions))

    return trio.run(main)


def _worker_threads() -> int:
    return sum(thread.name.startswith("ewb-") for thread in threading.enumerate())
