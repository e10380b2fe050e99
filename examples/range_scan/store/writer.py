"""The store's one writer: a thread that begins, writes and commits every write transaction.

Invariants:

- A callback is called exactly once, in its owner's order of submission, after the commit with its
  mutation is on disk, or with the failure; or never, if its owner withdrew it before it was begun.
- All that waits when a commit begins is one group, within bounds: many writes share one fsync. Where
  more waits than that, owners take turns (turns.py): one's mutation waits for no other's thousands.
- A group that finds no room is done again one mutation at a time, so that only those fail that must.
- After any other failure of a commit nothing more is written. A failed fsync may have dropped what it
  was to bring to the disk, and a second one may succeed all the same (which is how others lost data);
  so what is on the disk is known again only when the store has been closed and opened.
"""

from __future__ import annotations

import errno
import logging
from functools import partial
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import lmdb

from .apply import apply
from .batch import Batch
from .errors import StoreClosedError, StoreDamagedError, StoreError, StoreFullError, StoreOpenError
from .founding import leave
from .mutations import Op, Outcome, Status
from .room import FULL, Room
from .turns import Request, Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from .mutations import Mutation
    from .settings import Settings
    from .snapshots import Snapshots
    from .state import State
    from .tables import Tables
    from .waiters import Waiters

T = TypeVar("T")

_log = logging.getLogger(__name__)

_GROUP_MUTATIONS = 1024
_GROUP_BYTES = 64 << 20
_SHRINKING = frozenset({Op.DELETE, Op.FLUSH})


