"""How a scan walks LMDB: each function here takes or makes groups, lists of a few items.

A group is the unit of what need not be done for each item: comparing with the end of the range, looking
at the time, adding up. What is left for an item is C: a step of LMDB's cursor, and the copy into a
chunk. Thread: whichever reads the scan, one at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from itertools import islice, takewhile
from random import Random
from struct import Struct
from typing import TYPE_CHECKING, Any, TypeAlias

from .layout import MAX_KEY, PREFIX
from .records import KEY_LENGTHS, is_live, pack_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import lmdb

    from .requests import Range

    Item: TypeAlias = bytes | memoryview
    Group: TypeAlias = list[Item]
    Clock: TypeAlias = Callable[[], float]
    Cursor: TypeAlias = lmdb.Cursor[Any]

GROUP = 64
_PLACE = PREFIX.size
_TWO_BYTES = 0x80  # the shortest length that takes two in leb128
_LENGTHS = [b""] * _PLACE + KEY_LENGTHS  # of the keys as LMDB has them, with their place in front


def bounds(vb: int, collection: int, range_: Range) -> tuple[bytes, bytes]:
    """The keys in LMDB from which on, and before which, the range is: whatever kinds of bounds it has.

    The next key after any is that with a zero byte behind it.
    """
    place = PREFIX.pack(vb, collection)
    lower = place + range_.start + (b"" if range_.start_inclusive else b"\0")
    if range_.end is None:
        return lower, place + b"\xff" * (MAX_KEY + 1)
    return lower, place + range_.end + (b"\0" if range_.end_inclusive else b"")


def records(cursor: Cursor, lower: bytes, upper: bytes, then: int = GROUP) -> Iterator[list[Item]]:
    """The stored documents from `lower` to before `upper`: a group, and then groups of `then`.

    The first is small, lest a short range have many read that are behind its end.
    """
    if not cursor.set_range(lower):
        return
    values, size = cursor.iternext(keys=False), GROUP
    while group := list(islice(values, size)):
        last = bytes(cursor.key())
        if len(group) < size or last >= upper:  # this one has the end of the range, or of all documents
            yield group[: _count(cursor, lower, upper)]
            return
        yield group
        lower, size = last + b"\0", then


def keys(cursor: lmdb.Cursor[bytes], lower: bytes, upper: bytes) -> Iterator[list[bytes]]:
    """The keys, as LMDB has them, from `lower` to before `upper`."""
    if not cursor.set_range(lower):
        return
    stored = cursor.iternext(values=False)
    while group := list(islice(stored, GROUP)):
        if group[-1] >= upper:
            yield group[: bisect_left(group, upper)]
            return
        yield group


def live_records(groups: Iterator[Group], clock: Clock) -> Iterator[Group]:
    """Without the documents that have expired."""
    for group in groups:
        now = pack_now(clock())
        yield [record for record in group if is_live(record, now)]


def live_keys(cursor: Cursor, lower: bytes, upper: bytes, clock: Clock) -> Iterator[list[bytes]]:
    """As `keys`, without the documents that have expired. The cursor should make views."""
    if not cursor.set_range(lower):
        return
    items = cursor.iternext()
    while group := list(islice(items, GROUP)):
        now = pack_now(clock())
        found = [bytes(key) for key, record in group if is_live(record, now)]
        if bytes(group[-1][0]) >= upper:
            yield found[: bisect_left(found, upper)]
            return
        yield found


def sampled(groups: Iterator[list[Item]], share: float, seed: str) -> Iterator[list[Item]]:
    """Each item with the probability `share`; with the same seed, the same ones."""
    draw = Random(seed).random  # noqa: S311 - a sample, no secret
    for group in groups:
        yield [item for item in group if draw() < share]


def encoded_keys(groups: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
    """Each key as it is sent: its leb128 length, and itself without its place."""
    lengths, place = _LENGTHS, _PLACE
    for group in groups:
        sizes = set(map(len, group))
        if len(sizes) == 1 and (size := sizes.pop()) < place + _TWO_BYTES:
            yield _alike(group, size)
        else:
            yield [lengths[len(key)] + key[place:] for key in group]


def _alike(group: list[bytes], size: int) -> list[bytes]:
    """The same, of keys of one size, at half the cost: each place's last byte becomes the length."""
    joined = bytearray().join(group)
    joined[_PLACE - 1 :: size] = bytes((size - _PLACE,)) * len(group)
    return list(_cutter(size, len(group)).unpack(joined))


@lru_cache(maxsize=512)
def _cutter(size: int, count: int) -> Struct:
    return Struct(f"{_PLACE - 1}x{size - _PLACE + 1}s" * count)


def _count(cursor: Cursor, lower: bytes, upper: bytes) -> int:
    """How many keys there are from `lower`, which a key is or precedes, to before `upper`."""
    cursor.set_range(lower)
    return sum(1 for _ in takewhile(lambda key: bytes(key) < upper, cursor.iternext(values=False)))
