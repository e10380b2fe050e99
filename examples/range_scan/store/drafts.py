"""The blocks that a transaction changes, as they are to be. They are written together, at its end.

Invariants:

- A key belongs to the first block of its place whose bound is not before it, or if there is none, to
  a new one that has the place's last bound.
- A block has at most BLOCK bytes, without its head, and MOST documents, or one document.
- Bounds change only in `write`: until then each draft belongs to a bound in LMDB, or to a last one.

Thread: writer.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from .blocks import Block, encode_block, encoded_size
from .layout import MAX_KEY, PLACE, last_bound, same_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lmdb

    from .layout import Stored

BLOCK = 8 * 1024 - 32
"""Bytes of the largest block of several documents: two of LMDB's pages, without theirs and its head."""
MOST = 64
"""Documents in a block, however small they are: a change of one takes all of them apart."""

_ALONE = BLOCK // 2  # a document of more has a block of its own, so that its neighbours do not move it
_SMALL = BLOCK // 4  # a block that shrinks to this joins those beside it that are at most half full
_LOOSE = BLOCK * 2 // 3  # what one is divided into that is too full; but not the last, which grows most


class _Draft:
    __slots__ = ("changed", "documents", "found", "shrunk")

    def __init__(self, found: list[tuple[bytes, bytes]]) -> None:
        self.found = found
        self.documents = dict(found)
        self.changed = self.shrunk = False


class Drafts:
    """Documents by their keys, each with its place in front, as a transaction leaves them."""

    def __init__(self, txn: lmdb.Transaction[Any], database: lmdb._Database) -> None:
        self._cursor = txn.cursor(db=database)
        self._drafts: dict[bytes, _Draft] = {}
        self.read = 0
        """Bytes of the blocks that are in memory."""
        self.written = 0
        """Bytes of the blocks that `write` has written."""

    def get(self, key: bytes) -> bytes | None:
        """The document, as it is stored."""
        return self._of(key).documents.get(key[PLACE:])

    def put(self, key: bytes, record: bytes) -> None:
        """Have a document there."""
        draft = self._of(key)
        draft.shrunk |= len(record) < len(draft.documents.get(key[PLACE:], b""))
        draft.documents[key[PLACE:]] = record
        draft.changed = True

    def delete(self, key: bytes) -> None:
        """Have the document, which is there, no more."""
        draft = self._of(key)
        del draft.documents[key[PLACE:]]
        draft.changed = draft.shrunk = True

    def forget(self) -> None:
        """Write nothing of this: all blocks are dropped."""
        self._drafts.clear()

    def write(self) -> None:
        """Bring all that has changed into the transaction."""
        drafts = sorted(self._drafts.items())
        self._drafts.clear()
        for bound, draft in drafts:
            if draft.changed:
                self._replace(bound, draft)
        for bound, draft in drafts:
            if draft.shrunk:
                self._join(bound)

    def _of(self, key: bytes) -> _Draft:
        cursor = self._cursor
        found = cursor.set_range(key) and same_place(cursor.key(), key)
        bound = bytes(cursor.key()) if found else last_bound(key)
        draft = self._drafts.get(bound)
        return draft or self._load(bound, cursor.value() if found else None)

    def _load(self, bound: bytes, stored: memoryview | None) -> _Draft:
        found = [] if stored is None else list(Block(stored).items())
        draft = self._drafts[bound] = _Draft(found)
        self.read += len(stored or b"")
        return draft

    def _replace(self, bound: bytes, draft: _Draft) -> None:
        """Have what the draft says in the place of its block: one block, several, or none."""
        blocks = dict(_divided(bound, draft))
        for new, documents in blocks.items():
            if new != bound or documents != draft.found:  # a large one often stays as it is
                self._put(new, documents)
        if draft.found and bound not in blocks and self._cursor.set_key(bound):
            self._cursor.delete()

    def _put(self, bound: bytes, documents: list[tuple[bytes, bytes]]) -> None:
        block = encode_block(documents)
        self._cursor.put(bound, block)
        self.written += len(block)

    def _join(self, bound: bytes) -> None:
        """If little is left in a block, put it together with those beside it that have room.

        If nothing is, the one behind it may have got a neighbour that it can be put together with.
        """
        cursor = self._cursor
        if not cursor.set_range(bound) or len(cursor.value()) > _SMALL:
            return
        bound = bytes(cursor.key())
        if cursor.next() and self._go_together(bound, behind := bytes(cursor.key())):
            self._merge(bound, behind)
            bound = behind
        cursor.set_key(bound)
        if cursor.prev() and self._go_together(before := bytes(cursor.key()), bound):
            self._merge(before, bound)

    def _go_together(self, one: bytes, other: bytes) -> bool:
        stored = [self._stored(bound) for bound in (one, other)]
        sizes = [len(block) for block in stored]
        count = sum(Block(block).count for block in stored)
        fit = max(sizes) <= _ALONE and sum(sizes) <= BLOCK and count <= MOST
        return fit and same_place(one, other)

    def _merge(self, first: bytes, second: bytes) -> None:
        """Two blocks that follow each other become one, which has the bound of the second."""
        self._put(second, [*self._take(first), *self._take(second)])

    def _take(self, bound: bytes) -> Iterator[tuple[bytes, bytes]]:
        stored = bytes(self._stored(bound))
        self._cursor.delete()
        return Block(stored).items()

    def _stored(self, bound: bytes) -> Stored:
        self._cursor.set_key(bound)
        stored: Stored = self._cursor.value()
        return stored


