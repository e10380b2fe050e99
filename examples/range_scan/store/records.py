"""A document as it is stored: byte for byte the item that a scan sends.

    flags u32, expiry u32, seqno u64, cas u64, datatype u8,
    leb128 key length, key, leb128 value length, value

So a scan's chunk is one join of stored bytes. The price is that the key is stored twice: with the other
keys of its block too, where scans of keys find it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from .layout import MAX_KEY, U32

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_VALUE = 20 << 20
"""Bytes in the largest value."""

COMPRESSED = 0x02
"""In the datatype of a document."""

_HEAD = struct.Struct(">IIQQB")
EXPIRY = slice(4, 8)
"""Where a record has its expiry, as a u32."""
SEQNO = slice(8, 16)
"""Where it has its sequence number, as a u64."""
_NEVER = U32.pack(0)
_LAST_SECOND = 0xFFFF_FFFE  # before the last expiry there can be
_DATATYPE = 24
_SEVEN_BITS = 0x7F


class Document(NamedTuple):
    """A document with all that the store knows of it. `expiry` is in Unix seconds; 0 is never."""

    key: bytes
    value: bytes
    flags: int
    expiry: int
    seqno: int
    cas: int
    datatype: int


def encode_leb128(number: int) -> bytes:
    """An unsigned number, seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > _SEVEN_BITS:
        encoded.append(number & _SEVEN_BITS | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


KEY_LENGTHS = [encode_leb128(length) for length in range(MAX_KEY + 1)]
"""The leb128 length of each key there can be, which is what a scan of keys sends before it."""


def encode_record(document: Document) -> bytes:
    """The document as it is stored and sent."""
    return b"".join(
        (
            _HEAD.pack(
                document.flags, document.expiry, document.seqno, document.cas, document.datatype
            ),
            KEY_LENGTHS[len(document.key)],
            document.key,
            encode_leb128(len(document.value)),
            document.value,
        )
    )


def decode_record(record: bytes) -> Document:
    """The reverse of `encode_record`."""
    flags, expiry, seqno, cas, datatype = _HEAD.unpack_from(record)
    key, end = _field(record, _HEAD.size)
    value, _ = _field(record, end)
    return Document(key, value, flags, expiry, seqno, cas, datatype)


def record_expiry(record: bytes | memoryview) -> int:
    """When the document expires."""
    return int.from_bytes(record[EXPIRY], "big")


def earliest_expiry(records: Iterable[bytes]) -> int:
    """When the first of the documents expires; 0 if none does."""
    expiries = {record[EXPIRY] for record in records} - {_NEVER}
    return int.from_bytes(min(expiries, default=_NEVER), "big")


def is_compressed(record: bytes | memoryview) -> bool:
    """Whether the value is."""
    return bool(record[_DATATYPE] & COMPRESSED)


def pack_now(now: float) -> bytes:
    """The time as `is_live` compares it, in whole Unix seconds, or the nearest that fits."""
    return U32.pack(min(max(int(now), 0), _LAST_SECOND))


def is_live(record: bytes, now: bytes) -> bool:
    """Whether the document has not expired."""
    return is_to_come(record[EXPIRY], now)


def is_to_come(expiry: bytes, now: bytes) -> bool:
    """Whether a stored expiry is yet to come, or there is none: it comes as its second begins."""
    return expiry == _NEVER or expiry > now


def _field(record: bytes | memoryview, start: int) -> tuple[bytes, int]:
    """What follows its leb128 length at `start`, and where it ends."""
    length = shift = 0
    while True:
        byte = record[start]
        start += 1
        length |= (byte & _SEVEN_BITS) << shift
        shift += 7
        if byte <= _SEVEN_BITS:
            return bytes(record[start : start + length]), start + length
