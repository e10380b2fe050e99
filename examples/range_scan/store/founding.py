"""To found a store, or to find one: what holds for all of it is read, checked and brought up to date.

All in one transaction, so a store is founded wholly or not at all. How it is open is on disk before
anything is written to it: a store that was last open without sync, and not closed, may have lost
acknowledged writes, so its vBuckets begin new histories. So do those of a copy: clients may remember
later writes than it has, and their sequence numbers are given out again.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from typing import TYPE_CHECKING

from .directory import file_size
from .errors import StoreOpenError
from .layout import (
    FORMAT,
    META_CAS,
    META_COLLECTIONS,
    META_FORMAT,
    META_OPEN,
    META_VBUCKETS,
    OPEN_NO_SYNC,
    OPEN_NOT,
    OPEN_SYNC,
    TALLY_KEY,
    U64,
    VBucket,
    pack_vbucket,
    unpack_tally,
    unpack_vbucket,
    vbucket_key,
)
from .state import Sizes, State
from .tables import Tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import lmdb

    from .directory import Place
    from .layout import Tally
    from .settings import Settings

_log = logging.getLogger(__name__)

DEFAULT_VBUCKETS = 64
DEFAULT_COLLECTION = "_default._default"
_FIRST_NAMED = 8  # ids below are reserved, as in Couchbase
_NAME = re.compile(r"[A-Za-z0-9_%-]{1,251}\.[A-Za-z0-9_%-]{1,251}")


def found(place: Place, settings: Settings) -> tuple[Tables, State]:
    """Create the store if there is none, and read what holds for all of it. Raises StoreOpenError."""
    environment = place.environment
    with environment.begin(write=True) as txn:
        fresh = txn.stat()["entries"] == 0
        tables = Tables.open(environment, txn)
        meta = _Meta(place.directory, txn, tables.state)
        if fresh:
            meta.create(settings.vbuckets or DEFAULT_VBUCKETS)
        meta.check(settings.vbuckets)
        is_copy = not (fresh or place.had_data)
        if is_copy or meta.get(META_OPEN) == OPEN_NO_SYNC:
            meta.begin_histories()
        meta.add_collections(settings.collections)
        meta.put(META_OPEN, OPEN_SYNC if settings.sync else OPEN_NO_SYNC)
        used = tables.used_size(txn)
        vbuckets, collections, tallies = meta.vbuckets(), meta.collections(), meta.tallies()
        (cas,) = U64.unpack(meta.get(META_CAS))
    environment.sync(True)  # noqa: FBT003 - it takes no keyword
    place.note_data()
    if is_copy:
        _log.warning("%s holds a copy of a store: its vBuckets begin new histories", place.directory)
    sizes = Sizes(file_size(environment), used)
    return tables, State(vbuckets, collections, tallies, cas, sizes)


def leave(tables: Tables) -> None:
    """Note that the store was closed in good order. Thread: writer."""
    tables.environment.sync(force=True)  # all writes are on disk before the note is
    with tables.environment.begin(write=True, db=tables.state) as txn:
        txn.put(META_OPEN, OPEN_NOT)
    tables.environment.sync(force=True)


class _Meta:
    """The state database, while the store is opened."""

    def __init__(self, directory: Path, txn: lmdb.Transaction[bytes], database: lmdb._Database) -> None:
        self._directory = directory
        self._txn = txn
        self._database = database

    def get(self, key: bytes) -> bytes:
        value = self._txn.get(key, db=self._database)
        if value is None:
            msg = (
                f"{self._directory} holds an LMDB file that is not such a store: use another directory"
            )
            raise StoreOpenError(msg)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        self._txn.put(key, value, db=self._database)

    def create(self, vbuckets: int) -> None:
        self.put(META_FORMAT, b"%d" % FORMAT)
        self.put(META_VBUCKETS, b"%d" % vbuckets)
        self.put(META_COLLECTIONS, json.dumps({DEFAULT_COLLECTION: 0}).encode())
        self.put(META_CAS, U64.pack(0))
        self.put(META_OPEN, OPEN_NOT)
        for vb in range(vbuckets):
            self.put(vbucket_key(vb), pack_vbucket(VBucket(_new_uuid(), 0)))

    def check(self, vbuckets: int | None) -> None:
        made_by = int(self.get(META_FORMAT))
        if made_by != FORMAT:
            msg = (
                f"the store in {self._directory} has format {made_by}, this program knows {FORMAT}: "
                "open it with the program that made it, or use another directory"
            )
            raise StoreOpenError(msg)
        count = int(self.get(META_VBUCKETS))
        if vbuckets is not None and vbuckets != count:
            msg = (
                f"the store in {self._directory} was made with {count} vBuckets, not {vbuckets}: "
                f"ask for {count}, or use another directory"
            )
            raise StoreOpenError(msg)

    def begin_histories(self) -> None:
        for vb, vbucket in enumerate(self.vbuckets()):
            self.put(vbucket_key(vb), pack_vbucket(vbucket._replace(uuid=_new_uuid())))

    def add_collections(self, names: Sequence[str]) -> None:
        collections = self.collections()
        for name in names:
            if not _NAME.fullmatch(name):
                msg = f"{name!r} is no collection's name: give scope.collection, of A-Z a-z 0-9 _ - %"
                raise StoreOpenError(msg)
            next_id = max(_FIRST_NAMED - 1, *collections.values()) + 1
            collections.setdefault(name, next_id)
        self.put(META_COLLECTIONS, json.dumps(collections).encode())

    def collections(self) -> dict[str, int]:
        stored: dict[str, int] = json.loads(self.get(META_COLLECTIONS))
        return stored

    def vbuckets(self) -> list[VBucket]:
        count = int(self.get(META_VBUCKETS))
        return [unpack_vbucket(self.get(vbucket_key(vb))) for vb in range(count)]

    def tallies(self) -> dict[tuple[int, int], Tally]:
        found: dict[tuple[int, int], Tally] = {}
        cursor = self._txn.cursor(db=self._database)
        if cursor.set_range(b"t"):
            for key, value in cursor:
                if key[:1] != b"t":
                    break
                _, vb, collection = TALLY_KEY.unpack(key)
                found[vb, collection] = unpack_tally(value)
        return found


def _new_uuid() -> int:
    """Couchbase's have 48 bits too; 0 would say that there is none."""
    return secrets.randbelow((1 << 48) - 1) + 1
