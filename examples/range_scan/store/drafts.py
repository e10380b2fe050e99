"""The blocks that a transaction changes, as they are to be. They are written together, at its end.

Invariants:

- A key belongs to the first block of its place whose bound is not before it, or if there is none, to
  a new one that has the place's last bound.
- A block has at most BLOCK bytes, or one document.
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

BLOCK = 8 * 1024 - 32
"""Bytes of the largest block of several documents: two of LMDB's pages, without the headers."""

_ALONE = BLOCK // 2  # a document of more has a block of its own, so that its neighbours do not move it
_SMALL = BLOCK // 4  # a block that shrinks to this joins one beside it that is at most half full
_LOOSE = BLOCK * 2 // 3  # what one is divided into that is too full; but not the last, which grows most


class _Draft:
    __slots__ = ("changed", "documents", "shrunk", "stored")

    def __init__(self, documents: dict[bytes, bytes], *, stored: bool) -> None:
        self.documents = documents
        self.stored = stored
        self.changed = self.shrunk = False


class Drafts:
    """Documents by their keys, each with its place in front, as a transaction leaves them."""

    def __init__(self, txn: lmdb.Transaction[Any], database: lmdb._Database) -> None:
        self._cursor = txn.cursor(db=database)
        self._drafts: dict[bytes, _Draft] = {}
        self.read = 0
        """Bytes of the blocks that are to be written again."""

    def get(self, key: bytes) -> bytes | None:
        """The document, as it is stored."""
        return self._of(key).documents.get(key[PLACE:])

    def put(self, key: bytes, record: bytes) -> None:
        """Have a document there."""
        draft = self._of(key)
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
        documents = {} if stored is None else dict(Block(stored).items())
        draft = self._drafts[bound] = _Draft(documents, stored=stored is not None)
        self.read += len(stored or b"")
        return draft

    def _replace(self, bound: bytes, draft: _Draft) -> None:
        """Have what the draft says in the place of its block: one block, several, or none."""
        blocks = dict(_divided(bound, draft))
        for new, documents in blocks.items():
            self._cursor.put(new, encode_block(documents))
        if draft.stored and bound not in blocks and self._cursor.set_key(bound):
            self._cursor.delete()

    def _join(self, bound: bytes) -> None:
        """If little is left in a block, put it together with one beside it that has room."""
        cursor = self._cursor
        if not cursor.set_key(bound) or len(cursor.value()) > _SMALL:
            return
        if cursor.next() and self._has_room_for(bound):
            self._merge(bound, bytes(cursor.key()))
        elif cursor.set_key(bound) and cursor.prev() and self._has_room_for(bound):
            self._merge(bytes(cursor.key()), bound)

    def _has_room_for(self, bound: bytes) -> bool:
        return same_place(self._cursor.key(), bound) and len(self._cursor.value()) <= _ALONE

    def _merge(self, first: bytes, second: bytes) -> None:
        """Two blocks that follow each other become one, which has the bound of the second."""
        documents = [*self._take(first), *self._take(second)]
        self._cursor.put(second, encode_block(documents))

    def _take(self, bound: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._cursor.set_key(bound)
        stored = bytes(self._cursor.value())
        self._cursor.delete()
        return Block(stored).items()


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
    whole = sum(sizes)
    if whole <= BLOCK and max(sizes, default=0) <= _ALONE:
        return [documents] if documents else []
    most = BLOCK if bound == last_bound(bound) else _LOOSE
    pieces: list[list[tuple[bytes, bytes]]] = []
    room = 0
    for document, size in zip(documents, sizes, strict=True):
        if size > min(room, _ALONE):
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
