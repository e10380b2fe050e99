"""The framing extras of a request: a sequence of small objects, each with an id and a length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BARRIER: Final = 0
"""The request must not run beside others."""
DEFINED: Final = range(8)
"""The ids that the protocol has a meaning for."""
_ESCAPE: Final = 15


class BadFrameInfoError(ValueError):
    """The framing extras are cut off."""


def frame_infos(framing: bytes) -> Iterator[tuple[int, bytes]]:
    """Each object's id and data.

    Raises:
        BadFrameInfoError: while iterating.
    """
    at = 0
    while at < len(framing):
        number, length = framing[at] >> 4, framing[at] & 0x0F
        at += 1
        if number == _ESCAPE:
            number, at = _escaped(framing, at)
        if length == _ESCAPE:
            length, at = _escaped(framing, at)
        data = framing[at : at + length]
        if len(data) < length:
            msg = f"framing extras: object {number} has {len(data)} of its {length} bytes"
            raise BadFrameInfoError(msg)
        yield number, data
        at += length


def _escaped(framing: bytes, at: int) -> tuple[int, int]:
    if at == len(framing):
        msg = "framing extras: they end in the midst of an object's head"
        raise BadFrameInfoError(msg)
    return _ESCAPE + framing[at], at + 1
