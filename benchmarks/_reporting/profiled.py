"""Work for a profiler to look at: what one benchmark has ewb do, for some seconds, and nothing else."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

import trio

from benchmarks._front_end import redis, stream_neighbours
from benchmarks._front_end.commands import Commands
from benchmarks._front_end.line_servers import WAKE, by_ewb
from benchmarks._handoff import chunks, courtesy, latency, slow_clients, to_socket
from benchmarks._measuring import client_process
from benchmarks._measuring.work import steps_for
from benchmarks._range_scan.compared import VBUCKETS
from examples.range_scan import server
from examples.range_scan.settings import ServerSettings

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncGenerator, Callable, Mapping

SECONDS = 4.0
SCANS = 4
GRACE = 1.0
CLIENTS = 1_250


def _to_socket() -> None:
    with to_socket.sink() as listener:
        to_socket.by_ewb(listener, 64, 14_000_000)


def _slow_clients() -> None:
    for _ in range(2):
        slow_clients.by_ewb(CLIENTS)


def _redis() -> None:
    """50 connections that SET."""
    command = redis.SET
    load = Commands(50, SECONDS, 16, request=command.request, answer=command.answer)
    redis.by_ewb(partial(redis.with_value, load))


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
    client: subprocess.Popen[bytes] = client_process.start(
        "_range_scan.client", port=port, connections=SCANS, vbuckets=VBUCKETS, forever=True
    )
    sleep(SECONDS)
    client_process.seen_by(client, 0.0)


WORK: Mapping[str, Callable[[], object]] = {
    "chunks": partial(chunks.by_ewb, 20_000_000, chunks.BOUND),
    "socket": _to_socket,
    "courtesy": lambda: courtesy.watch(partial(courtesy.by_ewb, steps_for(courtesy.COMPUTED)), SECONDS),
    "latency": lambda: latency.by_ewb(steps_for(latency.COMPUTED), 120_000),
    "slow-clients": _slow_clients,
    "commands": partial(by_ewb, Commands(8, SECONDS, depth=16)),
    "would-block": partial(by_ewb, Commands(16, SECONDS, request=f"{WAKE.decode()}\n")),
    "streams": partial(by_ewb, partial(stream_neighbours.probe_among_streams, SECONDS)),
    "redis": _redis,
}
SCAN = "scan"
"""Needs a store, whose making is not to be seen."""

if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name == SCAN:
        scan(Path(rest[0]))
    else:
        WORK[name]()
