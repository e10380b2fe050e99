"""Which bounds, and how many threads? Measures it for a producer of yours.

Give it a generator function, as MODULE:FUNCTION, and its arguments, which are strings. With neither it
measures one of its own, which waits for a disk that is not there.

The reader here takes all at once. So what you see is what the bounds cost; a slow reader fills any.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from time import perf_counter, sleep, thread_time
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from rich.console import Console
from rich.table import Table

import ewb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Start: TypeAlias = Callable[[], Iterable[bytes]]

KIB: Final = 1024
HIGH_WATERS: Final = tuple(KIB << doublings for doublings in range(2, 13, 2))
THREADS: Final = (1, 2, 4, 8)
NEAR: Final = 0.9
"""This part of the best rate is good enough, where more costs memory or threads."""


def blocks() -> Iterator[bytes]:
    """Yield 16 blocks of 4 KiB at a time, each time after two milliseconds: as from a disk."""
    while True:
        sleep(0.002)
        for _ in range(16):
            yield bytes(4 * KIB)


# -- measuring ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alone:
    """What a producer does with a thread of its own, and nobody else."""

    chunks: int
    bytes: int
    seconds: float
    cpu_seconds: float


@dataclass
class Streamed:
    """What some producers did together, through channels."""

    bytes: int = 0
    doorbells: int = 0
    suspensions: int = 0
    peak_bytes: int = 0
    seconds: float = 0.0
    held_up: float = 0.0
    """Seconds by which one in a hundred sleeps of the front end was too long."""

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds


def run_alone(start: Start, seconds: float) -> Alone:
    """Take chunks for so long, or until the producer ends. Thread: any."""
    began, cpu_began = perf_counter(), thread_time()
    sizes = list[int]()
    for chunk in start():
        sizes.append(memoryview(chunk).nbytes)
        if perf_counter() - began >= seconds:
            break
    return Alone(len(sizes), sum(sizes), perf_counter() - began, thread_time() - cpu_began)


async def stream(
    start: Start, seconds: float, *, threads: int, producers: int, high_water: int
) -> Streamed:
    """Read from so many producers for so long; one that ends is begun again."""
    streamed, oversleeps = Streamed(), list[float]()

    async def read() -> None:
        while True:
            async with workers.produce(start, high_water=high_water) as chunks:
                try:
                    async for _ in chunks.batches():
                        pass
                finally:
                    told = chunks.statistics()
                    streamed.bytes += told.bytes
                    streamed.doorbells += told.doorbells
                    streamed.suspensions += told.suspensions
                    streamed.peak_bytes = max(streamed.peak_bytes, told.peak_bytes)

    async def watch() -> None:
        while True:
            began = perf_counter()
            await trio.sleep(0.001)
            oversleeps.append(perf_counter() - began - 0.001)

    async with ewb.open_workers(threads=threads) as workers:
        began = perf_counter()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                for _ in range(producers):
                    nursery.start_soon(read)
        streamed.seconds = perf_counter() - began
    streamed.held_up = sorted(oversleeps or [0.0])[len(oversleeps) * 99 // 100]
    return streamed


def least_near_best(rates: Mapping[int, float]) -> int:
    """The smallest setting whose rate is near the best one."""
    enough = NEAR * max(rates.values())
    return min(setting for setting, rate in rates.items() if rate >= enough)


# -- what the user sees -------------------------------------------------------------------------------


def table_of(title: str, measured: Mapping[int, Streamed], shown: Callable[[int], str]) -> Table:
    """A line for each setting."""
    columns = ("MB/s", "doorbells a MB", "suspensions", "peak KiB", "front end held up, p99")
    table = Table(title, *columns)
    for column in table.columns[1:]:
        column.justify = "right"
    for setting, it in measured.items():
        table.add_row(
            shown(setting),
            f"{it.rate / 1e6:,.1f}",
            f"{it.doorbells / (it.bytes / 1e6 or 1):,.1f}",
            f"{it.suspensions:,}",
            f"{it.peak_bytes / KIB:,.0f}",
            f"{1e3 * it.held_up:.1f} ms",
        )
    return table


def show_alone(alone: Alone, console: Console) -> None:
    """What kind of producer it is."""
    share = alone.cpu_seconds / alone.seconds
    mostly = 0.5
    kind = "computes: more threads than one share the GIL" if share > mostly else "waits"
    console.print(
        f"Alone: {alone.bytes / alone.seconds / 1e6:,.1f} MB/s, "
        f"chunks of {alone.bytes / alone.chunks:,.0f} bytes. "
        f"It is on the CPU for {share:.0%} of its time, so it {kind}."
    )


async def choose(start: Start, seconds: float, console: Console) -> int:
    """Measure, show, suggest. Returns the exit code."""
    alone = await trio.to_thread.run_sync(run_alone, start, seconds, abandon_on_cancel=True)
    if not alone.chunks:
        console.print("It has ended and yielded nothing: give it arguments for which it has work.")
        return 1
    show_alone(alone, console)
    measure = partial(stream, start, seconds)
    by_bound = {bound: await measure(threads=1, producers=1, high_water=bound) for bound in HIGH_WATERS}
    console.print(table_of("high_water", by_bound, lambda bound: f"{bound // KIB:,} KiB"))
    bound = least_near_best({bound: it.rate for bound, it in by_bound.items()})
    by_threads = {
        count: await measure(threads=count, producers=max(THREADS), high_water=bound)
        for count in THREADS
    }
    console.print(table_of(f"threads, for {max(THREADS)} producers", by_threads, str))
    count = least_near_best({count: it.rate for count, it in by_threads.items()})
    console.print(
        f"The least within {1 - NEAR:.0%} of the best: "
        f"open_workers(threads={count}), produce(..., high_water={bound // KIB} * 1024)."
    )
    return 0


def function_named(name: str) -> Callable[..., Iterable[bytes]]:
    """The function MODULE:FUNCTION, of the command line."""
    module, _, function = name.partition(":")
    try:
        found: Callable[..., Iterable[bytes]] = getattr(importlib.import_module(module), function)
        partial(found)  # or else it says that it is no function
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        msg = f"give MODULE:FUNCTION, such as examples.choose_bounds:blocks, not {name!r} ({error})"
        raise argparse.ArgumentTypeError(msg) from error
    return found


def positive(text: str) -> float:
    """A number of seconds, of the command line."""
    with suppress(ValueError):
        if 0 < (number := float(text)) < inf:
            return number
    msg = f"give a number of seconds above 0, such as 0.5, not {text!r}"
    raise argparse.ArgumentTypeError(msg)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.choose_bounds", description=__doc__)
    parser.add_argument("producer", nargs="?", type=function_named, default=blocks)
    parser.add_argument("arguments", nargs="*", help="for the producer")
    parser.add_argument("--seconds", type=positive, default=0.5, help="for each measurement")
    options = parser.parse_args(arguments)
    start = partial(options.producer, *options.arguments)
    code = 1
    try:
        code = trio.run(choose, start, options.seconds, Console(highlight=False))
    except* KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        code = 130
    except* Exception as errors:  # noqa: BLE001 - it is the user's, whatever it is
        print(f"The producer fails, or yields no bytes: {first_of(errors)!r}", file=sys.stderr)
    return code


def first_of(errors: BaseExceptionGroup[Exception]) -> BaseException:
    """The error that has brought the others about."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main())
