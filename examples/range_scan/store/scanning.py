"""To open a scan: take the snapshot, check what is required of it, choose how to walk it.

There are two ways to walk. The quick one has LMDB's binding copy each record as it steps, and joins the
copies. The other gets views and copies once, at the join; an item of it costs more, but it can look at
records, and skip large ones, without copying them. It is taken where documents may expire, where some
are large, and for samples of documents.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from . import walk
from .errors import (
    EmptyScanError,
    NotPersistedError,
    SeqnoMissingError,
    WrongVBucketUuidError,
)
from .layout import PREFIX, U64, tally_key, unpack_tally, unpack_vbucket, vbucket_key
from .records import record_seqno
from .requests import Range, Requirement, Sample, ScanRequest
from .scan import DEFAULT_CHUNK_SIZE, Scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import lmdb

    from .settings import Settings
    from .snapshots import Snapshots
    from .state import State
    from .tables import Tables
    from .walk import Clock, Item

_MOST_AT_ONCE = 512  # documents, none of which is large


def open_scan(
    tables: Tables, state: State, settings: Settings, snapshots: Snapshots, request: ScanRequest
) -> Scan:
    """See `Store.open_scan`, which has checked the vBucket and the collection."""
    with snapshots.admit() as keep, ExitStack() as undo:
        sizes = state.sizes  # before the snapshot: what it may keep is rather over- than underestimated
        walking = _Walk.begin(tables, request, settings.clock)
        undo.callback(walking.txn.abort)
        if request.requirement is not None:
            walking.check(request.requirement)
        scan = Scan(
            request,
            walking.txn,
            walking.groups(),
            snapshots,
            sizes,
            compressed=walking.compressed,
            copied=walking.copies,
        )
        undo.pop_all()
        keep(scan)
        return scan


class _Walk:
    """A snapshot, and how to walk it."""

    def __init__(self, tables: Tables, request: ScanRequest, clock: Clock, *, views: bool) -> None:
        begin: Callable[..., lmdb.Transaction[Any]] = tables.environment.begin
        self.txn = begin(buffers=views)
        self._tables = tables
        self._request = request
        self._clock = clock
        self._views = views
        key = tally_key(request.vb, request.collection)
        stored: bytes = self.txn.get(key, b"", db=tables.state)
        self._tally = unpack_tally(stored)

    @classmethod
    def begin(cls, tables: Tables, request: ScanRequest, clock: Clock) -> _Walk:
        """Take the snapshot, the way that suits what is in it."""
        required = request.requirement
        if required is not None and required.seqno_exists:
            return cls(tables, request, clock, views=True)
        quick = cls(tables, request, clock, views=False)
        if not quick.should_look:
            return quick
        quick.txn.abort()
        return cls(tables, request, clock, views=True)

    @property
    def should_look(self) -> bool:
        """Whether records are to be looked at, or skipped, before they are copied."""
        keys_only, sample = self._request.keys_only, isinstance(self._request.pick, Sample)
        return self._tally.expiring > 0 or (not keys_only and (self._tally.large > 0 or sample))

    @property
    def copies(self) -> bool:
        """Whether it copies as it steps: no item is large then."""
        return not self._views

    @property
    def compressed(self) -> bool:
        """Whether values of its collection are."""
        return self._tally.compressed > 0

    def check(self, requirement: Requirement) -> None:
        """Whether the snapshot is what is required. Raises ScanError."""
        vb = self._request.vb
        stored: bytes = self.txn.get(vbucket_key(vb), b"", db=self._tables.state)
        vbucket = unpack_vbucket(stored)
        if vbucket.uuid != requirement.uuid:
            msg = f"vBucket {vb} has uuid {vbucket.uuid}, not {requirement.uuid}: look it up again"
            raise WrongVBucketUuidError(msg, vbucket.uuid)
        if vbucket.seqno < requirement.seqno:
            msg = f"vBucket {vb} is at seqno {vbucket.seqno}, not yet at {requirement.seqno}: try again"
            raise NotPersistedError(msg)
        if requirement.seqno_exists and not self._has(requirement.seqno):
            msg = f"no document of vBucket {vb} has seqno {requirement.seqno}: it was changed since"
            raise SeqnoMissingError(msg)

    def groups(self) -> Iterator[list[Item]]:
        """The items, in groups. Raises EmptyScanError if there are none, whatever is in the sample."""
        pick = self._request.pick
        range_ = pick if isinstance(pick, Range) else Range()
        found = self._found(range_)
        first = next(filter(None, found), None)
        if first is None:
            msg = "there is no document in the range of the scan"
            raise EmptyScanError(msg)
        # Where documents may expire, anew: what does before it is asked for is not sent.
        found = self._found(range_) if self._tally.expiring else chain([first], found)
        if isinstance(pick, Sample) and pick.samples < self._tally.documents:
            share = pick.samples / self._tally.documents
            seed = f"{pick.seed} {self._request.vb}"  # lest each vBucket give the same places
            found = walk.sampled(found, share, seed)
        if self._request.keys_only:
            return cast("Iterator[list[Item]]", walk.encoded_keys(cast("Iterator[list[bytes]]", found)))
        return found

    def _found(self, range_: Range) -> Iterator[list[Item]]:
        """What is in the range: documents, or keys as LMDB has them."""
        request, cursor = self._request, self.txn.cursor(self._tables.documents)
        lower, upper = walk.bounds(request.vb, request.collection, range_)
        if not request.keys_only:
            then = self._most_of_a_chunk if self.copies else walk.GROUP
            records = walk.records(cursor, lower, upper, then)
            return walk.live_records(records, self._clock) if self._tally.expiring else records
        if self._views:
            return cast("Iterator[list[Item]]", walk.live_keys(cursor, lower, upper, self._clock))
        return cast("Iterator[list[Item]]", walk.keys(cursor, lower, upper))

    @property
    def _most_of_a_chunk(self) -> int:
        """How many documents that is, going by the mean of all: a group of them is a chunk then."""
        mean = 1 + self._tally.bytes // max(1, self._tally.documents)
        return min(max(walk.GROUP, DEFAULT_CHUNK_SIZE * 7 // 8 // mean), _MOST_AT_ONCE)

    def _has(self, seqno: int) -> bool:
        """Whether any document of the vBucket has that sequence number: a walk over all of them."""
        vb, wanted = self._request.vb, U64.pack(seqno)
        cursor = self.txn.cursor(self._tables.documents)
        everything = walk.records(cursor, PREFIX.pack(vb, 0), PREFIX.pack(vb + 1, 0))
        return any(record_seqno(record) == wanted for group in everything for record in group)
