"""What do connections cost, the more there are: to open, to be asked, to be idle, to be closed?

The client is another process, and takes its time, too. So what is measured is the CPU time of this one.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING

import trio

import ewb
from benchmarks._front_end.command_client import SPARE_FILES, allow_open_files
from benchmarks._front_end.line_servers import ANSWER, PING, Lines
from benchmarks._measuring.harness import at_most, figure

from .client import DONE
from .cpu import MOST, cpu_percent, until
from .growth import growth

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from benchmarks._measuring.harness import Figure, Run

CONNECTIONS = (1, 10, 100, 1_000, 10_000)
QUICK = (1, 10, 100, 1_000)
ROUNDS = 5
WAIT = b"wait"
"""A command that would block, and is never notified."""


@dataclass(frozen=True)
class Seen:
    """One measurement."""

    opened: float
    """Seconds of CPU, for all connections."""
    asked: float
    """Seconds of CPU, for a command on each that is answered at once."""
    idle: float
    """Percent of a core, while nothing is asked."""
    parked: float
    """Percent of a core, while a command is parked on each."""
    closed: float
    """Seconds of CPU; a command is parked on each."""


def measure(run: Run) -> list[Figure]:
    """As many connections as this process may have files open."""
    counts = possible(run.pick(CONNECTIONS, QUICK))
    most, seconds = max(counts), run.pick(2.0, 0.5)
    named = {f"{count:,}": count for count in counts}
    ways = {
        name: partial(serve, count, seconds if count == most else 0.0) for name, count in named.items()
    }
    seen = run.interleaved(ways, repetitions=run.pick(2, 1), warm_up=False)
    crowd = seen[f"{most:,}"]
    return [
        *growth("connections opened", {n: [s.opened for s in seen[name]] for name, n in named.items()}),
        *growth("connections asked", {n: [s.asked for s in seen[name]] for name, n in named.items()}),
        *growth("connections closed", {n: [s.closed for s in seen[name]] for name, n in named.items()}),
        figure(
            f"CPU with {most:,} idle connections", [s.idle for s in crowd], "% of a core", at_most(MOST)
        ),
        figure(
            f"CPU with {most:,} parked commands",
            [s.parked for s in crowd],
            "% of a core",
            at_most(MOST),
        ),
    ]


def possible(counts: Sequence[int]) -> Sequence[int]:
    """Those for which this process may have descriptors: its own limit is raised, as far as it may."""
    allow_open_files(max(counts) + SPARE_FILES)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES
    return [count for count in counts if count <= most]


# -- the server ---------------------------------------------------------------------------------------


class Engine:
    """Answers at once, or never."""

    def execute(self, cookie: ewb.Cookie[bytes, ewb.Status]) -> ewb.Status:
        """Execute it."""
        waits = cookie.request == WAIT and not cookie.resumed
        return ewb.Status.WOULD_BLOCK if waits else cookie.status


def serve(count: int, seconds: float) -> Seen:
    """So many connections, and for so many seconds nothing to do."""
    return trio.run(_serve, count, seconds)


async def _serve(count: int, seconds: float) -> Seen:
    async with ewb.open_workers() as workers, trio.open_nursery() as nursery:
        # A client that sends no more has left: else each parked command would wait for ten seconds.
        front_end = ewb.FrontEnd(Lines, Engine(), workers, half_close_timeout=0)
        listeners = await nursery.start(partial(trio.serve_tcp, front_end.serve, 0, host="127.0.0.1"))
        async with client_of(listeners[0].socket.getsockname()[1], count) as client:
            before = process_time()
            await client.open()
            await until(lambda: front_end.statistics().connections == count)
            opened = process_time() - before
            asked = [await _cost_of_a_round(client) for _ in range(ROUNDS)]
            idle = await cpu_percent(seconds) if seconds else 0.0
            await client.ask(WAIT, b"")
            await until(lambda: front_end.statistics().parked == count)
            parked = await cpu_percent(seconds) if seconds else 0.0
            before = process_time()
        await until(lambda: front_end.statistics().connections == 0)
        closed = process_time() - before
        nursery.cancel_scope.cancel()
    return Seen(opened, median(asked), idle, parked, closed)


async def _cost_of_a_round(client: Client) -> float:
    before = process_time()
    await client.ask(PING, ANSWER)
    return process_time() - before


# -- its client ---------------------------------------------------------------------------------------


class Client:
    """The process that has the other ends of the connections."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    async def open(self) -> None:
        """Open all connections. See `ask`."""
        await self._tell("")

    async def ask(self, request: bytes, answer: bytes) -> None:
        """Ask on all connections, and wait for all answers.

        Raises:
            RuntimeError: the client has failed, and said why.
        """
        await self._tell(json.dumps({"request": f"{request.decode()}\n", "answer": answer.decode()}))

    async def _tell(self, line: str) -> None:
        if self._process.stdin is None or self._process.stdout is None:
            msg = "the client was started without pipes"
            raise RuntimeError(msg)
        await self._process.stdin.send_all(f"{line}\n".encode())
        if await self._process.stdout.receive_some() != DONE:
            msg = "the client of the connections has failed"
            raise RuntimeError(msg)


@asynccontextmanager
async def client_of(port: int, count: int) -> AsyncGenerator[Client]:
    """Start the process; it has ended when this block is left."""
    settings = json.dumps({"port": port, "connections": count})
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "benchmarks._scale.client", settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        process_group=0,  # Ctrl-C is not for it
    )
    try:
        yield Client(process)
        if process.stdin is not None:
            await process.stdin.aclose()  # by this it ends
        await process.wait()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
