"""How soon is a chunk there, if its producer needs 20 µs to compute one, and what does that cost?

Each chunk carries the time at which it was yielded. The front end notes when it has a batch, and
looks into the chunks only after the end, so as not to delay what it measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from struct import Struct
from time import perf_counter
from typing import TYPE_CHECKING

import trio

import ewb
from benchmarks._measuring.harness import at_most, figure, percentile, ratio
from benchmarks._measuring.work import compute, steps_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._measuring.harness import Figure, Run

COMPUTED = 20e-6
STAMPED = Struct("d56x")  # 64 bytes, and the time in the first eight


@dataclass(frozen=True)
class Seen:
    """One measurement, in seconds."""

    per_chunk: float
    p50: float = 0.0
    p99: float = 0.0
    longest: float = 0.0


def measure(run: Run) -> list[Figure]:
    """Latency and overhead."""
    steps, count = steps_for(COMPUTED), run.pick(50_000, 15_000)
    ways: dict[str, Callable[[], Seen]] = {
        "bare loop": partial(by_bare_loop, steps, count),
        "ewb": partial(by_ewb, steps, count),
    }
    seen = run.interleaved(ways, repetitions=run.pick(9, 5))
    bare, ours = seen["bare loop"], seen["ewb"]
    overheads = [1e6 * (us.per_chunk - it.per_chunk) for us, it in zip(ours, bare, strict=True)]
    return [
        figure("bare loop, a chunk", [1e6 * s.per_chunk for s in bare], "µs"),
        figure("ewb, a chunk", [1e6 * s.per_chunk for s in ours], "µs"),
        figure("overhead, a chunk", overheads, "µs", at_most(10)),
        ratio(
            "a chunk: bare loop / ewb",
            [s.per_chunk for s in bare],
            [s.per_chunk for s in ours],
        ),
        figure("from its yield to the front end, p50", [1e6 * s.p50 for s in ours], "µs", at_most(200)),
        figure(
            "from its yield to the front end, p99", [1e6 * s.p99 for s in ours], "µs", at_most(1500)
        ),
        figure("from its yield to the front end, longest", [1e6 * s.longest for s in ours], "µs"),
    ]


def stamped_chunks(steps: int, count: int) -> Iterator[bytes]:
    """What both run."""
    for _ in range(count):
        compute(steps)
        yield STAMPED.pack(perf_counter())


def by_bare_loop(steps: int, count: int) -> Seen:
    """No thread, no event loop."""
    started = perf_counter()
    for _ in stamped_chunks(steps, count):
        pass
    return Seen((perf_counter() - started) / count)


def by_ewb(steps: int, count: int) -> Seen:
    """A producer on a worker."""

    async def main() -> Seen:
        async with ewb.open_workers(threads=1) as workers:
            started = perf_counter()
            async with workers.produce(stamped_chunks, steps, count) as chunks:
                batches = [(perf_counter(), batch) async for batch in chunks.batches()]
            seconds = perf_counter() - started
        latencies = [at - STAMPED.unpack(chunk)[0] for at, batch in batches for chunk in batch]
        if len(latencies) != count:
            msg = f"{len(latencies)} chunks came, of {count}"
            raise RuntimeError(msg)
        return Seen(
            seconds / count, percentile(latencies, 50), percentile(latencies, 99), max(latencies)
        )

    return trio.run(main)
