"""What a user may have told about the life of each command, as Trio tells its instruments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from math import inf
from typing import Final, Generic, TypeAlias, TypeVar

import attrs

from ._checks import brief
from ._clock import clock
from ._cookie import Cookie
from ._settings import seconds

Req = TypeVar("Req")
S = TypeVar("S")

logger: Final = logging.getLogger("ewb")


class Hook(Generic[Req, S]):
    """Told of each step in a cookie's life: inherit this, and override what you want to know.

    Thread: front end, for all methods; they must be quick. `at` is in seconds of `time.perf_counter`.
    What is not overridden costs nothing. One that raises, be it a `SystemExit`, is logged, and none of
    its methods is called any more.
    """

    def received(self, cookie: Cookie[Req, S], at: float) -> None:
        """Its request was pulled from the protocol."""

    def executed(self, cookie: Cookie[Req, S], at: float) -> None:
        """`execute` is about to be called, for the first time or again (`cookie.resumed`)."""

    def parked(self, cookie: Cookie[Req, S], at: float) -> None:
        """`execute` returned `WOULD_BLOCK`."""

    def notified(self, cookie: Cookie[Req, S], at: float) -> None:
        """What it waited for is there: it was notified, or its background work has ended.

        Called within `Cookie.notify`, if that is called on the front end.
        """

    def first_chunk(self, cookie: Cookie[Req, S], at: float) -> None:
        """The first chunks of its stream were encoded."""

    def done(self, cookie: Cookie[Req, S], at: float) -> None:
        """It was answered, with `cookie.status`."""

    def dropped(self, cookie: Cookie[Req, S], at: float) -> None:
        """Its connection went away before it was answered."""


class Hooks(Generic[Req, S]):
    """All hooks of a front end: for each kind of event, whom to call."""

    def __init__(self, hooks: Iterable[Hook[Req, S]]) -> None:
        if not isinstance(hooks, Iterable):
            msg = f"hooks must be a list of ewb.Hook objects, not {hooks!r}"
            raise TypeError(msg)
        hooks = tuple(hooks)
        for hook in hooks:
            if not isinstance(hook, Hook):
                msg = f"a hook must be an ewb.Hook, not {hook!r}"
                raise TypeError(msg)

        self._failed: set[int] = set()  # by id(): they may be equal to each other, and unhashable
        self._all: list[Listeners[Req, S]] = []

        def overridden(event: str) -> Listeners[Req, S]:
            base = getattr(Hook, event)
            told = [hook for hook in hooks if getattr(type(hook), event) is not base]
            self._all.append([(hook, getattr(hook, event)) for hook in told])
            return self._all[-1]

        self.received = overridden("received")
        self.executed = overridden("executed")
        self.parked = overridden("parked")
        self.notified = overridden("notified")
        self.first_chunk = overridden("first_chunk")
        self.done = overridden("done")
        self.dropped = overridden("dropped")

    def tell(self, listeners: Listeners[Req, S], cookie: Cookie[Req, S]) -> None:
        """Call all of these, and never again a hook that raises. Thread: front end."""
        at = clock()
        for hook, listener in tuple(listeners):
            if id(hook) in self._failed:  # in an event within this one
                continue
            try:
                listener(cookie, at)
            # Whatever it is: this may be called by the doorbell, which all others need too.
            except BaseException:
                logger.exception("a hook failed, and is not called any more: %s", brief(listener))
                self._leave_out(hook)

    def _leave_out(self, failed: Hook[Req, S]) -> None:
        """All of it: what follows one event makes no sense to who has missed another."""
        self._failed.add(id(failed))
        for listeners in self._all:
            listeners[:] = [one for one in listeners if one[0] is not failed]


Listeners: TypeAlias = list[tuple[Hook[Req, S], Callable[[Cookie[Req, S], float], object]]]


@attrs.define
class _Life:
    """What is known of one command until it is done."""

    received: float
    parked: float = 0.0
    waits: bool = False
    seconds_parked: float = 0.0
    would_blocks: int = 0
    first_chunk: float | None = None


@attrs.define(eq=False)
class SlowCommands(Hook[Req, S]):
    """Logs commands that take long, at level WARNING: `FrontEnd(..., hooks=[SlowCommands(0.1)])`.

    Each line says what was asked for, how it ended, and where the time went. Thread: front end.
    """

    threshold: float = attrs.field(validator=seconds(0, inf))
    """Seconds from the request to its answer, from which on a command is slow."""
    logger: logging.Logger = attrs.field(factory=lambda: logging.getLogger("ewb.slow"))
    """Where to."""
    _lives: dict[Cookie[Req, S], _Life] = attrs.field(init=False, factory=dict[Cookie[Req, S], _Life])

    def received(self, cookie: Cookie[Req, S], at: float) -> None:
        """It begins."""
        self._lives[cookie] = _Life(at)

    def parked(self, cookie: Cookie[Req, S], at: float) -> None:
        """It waits."""
        life = self._lives[cookie]
        life.parked, life.waits = at, True
        life.would_blocks += 1

    def notified(self, cookie: Cookie[Req, S], at: float) -> None:
        """It has waited."""
        life = self._lives[cookie]
        life.seconds_parked += at - life.parked
        life.waits = False

    def first_chunk(self, cookie: Cookie[Req, S], at: float) -> None:
        """It streams."""
        self._lives[cookie].first_chunk = at

    def done(self, cookie: Cookie[Req, S], at: float) -> None:
        """It was answered: was it slow?"""
        self._end(cookie, at, str(cookie.status))

    def dropped(self, cookie: Cookie[Req, S], at: float) -> None:
        """It was not answered: had it been slow?"""
        self._end(cookie, at, "dropped")

    def _end(self, cookie: Cookie[Req, S], at: float, how: str) -> None:
        life = self._lives.pop(cookie)
        if life.waits:
            life.seconds_parked += at - life.parked
        seconds = at - life.received
        if seconds < self.threshold:
            return
        first = (
            "none" if life.first_chunk is None else f"after {life.first_chunk - life.received:.3f} s"
        )
        self.logger.warning(
            "%s from %s took %.3f s: %s; %.3f s parked in %d would-blocks; first chunk: %s",
            brief(cookie.request),
            cookie.connection.peer,
            seconds,
            how,
            life.seconds_parked,
            life.would_blocks,
            first,
        )
