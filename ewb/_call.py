"""One blocking call on a worker, for `Cookie.run`: a producer of nothing but its value.

It could be a generator that yields nothing; without a channel it costs a third of that.

Invariants: `end` is set once, on the front end, and then `on_ready` is called, or what `stop` was
given. `finished` is set once the function has returned, or will never be called.
"""

from __future__ import annotations

import contextvars
import inspect
from typing import TYPE_CHECKING, Final

import trio

from ._errors import as_the_readers
from ._frames import forget_locals
from ._handoff import End

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._from_thread import Portal
    from ._workers import Workers


class Call:
    """A function that runs on a worker, and what has become of it."""

    __slots__ = (
        "_context",
        "_fn",
        "_on_ready",
        "_outcome",
        "_workers",
        "begun",
        "end",
        "ended",
        "finished",
        "lost",
        "name",
        "portal",
    )

    has_chunks: Final = False
    doorbells: Final = 1
    suspensions: Final = 0

    def __init__(
        self, workers: Workers, fn: Callable[[], object], name: str, on_ready: Callable[[], None]
    ) -> None:
        """Start it. Thread: front end.

        Raises:
            trio.ClosedResourceError: the workers' block was left.
        """
        self.name = name
        self.begun = False  # one writer: the worker that runs it
        self.ended = False  # one writer: whoever ends it
        self.lost = False  # see `Producer`
        self.end: End | None = None  # front end only
        self.finished = trio.Event()
        self._fn = fn  # read by the worker; the front end drops it once `ended`
        self._context = contextvars.copy_context()
        self._on_ready = on_ready  # front end only
        self._outcome = End()  # one writer: whoever ends it; read once `ended`
        self._workers = workers
        self.portal: Portal = workers.new_portal()
        workers.start(self)

    def __repr__(self) -> str:
        return f"<Call of {self.name}>"

    @property
    def same_thread(self) -> bool:
        """It has but one slice."""
        return False

    @property
    def suspended(self) -> bool:
        """It makes no chunks."""
        return False

    @property
    def closing_error(self) -> BaseException | None:
        """What must not be lost of what it raised though its value is not wanted any more."""
        error = self._outcome.error
        return None if isinstance(error, Exception) else error

    # -- worker -----------------------------------------------------------------------------------

    def run(self, until: float) -> bool:  # noqa: ARG002 - a call cannot be interrupted
        """Make the call. Thread: worker."""
        self.begun = True
        self.portal.install()
        try:
            outcome = End(self._context.run(_made, self._fn, self.name))
        except BaseException as error:  # noqa: BLE001 - it is the cookie's
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # not this frame
            error = as_the_readers(error, self.name)
            outcome = End(error=error, traceback=error.__traceback__)
            forget_locals(error)  # what is in them ends here, and not on the event loop
        self._finish(outcome)
        return False

    def abandon(self, error: BaseException, *, close: bool = False) -> None:
        """It will not be made: its worker is gone, or it was withdrawn. Thread: any."""
        del close  # there is nothing to close
        self._finish(End(error=error))

    def _finish(self, outcome: End) -> None:
        self.portal.revoke()
        self._outcome = outcome
        self.ended = True
        self._workers.post(self._set_finished)

    # -- front end --------------------------------------------------------------------------------

    def watch(self) -> bool:
        """Will `on_ready` be called? False: it has ended. Thread: front end."""
        return self.end is None

    def stop(self, closed: Callable[[], None]) -> None:
        """Its value is not wanted any more; `closed` is called once it is over. Thread: front end."""
        if not self.finished.is_set():
            self._on_ready = closed
        self._workers.leave(self)

    def close(self) -> None:
        """There is no channel to close."""

    def cut_short(self) -> None:
        """There is no channel to close."""

    def take(self) -> list[object]:
        """It makes no chunks."""
        return []

    def returned(self) -> None:
        """It makes no chunks."""

    def _set_finished(self) -> None:
        """Thread: front end."""
        self.portal.close()
        self._workers.forget(self)
        self.end = self._outcome
        self.finished.set()
        self._on_ready()
        del self._on_ready, self._fn  # the cookie holds this, and they hold the cookie


def _made(fn: Callable[[], object], name: str) -> object:
    value = fn()
    if inspect.iscoroutine(value):
        value.close()
    if inspect.iscoroutine(value) or inspect.isasyncgen(value):
        msg = f"{name} is async: it must be a plain function, of blocking code"
        raise TypeError(msg)
    if inspect.isgenerator(value) and inspect.getgeneratorstate(value) == inspect.GEN_CREATED:
        value.close()  # else nothing of it would run, and that be taken for success
        msg = f"{name} is a generator function: use cookie.produce"
        raise TypeError(msg)
    return value
