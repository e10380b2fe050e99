"""An engine that would block when its script says so, after kv_engine's `ewouldblock_engine`.

A server is most often wrong where a command waits that never waited in its author's tests. Wrap the
engine, and any command does, at any call of `execute`, also at the second and the third.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from itertools import repeat
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


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{name} must be a whole number, not {value!r}"
        raise TypeError(msg)
    if value < 0:
        msg = f"{name} must be 0 or more, not {value}"
        raise ValueError(msg)


def _check_number(name: str, value: object, most: float, wanted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f"{name} must be {wanted}, not {value!r}"
        raise TypeError(msg)
    if not 0 <= value <= most or math.isinf(value):
        msg = f"{name} must be {wanted}, not {value:g}"
        raise ValueError(msg)


def _check_block(name: str, value: object) -> None:
    if not isinstance(value, Block):
        msg = f"{name} must be a Block, such as Block() or NEVER, not {value!r}"
        raise TypeError(msg)


@attrs.frozen
class Block:
    """One wait that a command is made to have before the engine sees the call.

    Raises:
        TypeError, ValueError: a setting is out of its range.
    """

    notifications: int = 1
    """How often it is notified: 0: never; 2: the second one has to be ignored."""
    delay: float | None = 0.0
    """Seconds, of Trio's clock, until it is; None: before `execute` has returned."""
    from_thread: bool = False
    """Whether another thread notifies it."""
    outcome: object = None
    """What `execute` does after the wait in place of asking the engine: returns this status, or raises
    this exception. None: it asks the engine."""

    def __attrs_post_init__(self) -> None:
        """Check what was given."""
        _check_count("notifications", self.notifications)
        if self.delay is not None:
            _check_number(
                "delay", self.delay, math.inf, "None, or a finite number of seconds from 0 up"
            )
        if self.outcome is Status.WOULD_BLOCK:
            msg = f"outcome must be a status that ends the call, not {self.outcome}"
            raise ValueError(msg)


EARLY: Final = Block(delay=None)
"""Notified before `execute` has returned."""
NEVER: Final = Block(notifications=0)
"""Never notified: only a time limit or the client's leaving ends it."""
TWICE: Final = Block(notifications=2)
"""Notified twice."""


def next_n(count: int, block: Block = Block()) -> Iterator[Block | None]:
    """A script: the next `count` calls would block, and none after them.

    Raises:
        TypeError, ValueError: `count` is not a whole number from 0 up, or `block` is no `Block`.
    """
    _check_count("count", count)
    _check_block("block", block)
    return repeat(block, count)


def sometimes(
    probability: float, seed: int, blocks: Iterable[Block] = (Block(), EARLY, TWICE)
) -> Iterator[Block | None]:
    """A script without an end: each call would block with this probability, the same for each seed.

    Raises:
        TypeError, ValueError: `probability` is not a number from 0 to 1, or `blocks` are not some.
    """
    _check_number("probability", probability, 1, "a number from 0 to 1")
    choices = tuple(blocks)
    if not choices:
        msg = "blocks must be one Block or more, not none: leave it out for those that are usual"
        raise ValueError(msg)
    for block in choices:
        _check_block("each of blocks", block)
    return _by_chance(probability, random.Random(seed), choices)  # noqa: S311 - it must be repeatable


def _by_chance(
    probability: float, chances: random.Random, choices: tuple[Block, ...]
) -> Iterator[Block | None]:
    while True:
        yield chances.choice(choices) if chances.random() < probability else None


def _check_call(value: object) -> None:
    """An item of a script."""
    if value is not None:
        _check_block("each item of script that is not None", value)


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

        Raises:
            TypeError: an item of the script is neither. Of an iterator, it is raised by `execute`.
        """
        if isinstance(script, Collection):
            for item in script:
                _check_call(item)
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
            _check_call(block)
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
