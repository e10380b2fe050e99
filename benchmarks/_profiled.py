"""Work for a profiler to look at: what one benchmark has ewb do, for some seconds, and nothing else."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

import trio

from examples.range_scan import server
from examples.range_scan.settings import ServerSettings

from . import (
    _chunks,
    _client_process,
    _courtesy,
    _latency,
    _redis,
    _slow_clients,
    _stream_neighbours,
    _to_socket,
)
from ._commands import Commands
from ._line_servers import WAKE, by_ewb
from ._scan_compared import VBUCKETS
from ._work import steps_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncGenerator, Callable, Mapping

SECONDS = 4.0
SCANS = 4
GRACE = 1.0
CLIENTS = 1_250


def chunks() -> None:
    """64 B, from a worker to the front end."""
    _chunks.by_ewb(20_000_000, _chunks.BOUND)


def socket() -> None:
    """64 B, from a worker to a socket."""
    with _to_socket.sink() as listener:
        _to_socket.by_ewb(listener, 64, 14_000_000)


def courtesy() -> None:
    """Four producers that compute, and a neighbour."""
    _courtesy.watch(partial(_courtesy.by_ewb, steps_for(_courtesy.COMPUTED)), SECONDS)


def latency() -> None:
    """A producer that computes 20 µs a chunk."""
    _latency.by_ewb(steps_for(_latency.COMPUTED), 120_000)


def slow_clients() -> None:
    """Some of them, twice."""
    for _ in range(2):
        _slow_clients.by_ewb(CLIENTS)


def commands() -> None:
    """Answered at once, 16 in flight."""
    by_ewb(Commands(8, SECONDS, depth=16))


def would_block() -> None:
    """Answered when they are notified."""
    by_ewb(Commands(16, SECONDS, request=f"{WAKE.decode()}\n"))


def streams() -> None:
    """Eight of them, and a neighbour."""
    by_ewb(partial(_stream_neighbours.probe_among_streams, SECONDS))


def redis() -> None:
    """The example, 50 connections that SET."""
    command = _redis.SET
    load = Commands(50, SECONDS, 16, request=command.request, answer=command.answer)
    _redis.by_ewb(partial(_redis.with_value, load))


def scan(data: Path) -> None:
    """The range-scan server, while connections scan everything."""
    done = trio.Event()

    async def stops() -> AsyncGenerator[None]:
        await done.wait()
        yield
        await trio.sleep_forever()

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def have_scanned(port: int) -> None:
                await trio.to_thread.run_sync(_scan, port)
                done.set()

            await server.serve(
                ServerSettings(data=data, port=0, no_auth=True, grace=GRACE),
                stops=stops(),
                ready=lambda port: nursery.start_soon(have_scanned, port),
            )

    trio.run(main)


def _scan(port: int) -> None:
    client: subprocess.Popen[bytes] = _client_process.start(
        "_scan_client", port=port, connections=SCANS, vbuckets=VBUCKETS, forever=True
    )
    sleep(SECONDS)
    _client_process.seen_by(client, 0.0)


WORK: Mapping[str, Callable[[], None]] = {
    "chunks": chunks,
    "socket": socket,
    "courtesy": courtesy,
    "latency": latency,
    "slow-clients": slow_clients,
    "commands": commands,
    "would-block": would_block,
    "streams": streams,
    "redis": redis,
}
SCAN = "scan"
"""Needs a store, whose making is not to be seen."""

if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name == SCAN:
        scan(Path(rest[0]))
    else:
        WORK[name]()
