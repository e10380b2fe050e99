"""One write transaction: documents, seqnos, expiries and tallies change together or not at all.

What changes beside the documents is kept in memory until the commit, so that a group of a thousand
writes to one vBucket stores its sequence number once. Thread: writer, from its begin to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .directory import file_size
from .drafts import Drafts
from .layout import (
    META_CAS,
    PLACE,
    PREFIX,
    U32,
    U64,
    Tally,
    VBucket,
    document_key,
    expiry_key,
    pack_tally,
    pack_vbucket,
    tally_key,
    vbucket_key,
)
from .records import (
    decode_record,
    encode_record,
    is_compressed,
    is_live,
    pack_now,
    record_expiry,
)
from .state import Sizes

if TYPE_CHECKING:
    from .records import Document
    from .state import State
    from .tables import Tables

_EXPIRY_SIZE = U32.size
_PAGES = 24 << 10  # bytes that a document's change writes in LMDB's pages, beside blocks
_FREED_SHARE = 256  # LMDB's list of the pages that a `clear` frees is smaller than they by this factor
_NANOSECONDS = 1_000_000_000


class Batch:
    """A write transaction on the store, as of `now`. End it with `commit` or `abort`."""

    def __init__(self, tables: Tables, state: State, now: float) -> None:
        self._tables = tables
        self._state = state
        self._now = pack_now(now)
        self._least_cas = int(now * _NANOSECONDS)
        self._cas = state.cas
        self._written = 16 * _PAGES
        self._looked_at = 0
        self._vbuckets: dict[int, VBucket] = {}
        self._tallies: dict[tuple[int, int], Tally] = {}
        self._txn = tables.environment.begin(write=True, buffers=True)
        self._drafts = Drafts(self._txn, tables.documents)

    def find(self, vb: int, collection: int, key: bytes) -> Document | None:
        """The document, if it is there and has not expired."""
        record = self._drafts.get(document_key(vb, collection, key))
        self._looked_at += len(record or b"")
        if record is None or not is_live(record, self._now):
            return None
        return decode_record(record)

    def put(self, vb: int, collection: int, document: Document) -> Document:
        """Write it, whatever was there. Returns it with the CAS and sequence number that it got."""
        key = document_key(vb, collection, document.key)
        self._forget(vb, collection, key)
        self._cas = max(self._cas + 1, self._least_cas)
        document = document._replace(seqno=self._advance(vb), cas=self._cas)
        record = encode_record(document)
        self._drafts.put(key, record)
        self._written += 2 * len(record)
        if document.expiry:
            self._txn.put(expiry_key(document.expiry, key), b"", db=self._tables.expiries)
        self._count(vb, collection, 1, record)
        return document

    def delete(self, vb: int, collection: int, key: bytes) -> VBucket:
        """Delete a document that is there. Returns the vBucket as it is then; see `cas`, too."""
        stored_key = document_key(vb, collection, key)
        self._forget(vb, collection, stored_key)
        self._drafts.delete(stored_key)
        self._cas = max(self._cas + 1, self._least_cas)
        self._advance(vb)
        return self.vbucket(vb)

    def clear(self) -> None:
        """Delete all documents. A vBucket gets a sequence number for each collection that had any."""
        for place in {*self._state.tallies, *self._tallies}:
            if self._tally(*place).documents:
                self._tallies[place] = Tally()
                self._advance(place[0])
        self._cas = max(self._cas + 1, self._least_cas)
        self._written += self._tables.used_size(self._txn) // _FREED_SHARE
        self._drafts.forget()
        self._txn.drop(self._tables.documents, delete=False)
        self._txn.drop(self._tables.expiries, delete=False)

    def purge(self, at_most: int, most_bytes: int) -> int:
        """Delete documents that have expired, until it has handled about `most_bytes`. How many?"""
        expired: list[bytes] = []
        with self._txn.cursor(db=self._tables.expiries) as cursor:
            for view in cursor.iternext(values=False):
                key = bytes(view)
                if key[:_EXPIRY_SIZE] > self._now or len(expired) == at_most:
                    break
                expired.append(key[_EXPIRY_SIZE:])
        for purged, key in enumerate(expired):
            if self.handled > most_bytes:
                return purged
            vb, collection = PREFIX.unpack_from(key)
            self.delete(vb, collection, key[PLACE:])
        return len(expired)

    def vbucket(self, vb: int) -> VBucket:
        """The vBucket as this transaction leaves it."""
        return self._vbuckets.get(vb) or self._state.vbuckets[vb]

    @property
    def cas(self) -> int:
        """The CAS that was given out last."""
        return self._cas

    @property
    def handled(self) -> int:
        """About how many bytes it has in memory, or has copied only to refuse a mutation."""
        return self._written + self._drafts.read + self._looked_at

    @property
    def written(self) -> int:
        """About how many bytes the commit will write, rather more than fewer; once it is complete."""
        return self._written + self._drafts.written

    def complete(self) -> int:
        """Nothing more comes. Returns how many bytes of the file the documents use then."""
        self._drafts.write()
        self._store_state()
        return self._tables.used_size(self._txn)

    def commit(self) -> dict[int, VBucket]:
        """Bring it to the disk, then into memory. Returns the vBuckets that changed; lmdb.Error."""
        used = self._tables.used_size(self._txn)
        self._txn.commit()
        state = self._state
        for vb, vbucket in self._vbuckets.items():
            state.vbuckets[vb] = vbucket
        state.tallies.update(self._tallies)
        state.cas = self._cas
        state.sizes = Sizes(file_size(self._tables.environment), used)
        return self._vbuckets

    def abort(self) -> None:
        """Leave the store as it was."""
        self._txn.abort()

    def _forget(self, vb: int, collection: int, key: bytes) -> None:
        """Take what is stored under `key`, if anything, out of the expiries and the tally."""
        record = self._drafts.get(key)
        if record is None:
            return
        if expiry := record_expiry(record):
            self._txn.delete(expiry_key(expiry, key), db=self._tables.expiries)
        self._count(vb, collection, -1, record)

    def _count(self, vb: int, collection: int, one: int, record: bytes) -> None:
        documents, expiring, total, compressed = self._tally(vb, collection)
        self._tallies[vb, collection] = Tally(
            documents + one,
            expiring + (one if record_expiry(record) else 0),
            total + one * len(record),
            compressed + (one if is_compressed(record) else 0),
        )

    def _tally(self, vb: int, collection: int) -> Tally:
        place = vb, collection
        return self._tallies.get(place) or self._state.tallies.get(place) or Tally()

    def _advance(self, vb: int) -> int:
        uuid, seqno = self.vbucket(vb)
        self._vbuckets[vb] = VBucket(uuid, seqno + 1)
        self._written += _PAGES
        return seqno + 1

    def _store_state(self) -> None:
        state = self._tables.state
        for vb, vbucket in self._vbuckets.items():
            self._txn.put(vbucket_key(vb), pack_vbucket(vbucket), db=state)
        for place, tally in self._tallies.items():
            self._txn.put(tally_key(*place), pack_tally(tally), db=state)
        if self._cas != self._state.cas:
            self._txn.put(META_CAS, U64.pack(self._cas), db=state)
