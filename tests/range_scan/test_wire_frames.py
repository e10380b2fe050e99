"""Frames: what goes in comes out, whatever the split; and no more is held than was sent."""

from __future__ import annotations

import struct
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.range_scan.wire import (
    REPLIES,
    REQUESTS,
    BadFrameError,
    Frame,
    FrameReader,
    Status,
    pack_reply,
    pack_request,
)

pytestmark = pytest.mark.tree

byte = st.integers(0, 0xFF)
frames = st.builds(
    Frame,
    opcode=byte,
    opaque=st.integers(0, 2**32 - 1),
    code=st.integers(0, 2**16 - 1),
    cas=st.integers(0, 2**64 - 1),
    datatype=byte,
    framing=st.binary(max_size=20),
    extras=st.binary(max_size=30),
    key=st.binary(max_size=60),
    value=st.binary(max_size=200),
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut there."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def read_all(reader: FrameReader, parts: list[bytes]) -> list[Frame]:
    """Feed all, and take all frames after each."""
    found: list[Frame] = []
    for part in parts:
        reader.receive_data(part)
        while (frame := reader.next_frame()) is not None:
            found.append(frame)
    return found


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 10_000), max_size=10))
def test_requests_come_out_as_they_went_in_however_they_are_cut(
    sent: list[Frame], cuts: list[int]
) -> None:
    """Both framings, any split."""
    data = b"".join(map(pack_request, sent))
    reader = FrameReader(REQUESTS, 1000)
    assert read_all(reader, pieces(data, cuts)) == sent
    assert reader.unparsed == 0


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 10_000), max_size=10))
def test_replies_come_out_as_they_went_in(sent: list[Frame], cuts: list[int]) -> None:
    """A reply's value may be a buffer of its own."""
    data = b"".join(buffer for frame in sent for buffer in pack_reply(frame))
    assert read_all(FrameReader(REPLIES, 1000), pieces(data, cuts)) == sent


def test_a_large_value_of_a_reply_is_not_copied() -> None:
    """It is the same object."""
    value = bytes(100_000)
    assert pack_reply(Frame(0, value=value))[1] is value


def test_a_frame_over_the_limit_is_refused_when_its_header_is_here() -> None:
    """None of its body was sent, and the answer names the request."""
    reader = FrameReader(REQUESTS, 1000)
    header = struct.pack(">BBHBBHIIQ", 0x80, 1, 0, 0, 0, 0, 977, 42, 0)
    reader.receive_data(header)
    with pytest.raises(BadFrameError, match="1001 bytes is over the 1000") as caught:
        reader.next_frame()
    assert caught.value.answer == Frame(1, 42, Status.TOO_BIG)


def test_a_frame_at_the_limit_is_taken() -> None:
    """The bound is inclusive."""
    reader = FrameReader(REQUESTS, 1000)
    reader.receive_data(pack_request(Frame(1, value=bytes(976))))
    assert reader.next_frame() == Frame(1, value=bytes(976))


def test_a_frame_whose_parts_do_not_fit_in_its_body_is_refused() -> None:
    """An extras length of 8 in a body of 4."""
    reader = FrameReader(REQUESTS, 1000)
    reader.receive_data(struct.pack(">BBHBBHIIQ", 0x80, 1, 0, 8, 0, 0, 4, 42, 0))
    with pytest.raises(BadFrameError, match="shorter than its parts") as caught:
        reader.next_frame()
    assert caught.value.answer == Frame(1, 42, Status.INVALID)


@pytest.mark.parametrize("first", [b"g", b"\x81", b"\x18", b"\x00"])
def test_what_is_no_request_is_refused_at_its_first_byte(first: bytes) -> None:
    """`get` of the text protocol; a reply."""
    reader = FrameReader(REQUESTS, 1000)
    reader.receive_data(first)
    with pytest.raises(BadFrameError, match="does not begin") as caught:
        reader.next_frame()
    assert caught.value.answer is None


def test_a_frame_that_claims_much_and_sends_little_takes_little_memory() -> None:
    """Twenty mebibytes are claimed, a kibibyte is sent."""
    reader = FrameReader(REQUESTS, 2**31)
    header = struct.pack(">BBHBBHIIQ", 0x80, 1, 0, 0, 0, 0, 20 * 2**20, 0, 0)
    tracemalloc.start()
    try:
        reader.receive_data(header + bytes(1000))
        assert reader.next_frame() is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000
    assert reader.unparsed == 1024


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_any_bytes_give_frames_or_an_error_and_the_same_ones_however_they_are_cut(
    data: bytes, cuts: list[int]
) -> None:
    """No other exception, and no endless loop."""

    def outcome(parts: list[bytes]) -> list[object]:
        reader, found = FrameReader(REQUESTS, 200), list[object]()
        try:
            for part in parts:
                reader.receive_data(part)
                while (frame := reader.next_frame()) is not None:
                    found.append(frame)
        except BadFrameError as error:
            found.append(str(error))
        return found

    assert outcome(pieces(data, cuts)) == outcome([data])
