"""An engine that would block when its script says so, after kv_engine's `ewouldblock_engine`.

A server is most often wrong where a command waits that never waited in its author's tests. Wrap the
engine, and any command does, at any call of `execute`, also at the second and the third.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

import attrs
import trio

from ewb._status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ewb._connection import Connection
    from ewb._cookie import Cookie
    from ewb._protocol import Engine

Req = TypeVar("Req")
S = TypeVar("S")


@attrs.frozen
class Block:
    """One wait that a command is made to have before the engine sees the call."""

    notifications: int = attrs.field(default=1, validator=attrs.validators.ge(0))
    """How often it is notified: 0: never; 2: the second one has to be ignored."""
    delay: float | None = attrs.field(default=0.0)
    """Seconds, of Trio's clock, until it is; None: before `execute` has returned."""
    from_thread: bool = False
    """Whether another thread notifies it."""
    outcome: object = None
    """What `execute` does after the wait in place of asking the engine: returns this status, or raises
    this exception. None: it asks the engine."""


EARLY: Final = Block(delay=None)
"""Notified before `execute` has returned."""
NEVER: Final = Block(notifications=0)
"""Never notified: only a time limit or the client's leaving ends it."""
TWICE: Final = Block(notifications=2)
"""Notified twice."""


def next_n(count: int, block: Block = Block()) -> Iterator[Block | None]:
    """A script: the next `count` calls would block, and none after them."""
    for _ in range(count):
        yield block


def sometimes(
    probability: float, seed: int, blocks: Iterable[Block] = (Block(), EARLY, TWICE)
) -> Iterator[Block | None]:
    """A script without an end: each call would block with this probability, the same for each seed."""
    chances, choices = random.Random(seed), tuple(blocks)  # noqa: S311 - repeatable is what it must be
    while True:
        yield chances.choice(choices) if chances.random() < probability else None


@attrs.frozen
class _Saved(Generic[S]):
    """What the engine is to see once the wait is over."""

    block: Block
    resumed: bool
    status: S | Status
    result: object
    exception: BaseException | None


class WouldBlockEngine(Generic[Req, S]):
    """Wraps an engine: `FrontEnd(protocol, WouldBlockEngine(engine, next_n(3)), workers)`.

    Thread: front end. What the wrapped engine sees is what it would see without the waits: its cookie
    is `resumed` if it was before. Unless a wait ended otherwise, as with `Status.TIMED_OUT`: that it
    is told.
    """

    def __init__(self, engine: Engine[Req, S], script: Iterable[Block | None] = ()) -> None:
        """Wrap an engine.

        Args:
            engine: what executes commands in the end.
            script: for each call of `execute`, a `Block`, or None for a call that goes through. When
                it is at its end, all go through.
        """
        self.engine = engine
        self.script = iter(script)
        """May be replaced at any time, by another iterator."""
        self.injected: list[tuple[Req, Block]] = []
        """The waits there were, each with the request that had it."""
        self._saved: WeakKeyDictionary[Cookie[Req, S], _Saved[S]] = WeakKeyDictionary()

    def execute(self, cookie: Cookie[Req, S]) -> S | Status:
        """As `Engine.execute`; consumes an item of the script if no wait of its own has just ended."""
        saved = self._saved.pop(cookie, None)
        if saved is None:
            block = next(self.script, None)
            if block is not None:
                return self._block(cookie, block)
        elif cookie.status is Status.OK:
            cookie.resumed, cookie.status = saved.resumed, saved.status
            cookie.result, cookie.exception = saved.result, saved.exception
            outcome = saved.block.outcome
            if isinstance(outcome, BaseException):
                raise outcome
            if outcome is not None:
                return outcome  # type: ignore[return-value]  # the test's author knows the statuses
        return self.engine.execute(cookie)

    def connect(self, connection: Connection) -> None:
        """Passed on, if the engine has it."""
        if connect := getattr(self.engine, "connect", None):
            connect(connection)

    def disconnect(self, connection: Connection) -> None:
        """Passed on, if the engine has it."""
        if disconnect := getattr(self.engine, "disconnect", None):
            disconnect(connection)

    def _block(self, cookie: Cookie[Req, S], block: Block) -> Status:
        self._saved[cookie] = _Saved(
            block, cookie.resumed, cookie.status, cookie.result, cookie.exception
        )
        self.injected.append((cookie.request, block))
        for _ in range(block.notifications):
            if block.delay is None:
                cookie.notify()
            else:
                trio.lowlevel.spawn_system_task(_notify_later, cookie, block.delay, block.from_thread)
        return Status.WOULD_BLOCK


# `spawn_system_task` passes positional arguments only.
async def _notify_later(cookie: Cookie[Req, S], delay: float, from_thread: bool) -> None:  # noqa: FBT001
    await trio.sleep(delay)
    if from_thread:
        await trio.to_thread.run_sync(cookie.notify)
    else:
        cookie.notify()
