"""How much a channel holds, how much its producer may still add, and what of it the budget knows.

Invariants:

- `produced` has one writer, the producer, which adds a chunk's size after it appended the chunk. All
  other fields are guarded by the channel's lock.
- Bound: the producer never starts a chunk unless `produced < limit`, and `limit` is only set so that
  `limit - drained + held <= high_water`; but an empty channel always has room for one chunk. To have
  the producer look up, `limit` may be pulled down (`LOOK_UP`) at any time: that takes no room it has.
- `reserved` is what the budget has on account for this channel: what is buffered, and the credit
  (`limit - produced`) that is not used yet, and what is `lent`: taken to be sent, and not sent yet.
  That is beyond the channel's own bounds, but not beyond the budget. While something is lent, there
  is credit from one half of the budget only, lest clients that do not read take it all; and the one
  chunk that an empty channel is granted in any case has to wait: its reader needs none before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._budget import Budget
    from ._settings import Bounds


LOOK_UP: Final = -1
"""As a `limit`: the producer has to look up after the chunk it is at, whatever its size."""

FEW: Final = 64
"""Chunks so few that looking up in their midst would cost more than it gains."""


class Ledger:
    """One channel's bytes and bounds. All methods need the channel's lock."""

    __slots__ = (
        "_budget",
        "_half_chunks",
        "_most_at_once",
        "_reserved",
        "bounds",
        "drained",
        "dropped",
        "half_high_water",
        "held",
        "lent",
        "limit",
        "produced",
    )

    def __init__(self, bounds: Bounds, budget: Budget | None) -> None:
        self.bounds = bounds
        self.half_high_water = max(1, bounds.high_water // 2)
        self._half_chunks = max(1, bounds.max_chunks // 2)
        self._most_at_once = max(FEW, self._half_chunks)
        self._budget = budget
        self._reserved = 0
        self.produced = 0  # bytes, since the beginning
        # Of `produced`: there the producer has to look up. Written with the lock, read without it.
        self.limit = 0
        self.drained = 0  # bytes, since the beginning
        self.held = 0  # bytes drained and not yet received
        self.dropped = 0  # bytes drained that nobody will receive
        self.lent = 0  # bytes drained that a front end has yet to send

    @property
    def buffered(self) -> int:
        """Bytes produced and not yet received, but for a chunk appended and not yet counted."""
        return self.produced - self.drained + self.held

    @property
    def received(self) -> int:
        """Bytes handed to callers of a receive."""
        return self.drained - self.held - self.dropped

    def settle(self) -> None:
        """Tell the budget how things are."""
        if self._budget is not None:
            reserved = max(self.limit, self.produced) - self.drained + self.held + self.lent
            if reserved != self._reserved:
                self._budget.force(reserved - self._reserved)
                self._reserved = reserved

    def return_credit(self) -> None:
        """The producer produces nothing now; others may have what it was promised."""
        self.limit = self.produced
        self.settle()

    def grant(self, count: int) -> int:
        """Set `limit`; returns how many chunks may follow the `count` buffered ones, 0 if full.

        Credit is for half a buffer at most, unless that is but a few chunks: so the front end is
        woken while there is still room to go on. An empty channel is granted one chunk, whatever the
        budget says, but not while its last ones are lent.
        """
        buffered = self.buffered
        room = self.bounds.max_chunks - count
        credit = min(self.bounds.high_water - buffered, self.half_high_water)
        if room <= 0 or credit <= 0:
            self.return_credit()
            return 0
        if self._budget is not None:
            # What was promised comes back and what is promised now goes, as one change.
            reserved = buffered + self.lent
            change, self._reserved = reserved - self._reserved, reserved
            credit = self._budget.take(credit, modestly=self.lent > 0, change=change)
            if credit == 0 and count == 0 and not self.lent:
                self._budget.force(1)
                credit = 1
            self._reserved += credit
        self.limit = self.produced + credit
        return min(room, self._most_at_once) if credit else 0

    def is_half_full(self, count: int) -> bool:
        """Is it time to wake a front end that would rather not be disturbed?"""
        return count >= self._half_chunks or self.buffered >= self.half_high_water

    def has_room(self, count: int) -> bool:
        """Is there room for a chunk?"""
        return count < self.bounds.max_chunks and self.buffered < self.bounds.high_water

    def is_starved(self) -> bool:
        """Would a producer get no credit before what is lent comes back?"""
        return self.lent > 0 and self._budget is not None and self._budget.is_half_used

    def is_nearly_empty(self, count: int) -> bool:
        """Is there room enough to be worth resuming a producer?"""
        return count <= self.bounds.max_chunks // 4 and self.buffered <= self.bounds.high_water // 4
