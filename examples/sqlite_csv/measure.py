"""Each way, in turn and several times: rows a second, the first byte, and what a neighbour waits."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from subprocess import PIPE
from time import perf_counter
from typing import TYPE_CHECKING

import httpx
import trio
from rich.table import Table

from .fetch import Download
from .rows import csv_lines

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from rich.console import Console

WAYS = {
    "/starlette.csv": "StreamingResponse",
    "/starlette-blocks.csv": "the same, of 64 KiB blocks",
    "/ewb.csv": "ewb",
}
CLIENTS = ("curl", "httpx")
PROGRAM = (sys.executable, "-m", "examples.sqlite_csv")


class MeasureError(Exception):
    """What was downloaded is wrong, or was not downloaded."""


@dataclass
class Way:
    """What was measured of one way."""

    rates: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """Of each client: rows a second, one number for each repetition."""
    first_bytes: list[float] = field(default_factory=list[float])
    """Seconds from each request to the first byte of its body."""
    waits: list[float] = field(default_factory=list[float])
    """Seconds that each of a neighbour's requests took meanwhile."""


@dataclass(frozen=True)
class Subject:
    """What is measured: where it is served, and what has to arrive."""

    address: str
    file: Path
    """Where downloads go."""
    rows: int
    digest: str


async def measure(
    database: Path, query: str, *, repeat: int, seconds: float
) -> tuple[dict[str, Way], list[float]]:
    """Measure all ways in turn, each with each client, for `seconds`; and that `repeat` times.

    Returns:
        What was measured of each way, and the seconds that a neighbour waits beside nothing.

    Raises:
        MeasureError: what arrived is not what the query gives, or the server did not start.
    """
    lines, digest = await trio.to_thread.run_sync(_content_of, database, query)
    ways, alone = {path: Way() for path in WAYS}, list[float]()
    async with _server(database, query) as address:
        subject = Subject(address, database.with_suffix(".csv"), lines - 1, digest)
        with trio.move_on_after(max(seconds, 0.1)):
            await _neighbour(address, alone)
        for _ in range(repeat):
            for path, way in ways.items():
                for client in CLIENTS:
                    if client == "httpx" or shutil.which(client):
                        rate = await _rate_of(subject, path, client, way, seconds)
                        way.rates.setdefault(client, []).append(rate)
    return ways, alone


async def _rate_of(subject: Subject, path: str, client: str, way: Way, seconds: float) -> float:
    """Download again and again, for `seconds`, beside a neighbour. Returns the rows a second."""
    rates: list[float] = []
    until = perf_counter() + seconds
    while not rates or perf_counter() < until:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_neighbour, subject.address, way.waits)
            download = await _download(client, subject.address + path, subject.file)
            nursery.cancel_scope.cancel()
        if hashlib.sha256(subject.file.read_bytes()).hexdigest() != subject.digest:
            msg = f"what {client} got from {path} is not what the query gives"
            raise MeasureError(msg)
        if download.first_byte is not None:
            way.first_bytes.append(download.first_byte)
        rates.append(subject.rows / download.seconds)
    return median(rates)


async def _neighbour(address: str, waits: list[float]) -> None:
    """Ask for the status again and again, a millisecond after each answer; note what each takes."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        (await client.get("/status")).raise_for_status()  # connecting is not counted
        while True:
            started = perf_counter()
            (await client.get("/status")).raise_for_status()
            waits.append(perf_counter() - started)
            await trio.sleep(0.001)


# -- the other processes --------------------------------------------------------------------------
# Ctrl-C is for this process, which ends the others: they have sessions of their own.


@asynccontextmanager
async def _server(database: Path, query: str) -> AsyncGenerator[str]:
    """The server, until the block is left; yields its address."""
    command = [*PROGRAM, "serve", "--database", str(database), "--query", query]
    start = partial(trio.run_process, command, stdout=PIPE, start_new_session=True)
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(start)
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        said = (await process.stdout.receive_some()).decode()
        if not said:
            msg = "the server did not start"
            raise MeasureError(msg)
        yield said.removeprefix("listening on ").partition(";")[0]
        nursery.cancel_scope.cancel()  # run_process sends it a SIGTERM, and waits


async def _download(client: str, url: str, file: Path) -> Download:
    """Download in a process that does not share its interpreter with the neighbour."""
    if client == "curl":
        command = ["curl", "-sSf", "-o", str(file), "-w", '{"seconds": %{time_total}}', url]
    else:
        command = [*PROGRAM, "fetch", url, str(file), "--json"]
    done = await trio.run_process(
        command, capture_stdout=True, capture_stderr=True, check=False, start_new_session=True
    )
    if done.returncode:
        msg = f"{client} got nothing whole from {url}: {done.stderr.decode().strip()}"
        raise MeasureError(msg)
    said = json.loads(done.stdout)
    return Download(said["seconds"], said.get("first_byte"))


def _content_of(database: Path, query: str) -> tuple[int, str]:
    """How many lines have to arrive, and the digest of all their bytes. Thread: one of Trio's."""
    count, digest = 0, hashlib.sha256()
    for line in csv_lines(database, query):
        count += 1
        digest.update(line)
    return count, digest.hexdigest()


# -- what the user sees ---------------------------------------------------------------------------


def show(ways: dict[str, Way], alone: Sequence[float], console: Console) -> None:
    """Print all ways side by side, and what ewb is worth."""
    table = Table("medians", *WAYS.values(), "nothing")
    for column in table.columns[1:]:
        column.justify = "right"

    def row(title: str, cell: Callable[[Way], str], beside_nothing: str = "") -> None:
        table.add_row(title, *map(cell, ways.values()), beside_nothing)

    clients = list(ways["/ewb.csv"].rates)
    for client in clients:
        row(f"rows/s, {client}", partial(_rate, client))
    row("first byte, httpx", lambda way: _quantile(way.first_bytes, 0.5))
    row("neighbour waits beside it, p50", lambda way: _quantile(way.waits, 0.5), _quantile(alone, 0.5))
    row(
        "neighbour waits beside it, p99", lambda way: _quantile(way.waits, 0.99), _quantile(alone, 0.99)
    )
    console.print(table)
    for path, name in WAYS.items():
        if path != "/ewb.csv":
            ratios = ", ".join(f"{client} {_ratio(ways, path, client):.1f} times" for client in clients)
            console.print(f"ewb's rows/s against {name}: {ratios}")
    console.print("Every byte arrived, each time.")


def _rate(client: str, way: Way) -> str:
    return f"{median(way.rates[client]):,.0f}"


def _quantile(times: Sequence[float], quantile: float) -> str:
    ordered = sorted(times)
    return f"{ordered[int((len(ordered) - 1) * quantile)] * 1e3:.1f} ms" if ordered else "none asked"


def _ratio(ways: dict[str, Way], path: str, client: str) -> float:
    """The median of the ratios of each repetition, in which both ways were neighbours."""
    pairs = zip(ways["/ewb.csv"].rates[client], ways[path].rates[client], strict=True)
    return median(ours / theirs for ours, theirs in pairs)
