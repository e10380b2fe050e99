"""What a scan's answers consist of: keys, or documents, one after another."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import attrs

from . import leb128

if TYPE_CHECKING:
    from collections.abc import Iterator

META: Final = struct.Struct(">IIQQB")
"""Flags, expiry, sequence number, CAS, datatype."""
KEYS: Final = b"\0\0\0\0"
"""The extras of an answer that consists of keys."""
DOCUMENTS: Final = b"\0\0\0\1"
"""The extras of an answer that consists of documents."""


@attrs.define
class ScannedDocument:
    """A document, as a scan sends it."""

    key: bytes
    value: bytes
    flags: int
    expiry: int
    seqno: int
    cas: int
    datatype: int

    def encode(self) -> bytes:
        """The bytes of it."""
        return b"".join(
            (
                META.pack(self.flags, self.expiry, self.seqno, self.cas, self.datatype),
                leb128.encode(len(self.key)),
                self.key,
                leb128.encode(len(self.value)),
                self.value,
            )
        )


def keys_in(data: bytes) -> Iterator[bytes]:
    """The keys in an answer.

    Raises:
        ValueError: while iterating; it is cut off.
    """
    at = 0
    while at < len(data):
        key, at = _counted(data, at)
        yield key


def documents_in(data: bytes) -> Iterator[ScannedDocument]:
    """The documents in an answer.

    Raises:
        ValueError: while iterating; it is cut off.
    """
    at = 0
    while at < len(data):
        if at + META.size > len(data):
            msg = f"byte {at}: a document's metadata is cut off"
            raise ValueError(msg)
        flags, expiry, seqno, cas, datatype = META.unpack_from(data, at)
        key, at = _counted(data, at + META.size)
        value, at = _counted(data, at)
        yield ScannedDocument(key, value, flags, expiry, seqno, cas, datatype)


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    """Bytes with their length before them, and where they end."""
    length, start = leb128.decode(data, at)
    end = start + length
    if end > len(data):
        msg = f"byte {start}: {length} bytes are cut off after {len(data) - start}"
        raise ValueError(msg)
    return data[start:end], end
