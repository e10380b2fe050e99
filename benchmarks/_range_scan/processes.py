"""The processes that take part: the server, the raw client, the neighbour that GETs."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks._measuring import client_process
from examples.range_scan.client import Client

from .data import VALUE_SIZE, key

if TYPE_CHECKING:
    from collections.abc import Generator

    from .data import Loaded

KEYS = 256
"""Documents that the neighbour GETs in turn."""
MEBIBYTE = 2**20
MEMORY = 256 * MEBIBYTE
"""Bytes that all scans of a server may buffer: its own default."""
TO_END = 10.0
"""Seconds that a server has to end by itself."""


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    port: int
    process: psutil.Process

    def cpu(self) -> float:
        """Seconds of processors that it has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def serving(data: Path, *, designs: bool = False, memory: int = MEMORY) -> Generator[Server]:
    """Have a store served; leaving the block ends the server."""
    settings = json.dumps({"data": str(data), "memory": memory, "designs": designs})
    command = [sys.executable, "-m", "benchmarks._range_scan.server", settings]
    folder, pipe = Path(__file__).parents[2], subprocess.PIPE
    # A process group of its own: Ctrl-C is not for the server, which ends with its input.
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, process_group=0) as server:
        try:
            line = server.stdout.readline().split() if server.stdout else []
            if not line:
                msg = f"the server did not start, exit code {server.wait(TO_END)}"
                raise RuntimeError(msg)
            yield Server(int(line[-1]), psutil.Process(server.pid))
        finally:
            end(server)


def end(process: subprocess.Popen[bytes]) -> None:
    """Close its input, and see that it ends."""
    try:
        process.communicate(timeout=TO_END)
    finally:
        process.kill()


def scan(server: Server, **settings: float | str) -> subprocess.Popen[bytes]:
    """Start a raw client."""
    return client_process.start("_range_scan.client", port=server.port, **settings)


@contextmanager
def begun(server: Server, **settings: float | str) -> Generator[subprocess.Popen[bytes]]:
    """A raw client whose scans have all begun; it ends with the block, if not before."""
    with scan(server, **settings) as client, _ending(client):
        _wait_for_line(client)
        yield client


@contextmanager
def getting(server: Server, loaded: Loaded) -> Generator[list[float]]:
    """Have another process GET documents; after the block the list has the seconds of each."""
    each, documents = loaded.documents // KEYS, loaded.documents
    numbers = range(0, each * KEYS, each)
    vbuckets = [number * len(loaded.vbuckets) // documents for number in numbers]
    keys = " ".join(
        f"{vb} {key(number).decode()}" for vb, number in zip(vbuckets, numbers, strict=True)
    )
    settings: dict[str, float | str] = {"port": server.port, "keys": keys, "value_size": VALUE_SIZE}
    times: list[float] = []
    with client_process.start("_range_scan.getter", **settings) as getter, _ending(getter):
        _wait_for_line(getter)
        yield times
        times += seen_by(getter)


def seen_by(client: subprocess.Popen[bytes]) -> Any:
    """End a client's input, and wait for what it prints, having read all if it is to."""
    return client_process.seen_by(client, TO_END)


def statistics(server: Server) -> dict[str, str]:
    """What the server says of itself."""
    with Client.connect("127.0.0.1", server.port, None) as client:
        return client.statistics()


@contextmanager
def _ending(client: subprocess.Popen[bytes]) -> Generator[None]:
    try:
        yield
    finally:
        client.kill()


def _wait_for_line(client: subprocess.Popen[bytes]) -> None:
    if client.stdout is None or not client.stdout.readline():
        msg = "a client could not begin"
        raise RuntimeError(msg)
