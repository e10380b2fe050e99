"""The store: documents in vBuckets and collections, durable, with scans of snapshots."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import lmdb

from .blocks import find_record
from .directory import open_environment
from .errors import (
    StoreClosedError,
    StoreDamagedError,
    StoreError,
    UnknownCollectionError,
    UnknownVBucketError,
)
from .founding import found
from .layout import Tally, VBucket, document_key
from .records import decode_record, is_live, pack_now
from .room import Room
from .scanning import open_scan
from .settings import Settings
from .snapshots import Snapshots
from .waiters import Waiters
from .writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from pathlib import Path

    from .mutations import Mutation, Outcome
    from .records import Document
    from .requests import ScanRequest
    from .scan import Scan
    from .state import State
    from .tables import Tables
    from .waiters import Waiter


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """The store, as it is now. Sizes are in bytes, ages in seconds; counts are since it was opened."""

    documents: int
    document_bytes: int
    file_size: int
    used_size: int
    max_size: int
    commits: int
    mutations: int
    largest_group: int
    purged: int
    full: int
    failed: int
    queued: int
    waiters: int
    scans: int
    oldest_scan_age: float
    scans_opened: int
    scans_cancelled: int
    sync: bool
    writable: bool


class Store:
    """A directory of documents. Made by `open`; a context manager that closes it."""

    def __init__(
        self, settings: Settings, tables: Tables, state: State, room: Room, files: ExitStack
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._state = state
        self._closed = False
        self._waiters = Waiters(state)
        self._snapshots = Snapshots(state, at_most=settings.max_scans, max_growth=settings.max_growth)
        self._writer = Writer(
            tables, state, settings, room, waiters=self._waiters, snapshots=self._snapshots
        )
        self._files = files.pop_all()  # from now on it is for `close` to close them

    @classmethod
    def open(cls, directory: Path, settings: Settings | None = None) -> Self:
        """Open the store in a directory, or create one there. Thread: any; it blocks.

        Raises:
            StoreOpenError: in use, not writable, damaged, of another kind, or no thread can be started.
                It says what to do.
        """
        settings = settings or Settings()
        with ExitStack() as stack:
            place = stack.enter_context(open_environment(directory, settings))
            tables, state = found(place, settings)
            room = stack.enter_context(closing(Room(directory / "data.mdb")))
            return cls(settings, tables, state, room, stack)

    def close(self) -> None:
        """Write what waits, end all scans, close. Thread: any but the writer; it blocks. Idempotent.

        What is not to be waited for is withdrawn before.
        """
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        self._waiters.drop()
        for scan in self._snapshots.list():
            scan.cancel("the store was closed")
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- facts ----------------------------------------------------------------------------------------

    @property
    def vbuckets(self) -> int:
        """How many there are. Thread: any."""
        return len(self._state.vbuckets)

    @property
    def collections(self) -> Mapping[str, int]:
        """The id of each, by its name "scope.collection". Thread: any."""
        return MappingProxyType(self._state.collections)

    def vbucket(self, vb: int) -> VBucket:
        """Its uuid, and the last sequence number on disk. Thread: any. UnknownVBucketError."""
        self.check(vb)
        return self._state.vbuckets[vb]

    def tally(self, vb: int, collection: int) -> Tally:
        """How many documents are there. Thread: any. UnknownVBucketError, UnknownCollectionError."""
        self.check(vb, collection)
        return self._state.tallies.get((vb, collection), Tally())

    def check(self, vb: int, collection: int = 0) -> None:
        """Whether there are such. Thread: any. Raises UnknownVBucketError, UnknownCollectionError."""
        if not 0 <= vb < self.vbuckets:
            msg = f"there is no vBucket {vb}: they are numbered from 0 to {self.vbuckets - 1}"
            raise UnknownVBucketError(msg)
        if collection not in self._state.collections.values():
            msg = f"there is no collection with the id {collection:#x}"
            raise UnknownCollectionError(msg)

    # -- documents ------------------------------------------------------------------------------------

    def get(self, vb: int, collection: int, key: bytes) -> Document | None:
        """The document, if it is there and has not expired. Thread: any, also the front end: 9 us.

        Raises:
            KeyTooLongError, UnknownVBucketError, UnknownCollectionError, StoreClosedError.
            StoreDamagedError: LMDB cannot read it.
        """
        self.check(vb, collection)
        stored_key = document_key(vb, collection, key)
        try:
            with self._tables.environment.begin(buffers=True, db=self._tables.documents) as txn:
                record = find_record(txn.cursor(), stored_key)
        except lmdb.Error as error:
            raise self._unreadable(error) from error
        if record is None or not is_live(record, pack_now(self._settings.clock())):
            return None
        return decode_record(record)

    def submit(
        self, mutation: Mutation, callback: Callable[[Outcome], object], *, owner: Hashable = None
    ) -> None:
        """Have a mutation written. Thread: any; it does not block.

        `callback` is called once, on the writer's thread, after the commit is on disk, or with the
        failure. It must be short, and not raise. What an owner submits is written in that order; if
        there is more than one, they take turns.

        Raises:
            KeyTooLongError, UnknownVBucketError, UnknownCollectionError, StoreClosedError.
        """
        self.check(mutation.vb, mutation.collection)
        document_key(mutation.vb, mutation.collection, mutation.key)
        self._writer.submit(mutation, callback, owner)

    def withdraw(self, owner: Hashable) -> None:
        """Write nothing more of what that owner has submitted, and do not call back. Thread: any.

        What has begun goes on, and its callbacks are called.
        """
        self._writer.withdraw(owner)

    def when_persisted(self, vb: int, seqno: int, callback: Callable[[], object]) -> Waiter | None:
        """Have `callback` called, on the writer's thread, when `seqno` is on disk. Thread: any.

        None, and no call, if it is there already. When the store is closed nobody is called any more.
        UnknownVBucketError.
        """
        self.check(vb)
        return self._waiters.add(vb, seqno, callback)

    # -- scans ----------------------------------------------------------------------------------------

    def open_scan(self, request: ScanRequest) -> Scan:
        """Take a snapshot, to be read with `Scan.read` and closed with `Scan.close`.

        Thread: any. About 30 us; but documents that have expired and are not purged yet are walked
        over, and `seqno_exists` walks over the vBucket: 0.5 us a document.

        Raises:
            UnknownVBucketError, UnknownCollectionError, StoreClosedError.
            EmptyScanError: there is no document in the range.
            TooManyScansError: `max_scans` are open.
            WrongVBucketUuidError, NotPersistedError, SeqnoMissingError: the requirement is not met.
        """
        self.check(request.vb, request.collection)
        try:
            return open_scan(self._tables, self._state, self._settings, self._snapshots, request)
        except lmdb.Error as error:
            raise self._unreadable(error) from error

    def statistics(self) -> StoreStatistics:
        """How the store is. Thread: any."""
        tallies = self._state.tallies.copy().values()
        counters, sizes = self._state.counters, self._state.sizes
        return StoreStatistics(
            documents=sum(tally.documents for tally in tallies),
            document_bytes=sum(tally.bytes for tally in tallies),
            file_size=sizes.file,
            used_size=sizes.used,
            max_size=self._settings.max_size,
            commits=counters.commits,
            mutations=counters.mutations,
            largest_group=counters.largest_group,
            purged=counters.purged,
            full=counters.full,
            failed=counters.failed,
            queued=len(self._writer),
            waiters=len(self._waiters),
            scans=len(self._snapshots),
            oldest_scan_age=self._snapshots.oldest_age(),
            scans_opened=self._snapshots.opened,
            scans_cancelled=self._snapshots.cancelled,
            sync=self._settings.sync,
            writable=self._writer.failure is None,
        )

    def _unreadable(self, error: lmdb.Error) -> StoreError:
        if self._closed:
            return StoreClosedError("the store was closed")
        remedy = "restore it from a copy"
        if isinstance(error, lmdb.PanicError):  # a commit failed where LMDB cannot go on from
            remedy = "look after the disk, then restart"
        return StoreDamagedError(f"the store cannot be read ({error}): {remedy}")
