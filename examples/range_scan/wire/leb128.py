"""Unsigned LEB128: seven bits a byte, the lowest first; the top bit says that more follow."""

from __future__ import annotations

from typing import Final

MORE: Final = 0x80
"""The bit that says so."""


def encode(number: int) -> bytes:
    """A number that is not negative, in as few bytes as it takes."""
    out = bytearray()
    while number >= MORE:
        out.append(number & ~MORE & 0xFF | MORE)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode(data: bytes | memoryview, start: int = 0) -> tuple[int, int]:
    """The number of 32 bits at most that begins at `start`, and where it ends.

    Raises:
        ValueError: it is cut off, too large, or longer than it need be.
    """
    number = 0
    for count, byte in enumerate(data[start : start + 5]):
        number |= (byte & ~MORE) << 7 * count
        if not byte & MORE:
            if number >> 32 or (count and not byte):
                break
            return number, start + count + 1
    msg = "this is no LEB128 number of 32 bits"
    raise ValueError(msg)
