"""The background work of one cookie, looked after without a task of its own.

Invariants: `on_ready` is called once for each `watch` that returned True, and not after `stop` or the
end; it comes from a doorbell or a timer, so it must be quick and not raise. All is the front end's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ._backstop import current_backstop, time_is_real
from ._bell import Parked
from ._call import Call
from ._cookie import CallWork, StreamWork

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from ._cookie import Work
    from ._handoff import End
    from ._workers import Workers

Background: TypeAlias = "Stream | Call"
"""What a cookie does in the background."""


def start(workers: Workers, work: Work, on_ready: Callable[[], None]) -> Background:
    """Start what a cookie has asked for. Thread: front end.

    Raises:
        trio.ClosedResourceError: the workers' block was left.
    """
    if isinstance(work, CallWork):
        return Call(workers, work.call, work.name, on_ready)
    return Stream(workers, work, on_ready)


class Stream:
    """A producer that was started for a cookie, and how the front end takes from it."""

    __slots__ = (
        "_backstop",
        "_handoff",
        "_moderated",
        "_on_ready",
        "_producer",
        "_watched",
        "_workers",
    )

    def __init__(self, workers: Workers, work: StreamWork, on_ready: Callable[[], None]) -> None:
        """Start it.

        Raises:
            trio.ClosedResourceError: the workers' block was left.
        """
        self._producer = workers.begin(
            work.start, work.name, work.bounds, work.size, same_thread=work.same_thread
        )
        self._workers = workers
        self._handoff = self._producer.handoff
        self._backstop = current_backstop() if time_is_real() else None
        self._on_ready = on_ready
        self._watched = self._moderated = False

    @property
    def end(self) -> End | None:
        """How it has ended. Look here before taking: no chunk comes after it."""
        return self._handoff.end

    @property
    def has_chunks(self) -> bool:
        """Is there something to take?"""
        return bool(self._handoff.buffer.chunks)

    @property
    def suspended(self) -> bool:
        """Does it wait at high water?"""
        return self._handoff.suspended

    @property
    def doorbells(self) -> int:
        """Wake-ups that it has posted."""
        return self._handoff.doorbells

    @property
    def suspensions(self) -> int:
        """Times it was suspended."""
        return self._handoff.suspensions

    @property
    def finished(self) -> trio.Event:
        """Set once the generator is closed."""
        return self._producer.finished

    @property
    def closing_error(self) -> BaseException | None:
        """What went wrong while it was being closed, once it is `finished`; nobody else hears of it.

        A `KeyboardInterrupt` or the like counts that it raised before, and that nobody received.
        """
        end = self._handoff.end
        if self._producer.closing_error is None and end is not None:
            return None if isinstance(end.error, Exception) else end.error
        return self._producer.closing_error

    def take(self) -> list[object]:
        """All chunks there are; until they are `returned` they count against the workers' memory."""
        return self._handoff.drain(lend=True)

    def returned(self) -> None:
        """What was taken is sent, or never will be."""
        self._handoff.returned()

    def watch(self) -> bool:
        """Have `on_ready` called when there is a chunk, or the end; False: there is already."""
        if self._watched:
            return True
        backstop = self._backstop
        parked, deadline = self._handoff.park(self._woken, moderate=backstop is not None)
        if parked is Parked.NO:
            return False
        self._watched = True
        if parked is Parked.MODERATED and backstop is not None:
            backstop.watch(self._handoff, deadline)
            self._moderated = True
        return True

    def stop(self, closed: Callable[[], None]) -> None:
        """Have it closed, on its worker, and drop what was not taken; `closed` is called after that."""
        if self._watched:
            self._handoff.unpark()
            self._unwatch()
        if not self._producer.finished.is_set():
            self._producer.when_finished = closed
        self._workers.leave(self._producer)

    def _woken(self) -> None:
        self._unwatch()
        self._on_ready()

    def _unwatch(self) -> None:
        self._watched = False
        if self._moderated and self._backstop is not None:
            self._backstop.forget(self._handoff)
            self._moderated = False
