"""What answers carry, besides their status."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from .codes import Datatype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FLAGS: Final = struct.Struct(">I")
TOKEN: Final = struct.Struct(">QQ")
"""A mutation's: the vBucket's uuid, the sequence number."""
NUMBER: Final = struct.Struct(">Q")
META: Final = struct.Struct(">IIIQ")
"""Deleted, flags, expiry, sequence number."""
COLLECTION_ID: Final = struct.Struct(">QI")
"""The manifest's uid, the collection's id."""


@attrs.define
class Reply:
    """One frame, after its header."""

    value: bytes = b""
    extras: bytes = b""
    key: bytes = b""
    datatype: int = Datatype.RAW
    cas: int = 0


@attrs.frozen
class ErrorContext:
    """What went wrong, for who asked HELLO to be told."""

    context: str
    more: Mapping[str, object] = attrs.field(factory=dict[str, object])
    """Further members of the error's JSON object."""

    def encode(self) -> bytes:
        """The JSON of it."""
        return json.dumps({"error": {"context": self.context}, **self.more}).encode()


@attrs.frozen
class Statistics:
    """The answer to STAT: a frame for each line, and an empty one."""

    lines: Sequence[tuple[str, str]]


Payload: TypeAlias = Reply | ErrorContext | Statistics


def text(value: str) -> Reply:
    """A version, a list of mechanisms."""
    return Reply(value.encode())


def as_json(value: object) -> Reply:
    """A cluster config, an error map, a manifest."""
    return Reply(json.dumps(value, separators=(",", ":")).encode(), datatype=Datatype.JSON)


def document(value: bytes, *, flags: int, cas: int, datatype: int, key: bytes = b"") -> Reply:
    """A document that was read."""
    return Reply(value, FLAGS.pack(flags), key, datatype, cas)


def meta(*, flags: int, expiry: int, seqno: int, cas: int, datatype: int | None) -> Reply:
    """A document's metadata, without the datatype if that is None."""
    extras = META.pack(0, flags, expiry, seqno)
    if datatype is not None:
        extras += bytes((datatype,))
    return Reply(extras=extras, cas=cas)


def mutation(cas: int, token: tuple[int, int] | None) -> Reply:
    """A document that was written.

    Args:
        cas: what it has now.
        token: the vBucket's uuid and the sequence number, if HELLO asked for them.
    """
    return Reply(extras=TOKEN.pack(*token) if token else b"", cas=cas)


def counter(number: int, cas: int, token: tuple[int, int] | None) -> Reply:
    """A counter that was changed."""
    return Reply(NUMBER.pack(number), TOKEN.pack(*token) if token else b"", cas=cas)


def features(agreed: Iterable[int]) -> Reply:
    """What HELLO has negotiated."""
    return Reply(b"".join(feature.to_bytes(2, "big") for feature in agreed))


def collection_id(manifest: int, collection: int) -> Reply:
    """The id of a collection."""
    return Reply(extras=COLLECTION_ID.pack(manifest, collection))
