"""Values that a client has compressed with snappy: the raw format, without a stream's framing."""

from __future__ import annotations

from typing import Final

from cramjam import DecompressionError
from cramjam import snappy as codec  # pyright: ignore[reportMissingModuleSource]  # it is native

MAX_VALUE: Final = 20 * 1024 * 1024
"""Bytes of a document's value."""


class BadSnappyError(ValueError):
    """A value is no snappy, or would be too large without."""


def plain_size(value: bytes) -> int:
    """Bytes that a compressed value says it takes without.

    Raises:
        BadSnappyError: it does not say, or says too much: a few bytes may claim gigabytes.
    """
    try:
        size = codec.decompress_raw_len(value)
    except DecompressionError as error:
        msg = f"the value is no snappy: {error}"
        raise BadSnappyError(msg) from error
    if size > MAX_VALUE:
        msg = f"the value takes {size} bytes without snappy, over the {MAX_VALUE} allowed"
        raise BadSnappyError(msg)
    return size


def inflate(value: bytes) -> bytes:
    """A compressed value without snappy, which takes about a millisecond a megabyte.

    Raises:
        BadSnappyError: see `plain_size`.
    """
    plain_size(value)
    try:
        return bytes(codec.decompress_raw(value))
    except DecompressionError as error:
        msg = f"the value is no snappy: {error}"
        raise BadSnappyError(msg) from error


def deflate(value: bytes) -> bytes:
    """A value with snappy."""
    return bytes(codec.compress_raw(value))
