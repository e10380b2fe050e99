"""To open a scan: take the snapshot, check what is required of it, begin to walk it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from . import walk
from .blocks import Column
from .errors import (
    EmptyScanError,
    NotPersistedError,
    SeqnoMissingError,
    WrongVBucketUuidError,
)
from .layout import U64, tally_key, unpack_tally, unpack_vbucket, vbucket_key
from .records import SEQNO
from .requests import Range, Requirement, Sample, ScanRequest
from .scan import Scan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .blocks import Items
    from .settings import Settings
    from .snapshots import Snapshots
    from .state import State
    from .tables import Tables
    from .walk import Clock


def open_scan(
    tables: Tables, state: State, settings: Settings, snapshots: Snapshots, request: ScanRequest
) -> Scan:
    """See `Store.open_scan`, which has checked the vBucket and the collection."""
    with snapshots.admit() as keep, ExitStack() as undo:
        sizes = state.sizes  # before the snapshot: what it may keep is rather over- than underestimated
        walking = _Walk(tables, request, settings.clock)
        undo.callback(walking.txn.abort)
        if request.requirement is not None:
            walking.check(request.requirement)
        scan = Scan(
            request,
            walking.txn,
            walking.parts(),
            snapshots,
            sizes,
            compressed=walking.compressed,
        )
        undo.pop_all()
        keep(scan)
        return scan


class _Walk:
    """A snapshot, and how to walk it."""

    def __init__(self, tables: Tables, request: ScanRequest, clock: Clock) -> None:
        self.txn = tables.environment.begin(buffers=True)
        self._tables = tables
        self._request = request
        self._clock = clock
        stored = self.txn.get(tally_key(request.vb, request.collection), b"", db=tables.state)
        self._tally = unpack_tally(stored)

    @property
    def compressed(self) -> bool:
        """Whether values of its collection are."""
        return self._tally.compressed > 0

    def check(self, requirement: Requirement) -> None:
        """Whether the snapshot is what is required. Raises ScanError."""
        vb = self._request.vb
        stored = self.txn.get(vbucket_key(vb), b"", db=self._tables.state)
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

    def parts(self) -> Iterator[Items]:
        """The items, in parts. Raises EmptyScanError if there are none, whatever is in the sample."""
        pick = self._request.pick
        range_ = pick if isinstance(pick, Range) else Range()
        if not any(self._found(range_)):
            msg = "there is no document in the range of the scan"
            raise EmptyScanError(msg)
        found = self._found(range_)  # anew: what expires before it is asked for is not sent
        if isinstance(pick, Sample) and pick.samples < self._tally.documents:
            share = pick.samples / self._tally.documents
            seed = f"{pick.seed} {self._request.vb}"  # lest each vBucket give the same places
            return walk.sampled(found, share, seed)
        return found

    def _found(self, range_: Range) -> Iterator[Items]:
        """What is in the range."""
        request = self._request
        column = Column.KEYS if request.keys_only else Column.DOCUMENTS
        lower, upper = walk.bounds(request.vb, request.collection, range_)
        found = walk.items(self.txn.cursor(self._tables.documents), column, lower, upper)
        return walk.live(found, self._clock) if self._tally.expiring else found

    def _has(self, seqno: int) -> bool:
        """Whether any document of the vBucket has that sequence number: a walk over all of them."""
        cursor, wanted = self.txn.cursor(self._tables.documents), U64.pack(seqno)
        return any(
            wanted in block.field(SEQNO) for block in walk.blocks_of_vbucket(cursor, self._request.vb)
        )
