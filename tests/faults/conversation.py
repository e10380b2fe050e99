"""A conversation of a raw client with the server: all that a client does, and what it must see."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Final

from examples.range_scan import wire
from examples.range_scan.wire import Datatype, Feature, Frame, FrameReader, Opcode, Status

from .server import PASSWORD, USER
from .waiting import GUARD

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

MINE: Final = b"mine"
OLD, NEW = b"old " * 50, b"new " * 700
SCANNED: Final = {b"s%03d" % number: b"%d " % number * 40 for number in range(150)}
VBUCKET: Final = 1
"""Of what is scanned; the rest is in vBucket 0."""
LARGE: Final = {b"s%03d" % number: b"%d " % number * 20_000 for number in range(250)}
"""More than the system buffers between the two, in the vBucket behind that."""
_HEADER: Final = 24


class Conversation:
    """One, over one connection; `heard` is what came of it, in order, without what changes."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.acknowledged = b""
        """The value that was written last, as far as the client knows."""
        self._port = port
        self._reader = FrameReader(wire.REPLIES, 1 << 24)
        self._opaques = count(1)

    def run(self) -> bool:
        """Have it. False if the connection was lost in the midst."""
        try:
            with self._connected():
                self._documents()
                self._scan(VBUCKET, 20, 0)
                self._many_at_once()
        except (EOFError, OSError):
            return False
        return True

    def fill(self) -> None:
        """Write what the scans of all conversations find, instead."""
        with self._connected():
            for vbucket, documents in enumerate((SCANNED, LARGE), VBUCKET):
                self._send(*(_set(key, value, vbucket) for key, value in documents.items()))
                assert all(self._receive().code == Status.SUCCESS for _ in documents)

    def document(self) -> bytes:
        """Read the document that conversations write, instead."""
        with self._connected():
            return self._ask(_get(MINE))

    def scan_large(self) -> bool:
        """Only log in, and scan what is large. False if the connection was lost in the midst."""
        try:
            with self._connected():
                self._scan(VBUCKET + 1, 0)
        except (EOFError, OSError):
            return False
        return True

    @contextmanager
    def _connected(self) -> Generator[None]:
        with socket.create_connection(("127.0.0.1", self._port), GUARD) as self._socket:
            self._begin()
            yield

    def _begin(self) -> None:
        features = b"".join(feature.to_bytes(2, "big") for feature in Feature)
        self._ask(Frame(Opcode.HELLO, key=b"a test", value=features))
        login = f"\0{USER}\0{PASSWORD}".encode()
        self._ask(Frame(Opcode.SASL_AUTH, key=b"PLAIN", value=login))
        self._ask(Frame(Opcode.SELECT_BUCKET, key=b"default"))

    def _documents(self) -> None:
        for value in (OLD, NEW):
            self._ask(_set(MINE, value))
            self.acknowledged = value
            self._ask(_get(MINE))

    def _scan(self, vbucket: int, *items_of_each: int) -> None:
        wanted = {"range": {"start": "cw==", "end": "c/8="}}
        create = Frame(Opcode.RANGE_SCAN_CREATE, code=vbucket, datatype=Datatype.JSON)
        create.value = json.dumps(wanted).encode()
        uuid = self._ask(create)
        for items in items_of_each:
            extras = struct.pack(">16sIII", uuid, items, 0, 0)
            self._send(Frame(Opcode.RANGE_SCAN_CONTINUE, code=vbucket, extras=extras))
            while self._hear_of_scan():
                pass

    def _hear_of_scan(self) -> bool:
        reply = self._receive()
        for document in wire.documents_in(reply.value) if reply.extras else ():
            self.heard.append((document.key, document.value))
        if reply.code != Status.SUCCESS:
            self.heard.append((reply.opcode, reply.code))
        return reply.code == Status.SUCCESS

    def _many_at_once(self) -> None:
        frames = [_get(MINE), Frame(Opcode.NOOP), _get(b"none")]
        self._send(*frames)
        replies = [self._receive() for _ in frames]
        replies.sort(key=lambda reply: reply.opaque)  # they may come in any order
        self.heard += [(reply.opcode, reply.code) for reply in replies]

    def _ask(self, frame: Frame) -> bytes:
        self._send(frame)
        reply = self._receive()
        assert reply.opaque == frame.opaque
        shown = reply.value if reply.opcode == Opcode.GET else b""
        self.heard.append((reply.opcode, reply.code, shown))
        return reply.value

    def _send(self, *frames: Frame) -> None:
        for frame in frames:
            frame.opaque = next(self._opaques)
        self._socket.sendall(b"".join(map(wire.pack_request, frames)))

    def _receive(self) -> Frame:
        while (frame := self._reader.next_frame()) is None:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError
            self._reader.receive_data(data)
        return frame


def _set(key: bytes, value: bytes, vbucket: int = 0) -> Frame:
    return Frame(Opcode.SET, code=vbucket, key=b"\0" + key, value=value, extras=bytes(8))


def _get(key: bytes) -> Frame:
    return Frame(Opcode.GET, key=b"\0" + key)


def offsets(passed: bytes) -> Iterator[int]:
    """Where frames begin and end in what has passed, and places within: in the head, and behind it."""
    at = 0
    while at < len(passed):
        (body,) = struct.unpack_from(">I", passed, at + 8)
        yield from {at, at + 1, at + _HEADER // 2, at + _HEADER, at + _HEADER + body // 2}
        at += _HEADER + body
    yield at
