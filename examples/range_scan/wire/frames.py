"""Frames: a header of 24 bytes, and what it says follows. Sans I/O, for both ends of a connection.

Invariants:

- A frame's size is checked as soon as its header is here, before any of its body is kept.
- No more is held than was received, and of that only what was not taken as frames yet.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import attrs

from .codes import Magic, Status

if TYPE_CHECKING:
    from collections.abc import Collection

HEADER: Final = struct.Struct(">BBHBBHIIQ")
"""Magic, opcode, key length, extras length, datatype, vBucket or status, body length, opaque, CAS."""
FLEXIBLE: Final = frozenset({Magic.FLEXIBLE_REQUEST, Magic.FLEXIBLE_REPLY})
REQUESTS: Final = frozenset({Magic.REQUEST, Magic.FLEXIBLE_REQUEST})
REPLIES: Final = frozenset({Magic.REPLY, Magic.FLEXIBLE_REPLY})
WORTH_COPYING: Final = 8 * 1024
"""Bytes of a value up to which copying it is cheaper than sending it by itself."""


@attrs.define
class Frame:
    """A frame, taken apart. Those of requests have a vBucket, those of replies a status: `code`."""

    opcode: int
    opaque: int = 0
    code: int = 0
    cas: int = 0
    datatype: int = 0
    framing: bytes = b""
    extras: bytes = b""
    key: bytes = b""
    value: bytes = b""


class BadFrameError(ValueError):
    """What was received is no frame, or one that is not taken. Nothing after it can be understood.

    Args:
        message: what is wrong.
        answer: the head of an answer to it, if that much of it is a frame.
    """

    def __init__(self, message: str, answer: Frame | None = None) -> None:
        super().__init__(message)
        self.answer = answer


class FrameReader:
    """Takes bytes as they come, gives frames.

    Args:
        magics: the first bytes of frames that the other end may send: `REQUESTS` or `REPLIES`.
        limit: bytes of a frame, header and all. May be changed at any time.
    """

    def __init__(self, magics: Collection[int], limit: int) -> None:
        self.limit = limit
        self._magics = magics
        self._buffer = bytearray()
        self._start = 0  # of what was not taken yet

    def __repr__(self) -> str:
        return f"<FrameReader: {self.unparsed} bytes of at most {self.limit} a frame>"

    @property
    def unparsed(self) -> int:
        """Bytes that were received, and not taken."""
        return len(self._buffer) - self._start

    def receive_data(self, data: bytes) -> None:
        """Keep what was received."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """Take the next frame, if it is whole.

        Raises:
            BadFrameError: there will be none.
        """
        if self.unparsed == 0:
            return None
        if self._buffer[self._start] not in self._magics:
            msg = f"a frame does not begin with 0x{self._buffer[self._start]:02x}"
            raise BadFrameError(msg)
        if self.unparsed < HEADER.size:
            return None
        header = HEADER.unpack_from(self._buffer, self._start)
        magic, opcode, key_length, extras_length, datatype, code, body_length, opaque, cas = header
        if HEADER.size + body_length > self.limit:
            msg = f"a frame of {HEADER.size + body_length} bytes is over the {self.limit} allowed here"
            raise BadFrameError(msg, Frame(opcode, opaque, Status.TOO_BIG))
        framing_length = 0
        if magic in FLEXIBLE:
            framing_length, key_length = key_length >> 8, key_length & 0xFF
        if framing_length + extras_length + key_length > body_length:
            msg = f"a body of {body_length} bytes is shorter than its parts"
            raise BadFrameError(msg, Frame(opcode, opaque, Status.INVALID))
        if self.unparsed < HEADER.size + body_length:
            return None
        framing = self._start + HEADER.size
        extras = framing + framing_length
        key = extras + extras_length
        value = key + key_length
        self._start = framing + body_length
        with memoryview(self._buffer) as view:  # so that a value is copied once
            return Frame(
                opcode,
                opaque,
                code,
                cas,
                datatype,
                bytes(view[framing:extras]),
                bytes(view[extras:key]),
                bytes(view[key:value]),
                bytes(view[value : self._start]),
            )


def pack_request(frame: Frame) -> bytes:
    """A frame as a client sends it."""
    return b"".join((_head(frame, is_reply=False, value_length=len(frame.value)), frame.value))


def pack_reply(frame: Frame) -> list[bytes]:
    """A frame as a server sends it; a large value is not copied."""
    head = _head(frame, is_reply=True, value_length=len(frame.value))
    if len(frame.value) > WORTH_COPYING:
        return [head, frame.value]
    return [head + frame.value]


def pack_reply_around(frame: Frame, parts: list[bytes]) -> list[bytes]:
    """A frame as a server sends it, whose value comes in parts that are not copied."""
    return [_head(frame, is_reply=True, value_length=sum(map(len, parts))), *parts]


def _head(frame: Frame, *, is_reply: bool, value_length: int) -> bytes:
    """All of a frame but its value."""
    magic, key_length = Magic.REPLY if is_reply else Magic.REQUEST, len(frame.key)
    if frame.framing:
        magic = Magic.FLEXIBLE_REPLY if is_reply else Magic.FLEXIBLE_REQUEST
        key_length |= len(frame.framing) << 8
    rest = frame.framing + frame.extras + frame.key
    header = HEADER.pack(
        magic,
        frame.opcode,
        key_length,
        len(frame.extras),
        frame.datatype,
        frame.code,
        len(rest) + value_length,
        frame.opaque,
        frame.cas,
    )
    return header + rest
