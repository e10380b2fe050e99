"""A gate that lets a test step a producer, chunk by chunk."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

T = TypeVar("T")

LOOK: Final = 0.01
"""Seconds between two looks whether the producer that waits here is to end."""


class Gate:
    """Producers wait here before each chunk, until the test lets them pass.

        gate = Gate()
        async with workers.produce(gate.through, [b"a", b"b"]) as chunks:
            gate.step()
            assert await chunks.receive() == b"a"
            await gate.reached()  # it waits before the second

    One that waits here when its block is left ends as from `trio.from_thread.check_cancelled`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards what follows
        self._passes = 0
        self._is_open = False
        self._waiting = 0

    def __repr__(self) -> str:
        passes = "open" if self._is_open else f"{self._passes} passes left"
        return f"<Gate: {passes}, {self._waiting} waiting>"

    def through(self, chunks: Iterable[T]) -> Generator[T]:
        """A producer that passes this gate before each of its chunks. Thread: worker.

        Raises:
            trio.Cancelled: its block was left while it waited.
        """
        for chunk in chunks:
            self.wait()
            yield chunk

    def wait(self) -> None:
        """Wait for a pass, and use it up. Thread: worker.

        Raises:
            trio.Cancelled: the block of the producer was left.
        """
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
        try:
            # Not while `_changed` is held: this asks the front end, which may wait for it in `step`.
            while not self._passed():
                _check_cancelled()
        except BaseException:
            with self._changed:
                self._waiting -= 1
            raise

    def step(self, chunks: int = 1) -> None:
        """Let so many chunks pass. Thread: any."""
        with self._changed:
            self._passes += chunks
            self._changed.notify_all()

    def open(self) -> None:
        """Let all pass, from now on. Thread: any."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    async def reached(self, producers: int = 1) -> None:
        """Wait until so many producers wait here, for passes that are not there. Thread: front end."""

        def wait() -> None:
            with self._changed:
                while self._waiting - self._passes < producers:
                    self._changed.wait(LOOK)
                    trio.from_thread.check_cancelled()

        await trio.to_thread.run_sync(wait)

    def _passed(self) -> bool:
        """Whether there is a pass, before it is time to look: then it is used up. Thread: worker."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_open or self._passes, LOOK):
                return False
            self._waiting -= 1
            if not self._is_open:
                self._passes -= 1
            return True


def _check_cancelled() -> None:
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return  # a thread of the user's own, with no block to leave
