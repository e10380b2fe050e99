"""How soon is a chunk taken after it was yielded: the first one, one after a pause, one of many?

Each chunk carries the time at which it was yielded. The reader notes when it has a batch, and looks
into the chunks only after the end, so as not to delay what it measures.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from benchmarks._handoff.latency import STAMPED, stamped_chunks
from benchmarks._measuring.harness import figure, percentile, ratio
from benchmarks._measuring.work import steps_for

from . import ways
from .way import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks._measuring.harness import Figure, Run

    from .way import Make, Stream, Way

MAX_CHUNKS = 16_384
COMPUTED = 20e-6
PAUSE = 0.002
"""Seconds of an idle producer, before each chunk: longer than ewb moderates wake-ups."""
READ = 0.0001
"""Seconds that a producer waits for each chunk, as one that reads a disk does."""
STREAM = 64
"""Chunks of a stream of which the first one counts."""


def measure_first(run: Run) -> list[Figure]:
    """From asking for a stream until its first chunk is taken."""
    streams = run.pick(8, 2)
    measured = {way.name: partial(first_chunks, way, streams) for way in ways.WAYS}
    seen = run.interleaved(measured, repetitions=run.pick(9, 3))
    medians = {name: [1e6 * percentile(times, 50) for times in seen[name]] for name in seen}
    return [
        *(
            figure(way.name, medians[way.name], "µs", curve="until the first chunk, µs", note=way.note)
            for way in ways.WAYS
        ),
        *_ratios("", medians),
    ]


def measure_idle(run: Run) -> list[Figure]:
    """A chunk now and then: what a wake-up takes."""
    make = partial(paused_chunks, run.pick(130, 20))
    return _measure(run, "after a pause", make)


def measure_computing(run: Run) -> list[Figure]:
    """A chunk after the other, each computed."""
    make = partial(stamped_chunks, steps_for(COMPUTED), run.pick(1_000, 300))
    return _measure(run, "beside a computing producer", make)


def _measure(run: Run, label: str, make: Make) -> list[Figure]:
    measured: dict[str, Callable[[], list[float]]] = {
        way.name: partial(latencies, way, make) for way in ways.WAYS
    }
    seen = run.interleaved(measured, repetitions=run.pick(9, 3))
    figures: list[Figure] = []
    for percent in (50, 99):
        times = {name: [1e6 * percentile(s, percent) for s in seen[name]] for name in seen}
        curve = f"latency {label}, p{percent}, µs"
        figures += (
            figure(f"{way.name}: p{percent}", times[way.name], "µs", curve=curve, note=way.note)
            for way in ways.WAYS
        )
        figures += _ratios(f": p{percent}", times)
    return figures


def _ratios(label: str, times: dict[str, list[float]]) -> list[Figure]:
    ours, *theirs = times
    return [ratio(f"{name} / ewb{label}", times[name], times[ours]) for name in theirs]


# -- producers ----------------------------------------------------------------------------------------


def paused_chunks(count: int) -> Iterator[bytes]:
    """Wait before each."""
    for _ in range(count):
        sleep(PAUSE)
        yield STAMPED.pack(perf_counter())


def read_chunks() -> Iterator[bytes]:
    """Wait a little for each."""
    for _ in range(STREAM):
        sleep(READ)
        yield STAMPED.pack(perf_counter())


# -- readers ------------------------------------------------------------------------------------------


def latencies(way: Way, make: Make) -> list[float]:
    """Of each chunk, in seconds, from its yield until it is taken."""

    async def main(stream: Stream) -> list[float]:
        batches: list[tuple[float, Sequence[bytes]]] = []

        async def take(batch: Sequence[bytes]) -> None:
            batches.append((perf_counter(), batch))

        await stream(make, take)
        return [at - STAMPED.unpack(chunk)[0] for at, batch in batches for chunk in batch]

    return way.run(main, Bounds(MAX_CHUNKS))


def first_chunks(way: Way, streams: int) -> list[float]:
    """Of each stream, in seconds; one more than these warms up."""

    async def first(stream: Stream) -> float:
        times: list[float] = []

        async def take(_: Sequence[bytes]) -> None:
            times.append(perf_counter())

        started = perf_counter()
        await stream(read_chunks, take)
        return times[0] - started

    async def main(stream: Stream) -> list[float]:
        times = [await first(stream) for _ in range(streams + 1)]
        return times[1:]

    return way.run(main, Bounds(MAX_CHUNKS))
