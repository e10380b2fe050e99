"""Who waits for an element of a list: BLPOP. All of it is the front end's.

Invariants: a waiter stands in the queue of each of its keys, in the order of coming; once it was given
an element, or its time is up, it stands in none. Nobody waits for a list that has elements. A
connection has one waiter at most, for its commands are executed one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import trio

import ewb

from .outcome import Outcome
from .resp import Request

if TYPE_CHECKING:
    from .store import Store

Cookie: TypeAlias = ewb.Cookie[Request, Outcome]


@dataclass(eq=False)
class Waiter:
    """A client that waits, or was just given something and is not answered yet."""

    cookie: Cookie
    keys: list[bytes]
    given: tuple[bytes, bytes] | None = None
    """A key, and the element of its list."""
    timer: trio.CancelScope = field(default_factory=trio.CancelScope)


class Waiters:
    """All who wait."""

    def __init__(self, store: Store, timers: trio.Nursery) -> None:
        self._store = store
        self._timers = timers
        self._waiters: dict[ewb.Connection, Waiter] = {}
        self._queues: dict[bytes, dict[Waiter, None]] = {}  # a dict is a set that has an order

    def add(self, cookie: Cookie, keys: list[bytes], seconds: float) -> None:
        """Have it notified when one of the lists has an element for it; 0 seconds: or never."""
        waiter = Waiter(cookie, keys)
        self._waiters[cookie.connection] = waiter
        for key in keys:
            self._queues.setdefault(key, {})[waiter] = None
        if seconds:
            self._timers.start_soon(self._time_out, waiter, seconds)

    def serve(self, key: bytes) -> None:
        """Something was pushed: give it to those who came first."""
        while key in self._queues:
            waiter = next(iter(self._queues[key]))
            element = self._store.pop(key, left=True)
            if element is None:
                break
            self._leave_queues(waiter)
            waiter.given = key, element
            waiter.cookie.notify()

    def remove(self, connection: ewb.Connection) -> Waiter | None:
        """The waiter of this connection: it was answered, or its client is gone."""
        waiter = self._waiters.pop(connection, None)
        if waiter is not None:
            waiter.timer.cancel()
            self._leave_queues(waiter)
        return waiter

    def cancel_all(self) -> None:
        """The server ends: nobody waits any more."""
        for waiter in self._waiters.values():
            waiter.cookie.cancel()

    def _leave_queues(self, waiter: Waiter) -> None:
        for key in waiter.keys:
            queue = self._queues.get(key)
            if queue is not None:
                queue.pop(waiter, None)
                if not queue:
                    del self._queues[key]

    async def _time_out(self, waiter: Waiter, seconds: float) -> None:
        with waiter.timer:
            await trio.sleep(seconds)
            self._leave_queues(waiter)
            waiter.cookie.notify(Outcome.NOTHING_CAME)
