"""Those who wait until a sequence number is on disk. No thread waits: a callback is called."""

from __future__ import annotations

import logging
from collections import defaultdict
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .layout import VBucket
    from .state import State

_log = logging.getLogger(__name__)


class Waiter:
    """One who waits."""

    def __init__(
        self, seqno: int, callback: Callable[[], object], discard: Callable[[Waiter], bool]
    ) -> None:
        self.seqno = seqno
        self.callback = callback
        self._discard = discard

    def cancel(self) -> bool:
        """Wait no longer. Thread: any. False if the callback was, or is being, called."""
        return self._discard(self)


class Waiters:
    """All who wait. One is in a set, or its callback is, or was, called: whoever removes it decides."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = Lock()
        self._waiting: defaultdict[int, set[Waiter]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(map(len, list(self._waiting.values())))

    def add(self, vb: int, seqno: int, callback: Callable[[], object]) -> Waiter | None:
        """Wait for `seqno`. Thread: any. None, and no call, if it is on disk already."""

        def discard(waiter: Waiter) -> bool:
            with self._lock:
                if waiter not in self._waiting[vb]:
                    return False
                self._waiting[vb].remove(waiter)
                return True

        with self._lock:  # the writer changes the state, then takes the lock: none is missed
            if self._state.vbuckets[vb].seqno >= seqno:
                return None
            waiter = Waiter(seqno, callback, discard)
            self._waiting[vb].add(waiter)
            return waiter

    def resolve(self, changed: dict[int, VBucket]) -> None:
        """Call those whose sequence number is there now. Thread: writer."""
        for vb, vbucket in changed.items():
            with self._lock:
                due = [waiter for waiter in self._waiting[vb] if waiter.seqno <= vbucket.seqno]
                self._waiting[vb].difference_update(due)
            for waiter in due:
                try:
                    waiter.callback()
                except BaseException:  # noqa: BLE001 - the writer must go on
                    _log.exception("a callback of when_persisted raised")

    def drop(self) -> None:
        """Forget all. Thread: any."""
        with self._lock:
            self._waiting.clear()
