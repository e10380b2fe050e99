"""A cookie, as the front end sees it: what its engine asks for, and where its life is.

Invariants:

- `state` changes by steps of the table in `_life`, on the front end only.
- `_round` counts the calls of `execute`. A notify belongs to the round it was made in: in
  another one it is ignored. The first of a round that finds the cookie parked, or in `execute`, counts.
"""

from __future__ import annotations

import inspect
import threading
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ._clock import clock
from ._cookie import Cookie
from ._life import State, Step, after
from ._status import Order, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._background import Background
    from ._connection import Connection
    from ._cookie import Work

Req = TypeVar("Req")
S = TypeVar("S")


class Host(Protocol[Req, S]):
    """What a command tells when something happens to it."""

    def post(self, call: Callable[[], object]) -> object:
        """Have the front end call something soon. Thread: any."""

    def resume(self, command: Command[Req, S]) -> None:
        """It is ready. Thread: front end."""

    def stop(self, background: Background) -> None:
        """What it does in the background is not wanted any more. Thread: front end."""


class Command(Cookie[Req, S], Generic[Req, S]):
    """One command in flight."""

    __slots__ = (
        "_early",
        "_host",
        "_round",
        "background",
        "order",
        "parked_at",
        "progress_at",
        "queued",
        "state",
    )

    def __init__(self, request: Req, connection: Connection, order: Order, host: Host[Req, S]) -> None:
        super().__init__(request, connection)
        self._host = host
        self._round = 0
        self._early: tuple[S | Status] | None = None  # a notify from within `execute`
        self.order = order
        self.state = State.WAITING
        self.background: Background | None = None
        self.queued = False  # among those that the front end is to look after
        self.parked_at = 0.0  # of `clock`
        self.progress_at = 0.0  # of Trio's clock

    def __repr__(self) -> str:
        return f"<{self.state.name.lower()} Cookie of {self.request!r}>"

    def notify(self, status: S | Status = Status.OK) -> None:
        """See `Cookie.notify`."""
        if status is Status.WOULD_BLOCK:
            msg = "a cookie is notified of what it waited for, which WOULD_BLOCK is not"
            raise ValueError(msg)
        if threading.get_ident() == self._front_end_thread:
            self._heard(self._round, status)
        else:
            self._host.post(partial(self._heard, self._round, status))

    def cancel(self) -> None:
        """See `Cookie.cancel`."""
        if threading.get_ident() == self._front_end_thread:
            self.interrupt(Status.CANCELLED)
        else:
            self._host.post(partial(self.interrupt, Status.CANCELLED))

    def _ask(self, work: Work) -> Status:
        if self.state is not State.EXECUTING:
            msg = f"ask for {work.name} within execute, not while the cookie is {self.state.name}"
            raise RuntimeError(msg)
        if self._work is not None:
            msg = f"execute asked for {work.name}, and before for {self._work.name}: one at a time"
            raise RuntimeError(msg)
        self._work = work
        return Status.WOULD_BLOCK

    # -- its life, for the pipeline. Thread: front end --------------------------------------------

    def enter(self) -> None:
        """`execute` is called."""
        before, self.state = self.state, after(self.state, Step.EXECUTE)
        self.resumed = before is State.READY
        self._round += 1

    def check(self, status: S | Status) -> None:
        """Is this something that `execute` may return now?

        Raises:
            RuntimeError: it has asked for background work, and would not block.
            TypeError: it returned None, or is async.
        """
        if self._work is not None and status is not Status.WOULD_BLOCK:
            msg = f"execute asked for {self._work.name}, and returned {status!r}: return WOULD_BLOCK"
            raise RuntimeError(msg)
        if inspect.iscoroutine(status):
            status.close()
            msg = "execute must be a plain function, which does not block: it is async"
            raise TypeError(msg)
        if status is None:
            msg = "execute returned None: return a status, or WOULD_BLOCK"
            raise TypeError(msg)

    def block(self) -> Work | None:
        """`execute` returned `WOULD_BLOCK`: what it has asked for, or None if it waits for a notify."""
        self.state = after(self.state, Step.BLOCK)
        self.parked_at = clock()
        self.result = self.exception = None  # of the wait before, if there was one
        work, self._work = self._work, None
        early, self._early = self._early, None
        if work is None and early is not None:
            self.answer(*early)
        return work

    def answer(self, status: S | Status) -> None:
        """What it waits for is there."""
        self.state = after(self.state, Step.NOTIFY)
        self.status = status
        self._host.resume(self)

    def interrupt(self, status: Status) -> None:
        """Have it wait no more, if it does."""
        if self.state is State.PARKED:
            self._stop()
            self.answer(status)

    def complete(self, status: S | Status) -> None:
        """It has its status."""
        self.state = after(self.state, Step.COMPLETE)
        self.status = status
        self._work = self._early = None

    def take_step(self, step: Step) -> None:
        """ANSWER or DROP."""
        self.state = after(self.state, step)
        self._stop()

    def _stop(self) -> None:
        background, self.background = self.background, None
        if background is not None:
            self._host.stop(background)

    def _heard(self, of_round: int, status: S | Status) -> None:
        if of_round != self._round or self.background is not None:
            return
        if self.state is State.PARKED:
            self.answer(status)
        elif self.state is State.EXECUTING and self._early is None:
            self._early = (status,)
