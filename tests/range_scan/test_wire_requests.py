"""From frames to requests: each command, what is wrong with a frame, and whatever bytes there are."""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ewb
from examples.range_scan.wire import (
    UNTRUSTED_FRAME,
    BinaryProtocol,
    Datatype,
    Feature,
    Frame,
    Opcode,
    Status,
    pack_request,
    snappy,
)
from examples.range_scan.wire.parsing import parse
from examples.range_scan.wire.requests import (
    CancelScan,
    Concatenate,
    ContinueScan,
    Count,
    Delete,
    Flush,
    Get,
    GetAndTouch,
    GetCollectionId,
    GetMeta,
    Head,
    Hello,
    Malformed,
    Noop,
    Quit,
    Request,
    Stat,
    Store,
    Touch,
)
from examples.range_scan.wire.rules import LOGIN

pytestmark = pytest.mark.tree

ALL = frozenset(Feature)
U32 = struct.Struct(">I")


def head(opcode: int, *, quiet: bool = False) -> Head:
    """Of the frames below."""
    return Head(opcode, 7, 3, 9, quiet=quiet)


@pytest.mark.parametrize(
    ("frame", "request_"),
    [
        (Frame(0x00, key=b"k"), Get(head(0x00), 0, b"k", with_key=False)),
        (Frame(0x09, key=b"k"), Get(head(0x09, quiet=True), 0, b"k", with_key=False)),
        (Frame(0x0C, key=b"k"), Get(head(0x0C), 0, b"k", with_key=True)),
        (Frame(0x0D, key=b"k"), Get(head(0x0D, quiet=True), 0, b"k", with_key=True)),
        (
            Frame(0x1D, key=b"k", extras=b"\0\0\0\5"),
            GetAndTouch(head(0x1D), 0, b"k", with_key=False, expiry=5),
        ),
        (
            Frame(0x24, key=b"k", extras=b"\0\0\0\5"),
            GetAndTouch(head(0x24, quiet=True), 0, b"k", with_key=True, expiry=5),
        ),
        (Frame(0xA0, key=b"k", extras=b"\2"), GetMeta(head(0xA0), 0, b"k", with_datatype=True)),
        (Frame(0xA0, key=b"k", extras=b"\1"), GetMeta(head(0xA0), 0, b"k", with_datatype=False)),
        (Frame(0xA0, key=b"k"), GetMeta(head(0xA0), 0, b"k", with_datatype=False)),
        (
            Frame(0x01, key=b"k", value=b"v", extras=b"\0\0\0\1\0\0\0\2"),
            Store(head(0x01), 0, b"k", kind=Opcode.SET, flags=1, expiry=2, datatype=0, value=b"v"),
        ),
        (
            Frame(0x13, key=b"k", value=b"v", extras=bytes(8)),
            Store(
                head(0x13, quiet=True),
                0,
                b"k",
                kind=Opcode.REPLACE,
                flags=0,
                expiry=0,
                datatype=0,
                value=b"v",
            ),
        ),
        (
            Frame(0x19, key=b"k", value=b"v"),
            Concatenate(head(0x19, quiet=True), 0, b"k", kind=Opcode.APPEND, datatype=0, value=b"v"),
        ),
        (
            Frame(0x05, key=b"k", extras=struct.pack(">QQI", 1, 2, 3)),
            Count(head(0x05), 0, b"k", kind=Opcode.INCREMENT, delta=1, initial=2, expiry=3),
        ),
        (
            Frame(0x16, key=b"k", extras=struct.pack(">QQI", 1, 2, 0xFFFFFFFF)),
            Count(
                head(0x16, quiet=True), 0, b"k", kind=Opcode.DECREMENT, delta=1, initial=None, expiry=0
            ),
        ),
        (Frame(0x14, key=b"k"), Delete(head(0x14, quiet=True), 0, b"k")),
        (Frame(0x1C, key=b"k", extras=b"\0\0\0\5"), Touch(head(0x1C), 0, b"k", expiry=5)),
        (Frame(0x08), Flush(head(0x08), delay=0)),
        (Frame(0x18, extras=b"\0\0\0\5"), Flush(head(0x18, quiet=True), delay=5)),
        (Frame(0x17), Quit(head(0x17, quiet=True))),
        (Frame(0x0A), Noop(head(0x0A))),
        (Frame(0x10, key=b"vbucket"), Stat(head(0x10), group="vbucket")),
        (
            Frame(0x1F, key=b"sdk", value=b"\0\x07\x00\x12"),
            Hello(head(0x1F), agent="sdk", features=(7, 0x12)),
        ),
        (Frame(0xBB, value=b"a.b"), GetCollectionId(head(0xBB), path="a.b")),
        (
            Frame(0xDB, extras=struct.pack(">16sIII", b"u" * 16, 1, 2, 3)),
            ContinueScan(head(0xDB), b"u" * 16, items=1, milliseconds=2, bytes=3),
        ),
        (Frame(0xDC, extras=b"u" * 16), CancelScan(head(0xDC), b"u" * 16)),
    ],
    ids=lambda value: f"{value.opcode:02x}" if isinstance(value, Frame) else None,
)
def test_commands_are_understood(frame: Frame, request_: Request) -> None:
    """Of every kind, quiet ones included."""
    frame.opaque, frame.code = 7, 3
    if frame.opcode not in {0x02, 0x12}:
        frame.cas = 9
    assert parse(frame, frozenset()) == request_