class Writer:
    """The thread, and what waits for it."""

    def __init__(
        self,
        tables: Tables,
        state: State,
        settings: Settings,
        room: Room,
        *,
        waiters: Waiters,
        snapshots: Snapshots,
    ) -> None:
        self._tables = tables
        self._state = state
        self._settings = settings
        self._room = room
        self._waiters = waiters
        self._snapshots = snapshots
        self._changed = Condition()
        self._turns = Turns()
        self._singly = 0  # mutations that are to be done one at a time, as a group found no room
        self._closing = False
        self.failure: StoreDamagedError | None = None
        """Why nothing is written any more."""
        self._thread = Thread(target=self._run, name="range-scan store writer", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            msg = f"no thread for the store's writer: stop other programs, or allow more ({error})"
            raise StoreOpenError(msg) from error

    def __len__(self) -> int:
        return len(self._turns)

    def submit(
        self, mutation: Mutation, callback: Callable[[Outcome], object], owner: Hashable
    ) -> None:
        """Have it written. Thread: any. Raises StoreClosedError."""
        with self._changed:
            if self._closing:
                msg = "the store was closed"
                raise StoreClosedError(msg)
            self._turns.add(Request(mutation, callback, owner))
            self._changed.notify()

    def withdraw(self, owner: Hashable) -> None:
        """Write nothing of it that is not begun, and do not call back. Thread: any."""
        with self._changed:
            self._turns.withdraw(owner)

    def close(self) -> None:
        """Write what waits, and end the thread. Thread: any but the writer."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    # -- writer ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        purge_due = 0.0
        while (group := self._next_group(purge_due)) is not None:
            if group:
                self._write(group)
            if self._purging and monotonic() >= purge_due:
                purged = self._purge_as_room_allows()
                more = isinstance(purged, int) and purged > 0
                purge_due = monotonic() + (0 if more else self._settings.purge_interval)
        if self.failure is None:
            self._attempt(lambda: leave(self._tables))

    def _next_group(self, purge_due: float) -> list[Request] | None:
        """What waits; nothing if it is time to purge; None at the end."""
        timeout = max(purge_due - monotonic(), 0) if self._purging else None
        with self._changed:
            if not self._changed.wait_for(lambda: self._turns or self._closing, timeout):
                return []
            if self._singly:
                self._singly -= 1
                return self._turns.take(1) or None
            return self._turns.take(_GROUP_MUTATIONS) or None

    def _write(self, group: list[Request]) -> None:
        """Write the group, or its beginning, and call back. What is left has its turn again."""
        outcomes: list[Outcome] = []
        error = self._attempt(lambda: self._commit(group, outcomes))
        if isinstance(error, StoreFullError) and len(group) > 1:
            self._singly = len(outcomes) + 1
            outcomes = []
        elif error is not None:
            outcomes = [self._failed(error)] * len(group)
        with self._changed:
            self._turns.put_back(group[len(outcomes) :])
        for request, outcome in zip(group, outcomes, strict=False):
            try:
                request.callback(outcome)
            except BaseException:  # noqa: BLE001 - the others must be called, too
                _log.exception("the callback of %s raised", request.mutation.op)

    def _commit(self, group: list[Request], outcomes: list[Outcome]) -> None:
        """Write the group, until it is large. Each has its outcome then, also if the commit fails."""
        if self.failure is not None:
            raise self.failure
        growing = any(request.mutation.op not in _SHRINKING for request in group)
        batch = self._begin()
        try:
            for request in group:
                outcomes.append(apply(batch, request.mutation, self._settings))
                if batch.handled > _GROUP_BYTES:
                    break
            self._finish(batch, growing=growing)
        finally:
            batch.abort()  # of no effect after a commit
        counters = self._state.counters
        counters.mutations += len(outcomes)
        counters.largest_group = max(counters.largest_group, len(outcomes))

    @property
    def _purging(self) -> bool:
        return self.failure is None and self._state.expiring() > 0

    def _purge_as_room_allows(self) -> int | StoreError:
        """On a full disk there is room to delete a few at a time."""
        at_most = _GROUP_MUTATIONS
        while True:
            purged = self._attempt(partial(self._purge, at_most))
            if not isinstance(purged, StoreFullError) or at_most == 1:
                return purged
            at_most //= 4

    def _purge(self, at_most: int) -> int:
        """Delete expired documents. Returns how many."""
        batch = self._begin()
        try:
            purged = batch.purge(at_most, _GROUP_BYTES)
            if purged:
                self._finish(batch, growing=False)
        finally:
            batch.abort()
        self._state.counters.purged += purged
        return purged

    def _begin(self) -> Batch:
        return Batch(self._tables, self._state, self._settings.clock())

    def _finish(self, batch: Batch, *, growing: bool) -> None:
        used = batch.complete()
        if growing and used > self._settings.max_size:
            msg = (
                f"the store is full: its documents use {used} bytes of {self._settings.max_size}; "
                "delete some, or open it with a larger maximal size"
            )
            raise StoreFullError(msg)
        end = self._state.sizes.file
        self._room.reserve(end, batch.written, growing=growing, free=end - used)
        changed = batch.commit()
        self._state.counters.commits += 1
        self._waiters.resolve(changed)
        self._snapshots.check_growth()

    def _attempt(self, do: Callable[[], T]) -> T | StoreError:
        """Do it. Returns what went wrong, if anything: all but a lack of room ends the writing."""
        try:
            return do()
        except (StoreFullError, StoreDamagedError) as error:
            return error
        except lmdb.Error as error:
            if _is_full(error):
                msg = f"no room in the store or on its disk ({error}): delete something, or make room"
                return StoreFullError(msg)
            return self._fail(error)
        except BaseException as error:  # noqa: BLE001 - a mistake, or the system's; the thread goes on, to say so
            return self._fail(error)

    def _fail(self, error: BaseException) -> StoreDamagedError:
        msg = (
            f"a write failed ({error}), and whether it is on the disk is unknown: "
            "the store writes no more; look after the disk, then restart"
        )
        _log.error(msg, exc_info=error)
        self.failure = StoreDamagedError(msg)
        return self.failure

    def _failed(self, error: StoreError) -> Outcome:
        if isinstance(error, StoreFullError):
            self._state.counters.full += 1
            return Outcome(Status.FULL, error=error)
        self._state.counters.failed += 1
        return Outcome(Status.FAILED, error=error)


def _is_full(error: lmdb.Error) -> bool:
    return isinstance(error, lmdb.MapFullError | lmdb.TxnFullError) or error.code in FULL | {
        errno.ENOMEM
    }
