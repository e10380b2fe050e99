"""Where things are in LMDB: the names of its databases, and the keys in each.

    documents   vBucket u16, collection u32, key      ->  the record (see records.py)
    expiries    expiry u32, then as in documents      ->  nothing; one for each document that expires
    state       b"v", vBucket u16                     ->  uuid u64, seqno u64
                b"t", vBucket u16, collection u32     ->  a tally: five u64
                b"m", a name                          ->  what holds for all of the store

Numbers are big-endian, so LMDB's order of bytes is theirs: a collection of a vBucket is one contiguous
run in the order of its keys, and the expiries begin with the earliest.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .errors import KeyTooLongError

FORMAT = 1
"""Changes when any of the above does, or the record."""

MAX_KEY = 250
"""Bytes in the longest key."""

MAX_VBUCKETS = 1024

PREFIX = struct.Struct(">HI")
VBUCKET_KEY = struct.Struct(">cH")
TALLY_KEY = struct.Struct(">cHI")
U32 = struct.Struct(">I")
U64 = struct.Struct(">Q")

META_FORMAT = b"mformat"
META_VBUCKETS = b"mvbuckets"
META_COLLECTIONS = b"mcollections"
META_CAS = b"mcas"
META_OPEN = b"mopen"  # how the store is open: OPEN_*
OPEN_NOT, OPEN_SYNC, OPEN_NO_SYNC = b"", b"sync", b"no-sync"


class VBucket(NamedTuple):
    """A vBucket's history: which one it is, and how far it has come. All of it is on disk."""

    uuid: int
    seqno: int


class Tally(NamedTuple):
    """How many documents a collection has in a vBucket; expired ones count until they are purged."""

    documents: int = 0
    expiring: int = 0
    large: int = 0
    bytes: int = 0
    compressed: int = 0


_VBUCKET = struct.Struct(">QQ")
_TALLY = struct.Struct(">QQQQQ")


def document_key(vb: int, collection: int, key: bytes) -> bytes:
    """The key in `documents`. Raises KeyTooLongError."""
    if len(key) > MAX_KEY:
        msg = f"the key has {len(key)} bytes; use at most {MAX_KEY}"
        raise KeyTooLongError(msg)
    return PREFIX.pack(vb, collection) + key


def expiry_key(expiry: int, key: bytes) -> bytes:
    """The key in `expiries` of the document that has `key` in `documents`."""
    return U32.pack(expiry) + key


def vbucket_key(vb: int) -> bytes:
    """The key in `state` of a vBucket."""
    return VBUCKET_KEY.pack(b"v", vb)


def tally_key(vb: int, collection: int) -> bytes:
    """The key in `state` of a tally."""
    return TALLY_KEY.pack(b"t", vb, collection)


def pack_vbucket(vbucket: VBucket) -> bytes:
    """A vBucket as it is stored."""
    return _VBUCKET.pack(*vbucket)


def unpack_vbucket(stored: bytes) -> VBucket:
    """The reverse of `pack_vbucket`."""
    return VBucket(*_VBUCKET.unpack(stored))


def pack_tally(tally: Tally) -> bytes:
    """A tally as it is stored."""
    return _TALLY.pack(*tally)


def unpack_tally(stored: bytes) -> Tally:
    """The reverse of `pack_tally`; nothing is stored for a collection that never had a document."""
    return Tally(*_TALLY.unpack(stored)) if stored else Tally()
