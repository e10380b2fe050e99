"""What can be written, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from .errors import StoreError  # noqa: TC001 - a NamedTuple's annotations are looked at
from .records import Document  # noqa: TC001 - as above


class Op(Enum):
    """The kinds of mutations."""

    SET = auto()
    ADD = auto()
    REPLACE = auto()
    APPEND = auto()
    PREPEND = auto()
    DELETE = auto()
    INCR = auto()
    DECR = auto()
    TOUCH = auto()
    FLUSH = auto()
    """Delete all documents of all vBuckets and collections."""


class Status(Enum):
    """How a mutation ended. Only OK has changed anything."""

    OK = auto()
    NOT_FOUND = auto()
    EXISTS = auto()
    """There is a document where there must be none, or its CAS is another."""
    TOO_BIG = auto()
    NOT_A_NUMBER = auto()
    FULL = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One document's change. Raises ValueError for a number out of its range.

    `expiry` is in Unix seconds, 0 is never. `cas` 0: whatever it is. What is appended must not be
    compressed. `delta` and `initial` are for INCR and DECR; without `initial` they find nothing where
    there is no document.
    """

    op: Op
    vb: int = 0
    collection: int = 0
    key: bytes = b""
    value: bytes = b""
    flags: int = 0
    expiry: int = 0
    cas: int = 0
    datatype: int = 0
    delta: int = 0
    initial: int | None = None

    def __post_init__(self) -> None:
        """Check what LMDB and `struct` would trip over on the writer's thread."""
        words, longs = self.flags | self.expiry, self.cas | self.delta | (self.initial or 0)
        if words >> 32 or longs >> 64 or self.datatype >> 8:  # so are negative numbers found, too
            msg = f"flags and expiry have 32 bits, datatype 8, cas, delta, initial 64: not in {self}"
            raise ValueError(msg)


class Outcome(NamedTuple):
    """What came of a mutation. `cas`, `seqno` and `uuid` (the vBucket's) are its own if it is OK."""

    status: Status
    cas: int = 0
    seqno: int = 0
    uuid: int = 0
    number: int = 0
    """INCR, DECR: the counter's value."""
    document: Document | None = None
    """TOUCH: the document as it is now."""
    error: StoreError | None = None
    """FULL, FAILED: why."""
