"""Redis's protocol, RESP: requests are arrays of bulk strings, or lines of words. No I/O.

Invariants: `_buffer[_begin:_at]` is what was parsed of a frame that is not whole yet, and `_args` are
its words so far. So each byte is parsed once, however the client's bytes are split.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import ewb

from .outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LINE: Final = 64 * 1024
"""Bytes of a line: of an inline command, or before an array or a bulk string."""
MAX_ARGS: Final = 1024 * 1024
"""Words of a command."""
MAX_BULK: Final = 8 * 1024 * 1024
"""Bytes of a word."""

array_begins: Final = re.compile(rb"\*(\d{1,9})\r?\n").match
bulk_begins: Final = re.compile(rb"\$(\d{1,9})\r?\n").match

Request: TypeAlias = list[bytes]
"""The words of a command."""


class Simple(bytes):
    """A reply that is a word of Redis's, such as `OK`: a simple string."""

    __slots__ = ()


Value: TypeAlias = "int | bytes | Sequence[Value] | dict[bytes, Value] | None"
"""What a reply may be. A sequence is an array, a dict is a map."""

OK: Final = Simple(b"OK")


class RespProtocol(ewb.Protocol[Request, Outcome, bytes, Value]):
    """One connection's protocol. All commands are `Order.SERIAL`, as in Redis."""

    def __init__(self) -> None:
        self.version = 2
        """Of RESP; HELLO changes it."""
        self._buffer = bytearray()
        self._begin = 0  # of the frame that is being parsed
        self._at = 0  # so far it is parsed
        self._args: Request = []
        self._count = 0  # how many there will be; 0: the frame's first line is not whole yet

    @property
    def unparsed(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._buffer) - self._begin

    # -- requests ---------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take what the client sent."""
        del self._buffer[: self._begin]
        self._at -= self._begin
        self._begin = 0
        self._buffer += data

    def next_request(self) -> Request | None:
        """The next command that is whole.

        Raises:
            ewb.ProtocolError: the client's bytes are no RESP, or a bound was passed.
        """
        while self._count == 0:
            if not self._begin_request():
                return None
        while len(self._args) < self._count:
            word = self._next_bulk()
            if word is None:
                return None
            self._args.append(word)
        args, self._args = self._args, []
        self._begin, self._count = self._at, 0
        return args

    def _begin_request(self) -> bool:
        """The header of an array; or a line, which has all of its words. False: neither is whole."""
        if header := array_begins(self._buffer, self._at):
            self._count = bounded(header[1], MAX_ARGS, "invalid multibulk length")
            self._at = header.end()
        else:
            line = self._next_line()
            if line is None:
                return False
            if line.startswith(b"*"):
                refuse("invalid multibulk length")
            self._args = line.split()
            self._count = len(self._args)
        if self._count == 0:
            self._begin = self._at  # an empty request is none
        return True

    def _next_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._at, self._at + MAX_LINE)
        if end < 0:
            if len(self._buffer) - self._at >= MAX_LINE:
                refuse("too big inline request")
            return None
        line = bytes(self._buffer[self._at : end])
        self._at = end + 1
        return line

    def _next_bulk(self) -> bytes | None:
        header = bulk_begins(self._buffer, self._at)
        if header is None:
            line = self._next_line()
            if line is None:
                return None
            found = line[:1].decode("ascii", "backslashreplace")
            refuse("invalid bulk length" if found == "$" else f"expected '$', got '{found}'")
        begin = header.end()
        end = begin + bounded(header[1], MAX_BULK, "invalid bulk length")
        if len(self._buffer) < end + 2:
            return None
        if not self._buffer.startswith(b"\r\n", end):
            refuse("a bulk string is longer than announced")
        self._at = end + 2
        return bytes(self._buffer[begin:end])

    # -- replies ----------------------------------------------------------------------------------

    def encode_batch(self, request: Request, batch: list[bytes]) -> list[bytes]:
        """Chunks of a stream: its producer has encoded them."""
        del request
        return batch

    def encode_end(self, request: Request, status: Outcome | ewb.Status, reply: Value) -> list[bytes]:
        """The answer, or its end."""
        del request
        match status:
            case ewb.Status.OK:
                return [encode(reply, self.version)]
            case Outcome.STREAMED:
                return []
            case Outcome.NOTHING_CAME:
                return [b"*-1\r\n" if self.version == 2 else b"_\r\n"]  # noqa: PLR2004 - RESP2
            case Outcome():
                return [error(status.value, reply if isinstance(reply, bytes) else b"")]
            case _:
                return [error("ERR", b"the command ended as " + status.name.encode())]


def protocol_of(connection: ewb.Connection) -> RespProtocol:
    """The object that the front end made for it."""
    protocol = connection.protocol
    assert isinstance(protocol, RespProtocol)  # noqa: S101 - it was given no other class
    return protocol


def encode(value: Value, version: int) -> bytes:
    """A reply, in this version of RESP."""
    if isinstance(value, Simple):
        return b"+%b\r\n" % value
    if isinstance(value, bytes):
        return bulk(value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    if value is None:
        return b"$-1\r\n" if version == 2 else b"_\r\n"  # noqa: PLR2004 - RESP2
    if isinstance(value, dict):
        items = [item for pair in value.items() for item in pair]
        as_list = version == 2  # noqa: PLR2004 - RESP2
        header = b"*%d\r\n" % len(items) if as_list else b"%%%d\r\n" % len(value)
        return header + b"".join([encode(item, version) for item in items])
    return array_header(len(value)) + b"".join([encode(item, version) for item in value])


def array_header(count: int) -> bytes:
    """What comes before so many elements."""
    return b"*%d\r\n" % count


def bulk(value: bytes) -> bytes:
    """A bulk string."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def error(code: str, text: bytes) -> bytes:
    """An error, on one line whatever the text is."""
    return b"-%b %b\r\n" % (code.encode(), text.replace(b"\r", b" ").replace(b"\n", b" "))


def bounded(digits: bytes, most: int, complaint: str) -> int:
    """A number that is not more than `most`."""
    number = int(digits)
    if number > most:
        refuse(complaint)
    return number


def refuse(complaint: str) -> NoReturn:
    """Say so, and have the connection closed."""
    raise ewb.ProtocolError(complaint, error("ERR", b"Protocol error: " + complaint.encode()))
