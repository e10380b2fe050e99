"""How a scan walks LMDB: a block of documents at a time.

What is sent of most blocks is one piece of them, so nothing is done here for each item, but where it
must be: where some may have expired, or a sample is drawn. Thread: whichever reads, one at a time.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from .blocks import Block, Items
from .layout import PLACE, PREFIX, last_bound, same_place
from .records import EXPIRY, is_to_come, pack_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import lmdb

    from .blocks import Column
    from .requests import Range

    Clock: TypeAlias = Callable[[], float]
    Cursor: TypeAlias = lmdb.Cursor[Any]


def bounds(vb: int, collection: int, range_: Range) -> tuple[bytes, bytes]:
    """The keys, their place in front, from which on, and before which, the range is.

    Whatever kinds of bounds it has: the next key after any is that with a zero byte behind it.
    """
    place = PREFIX.pack(vb, collection)
    lower = place + range_.start + (b"" if range_.start_inclusive else b"\0")
    if range_.end is None:
        return lower, last_bound(place)
    return lower, place + range_.end + (b"\0" if range_.end_inclusive else b"")


def items(cursor: Cursor, column: Column, lower: bytes, upper: bytes) -> Iterator[Items]:
    """What each block has from `lower` to before `upper`, which may be nothing.

    The cursor should make views.
    """
    if not cursor.set_range(lower):
        return
    start = None
    for bound, stored in cursor.iternext():
        block, inside = Block(stored), bytes(bound) < upper
        if not (inside or same_place(bound, upper)):
            return
        if start is None:
            start = block.index(lower[PLACE:])
        if not inside:
            yield Items(block, column, start, max(start, block.index(upper[PLACE:])))
            return
        yield Items(block, column, start, block.count)
        start = 0


def blocks_of_vbucket(cursor: Cursor, vb: int) -> Iterator[Block]:
    """All blocks of a vBucket, whatever their collection. The cursor should make views."""
    if not cursor.set_range(PREFIX.pack(vb, 0)):
        return
    behind = PREFIX.pack(vb + 1, 0)
    for bound, stored in cursor.iternext():
        if bytes(bound) >= behind:
            return
        yield Block(stored)


def live(found: Iterator[Items], clock: Clock) -> Iterator[Items]:
    """Without the documents that have expired: what is left between them."""
    for part in found:
        now = clock()
        if not part.block.expiry or part.block.expiry > now:
            yield part
        else:
            yield from _left(part, pack_now(now))


def _left(part: Items, now: bytes) -> Iterator[Items]:
    start = part.start
    yield part.between(start, start)  # lest nothing be yielded for long
    expiries = part.block.field(EXPIRY)
    for at in range(part.start, part.stop):
        if not is_to_come(expiries[at], now):
            if start < at:
                yield part.between(start, at)
            start = at + 1
    if start < part.stop:
        yield part.between(start, part.stop)


def sampled(found: Iterator[Items], share: float, seed: str) -> Iterator[Items]:
    """Each item with the probability `share`; with the same seed, the same ones."""
    draw = Random(seed).random  # noqa: S311 - a sample, no secret
    for part in found:
        yield part.between(part.start, part.start)  # lest nothing be yielded for long
        for at in range(part.start, part.stop):
            if draw() < share:
                yield part.between(at, at + 1)
