"""An open scan: one snapshot, and how far it has been read.

Invariants:

- The transaction is used by one thread at a time, and ended once: both under the lock. A reader takes
  it for one chunk at a time, so that whoever cancels waits for a chunk, never for a client.
- What was taken from LMDB and not yielded waits in `_rest` for the next chunk: nothing is read twice,
  nothing is left out. At most one block waits, or what is left of it.
- Views of LMDB's memory do not outlive the transaction: they are joined, or dropped, under the lock.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

import lmdb

from .errors import ScanBusyError, ScanCancelledError, StoreDamagedError
from .requests import NO_LIMITS, Limits, ScanEnd

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .blocks import Items
    from .layout import Stored
    from .requests import ScanRequest
    from .snapshots import Snapshots
    from .state import Sizes

DEFAULT_CHUNK_SIZE = 128 << 10
_PARTS_A_CHUNK = 1024  # so that a walk over what is expired, or not in the sample, can be cancelled too
_CLOSED = "the scan was closed"


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
        parts: Iterator[Items],
        snapshots: Snapshots,
        sizes: Sizes,
        *,
        compressed: bool,
    ) -> None:
        self.request = request
        self.sizes = sizes
        """Of the store, when the scan was opened."""
        self.compressed = compressed
        """Whether values of the collection are: if not, a reader need not look at each."""
        self.opened_at = monotonic()
        self._txn = txn
        self._parts = parts
        self._snapshots = snapshots
        self._rest: Items | None = None
        self._lock = Lock()
        self._reading = Lock()
        self._ended: str | None = None
        self._damage: str | None = None
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
            self._rest = None
            self._parts = iter(())
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
            if self._damage is not None:  # the walk is over, though not at its end
                raise StoreDamagedError(self._damage)
            try:
                taken, count, complete = self._take(items, size, exact=exact)
            except lmdb.Error as error:
                self._damage = f"the store cannot be read ({error}): restore it from a copy"
                raise StoreDamagedError(self._damage) from error
            chunk = b"".join(taken)
            self._items += count
            self._bytes += len(chunk)
            self._chunks += bool(chunk)
            return chunk, count, complete

    def _take(self, items: int, size: int, *, exact: bool) -> tuple[list[Stored], int, bool]:
        """Take items until there are `items`, or `size` bytes: the item that reaches it is the last.

        Unless this is to be `exact`, the rest of its block comes too. See `_next_chunk`.
        """
        taken: list[Stored] = []
        count = 0
        for _ in range(_PARTS_A_CHUNK):
            part = self._rest or next(self._parts, None)
            if part is None:
                return taken, count, True
            fitting = part.reaching(size) if exact else len(part)
            if items:
                fitting = min(fitting, items - count)
            self._rest = None
            if fitting < len(part):
                middle = part.start + fitting
                self._rest = part.between(middle, part.stop)
                part = part.between(part.start, middle)
            taken.append(sent := part.bytes)
            count += fitting
            size -= len(sent)
            if size <= 0 or (items and count == items):
                break
        return taken, count, False