def _divided(bound: bytes, draft: _Draft) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """Blocks of what is in the draft, each with its bound."""
    place, pieces = bound[:PLACE], _pieces(bound, draft)
    following = [piece[0] for piece in pieces[1:]]
    for piece, behind in zip_longest(pieces, following):
        if _is_alone(piece[0]):
            yield place + piece[0][0], piece
        elif behind is None:
            yield bound, piece
        elif _is_alone(behind):
            yield place + _last_before(behind[0]), piece
        else:
            yield place + piece[-1][0], piece


def _pieces(bound: bytes, draft: _Draft) -> list[list[tuple[bytes, bytes]]]:
    documents = sorted(draft.documents.items())
    sizes = [encoded_size(*document) for document in documents]
    if sum(sizes) <= BLOCK and len(documents) <= MOST and max(sizes, default=0) <= _ALONE:
        return [documents] if documents else []
    loose = bound != last_bound(bound)
    if _grows_in_front(documents, draft.found):  # then room is to be left there
        backwards = _cut(documents[::-1], sizes[::-1], loose=loose)
        return [piece[::-1] for piece in reversed(backwards)]
    return _cut(documents, sizes, loose=loose)


def _grows_in_front(documents: list[tuple[bytes, bytes]], found: list[tuple[bytes, bytes]]) -> bool:
    """Are there new documents before those that were found, and none behind them?"""
    return bool(found) and documents[0][0] < found[0][0] and documents[-1][0] <= found[-1][0]


def _cut(
    documents: list[tuple[bytes, bytes]], sizes: list[int], *, loose: bool
) -> list[list[tuple[bytes, bytes]]]:
    """Pieces of them, each as large as may be but for the last."""
    most, count = (_LOOSE, MOST * 2 // 3) if loose else (BLOCK, MOST)
    pieces: list[list[tuple[bytes, bytes]]] = []
    room = 0
    for document, size in zip(documents, sizes, strict=True):
        if size > min(room, _ALONE) or len(pieces[-1]) >= count:
            pieces.append([])
            room = most
        pieces[-1].append(document)
        room = 0 if size > _ALONE else room - size
    return pieces


def _is_alone(document: tuple[bytes, bytes]) -> bool:
    return encoded_size(*document) > _ALONE


def _last_before(key: bytes) -> bytes:
    """The last key there can be before `key`, which is not empty."""
    if key[-1] == 0:
        return key[:-1]
    return (key[:-1] + bytes((key[-1] - 1,))).ljust(MAX_KEY, b"\xff")
