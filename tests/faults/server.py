"""A range-scan server in a process of its own that can be killed, starved, and looked into.

It is forked from a process that has imported all there is to import, so it starts in a few hundredths
of a second, and a test can start hundreds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import lmdb
import trio

from examples.range_scan import server
from examples.range_scan.settings import ServerSettings

from .waiting import GUARD

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

USER: Final = "Administrator"
PASSWORD: Final = "correct horse"  # noqa: S105 - of a test
VBUCKETS: Final = 4

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload([__name__])


@attrs.frozen
class Held:
    """What a process holds of the system."""

    descriptors: int
    threads: int


@attrs.define
class ServerProcess:
    """A server that runs, or has ended."""

    data: Path
    port: int
    log: Path
    process: ForkServerProcess

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self.process.pid is not None
        return self.process.pid

    def held(self) -> Held:
        """What it holds now."""
        folder = Path(f"/proc/{self.pid}")
        return Held(*(sum(1 for _ in (folder / part).iterdir()) for part in ("fd", "task")))

    def memory(self) -> int:
        """Bytes of memory of its own: without LMDB's map of the file."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
        return int(line.split()[1]) * 1024

    def readers(self) -> int:
        """How many snapshots LMDB keeps for it now."""
        with lmdb.open(os.fspath(self.data), readonly=True, max_dbs=3) as environment:
            lines = environment.readers().splitlines()[1:]
        return sum(line.split()[0] == f"{self.pid}" and line.split()[2] != "-" for line in lines)

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.join()

    def stop(self) -> tuple[int | None, list[str]]:
        """Ask it to end. Returns the exit code, and what it said, but for logins that failed."""
        os.kill(self.pid, signal.SIGTERM)
        self.process.join(GUARD)
        return self.process.exitcode, self.said()

    def said(self) -> list[str]:
        """What it has written to its standard error."""
        return [line for line in self.log.read_text().splitlines() if "login from" not in line]


def start(
    data: Path, *, sabotage: Callable[[], object] | None = None, **settings: Any
) -> ServerProcess:
    """Start one; `sabotage` is called in it first, and so has to be a function of a module."""
    settings = {
        "vbuckets": VBUCKETS,
        "user": USER,
        "password": PASSWORD,
        "port": 0,
        "grace": 5,
        "allow_plain": True,
        "data": data,
        **settings,
    }
    log = data.with_name(data.name + ".log")
    ours, theirs = _forking.Pipe()
    process = _forking.Process(target=_run, args=(settings, sabotage, log, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        with ours:
            port = ours.recv()
    except EOFError:
        process.join(GUARD)
        raise AssertionError(process.exitcode, log.read_text()) from None
    return ServerProcess(data, port, log, process)


@contextmanager
def running(
    data: Path, *, sabotage: Callable[[], object] | None = None, says: str | None = "", **settings: Any
) -> Generator[ServerProcess]:
    """A server that has to end well, with nothing to say but lines with `says`; None: whatever."""
    started = start(data, sabotage=sabotage, **settings)
    try:
        yield started
        code, said = started.stop()
        assert code == 0, said
        assert says is None or [line for line in said if not (says and says in line)] == []
    finally:
        started.kill()


def _run(
    settings: dict[str, Any], sabotage: Callable[[], object] | None, log: Path, ready: Connection
) -> None:
    """In the server's process."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)

    async def main() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            await server.serve(ServerSettings(**settings), stops=signals, ready=announce)

    def announce(port: int) -> None:
        ready.send(port)
        ready.close()

    if sabotage is not None:
        sabotage()
    trio.run(main)
