"""A block: documents with neighbouring keys, together one value of LMDB's.

    count u32, earliest expiry u32 (0: none expires), bytes of all keys u32,
    where each key ends u32, where each document ends u32,
    the keys, each as a scan of keys sends it,
    the documents, each as a scan of documents sends it

So a scan takes one step for a block, not for a document, and what it sends of most blocks is one piece
of them. Which block a key belongs to is in layout.py; how blocks are changed, in drafts.py.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from .layout import PLACE, same_place
from .records import KEY_LENGTHS, earliest_expiry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import lmdb

    from .layout import Stored

_HEAD = struct.Struct(">III")
_END = 4  # bytes that say where an item ends
_ONE_BYTE = 0x7F  # the longest key whose length takes one


class Column(IntEnum):
    """What a block has of each document, one behind another."""

    KEYS = 0
    DOCUMENTS = 1


class Block:
    """Reads a stored block."""

    __slots__ = ("_at", "_ends", "_stored", "count", "expiry")

    def __init__(self, stored: Stored) -> None:
        self.count, self.expiry, size = _HEAD.unpack_from(stored)
        keys_at = _HEAD.size + 2 * _END * self.count
        self._at = keys_at, keys_at + size, len(stored)
        self._stored = stored
        self._ends: dict[Column, tuple[int, ...]] = {}

    def ends(self, column: Column) -> tuple[int, ...]:
        """Where each item ends, from the beginning of its column; before these, where that is."""
        ends = self._ends.get(column)
        if ends is None:
            at = _HEAD.size + _END * self.count * column
            ends = self._ends[column] = (0, *struct.unpack_from(f">{self.count}I", self._stored, at))
        return ends

    def part(self, column: Column, start: int, stop: int) -> Stored:
        """The items from `start` to before `stop`."""
        begin = self._at[column]
        if stop - start == self.count:
            return self._stored[begin : self._at[column + 1]]
        ends = self.ends(column)
        return self._stored[begin + ends[start] : begin + ends[stop]]

    def keys(self) -> list[bytes]:
        """All of its keys, in their order."""
        encoded = bytes(self.part(Column.KEYS, 0, self.count))
        return [
            encoded[start + (1 if encoded[start] <= _ONE_BYTE else 2) : end]
            for start, end in pairwise(self.ends(Column.KEYS))
        ]

    def records(self) -> list[bytes]:
        """All of its documents, as they are stored."""
        joined = bytes(self.part(Column.DOCUMENTS, 0, self.count))
        return [joined[start:end] for start, end in pairwise(self.ends(Column.DOCUMENTS))]

    def field(self, where: slice) -> list[bytes]:
        """What each document's record has there, which is near its beginning. No document is copied."""
        stored, at = self._stored, self._at[Column.DOCUMENTS]
        begins = self.ends(Column.DOCUMENTS)[:-1]
        return [bytes(stored[at + begin + where.start : at + begin + where.stop]) for begin in begins]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All documents as they are stored, each behind its key."""
        return zip(self.keys(), self.records(), strict=True)

    def index(self, key: bytes) -> int:
        """How many of its keys are before `key`."""
        return bisect_left(self.keys(), key)

    def find(self, key: bytes) -> bytes | None:
        """The document with that key, as it is stored, if it is here."""
        encoded, item = bytes(self.part(Column.KEYS, 0, self.count)), KEY_LENGTHS[len(key)] + key
        if (at := encoded.find(item)) < 0:
            return None
        index = bisect_left(ends := self.ends(Column.KEYS), at)
        if ends[index] != at:  # it is in the midst of another key
            keys = self.keys()
            index = bisect_left(keys, key)
            if keys[index : index + 1] != [key]:
                return None
        return bytes(self.part(Column.DOCUMENTS, index, index + 1))


class Items:
    """Some of a block's items, which follow each other."""

    __slots__ = ("block", "column", "start", "stop")

    def __init__(self, block: Block, column: Column, start: int, stop: int) -> None:
        self.block = block
        self.column = column
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def bytes(self) -> Stored:
        """All of them, as they are sent."""
        return self.block.part(self.column, self.start, self.stop)

    def between(self, start: int, stop: int) -> Items:
        """Those of the block's from `start` to before `stop`."""
        return Items(self.block, self.column, start, stop)

    def reaching(self, size: int) -> int:
        """How many of them it takes until they have `size` bytes; all, if they have fewer."""
        ends = self.block.ends(self.column)
        reaching = bisect_left(ends, ends[self.start] + size, self.start + 1, self.stop + 1)
        return min(reaching, self.stop) - self.start


def encode_block(documents: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A block of these, each a key and its record, in the order of their keys."""
    keys = [KEY_LENGTHS[len(key)] + key for key, _ in documents]
    records = [record for _, record in documents]
    ends = struct.Struct(f">{len(keys)}I")
    key_ends = list(accumulate(map(len, keys)))
    return b"".join(
        (
            _HEAD.pack(len(keys), earliest_expiry(records), key_ends[-1]),
            ends.pack(*key_ends),
            ends.pack(*accumulate(map(len, records))),
            *keys,
            *records,
        )
    )


def encoded_size(key: bytes, record: bytes) -> int:
    """About how many bytes a document takes in a block, rather more than fewer."""
    return 2 * _END + 2 + len(key) + len(record)


def find_record(cursor: lmdb.Cursor[Any], key: bytes) -> bytes | None:
    """The document that has `key`, its place in front, as it is stored."""
    if not cursor.set_range(key) or not same_place(cursor.key(), key):
        return None
    return Block(cursor.value()).find(key[PLACE:])
