"""What is fuzzed: each target parses any bytes, and raises only if a parser does what it must not.

Invariants, of every target:

- The same bytes mean the same however they are split.
- Each request takes bytes away; nothing is kept that was not sent.
- The only exceptions are the parser's own. What has an encoder goes round.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache, partial
from itertools import count
from math import inf
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final
from unittest import mock

import ewb
from ewb import _frame_meter
from ewb._frame_meter import FrameMeter
from examples.line_server import LineProtocol
from examples.range_scan.auth import HASHES, Authenticator, LoginFailedError, ScramExchange
from examples.range_scan.wire import (
    REPLIES,
    REQUESTS,
    BadFrameError,
    BinaryProtocol,
    Feature,
    Frame,
    FrameReader,
    Status,
    documents_in,
    frame_info,
    keys_in,
    leb128,
    pack_reply,
    pack_request,
    scan_json,
    snappy,
)
from examples.redis_server.resp import RespProtocol, array_header, bulk

from .pieces import Pieces, cut, however_split, pull, pull_all, splits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

FRAME_LIMIT: Final = 1 << 20
NONCE: Final = b"NONCE"
"""Where a login's second message has this, it is given the nonce that the server has chosen."""
MANY: Final = 16
"""Bytes that count as progress here."""


# -- the range-scan server ----------------------------------------------------------------------------


def _frames(magics: Collection[int], pieces: Pieces) -> list[object]:
    reader, found = FrameReader(magics, FRAME_LIMIT), list[object]()
    try:
        for piece in pieces:
            reader.receive_data(piece)
            before = reader.unparsed
            while (frame := reader.next_frame()) is not None:
                found.append(frame)
                assert reader.unparsed < before, "no progress"
                before = reader.unparsed
    except BadFrameError as error:
        found += [str(error), error.answer]
    return found


def _requests_of(pieces: Pieces) -> object:
    found = _frames(REQUESTS, pieces)
    for frame in found:
        if isinstance(frame, Frame):
            assert _frames(REQUESTS, [pack_request(frame)])[0] == frame
    return found


def _replies_of(pieces: Pieces) -> object:
    found = _frames(REPLIES, pieces)
    for frame in found:
        if isinstance(frame, Frame):
            assert _frames(REPLIES, pack_reply(frame))[0] == frame
    return found


def _commands(features: Collection[int], pieces: Pieces) -> object:
    """All that a client may ask for, and how it is answered."""
    protocol = BinaryProtocol()
    protocol.negotiate(features)
    if features:
        protocol.trust()
    found = pull_all(protocol, pieces)
    requests = [request for request in found if not isinstance(request, str | bytes)]
    orders = [protocol.order(request) for request in requests]
    ends = [list(protocol.encode_end(request, Status.SUCCESS, None)) for request in requests]
    assert protocol._held == 0, "values of commands that were answered still count"
    return found, orders, ends


def _items(data: bytes) -> None:
    with suppress(ValueError):
        keys = list(keys_in(data))
        assert b"".join(leb128.encode(len(key)) + key for key in keys) == data
    with suppress(ValueError):
        assert b"".join(document.encode() for document in documents_in(data)) == data


def _number(data: bytes) -> None:
    try:
        number, end = leb128.decode(data)
    except ValueError:
        return
    assert 0 <= number < 2**32
    assert leb128.encode(number) == data[:end]


def _scan(data: bytes) -> None:
    with suppress(scan_json.BadScanError):
        scan_json.parse(data)


def _framing(data: bytes) -> None:
    with suppress(frame_info.BadFrameInfoError):
        taken = [len(inside) for _, inside in frame_info.frame_infos(data)]
        assert sum(taken) + len(taken) <= len(data)


def _value(data: bytes) -> None:
    assert snappy.inflate(snappy.deflate(data)) == data
    with suppress(snappy.BadSnappyError):
        plain = snappy.inflate(data)
        assert len(plain) == snappy.plain_size(data) <= snappy.MAX_VALUE


@cache
def _authenticator() -> Authenticator:
    return Authenticator("Administrator", "correct horse")


def _login(data: bytes) -> None:
    """Both messages of an exchange, a line each, for each hash; and PLAIN."""
    first, _, final = data.partition(b"\n")
    with suppress(LoginFailedError):
        _authenticator().check_plain(data)
    for mechanism in HASHES:
        exchange = ScramExchange(_authenticator(), mechanism)
        with suppress(LoginFailedError):
            answer = exchange.first(first)
            exchange.final(final.replace(NONCE, answer.partition(b",")[0].removeprefix(b"r=")))
            msg = "somebody has logged in"
            raise AssertionError(msg)


# -- other servers, and the front end -----------------------------------------------------------------


def _redis(pieces: Pieces) -> object:
    protocol = RespProtocol()
    found = pull_all(protocol, pieces)
    assert protocol.unparsed <= sum(map(len, pieces))
    for words in found:
        if isinstance(words, list):
            again = array_header(len(words)) + b"".join(map(bulk, words))
            assert pull_all(RespProtocol(), [again]) == [words]
    return found


def _lines(pieces: Pieces) -> object:
    protocol = LineProtocol()
    found = pull_all(protocol, pieces)
    for request in found:
        assert isinstance(request, list)
        assert all(request[1:]), "an empty word"
        protocol.order(request)
        protocol.encode_batch(request, [b"1\n"])
        assert protocol.encode_end(request, ewb.Status.OK, None)[0].endswith(b"OK\n")
    return found


def _meter(data: bytes) -> None:
    """What is taken for a stalled frame: whether a protocol says what it holds, or does not."""
    for pieces in (cut(data, range(0, len(data) + 1, 5)), *splits(data)):
        _stalls(RespProtocol(), pieces)
        _stalls(LineProtocol(), pieces)


def _stalls(protocol: RespProtocol | LineProtocol, pieces: Pieces) -> None:
    """Only requests, or so many bytes, are progress; the clock ticks at each look."""
    clock = count()
    meter, pulled, since, at = FrameMeter(protocol), 0, inf, 0
    with (
        mock.patch.object(_frame_meter, "PROGRESS", MANY),
        mock.patch.object(_frame_meter, "trio", SimpleNamespace(current_time=lambda: next(clock))),
        suppress(ewb.ProtocolError),
    ):
        for piece in pieces:
            meter.feed(len(piece))
            came = len(pull(protocol, piece))
            pulled += came
            meter.look(pulled, wants_data=True)
            assert meter.unparsed == getattr(protocol, "unparsed", meter.unparsed)
            assert (meter.stalled_since == inf) == (meter.unparsed == 0)
            if meter.stalled_since != since:
                assert came or inf in {since, meter.stalled_since} or meter.unparsed >= at + MANY
                since, at = meter.stalled_since, meter.unparsed


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "frames": however_split(_requests_of),
    "replies": however_split(_replies_of),
    "commands": however_split(partial(_commands, frozenset(Feature))),
    "commands-of-strangers": however_split(partial(_commands, frozenset())),
    "framing": _framing,
    "items": _items,
    "leb128": _number,
    "login": _login,
    "scan-json": _scan,
    "snappy": _value,
    "redis": however_split(_redis),
    "lines": however_split(_lines),
    "frame-meter": _meter,
}
"""By their names, which are those of their folders in the corpus."""
