"""Bugs to be found: each a few words of the real code, changed for as long as it is looked for.

A plant whose words are no longer in the code says so: then find it a new place.
"""

from __future__ import annotations
import __future__

import inspect
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from ewb import _channel
from ewb._bell import Bell
from ewb._buffer import Buffer
from ewb._doorbell import Doorbell
from ewb._handoff import Handoff
from ewb._threads import Threads

from .cases import Filling, Posting, Producing, Sending, ready
from .scheduler import Explorer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .scheduler import Case, Result


@dataclass
class Plant:
    """A bug: in this method, these words in place of those."""

    name: str
    owner: Any
    method: str
    changes: list[tuple[str, str]]
    case: Case
    """Where it shows."""
    found: str
    """A part of what is said then."""
    sampled: bool = False
    """Too many orders to come to it in turn: look for it by chance."""

    def look_for(self, *, most: int, seed: int = 1) -> Result:
        """Explore its case with the bug in place."""
        with self.planted(), ready():
            explorer = Explorer(self.case)
            return (
                explorer.sample(runs=most, seed=seed) if self.sampled else explorer.explore(most=most)
            )

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Within this, the bug is there."""
        real = getattr(self.owner, self.method)
        source = dedent(inspect.getsource(real))
        for words, others in self.changes:
            assert source.count(words) == 1, (
                f"{self.name}: {words!r} is not, once, in {real.__qualname__}"
            )
            source = source.replace(words, others)
        code = compile(
            source, f"<{self.name}>", "exec", __future__.annotations.compiler_flag, dont_inherit=True
        )
        made: dict[str, Any] = {}
        exec(code, vars(sys.modules[real.__module__]), made)  # noqa: S102 - it is ewb's own, but for the bug
        with patch.object(self.owner, self.method, made[self.method]):
            yield


PLANTS: Final = [
    Plant(
        "arm after looking",
        Handoff,
        "park",
        [
            (
                "self._attend()  # arm, and only then look\n        if self.ready:",
                "ready = self.ready\n        self._attend()\n        if ready:",
            )
        ],
        Filling("one chunk, then silence"),
        "nobody can go on",
    ),
    Plant(
        "look at the limit before appending",
        Handoff,
        "fill",
        [
            ("append(chunk)\n", "looks_up = produced >= ledger.limit\n" + 16 * " " + "append(chunk)\n"),
            ("if produced >= ledger.limit:", "if looks_up:"),
        ],
        Filling("one chunk, then silence"),
        "nobody can go on",
    ),
    Plant(
        "ring before handing over",
        Handoff,
        "offer",
        [
            (
                "    with self.lock:\n        if check",
                (
                    "    with self.lock:\n        ring = self._disarm()\n    if ring:\n"
                    "        self._ring()\n    with self.lock:\n        if check"
                ),
            ),
            ("        ring = self._ring_is_due(clock())\n    if ring:\n        self._ring()\n", ""),
        ],
        Sending("one sender, one chunk"),
        "nobody can go on",
    ),
    Plant(
        "resume before making room",
        Handoff,
        "drain",
        [
            (
                "        batch = self.buffer.take_all(lend=lend)\n",
                (
                    "        resume = self._unsuspend()\n    if resume:\n        self._on_room()\n"
                    "    with self.lock:\n        batch = self.buffer.take_all(lend=lend)\n"
                ),
            ),
            ("        resume = self._resume()\n    if resume:\n        self._on_room()\n", ""),
        ],
        Filling("two chunks, full after one", chunks=2, max_chunks=1),
        "nobody can go on",
    ),
    Plant(
        "two ring for one wait",
        Bell,
        "disarm",
        [("if self._rung or self.parked is Parked.NO:", "if self.parked is Parked.NO:")],
        Sending("two senders", senders=2),
        "doorbells for a reader that parked",
    ),
    Plant(
        "find it full, let go of the lock, and then be suspended",
        Handoff,
        "rest",
        [
            ("        if not runnable:\n            self._suspend()\n", ""),
            (
                "    return runnable",
                (
                    "    if not runnable:\n        with self.lock:\n            self._suspend()\n"
                    "    return runnable"
                ),
            ),
        ],
        Filling("two chunks, full after one", chunks=2, max_chunks=1),
        "nobody can go on",
    ),
    Plant(
        "a wait that was cancelled is woken",
        Bell,
        "unpark",
        [("waker, self._waker = self._waker, None", "waker = self._waker")],
        Filling("one chunk, a cancelled reader", cancels=1),
        "a task is woken that does not wait",
    ),
    Plant(
        "delete more than was copied",
        Buffer,
        "_drain",
        [("del self.chunks[:count]", "del self.chunks[:]")],
        Filling("two chunks", chunks=2),
        "nobody can go on",
    ),
    Plant(
        "tell the end after ringing for it",
        Handoff,
        "finish",
        [
            ("        self.end = end\n", ""),
            (
                "        self._post(then)\n",
                "        self._post(then)\n    with self.lock:\n        self.end = end\n",
            ),
        ],
        Filling("one chunk, and the end", stays=False),
        "nobody can go on",
    ),
    Plant(
        "the doorbell is taken down after the calls were made",
        Doorbell,
        "_answer",
        [
            (
                (
                    "self._out = False  # first: what the collector posts after this is rung for\n"
                    "        calls, self._calls = self._calls, []\n"
                ),
                "calls = list(self._calls)\n",
            ),
            (
                "        call()\n",
                (
                    "        call()\n    with self._lock:\n        self._calls.clear()\n"
                    "        self._out = False\n"
                ),
            ),
        ],
        Producing("one chunk, and the end", stays=False),
        "nobody can go on",
    ),
    Plant(
        "the doorbell is found out without its lock",
        Doorbell,
        "post",
        [
            (
                "        if self._out:\n            return True\n        self._out = True\n",
                (
                    "        out = self._out\n    with self._lock:\n        if out:\n"
                    "            return True\n"
                    "        self._out = True\n"
                ),
            )
        ],
        Posting("two post at once"),
        "a call was refused, and made",
    ),
    Plant(
        "close, and leave the producer suspended",
        Handoff,
        "close",
        [("resume = self._resume()", "resume = False")],
        Sending("a receiver that is dropped", chunks=2, max_chunks=1, closing="reader is dropped"),
        "nobody can go on",
    ),
    Plant(
        "look for work, let go of the lock, and then be idle",
        Threads,
        "_next",
        [
            (
                "            self._idle.add(worker)\n",
                "        with self._lock:\n            self._idle.add(worker)\n",
            )
        ],
        Producing("one chunk, with workers and doorbell"),
        "nobody can go on",
    ),
    Plant(
        "there is room, and one of two who wait is told",
        _channel,
        "open_channel",
        [("shared.room.notify_all()", "shared.room.notify()")],
        Sending("three senders, full after one chunk", senders=3, max_chunks=1),
        "nobody can go on",
        sampled=True,
    ),
    Plant(
        "a moderated wait is over, and the chunk is left there",
        Handoff,
        "overdue",
        [("if parked is Parked.NO:", "if parked is None:")],
        Sending("two chunks, a moderated reader", chunks=2, moderated=True),
        "nobody can go on",
    ),
    Plant(
        "what was lent is back, and nobody is resumed",
        Handoff,
        "returned",
        [("resume = self._resume()", "resume = False")],
        Producing(
            "two producers, little memory, lent",
            chunks=2,
            producers=2,
            memory=1,
            lends=True,
            stays=False,
        ),
        "nobody can go on",
        sampled=True,
    ),
    Plant(
        "forget the lock",
        Handoff,
        "unpark",
        [("with self.lock:", "if True:")],
        Filling("one chunk, a cancelled reader", cancels=1),
        "touched without its lock",
    ),
]
