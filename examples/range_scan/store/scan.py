"""An open scan: one snapshot, and how far it has been read.

Invariants:

- The transaction is used by one thread at a time, and ended once: both under the lock. A reader takes
  it for one chunk at a time, so that whoever cancels waits for a chunk, never for a client.
- What was taken from LMDB and not yielded waits in `_rest` for the next chunk: nothing is read twice,
  nothing is left out. At most one group waits.
- Views of LMDB's memory do not outlive the transaction: they are joined, or dropped, under the lock.
"""

from __future__ import annotations

from bisect import bisect_left
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

import lmdb

from .errors import ScanBusyError, ScanCancelledError, StoreDamagedError
from .requests import NO_LIMITS, Limits, ScanEnd

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from .requests import ScanRequest
    from .snapshots import Snapshots
    from .state import Sizes
    from .walk import Item

DEFAULT_CHUNK_SIZE = 128 << 10
_SLACK = 128 << 10  # by so much a chunk may be larger, where no limit says how large it may be
_GROUPS_A_CHUNK = 256  # so that a walk over what is expired, or not in the sample, can be cancelled too
_CLOSED = "the scan was closed"
_NOTHING: Sequence[Item] = ()  # by its identity: the walk is over


@dataclass(frozen=True, slots=True)
class ScanStatistics:
    """A scan, as it is now. Sizes are in bytes, the age in seconds."""

    name: str
    vb: int
    collection: int
    keys_only: bool
    age: float
    items: int
    bytes: int
    chunks: int
    reading: bool
    cancelled: str | None


class Scan:
    """Made by `Store.open_scan`."""

    def __init__(
        self,
        request: ScanRequest,
        txn: lmdb.Transaction[Any],
        groups: Iterator[Sequence[Item]],
        snapshots: Snapshots,
        sizes: Sizes,
        *,
        compressed: bool,
        copied: bool,
    ) -> None:
        self.request = request
        self.sizes = sizes
        """Of the store, when the scan was opened."""
        self.compressed = compressed
        """Whether values of the collection are: if not, a reader need not look at each."""
        self._copied = copied  # the items, each of which is small; else they are views
        self.opened_at = monotonic()
        self._txn = txn
        self._groups = groups
        self._snapshots = snapshots
        self._rest: Sequence[Item] = []
        self._lock = Lock()
        self._reading = Lock()
        self._ended: str | None = None
        self._items = self._bytes = self._chunks = 0

    def __repr__(self) -> str:
        name, vb = self.request.name, self.request.vb
        return f"<Scan {name!r} of vBucket {vb}, {self._items} items read>"

    def read(
        self, limits: Limits = NO_LIMITS, chunk_size: int = DEFAULT_CHUNK_SIZE
    ) -> Generator[bytes, None, ScanEnd]:
        """Read on, in chunks of whole items and about `chunk_size` bytes, one item at least.

        Thread: worker; any, and at each step another. It may be left at any chunk, and called again:
        what was not yielded is read then. Returns whether the end is reached.

        Raises:
            ScanBusyError: it is being read.
            ScanCancelledError: it was cancelled or closed.
            StoreDamagedError: LMDB cannot read on.
        """
        with self._alone():
            items, size = limits.items, limits.bytes
            deadline = monotonic() + limits.seconds if limits.seconds else inf
            given = False
            while True:
                target = min(size or chunk_size, chunk_size)
                chunk, count, complete = self._next_chunk(items, target, exact=size > 0)
                if chunk:
                    yield chunk
                    given = True
                if complete:
                    return ScanEnd.COMPLETE
                if items and not (items := items - count):
                    return ScanEnd.MORE
                if size and (size := max(size - len(chunk), 0)) == 0:
                    return ScanEnd.MORE
                if given and monotonic() >= deadline:
                    return ScanEnd.MORE

    def close(self) -> None:
        """End the snapshot. Thread: any; waits for the chunk that is being joined, if one is."""
        self.cancel(_CLOSED)

    def cancel(self, reason: str) -> None:
        """End the snapshot; who reads on gets ScanCancelledError. Thread: any, as `close`."""
        with self._lock:
            if self._ended is not None:
                return
            self._ended = reason
            self._rest = []
            self._groups = iter(())
            self._txn.abort()
        self._snapshots.discard(self)

    def statistics(self) -> ScanStatistics:
        """How it is. Thread: any."""
        return ScanStatistics(
            name=self.request.name,
            vb=self.request.vb,
            collection=self.request.collection,
            keys_only=self.request.keys_only,
            age=monotonic() - self.opened_at,
            items=self._items,
            bytes=self._bytes,
            chunks=self._chunks,
            reading=self._reading.locked(),
            cancelled=self._ended,
        )

    @contextmanager
    def _alone(self) -> Generator[None]:
        if not self._reading.acquire(blocking=False):
            msg = "the scan is being read already: wait until that has ended"
            raise ScanBusyError(msg)
        try:
            yield
        finally:
            self._reading.release()

    def _next_chunk(self, items: int, size: int, *, exact: bool) -> tuple[bytes, int, bool]:
        """A chunk, how many items it has, and whether it is the last. `items` 0: as many as fit."""
        with self._lock:
            if self._ended is not None:
                raise ScanCancelledError(self._ended)
            try:
                chunk, count, complete = self._read_on(items, size, exact=exact)
            except lmdb.Error as error:
                msg = f"the store cannot be read ({error}): restore it from a copy"
                raise StoreDamagedError(msg) from error
            self._items += count
            self._bytes += len(chunk)
            self._chunks += bool(chunk)
            return chunk, count, complete

    def _read_on(self, items: int, size: int, *, exact: bool) -> tuple[bytes, int, bool]:
        """See `_next_chunk`. Most often a group is a chunk: to join it is to know how large it is."""
        if self._copied and not (exact or items or self._rest):
            self._rest = next(self._groups, _NOTHING)
            chunk = b"".join(self._rest)
            if chunk and size // 2 <= len(chunk) <= size + _SLACK:
                count, self._rest = len(self._rest), []
                return chunk, count, False
        taken, complete = self._take(items, size, exact=exact)
        return b"".join(taken), len(taken), complete

    def _take(self, items: int, size: int, *, exact: bool) -> tuple[list[Item], bool]:
        """Take items until there are `items`, or `size` bytes: the item that reaches it is the last.

        Unless this is to be `exact`, the rest of its group may come too, if it is small.
        """
        taken: list[Item] = []
        for _ in range(_GROUPS_A_CHUNK):
            group = self._rest or next(self._groups, _NOTHING)
            if group is _NOTHING:
                return taken, True
            length = sum(map(len, group))
            enough = length >= size or (items and len(taken) + len(group) >= items)
            if enough and (exact or items or length > _SLACK):
                count = _fitting(group, size, items - len(taken) if items else len(group))
                taken += group[:count]
                self._rest = group[count:]
                break
            taken += group
            size -= length
            self._rest = []
            if enough:
                break
        return taken, False


def _fitting(group: Sequence[Item], size: int, items: int) -> int:
    """How many items of the group to take: up to the one that reaches `size`, and at most `items`."""
    reaching = 1 + bisect_left(list(accumulate(map(len, group))), size)
    return min(reaching, items, len(group))
