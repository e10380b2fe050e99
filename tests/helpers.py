"""What many tests need: to wait for what threads do, to stop them, and to see what they did."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from ewb import Workers

GUARD: Final = 20.0
"""Seconds: only a bug takes so long."""
ROOT: Final = Path(__file__).parent.parent


@contextmanager
def run_example(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program of `examples/`, as its reader runs it."""
    with subprocess.Popen(
        [sys.executable, "-m", f"examples.{name}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # does nothing if it has ended


def until_refused(port: int) -> None:
    """Wait until a server takes no more clients: it was told to end."""
    with suppress(ConnectionError):
        while True:
            socket.create_connection(("127.0.0.1", port), timeout=GUARD).close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what workers do.

    A thread does one thing after another, and what a test asserts may come a moment after what it
    waited for. So let the condition be all that is asserted next.
    """
    with trio.fail_after(GUARD):
        while not condition():  # noqa: ASYNC110 - a thread makes it true, and says nothing
            await trio.sleep(0.001)


async def nothing_runs(workers: Workers) -> None:
    """Wait until all producers have ended or are suspended, and all workers are idle."""

    def quiet() -> bool:
        now = workers.statistics()
        return now.idle == now.threads and now.queued == 0

    await until(quiet)


def names_of_running(workers: Workers) -> list[str]:
    """Who holds a worker. One that has ended may do so for a moment more: wait with `until`."""
    return [producer.name for producer in workers.statistics().running]


def fail(error: BaseException) -> NoReturn:
    """Raise it."""
    raise error


class Gate:
    """Stops a thread until the test opens it."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.reached = threading.Event()

    def open(self) -> None:
        """Let all pass."""
        self._open.set()

    def wait(self) -> None:
        """Thread: the one that is to be stopped."""
        self.reached.set()
        assert self._open.wait(GUARD), "the test never opened this gate"


class Log:
    """What producers did, and on which thread."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.closed: list[int] = []
        self.made = 0

    def numbers(self, stop: int | None = None, gate: Gate | None = None) -> Generator[bytes, None, str]:
        """A producer of numbers that logs what happens to it, and then waits at a gate."""
        self.opened.append(threading.get_ident())
        try:
            for number in count() if stop is None else range(stop):
                self.made += 1
                yield b"%d" % number
            if gate is not None:
                gate.wait()
        finally:
            self.closed.append(threading.get_ident())
        return "done"

    def assert_closed(self) -> None:
        """All that were begun were closed, on the thread they ran on, which is not this one."""
        assert self.opened
        assert self.closed == self.opened
        assert threading.get_ident() not in self.closed


class AtStep(trio.abc.Instrument):
    """Does something at the n-th step of the task that makes it: before it, or when it then parks."""

    def __init__(self, do: Callable[[], object], step: int, *, parked: bool) -> None:
        self._task = trio.lowlevel.current_task()
        self._do = do
        self._steps_left = step
        self._parked = parked
        self.struck = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        if not self._parked:
            self._count(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        if self._parked:
            self._count(task)

    def _count(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            if self._steps_left == 0:
                self.struck = True
                self._do()
            self._steps_left -= 1
