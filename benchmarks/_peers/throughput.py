"""What does a chunk cost, streamed from a blocking generator by each way there is?

All run the same generator, which yields one object again and again: what is measured is the way, not
the making of chunks. All that read ahead are bounded alike. The slow ways get fewer chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks._handoff.to_socket import chunks_of
from benchmarks._measuring.harness import figure, ratio

from . import ways
from .way import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks._measuring.harness import Figure, Run

    from .way import Stream, Way


@dataclass(frozen=True)
class Size:
    """Of chunks, and how many of them any way may buffer."""

    label: str
    bytes: int
    max_chunks: int


SIZES = (Size("64 B", 64, 16_384), Size("8 KiB", 8192, 128))

# Chunks that a full run hands over, for about a tenth of a second.
COUNTS = {
    ways.EWB: 800_000,
    ways.ISLICE: 64_000,
    ways.CULSANS: 30_000,
    ways.SIZED_CULSANS: 30_000,
    ways.JANUS: 30_000,
    ways.AIOTHREADS: 12_000,
}
ROUND_TRIPS = 1_200
"""For the ways that take a round trip for each."""


def measure(run: Run) -> list[Figure]:
    """A table for each size."""
    return [row for size in SIZES for row in _measure_size(run, size)]


def _measure_size(run: Run, size: Size) -> list[Figure]:
    share = run.pick(1, 5)
    measured: dict[str, Callable[[], float]] = {
        way.name: partial(per_chunk, way, size, COUNTS.get(way, ROUND_TRIPS) // share)
        for way in ways.WAYS
    }
    seconds = run.interleaved(measured, repetitions=run.pick(9, 3))
    ours = seconds[ways.EWB.name]
    return [
        *(
            figure(
                f"{size.label}: {way.name}",
                [1e6 * s for s in seconds[way.name]],
                "µs",
                curve=f"cost of a chunk of {size.label}, µs",
                note=way.note,
            )
            for way in ways.WAYS
        ),
        *(
            ratio(f"{size.label}: {way.name} / ewb", seconds[way.name], ours)
            for way in ways.WAYS
            if way is not ways.EWB
        ),
    ]


def per_chunk(way: Way, size: Size, count: int) -> float:
    """Seconds for each chunk.

    Raises:
        RuntimeError: not all have come.
    """

    async def main(stream: Stream) -> float:
        received = 0

        async def take(batch: Sequence[bytes]) -> None:
            nonlocal received
            received += len(batch)

        started = perf_counter()
        await stream(partial(chunks_of, size.bytes, count), take)
        seconds = perf_counter() - started
        if received != count:
            msg = f"{received} chunks came by {way.name}, of {count}"
            raise RuntimeError(msg)
        return seconds / count

    return way.run(main, Bounds(size.max_chunks))
