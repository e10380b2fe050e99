"""The scans that are open, and what they cost.

LMDB cannot use a page again while a transaction may read it, so an old scan makes the file grow with
each write. Beyond a bound the oldest is cancelled; what it kept is free at once.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from .errors import TooManyScansError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .state import Sizes, State


class Snapshot(Protocol):
    """What an open scan is here."""

    @property
    def opened_at(self) -> float:
        """By the monotonic clock."""
        ...

    @property
    def sizes(self) -> Sizes:
        """Of the store, when it was opened."""
        ...

    def cancel(self, reason: str) -> None:
        """End it. Thread: any."""
        ...


class Snapshots:
    """All that are open, the oldest first."""

    def __init__(self, state: State, *, at_most: int, max_growth: int) -> None:
        self._state = state
        self._at_most = at_most
        self._max_growth = max_growth
        self._lock = Lock()
        self._open: dict[Snapshot, None] = {}
        self._coming = 0
        self.opened = 0
        self.cancelled = 0

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def admit(self) -> Generator[Callable[[Snapshot], None]]:
        """Keep a place for the one that is opened in the block. Thread: any. TooManyScansError."""
        with self._lock:
            if len(self._open) + self._coming >= self._at_most:
                msg = f"{self._at_most} scans are open, the most there may be: try again later"
                raise TooManyScansError(msg)
            self._coming += 1
        try:
            yield self._add
        finally:
            with self._lock:
                self._coming -= 1

    def _add(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._open[snapshot] = None
            self.opened += 1

    def discard(self, snapshot: Snapshot) -> None:
        """It has ended. Thread: any."""
        with self._lock:
            self._open.pop(snapshot, None)

    def list(self) -> list[Snapshot]:
        """All that are open now. Thread: any."""
        with self._lock:
            return list(self._open)

    def oldest_age(self) -> float:
        """In seconds; 0 if there is none. Thread: any."""
        oldest = next(iter(self.list()), None)
        return 0.0 if oldest is None else monotonic() - oldest.opened_at

    def check_growth(self) -> None:
        """Cancel those that have made the file grow too much. Thread: writer, after each commit."""
        if not self._open:
            return
        for snapshot in self.list():
            growth = self._growth(snapshot)
            if growth <= self._max_growth:
                return
            self.cancelled += 1
            snapshot.cancel(
                f"cancelled: while it was open the file grew by {growth} bytes beyond its documents, "
                f"and {self._max_growth} is the bound; scan in smaller ranges"
            )

    def _growth(self, snapshot: Snapshot) -> int:
        """By how much the file has grown since, beyond what the documents have."""
        then, now = snapshot.sizes, self._state.sizes
        return (now.file - then.file) - (now.used - then.used)
