"""The wire of one connection, in the shape of `ewb.Protocol`.

Invariants:

- Until `trust` is called, and after `distrust`, no frame of more than `UNTRUSTED_FRAME` bytes is taken.
- Writes that run beside each other have `MAX_BESIDE` bytes of values at most, compressed ones and what
  they are made plain to; what comes then waits for them.
- A CREATE that looks for a sequence number, and walks over a vBucket for that, runs beside no other.
- A command that keeps a whole document while it is parked runs beside no other: GAT, which has it until
  it is on disk, and GET if its value may have to be made plain.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

import ewb

from . import parsing
from .codes import Datatype, Feature, Status
from .frames import (
    HEADER,
    REQUESTS,
    BadFrameError,
    Frame,
    FrameReader,
    pack_reply,
    pack_reply_around,
)
from .items import DOCUMENTS, KEYS
from .replies import ErrorContext, Payload, Reply, Statistics
from .requests import (
    CancelScan,
    Concatenate,
    ContinueScan,
    Count,
    CreateScan,
    Delete,
    Get,
    GetMeta,
    Store,
    Touch,
)
from .rules import NEEDS
from .snappy import MAX_VALUE, plain_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .requests import Head, Request

UNTRUSTED_FRAME: Final = 16 * 1024
"""Bytes of a frame, before its client has logged in."""
MAX_FRAME: Final = MAX_VALUE + HEADER.size
"""Bytes of a frame."""

MAX_BESIDE: Final = 16 * 1024 * 1024
"""Bytes of all values that are being written at a time for one client."""

REORDERED: Final = frozenset(
    {
        Get,
        GetMeta,
        Store,
        Concatenate,
        Count,
        Delete,
        Touch,
        CreateScan,
        ContinueScan,
        CancelScan,
    }
)
"""Commands that may run beside others, if HELLO has negotiated it. All others are barriers."""

_OF_EWB: Final = {
    ewb.Status.OK: Status.SUCCESS,
    ewb.Status.FAILED: Status.INTERNAL,
    ewb.Status.CANCELLED: Status.TEMPORARY_FAILURE,
    ewb.Status.TIMED_OUT: Status.TEMPORARY_FAILURE,
    ewb.Status.BUSY: Status.TEMPORARY_FAILURE,  # at BUSY, the SDK would try again at once
}
_SCAN_GOES_WELL: Final = frozenset({Status.SUCCESS, Status.SCAN_MORE, Status.SCAN_COMPLETE})


class BinaryProtocol:
    """Parses the requests of one client, and encodes what it is answered. Thread: front end."""

    def __init__(self) -> None:
        self.features: frozenset[int] = frozenset()
        """What HELLO has negotiated."""
        self._frames = FrameReader(REQUESTS, UNTRUSTED_FRAME)
        self._held = 0  # bytes of the values of commands that are not answered

    def __repr__(self) -> str:
        return f"<BinaryProtocol: {self._frames!r}>"

    # -- what the engine changes --------------------------------------------------------------------

    def negotiate(self, asked: Iterable[int]) -> list[int]:
        """Agree on the features that the client asks for and we serve, in its order; returns them."""
        served = frozenset(Feature)
        agreed = [feature for feature in dict.fromkeys(asked) if feature in served]
        self.features = frozenset(agreed)
        return agreed

    def trust(self) -> None:
        """The client has logged in: take frames of up to `MAX_FRAME` bytes."""
        self._frames.limit = MAX_FRAME

    def distrust(self) -> None:
        """It logs in anew: until it has, take small frames only, as before."""
        self._frames.limit = UNTRUSTED_FRAME

    # -- what comes in ------------------------------------------------------------------------------

    @property
    def unparsed(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return self._frames.unparsed

    def receive_data(self, data: bytes) -> None:
        """Take what the client sent."""
        self._frames.receive_data(data)

    def next_request(self) -> Request | None:
        """The next request, if it is here.

        Raises:
            ewb.ProtocolError: what the client sent is no frame, or a larger one than it may send.
        """
        try:
            frame = self._frames.next_frame()
        except BadFrameError as error:
            raise ewb.ProtocolError(str(error), self._last_reply(error)) from error
        return None if frame is None else parsing.parse(frame, self.features)

    def order(self, request: Request) -> ewb.Order:
        """Whether it may run beside others."""
        self._held += _value_size(request)
        if (
            Feature.UNORDERED not in self.features
            or type(request) not in REORDERED
            or request.head.barrier
            or request.head.quiet  # or a NOOP after it might overtake its error
            or self._held > MAX_BESIDE
            or (Feature.SNAPPY not in self.features and isinstance(request, Get))
            or _walks_over_all(request)
        ):
            return ewb.Order.SERIAL
        return ewb.Order.REORDER

    # -- what goes out ------------------------------------------------------------------------------

    def encode_batch(self, request: Request, batch: list[bytes]) -> Sequence[bytes]:
        """A part of a scan: one frame around all of it, which copies nothing."""
        frame = Frame(request.head.opcode, request.head.opaque, extras=_contents(request))
        return pack_reply_around(frame, batch)

    def encode_end(
        self, request: Request, status: Status | ewb.Status, reply: Payload | None
    ) -> Sequence[bytes]:
        """The answer, or the end of it. None to a quiet command that did what it should."""
        self._held -= _value_size(request)
        code = _OF_EWB[status] if isinstance(status, ewb.Status) else status
        head = request.head
        if head.quiet and code is request.silent:
            return []
        if isinstance(reply, Statistics):
            return _lines(head, reply)
        if isinstance(reply, ErrorContext):
            return pack_reply(self._explained(Frame(head.opcode, head.opaque, code), reply))
        if reply is None:
            reply = Reply()
            if isinstance(request, ContinueScan) and code in _SCAN_GOES_WELL:
                reply.extras = _contents(request)
        return pack_reply(
            Frame(
                head.opcode,
                head.opaque,
                code,
                reply.cas,
                reply.datatype & self._datatypes,
                extras=reply.extras,
                key=reply.key,
                value=reply.value,
            )
        )

    @property
    def _datatypes(self) -> int:
        """Those that the client knows."""
        return sum(datatype for datatype, feature in NEEDS.items() if feature in self.features)

    def _explained(self, frame: Frame, error: ErrorContext) -> Frame:
        """The frame with an error's context, if the client has asked for that."""
        if Feature.XERROR in self.features:
            frame.value = error.encode()
            frame.datatype = Datatype.JSON & self._datatypes
        return frame

    def _last_reply(self, error: BadFrameError) -> bytes:
        if error.answer is None:
            return b""
        return b"".join(pack_reply(self._explained(error.answer, ErrorContext(str(error)))))


def _walks_over_all(request: Request) -> bool:
    """Does it take as long as a vBucket is large, before there is anything to send?"""
    return (
        isinstance(request, CreateScan)
        and request.snapshot is not None
        and request.snapshot.seqno_exists
    )


def _value_size(request: Request) -> int:
    """Bytes that a value takes while it is written: a compressed one is made plain too, to check it."""
    if not isinstance(request, Store | Concatenate):
        return 0
    size = len(request.value)
    return size + plain_size(request.value) if request.datatype & Datatype.SNAPPY else size


def _contents(request: Request) -> bytes:
    return KEYS if isinstance(request, ContinueScan) and request.keys_only else DOCUMENTS


def _lines(head: Head, statistics: Statistics) -> list[bytes]:
    frames = [
        Frame(head.opcode, head.opaque, key=name.encode(), value=value.encode())
        for name, value in statistics.lines
    ]
    end = Frame(head.opcode, head.opaque)
    return [b"".join(chain.from_iterable(map(pack_reply, [*frames, end])))]
