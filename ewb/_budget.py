"""The memory that all channels of a pool share.

Invariants:

- `used` is the sum of what the channels reserve: what each one buffers, what it has lent to be
  sent, and the credit its producer has not used yet. One lock guards it.
- `take` never lets `used` pass `limit`. `force` may: for the end of a chunk that began within the
  bound, and for the one chunk that an empty channel is granted unless it has lent some, so that
  readers who stall starve nobody. No channel therefore waits for another's memory: who has none left
  has chunks for its own reader, and is resumed when that one drains them, or has sent them.
"""

from __future__ import annotations

from ._brief_lock import BriefLock


class Budget:
    """A count of bytes, with a limit. Thread: any, for every method."""

    __slots__ = ("_lock", "limit", "used")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.used = 0  # guarded by _lock; read without it for statistics
        self._lock = BriefLock()  # reentrant: the collector may close a channel in here

    def __repr__(self) -> str:
        return f"<Budget {self.used} of {self.limit} bytes>"

    @property
    def is_half_used(self) -> bool:
        """Is nothing left for who takes `modestly`?"""
        return self.limit is not None and self.used >= self.limit // 2

    def take(self, wanted: int, *, modestly: bool = False, change: int = 0) -> int:
        """Reserve up to `wanted` bytes; returns how many were left to have, `modestly` of one half.

        Before that `change` bytes are reserved in any case, or given back, as by `force`.
        """
        with self._lock:
            self.used += change  # at once: the collector may close a channel before the next line
            if self.limit is None:
                granted = wanted
            else:
                limit = self.limit // 2 if modestly else self.limit
                granted = max(0, min(wanted, limit - self.used))
            self.used += granted
        return granted

    def force(self, change: int) -> None:
        """Reserve `change` bytes in any case, or give back so many if it is negative."""
        with self._lock:
            self.used += change
