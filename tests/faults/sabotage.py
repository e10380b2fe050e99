"""What can be done to a server's process before it serves: functions for `server.start(sabotage=…)`."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from examples.range_scan import server, wire
from examples.range_scan.engine import engine, scans
from examples.range_scan.engine.writing import Writing
from examples.range_scan.store import Settings

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from examples.range_scan.store import Limits, Scan

CLONE_NEWNS: Final = 0x20000

patch = mock.patch.object


def only_threads(number: int) -> None:
    """After so many no thread can be started."""
    start, started = threading.Thread.start, count()

    def start_or_not(thread: threading.Thread) -> None:
        if next(started) >= number:
            msg = "can't start new thread"
            raise RuntimeError(msg)
        start(thread)

    patch(threading.Thread, "start", start_or_not).start()


def on_small_disk(directory: Path, size: str) -> None:
    """Mount a small disk there, which nobody else sees, and which goes with this process."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    run = partial(subprocess.run, check=True)
    run(["mount", "--make-rprivate", "/"])
    run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", os.fspath(directory)])


def advertise(port: int) -> None:
    """Tell clients of another port: a proxy's."""
    topology = server._topology

    def elsewhere(settings: Any, store: Any, _: int) -> wire.Topology:
        return topology(settings, store, port)

    patch(server, "_topology", elsewhere).start()


def clock_of(file: Path) -> None:
    """Take the time of day from a file, which says by how many seconds it is wrong."""

    def now() -> float:
        return time.time() + float(file.read_text())

    patch(server, "StoreSettings", partial(Settings, clock=now)).start()
    patch(engine, "Writing", partial(Writing, clock=now)).start()


def break_scans(point: str, error: type[BaseException]) -> None:
    """Have what reads for scans raise: before the first chunk, behind it, or when it is closed."""
    read = scans._read

    def breaking(scan: Scan, limits: Limits) -> Generator[bytes, None, wire.Status]:
        if point == "begin":
            raise error(point)
        try:
            reading = read(scan, limits)
            yield next(reading)
            if point == "chunk":
                raise error(point)
            return (yield from reading)
        finally:
            if point == "finally":
                raise error(point)

    patch(scans, "_read", breaking).start()
