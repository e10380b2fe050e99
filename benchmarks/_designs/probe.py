"""Measures one design, with one size of chunk and one of buffer, in a process of its own.

Of that process also its memory is measured, and, if strace is installed, its system calls are counted:
in a run apart, which they slow down, and less those of a run that scans nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks._handoff.to_socket import SINK
from benchmarks._measuring import client_process, installed
from benchmarks._measuring.harness import percentile

if TYPE_CHECKING:
    from collections.abc import Generator

FOLDER = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds that a server has to end."""
MEBIBYTE = 2**20
LOOK_EVERY = 0.02
"""Seconds between two looks at the server's memory."""


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    data: Path
    """The store."""
    design: str
    chunk: int
    """Bytes."""
    buffer: int
    """Bytes."""
    seconds: float
    """To scan, twice."""


@dataclass(frozen=True)
class Seen:
    """One measurement."""

    rate: float
    """MB a second."""
    wake_ups: float
    """Of the front end's thread, for each MB."""
    memory: float
    """MiB that the process grew by, without what it maps of the store."""
    p50: float
    """Of the neighbour's echo, in seconds."""
    p99: float


def probe(setting: Setting) -> Seen:
    """Have it scan. Blocks this thread."""
    with _serving(setting) as (server, (scans, echoes)):
        process = psutil.Process(server.pid)
        before = most = _own_memory(process)
        with (
            client_process.start(
                "_measuring.echo_client", port=echoes, seconds=setting.seconds
            ) as neighbour,
            _reading(scans),
        ):
            while server.poll() is None:
                most = max(most, _own_memory(process))
                sleep(LOOK_EVERY)
            times = client_process.seen_by(neighbour, setting.seconds)
        sent = _told_by(server)
    alone = sent["alone"]
    return Seen(
        rate=alone["bytes"] / alone["seconds"] / 1e6,
        wake_ups=alone["wake_ups"] / alone["bytes"] * 1e6,
        memory=(most - before) / MEBIBYTE,
        p50=percentile(times, 50),
        p99=percentile(times, 99),
    )


def system_calls(setting: Setting) -> float:
    """How many there are for each MB that is scanned. Blocks this thread.

    Raises:
        RuntimeError: strace cannot count, or nothing was scanned.
    """
    calls, size = _counted(setting)
    calls_of_nothing, _ = _counted(replace(setting, chunk=1, buffer=1, seconds=0.0))
    if not size:
        msg = f"nothing was scanned in {setting.seconds:g} s"
        raise RuntimeError(msg)
    return (calls - calls_of_nothing) / size * 1e6


@cache
def _counted(setting: Setting) -> tuple[int, int]:
    """System calls of a whole process, and the bytes that it has sent."""
    with tempfile.NamedTemporaryFile() as table:
        counting = ["strace", "-f", "-c", "-o", table.name]
        with (
            _serving(setting, neighbour=False, under=counting) as (server, (scans, _)),
            _reading(scans),
        ):
            server.wait(PATIENCE + setting.seconds)
            sent = _told_by(server)
        rows = Path(table.name).read_text(encoding="utf-8").splitlines()
    return sum(map(_calls_in, rows)), sent["alone"]["bytes"]


def _calls_in(row: str) -> int:
    """Of a line of strace's table: percent, seconds, µs a call, calls, maybe errors, name."""
    words = row.split()
    if len(words) < 5 or words[-1] == "total" or not words[3].isdecimal():
        return 0
    return int(words[3])


@contextmanager
def _serving(
    setting: Setting, *, neighbour: bool = True, under: list[str] | None = None
) -> Generator[tuple[subprocess.Popen[bytes], list[int]]]:
    """Start the server, and learn its ports; leaving the block ends it."""
    settings = json.dumps({**vars(setting), "data": str(setting.data), "neighbour": neighbour})
    command = [*(under or []), sys.executable, "-m", "benchmarks._designs.server", settings]
    # A process group of its own: Ctrl-C is not for the server, which we end.
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, process_group=0) as server:
        try:
            ports = server.stdout.readline().split() if server.stdout else []
            if len(ports) != 2:
                msg = f"the server did not start, exit code {server.wait(PATIENCE)}"
                raise RuntimeError(msg)
            yield server, [int(port) for port in ports]
        finally:
            server.kill()


@contextmanager
def _reading(port: int) -> Generator[None]:
    """Have a process read all scans; it ends when nobody listens any more, or with the block."""
    with subprocess.Popen([sys.executable, "-I", str(SINK), str(port)], process_group=0) as reader:
        try:
            yield
        finally:
            reader.kill()


def _told_by(server: subprocess.Popen[bytes]) -> Any:
    told = server.stdout.read() if server.stdout else b""
    if server.wait(PATIENCE):
        msg = f"the server ended with exit code {server.returncode}"
        raise RuntimeError(msg)
    return json.loads(told)


def _own_memory(process: psutil.Process) -> int:
    """Bytes that are not the store's, which the system maps and may take back."""
    try:
        info = process.memory_info()
    except psutil.Error:  # it has just ended
        return 0
    return int(info.rss - info.shared)


def can_count() -> bool:
    """Whether system calls can be counted."""
    return installed.strace() is not None