def test_with_collections_a_key_begins_with_its_collection() -> None:
    """0x80 0x02 is 256."""
    request = parse(Frame(Opcode.GET, key=b"\x80\x02key"), {Feature.COLLECTIONS})
    assert isinstance(request, Get)
    assert (request.collection, request.key) == (256, b"key")


def test_keys_may_have_250_bytes_besides_their_collection() -> None:
    """And not one more."""
    features = {Feature.COLLECTIONS}
    assert isinstance(parse(Frame(0, key=b"\x80\x02" + b"k" * 250), features), Get)
    assert isinstance(parse(Frame(0, key=b"\x80\x02" + b"k" * 251), features), Malformed)


@pytest.mark.parametrize(
    ("frame", "status", "context"),
    [
        (Frame(0x42), Status.UNKNOWN_COMMAND, "0x42"),
        (Frame(Opcode.GET), Status.INVALID, "key: this command needs one"),
        (Frame(Opcode.GET, key=b"\0"), Status.INVALID, "key: 0 bytes, where there must be 1 to 250"),
        (Frame(Opcode.GET, key=b"\x80"), Status.INVALID, "collection"),
        (Frame(Opcode.GET, key=b"\0k", value=b"v"), Status.INVALID, "value: this command has none"),
        (
            Frame(Opcode.GET, key=b"\0k", extras=b"x"),
            Status.INVALID,
            "extras: 1 bytes, where there must be 0",
        ),
        (Frame(Opcode.ADD, key=b"\0k", extras=bytes(8), cas=1), Status.INVALID, "cas"),
        (Frame(Opcode.NOOP, key=b"k"), Status.INVALID, "key: this command has none"),
        (Frame(Opcode.GET_META, key=b"\0k", extras=b"12"), Status.INVALID, "0 or 1"),
        (Frame(Opcode.GET_META, key=b"\0k", extras=b"\0"), Status.INVALID, "extras: 0x00, where"),
        (Frame(Opcode.GET_META, key=b"\0k", extras=b"\3"), Status.INVALID, "extras: 0x03, where"),
        (
            Frame(Opcode.SET, key=b"\0k", extras=bytes(8), datatype=Datatype.XATTR),
            Status.INVALID,
            "datatype 0x04",
        ),
        (
            Frame(Opcode.SET, key=b"\0k", extras=bytes(8), datatype=Datatype.SNAPPY, value=b"\xff"),
            Status.INVALID,
            "snappy",
        ),
        (
            Frame(Opcode.SET, key=b"\0k", extras=bytes(8), datatype=2, value=b"\xff\xff\xff\xff\x0f"),
            Status.INVALID,
            "4294967295",
        ),
        (
            Frame(Opcode.SASL_AUTH, key=b"PLAIN", value=bytes(LOGIN + 1)),
            Status.TOO_BIG,
            "1025 bytes, where there may be 1024",
        ),
        (
            Frame(Opcode.SASL_STEP, key=b"PLAIN", value=bytes(LOGIN + 1)),
            Status.TOO_BIG,
            "1025 bytes, where there may be 1024",
        ),
        (Frame(Opcode.HELLO, value=b"123"), Status.INVALID, "16-bit"),
        (Frame(Opcode.GET_ERROR_MAP, value=b"\0\0"), Status.INVALID, "versions begin with 1"),
        (Frame(Opcode.SELECT_BUCKET, key=b"\xff"), Status.INVALID, "bucket is no UTF-8"),
        (Frame(Opcode.RANGE_SCAN_CREATE, value=b"{}"), Status.INVALID, "datatype: it must be JSON"),
        (Frame(Opcode.GET, key=b"\0k", framing=b"\x80"), Status.UNKNOWN_FRAME_INFO, "no object 8"),
        (Frame(Opcode.GET, key=b"\0k", framing=b"\x11\x01"), Status.NOT_SUPPORTED, "object 1"),
        (Frame(Opcode.GET, key=b"\0k", framing=b"\x11"), Status.INVALID, "0 of its 1 bytes"),
        (Frame(Opcode.GET, key=b"\0k", framing=b"\xf0"), Status.INVALID, "midst"),
        (Frame(Opcode.GET, key=b"\0k", framing=b"\x01x"), Status.INVALID, "barrier has no data"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(frame: Frame, status: Status, context: str) -> None:
    """The connection goes on: the frame's end is known."""
    request = parse(frame, ALL)
    assert isinstance(request, Malformed)
    assert request.status is status
    assert context in request.context


@pytest.mark.parametrize("datatype", [Datatype.JSON, Datatype.SNAPPY])
def test_datatypes_must_have_been_negotiated(datatype: Datatype) -> None:
    """Else others could not read what this client stores."""
    value = snappy.deflate(b"{}")
    frame = Frame(Opcode.SET, key=b"k", extras=bytes(8), datatype=datatype, value=value)
    assert isinstance(parse(frame, frozenset()), Malformed)
    assert isinstance(parse(frame, {Feature.JSON, Feature.SNAPPY}), Store)


def test_a_barrier_is_seen_among_the_framing_extras() -> None:
    """Object 0, of no bytes."""
    assert parse(Frame(Opcode.GET, key=b"k", framing=b"\x00"), frozenset()).head.barrier


def all_requests(data: bytes, cuts: list[int], features: frozenset[int]) -> list[object]:
    """What a protocol makes of bytes that come in such pieces."""
    protocol = BinaryProtocol()
    protocol.features = features
    found: list[object] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for start, end in pairwise(edges):
            protocol.receive_data(data[start:end])
            while (request := protocol.next_request()) is not None:
                found.append(request)
                assert protocol.order(request) in ewb.Order
            assert protocol.unparsed <= UNTRUSTED_FRAME
    except ewb.ProtocolError as error:
        found.append(error.reply)
    return found


likely = st.builds(
    Frame,
    opcode=st.sampled_from(Opcode) | st.integers(0, 255),
    opaque=st.integers(0, 2**32 - 1),
    code=st.integers(0, 2**16 - 1),
    cas=st.sampled_from([0, 0, 1, 2**64 - 1]),
    datatype=st.sampled_from([0, 0, 1, 2, 3, 4, 255]),
    framing=st.sampled_from([b"", b"", b"\0"]) | st.binary(max_size=20),
    extras=st.sampled_from([0, 1, 4, 8, 16, 20, 28]).flatmap(
        lambda size: st.binary(min_size=size, max_size=size)
    ),
    key=st.binary(max_size=255),
    value=st.binary(max_size=100) | st.sampled_from([b"{}", b"\xff\xff\xff\xff\x0f", b'{"range":{}}']),
)


@given(
    st.lists(likely, max_size=5),
    st.lists(st.integers(0, 3000), max_size=8),
    st.sets(st.sampled_from(Feature)),
)
def test_any_frames_make_requests_and_the_same_ones_however_they_are_cut(
    frames: list[Frame], cuts: list[int], features: set[int]
) -> None:
    """A request for each frame, and no exception."""
    data = b"".join(map(pack_request, frames))
    found = all_requests(data, cuts, frozenset(features))
    assert found == all_requests(data, [], frozenset(features))
    assert len(found) == len(frames)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8), st.integers(0, 200))
def test_any_bytes_make_requests_or_end_the_connection(noise: bytes, cuts: list[int], at: int) -> None:
    """Also in the midst of sound frames."""
    sound = b"".join(
        pack_request(Frame(Opcode.SET, key=b"k", extras=bytes(8), value=b"v")) for _ in range(5)
    )
    for data in (noise, sound[:at] + noise + sound[at:]):
        with suppress(ewb.ProtocolError):
            assert all_requests(data, cuts, ALL) == all_requests(data, [], ALL)
