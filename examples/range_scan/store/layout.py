"""Where things are in LMDB: the names of its databases, and the keys in each.

    documents   vBucket u16, collection u32, a bound  ->  a block of documents (see blocks.py)
    expiries    expiry u32, vBucket, collection, key  ->  nothing; one for each document that expires
    state       b"v", vBucket u16                     ->  uuid u64, seqno u64
                b"t", vBucket u16, collection u32     ->  a tally: four u64
                b"m", a name                          ->  what holds for all of the store

Numbers are big-endian, so LMDB's order of bytes is theirs: a collection of a vBucket, which is called a
place here, is one contiguous run in the order of its keys, and the expiries begin with the earliest.

A document is in the first block of its place whose bound is not before its key. The bound of a place's
last block is behind all keys there can be, so that it need not change when keys are added.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, TypeAlias

from .errors import KeyTooLongError

Stored: TypeAlias = bytes | memoryview
"""What LMDB has: a copy, or a view of its memory, which must not outlive the transaction."""

FORMAT = 2
"""Changes when any of the above does, or the record, or the block."""

MAX_KEY = 250
"""Bytes in the longest key."""

MAX_VBUCKETS = 1024

PREFIX = struct.Struct(">HI")
PLACE = PREFIX.size
"""Bytes of a place, before each key."""

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
    bytes: int = 0
    compressed: int = 0


_VBUCKET = struct.Struct(">QQ")
_TALLY = struct.Struct(">QQQQ")


def document_key(vb: int, collection: int, key: bytes) -> bytes:
    """The key of a document, its place in front. Raises KeyTooLongError."""
    if len(key) > MAX_KEY:
        msg = f"the key has {len(key)} bytes; use at most {MAX_KEY}"
        raise KeyTooLongError(msg)
    return PREFIX.pack(vb, collection) + key


def last_bound(key: bytes) -> bytes:
    """Behind all keys there can be in the place of this one."""
    return key[:PLACE] + b"\xff" * (MAX_KEY + 1)


def same_place(one: Stored, other: Stored) -> bool:
    """Whether both are in the same collection of the same vBucket."""
    return one[:PLACE] == other[:PLACE]


def expiry_key(expiry: int, key: bytes) -> bytes:
    """The key in `expiries` of the document with this key, its place in front."""
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


def unpack_vbucket(stored: Stored) -> VBucket:
    """The reverse of `pack_vbucket`."""
    return VBucket(*_VBUCKET.unpack(stored))


def pack_tally(tally: Tally) -> bytes:
    """A tally as it is stored."""
    return _TALLY.pack(*tally)


def unpack_tally(stored: Stored) -> Tally:
    """The reverse of `pack_tally`; nothing is stored for a collection that never had a document."""
    return Tally(*_TALLY.unpack(stored)) if stored else Tally()
