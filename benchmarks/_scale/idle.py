"""Does it cost CPU when 10,000 producers are suspended?"""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import trio

import ewb
from benchmarks._front_end.line_servers import chunks
from benchmarks._measuring.harness import at_most, figure

from .cpu import MOST, cpu_percent, until

if TYPE_CHECKING:
    from benchmarks._measuring.harness import Figure, Run


def measure(run: Run) -> list[Figure]:
    """Percent of a core, and what workers with no producers need."""
    count, seconds = run.pick(10_000, 1_000), run.pick(2.0, 1.0)
    ways = {
        "workers without producers": partial(suspended_producers, 0, seconds),
        f"{count:,} suspended producers": partial(suspended_producers, count, seconds),
    }
    percents = run.interleaved(ways, repetitions=run.pick(2, 1), warm_up=False)
    return [figure(name, percents[name], "% of a core", at_most(MOST)) for name in ways]


def suspended_producers(count: int, seconds: float) -> float:
    """Each at its bound, with nobody who reads."""

    async def main() -> float:
        async with ewb.open_workers() as workers, AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(workers.produce(chunks, max_chunks=1))
            await until(lambda: workers.statistics().suspended == count)
            return await cpu_percent(seconds)

    return trio.run(main)
