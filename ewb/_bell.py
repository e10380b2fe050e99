"""When the front end wants to be woken for a channel, and who rings.

        NO ◀───────────── answer, unpark ───────────────┐
        │                                               │
        ├── park, having been here a moment ago ──▶ MODERATED ── overdue ──▶ ARMED
        └── park ─────────────────────────────────────────────────────────────▶
                                                        └── disarm: rung, until the answer

Invariants, all guarded by the channel's lock:

- `disarm` says True, "you ring", to one caller between two answers: at most one doorbell is out.
- A reader is parked with a waker, and leaves with none. A waker is called once.
- A MODERATED reader is also known to the backstop (`_backstop.py`), which makes it ARMED, or wakes it,
  at `deadline`. So a chunk waits for it at most that long, whatever its producer does next.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

WORTHWHILE: Final = 4
"""A moderated doorbell is rung early for no fewer chunks than this …"""
EARLY: Final = 0.25
"""… and no earlier than this share of the moderation interval after the reader parked."""


class Parked(Enum):
    """How the front end waits."""

    NO = auto()
    """It is awake, and will look before it parks."""
    MODERATED = auto()
    """It was here a moment ago: ring only if that is worth it."""
    ARMED = auto()
    """It wants to be woken by the next chunk."""


class Bell:
    """One channel's doorbell. All methods need the channel's lock."""

    __slots__ = ("_last_wake", "_moderation", "_parked_at", "_rung", "_waker", "parked", "rings")

    def __init__(self, moderation: float) -> None:
        self._moderation = moderation
        self._last_wake = -inf
        self._parked_at = -inf
        self._rung = False
        self._waker: Callable[[], None] | None = None
        self.parked = Parked.NO
        self.rings = 0  # read without the lock too

    @property
    def deadline(self) -> float:
        """When a moderated wait has to end, in seconds of `clock`."""
        return self._parked_at + self._moderation

    @property
    def early(self) -> float:
        """From when on the producer of a moderated reader should see if it is worth ringing."""
        if self.parked is not Parked.MODERATED or self._rung:
            return inf
        return self._parked_at + EARLY * self._moderation

    @property
    def wants_any(self) -> bool:
        """Is the next chunk to be rung for at once?"""
        return self.parked is Parked.ARMED and not self._rung

    def served(self, now: float) -> None:
        """The front end has just been here, and taken chunks."""
        self._last_wake = now

    def park(self, waker: Callable[[], None], now: float, *, moderate: bool) -> Parked:
        """The reader is about to wait."""
        keeps_up = moderate and now < self._last_wake + self._moderation
        self._parked_at = now
        self.parked = Parked.MODERATED if keeps_up else Parked.ARMED
        self._waker = waker
        return self.parked

    def unpark(self) -> Callable[[], None] | None:
        """The reader waits no more. Returns what wakes it, if it did wait."""
        self.parked = Parked.NO
        waker, self._waker = self._waker, None
        return waker

    def answer(self) -> Callable[[], None] | None:
        """The doorbell was heard. Returns what wakes the reader, if it still waits."""
        self._rung = False
        return self.unpark()

    def is_due(self, count: int, now: float, *, half_full: bool) -> bool:
        """Is the reader to be woken for `count` chunks?"""
        if self.parked is Parked.MODERATED:
            interval = now - self._parked_at
            return count > 0 and (
                half_full or (count >= WORTHWHILE and interval >= EARLY * self._moderation)
            )
        return count > 0 and self.parked is Parked.ARMED

    def disarm(self) -> bool:
        """Claim the one doorbell: True for the one caller who must ring, if the reader waits."""
        if self._rung or self.parked is Parked.NO:
            return False
        self._rung = True
        self.rings += 1
        return True
