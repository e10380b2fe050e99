"""The protocol of one connection: what is negotiated, in which order commands run, what is answered."""

from __future__ import annotations

import json

import pytest

import ewb
from examples.range_scan.wire import (
    DOCUMENTS,
    KEYS,
    MAX_FRAME,
    REPLIES,
    UNTRUSTED_FRAME,
    BinaryProtocol,
    Datatype,
    ErrorContext,
    Feature,
    Frame,
    FrameReader,
    Opcode,
    Payload,
    Reply,
    Statistics,
    Status,
    pack_request,
    replies,
)
from examples.range_scan.wire.protocol import MAX_BESIDE
from examples.range_scan.wire.requests import (
    CancelScan,
    ContinueScan,
    CreateScan,
    Delete,
    Get,
    GetAndTouch,
    Head,
    KeyRange,
    Noop,
    Request,
    SnapshotRequirements,
    Stat,
    Store,
)

pytestmark = pytest.mark.tree


def protocol_with(*features: Feature) -> BinaryProtocol:
    """A client that has negotiated these."""
    protocol = BinaryProtocol()
    assert protocol.negotiate(features) == list(features)
    return protocol


def frames(buffers: object) -> list[Frame]:
    """What a client makes of them."""
    reader = FrameReader(REPLIES, 2**31)
    assert isinstance(buffers, list)
    reader.receive_data(b"".join(buffers))
    found: list[Frame] = []
    while (frame := reader.next_frame()) is not None:
        found.append(frame)
    assert reader.unparsed == 0
    return found


def answer(
    protocol: BinaryProtocol,
    request: Request,
    status: Status | ewb.Status,
    reply: Payload | None = None,
) -> list[Frame]:
    """The frames that a command is answered with."""
    return frames(protocol.encode_end(request, status, reply))


GET = Get(Head(Opcode.GET, 7), 0, b"k", with_key=False)
GETQ = Get(Head(Opcode.GETQ, 7, quiet=True), 0, b"k", with_key=False)
DELETEQ = Delete(Head(Opcode.DELETEQ, 7, quiet=True), 0, b"k")
CREATE = CreateScan(Head(Opcode.RANGE_SCAN_CREATE, 7), KeyRange(start=b"", end=b"z"))
CONTINUE = ContinueScan(
    Head(Opcode.RANGE_SCAN_CONTINUE, 7), bytes(16), items=0, milliseconds=0, bytes=0
)
KEYS_ONLY = ContinueScan(
    Head(Opcode.RANGE_SCAN_CONTINUE, 7), bytes(16), items=0, milliseconds=0, bytes=0, keys_only=True
)
CANCEL = CancelScan(Head(Opcode.RANGE_SCAN_CANCEL, 7), bytes(16))


def test_only_features_that_are_served_are_agreed_on_each_once() -> None:
    """The stock SDK's wishes, one of them twice."""
    wishes = [3, 6, 7, 8, 11, 12, 16, 15, 17, 21, 18, 23, 20, 28, 33, 14, 13, 30, 10, 4, 4]
    assert BinaryProtocol().negotiate(wishes) == [3, 7, 8, 11, 12, 16, 18, 14, 10, 4]


def test_a_second_hello_takes_the_place_of_the_first() -> None:
    """Not in addition to it."""
    protocol = protocol_with(Feature.SNAPPY)
    protocol.negotiate([Feature.JSON])
    assert protocol.features == {Feature.JSON}


def test_before_login_frames_are_small() -> None:
    """Sixteen kibibytes; the refusal names the command."""
    protocol = BinaryProtocol()
    protocol.receive_data(
        pack_request(Frame(Opcode.SASL_AUTH, 5, key=b"x", value=bytes(UNTRUSTED_FRAME)))[:24]
    )
    with pytest.raises(ewb.ProtocolError, match="16384 allowed") as caught:
        protocol.next_request()
    (reply,) = frames([caught.value.reply])
    assert (reply.opcode, reply.opaque, reply.code) == (Opcode.SASL_AUTH, 5, Status.TOO_BIG)


def test_after_login_frames_may_have_twenty_mebibytes_and_a_header() -> None:
    """And not one byte more, which is known from the header."""
    protocol = BinaryProtocol()
    protocol.trust()
    whole = pack_request(Frame(Opcode.SET, key=b"k", extras=bytes(8), value=bytes(MAX_FRAME - 33)))
    assert len(whole) == MAX_FRAME == 20 * 2**20 + 24
    protocol.receive_data(whole)
    assert isinstance(protocol.next_request(), Store)
    protocol.receive_data(
        pack_request(Frame(Opcode.SET, key=b"k", extras=bytes(8), value=bytes(MAX_FRAME - 32)))[:24]
    )
    with pytest.raises(ewb.ProtocolError):
        protocol.next_request()


def test_who_is_trusted_no_more_sends_small_frames_again() -> None:
    """Sixteen kibibytes, as before the login."""
    protocol = BinaryProtocol()
    protocol.trust()
    protocol.distrust()
    protocol.receive_data(
        pack_request(Frame(Opcode.SASL_AUTH, 5, key=b"x", value=bytes(UNTRUSTED_FRAME)))[:24]
    )
    with pytest.raises(ewb.ProtocolError, match="16384 allowed"):
        protocol.next_request()


def test_what_is_no_frame_ends_the_connection_without_an_answer() -> None:
    """There is nobody to answer: perhaps it is a web browser."""
    protocol = BinaryProtocol()
    protocol.receive_data(b"GET / HTTP/1.1\r\n")
    with pytest.raises(ewb.ProtocolError) as caught:
        protocol.next_request()
    assert caught.value.reply == b""


@pytest.mark.parametrize(
    "request_", [GET, CREATE, CONTINUE, CANCEL], ids=lambda one: type(one).__name__
)
def test_commands_run_beside_others_only_if_the_client_wants_that(request_: Request) -> None:
    """It must be able to pair answers by their opaques."""
    assert protocol_with().order(request_) is ewb.Order.SERIAL
    assert protocol_with(Feature.UNORDERED, Feature.SNAPPY).order(request_) is ewb.Order.REORDER


@pytest.mark.parametrize(
    "request_",
    [
        GETQ,
        DELETEQ,
        Noop(Head(Opcode.NOOP)),
        Stat(Head(Opcode.STAT), ""),
        Get(Head(Opcode.GET, barrier=True), 0, b"k", with_key=False),
    ],
    ids=["GETQ", "DELETEQ", "NOOP", "STAT", "barrier"],
)
def test_barriers_are_never_overtaken(request_: Request) -> None:
    """Quiet commands, NOOP, STAT, and whatever its client says is one."""
    assert protocol_with(Feature.UNORDERED).order(request_) is ewb.Order.SERIAL


def test_values_that_are_written_beside_each_other_are_bounded() -> None:
    """What comes then waits until all before it is answered: else a client could fill the memory."""
    protocol = protocol_with(Feature.UNORDERED, Feature.SNAPPY)
    value = bytes(MAX_BESIDE // 4)
    writes = [
        Store(
            Head(Opcode.SET, number),
            0,
            b"k",
            kind=Opcode.SET,
            flags=0,
            expiry=0,
            datatype=0,
            value=value,
        )
        for number in range(5)
    ]
    assert [protocol.order(write) for write in writes] == [*[ewb.Order.REORDER] * 4, ewb.Order.SERIAL]
    for write in writes:
        protocol.encode_end(write, Status.SUCCESS, None)
    assert protocol.order(writes[0]) is ewb.Order.REORDER


def test_documents_that_are_touched_are_got_one_at_a_time() -> None:
    """Each is held until it is on disk, and a few bytes ask for the largest."""
    gat = GetAndTouch(Head(Opcode.GAT, 7), 0, b"k", with_key=False, expiry=0)
    assert protocol_with(Feature.UNORDERED, Feature.SNAPPY).order(gat) is ewb.Order.SERIAL


@pytest.mark.parametrize("exists", [False, True])
def test_who_looks_for_sequence_numbers_does_so_one_at_a_time(*, exists: bool) -> None:
    """Each walks over a whole vBucket, on the worker that all scans share."""
    snapshot = SnapshotRequirements(vbucket_uuid=1, seqno=1, seqno_exists=exists)
    create = CreateScan(Head(Opcode.RANGE_SCAN_CREATE), CREATE.pick, snapshot=snapshot)
    order = protocol_with(Feature.UNORDERED).order(create)
    assert order is (ewb.Order.SERIAL if exists else ewb.Order.REORDER)


def test_values_that_are_made_plain_are_read_one_at_a_time() -> None:
    """They are many times as large as what is stored."""
    assert protocol_with(Feature.UNORDERED).order(GET) is ewb.Order.SERIAL


@pytest.mark.parametrize(
    ("request_", "silent", "said"),
    [(GETQ, Status.NOT_FOUND, Status.SUCCESS), (DELETEQ, Status.SUCCESS, Status.NOT_FOUND)],
)
def test_quiet_commands_say_only_what_is_of_interest(
    request_: Request, silent: Status, said: Status
) -> None:
    """A document that was found; a write that failed."""
    assert protocol_with().encode_end(request_, silent, None) == []
    assert [frame.code for frame in answer(protocol_with(), request_, said)] == [said]


def test_a_quiet_write_that_ewb_says_is_ok_is_silent_too() -> None:
    """Its status is not ours, but means the same."""
    assert protocol_with().encode_end(DELETEQ, ewb.Status.OK, None) == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (ewb.Status.FAILED, Status.INTERNAL),
        (ewb.Status.BUSY, Status.TEMPORARY_FAILURE),
        (ewb.Status.TIMED_OUT, Status.TEMPORARY_FAILURE),
        (ewb.Status.CANCELLED, Status.TEMPORARY_FAILURE),
    ],
)
def test_what_ewb_itself_says_has_a_status_on_the_wire(status: ewb.Status, code: Status) -> None:
    """Those after which trying again makes sense are temporary failures."""
    assert [frame.code for frame in answer(protocol_with(), GET, status)] == [code]


def test_errors_are_explained_to_who_asked_for_that() -> None:
    """In JSON, and marked so if the client knows JSON."""
    error = ErrorContext("no such key", {"manifest_uid": "1"})
    (bare,) = answer(protocol_with(), GET, Status.NOT_FOUND, error)
    assert (bare.value, bare.datatype) == (b"", 0)
    (plain,) = answer(protocol_with(Feature.XERROR), GET, Status.NOT_FOUND, error)
    assert plain.datatype == 0
    (marked,) = answer(protocol_with(Feature.XERROR, Feature.JSON), GET, Status.NOT_FOUND, error)
    assert marked.datatype == Datatype.JSON
    assert json.loads(marked.value) == {"error": {"context": "no such key"}, "manifest_uid": "1"}


def test_datatypes_that_a_client_does_not_know_are_not_said() -> None:
    """The engine has made the value plain; JSON is plain anyway."""
    reply = replies.document(b"{}", flags=1, cas=2, datatype=Datatype.JSON)
    assert answer(protocol_with(), GET, Status.SUCCESS, reply)[0].datatype == 0
    assert answer(protocol_with(Feature.JSON), GET, Status.SUCCESS, reply)[0].datatype == Datatype.JSON


@pytest.mark.parametrize(("request_", "extras"), [(CONTINUE, DOCUMENTS), (KEYS_ONLY, KEYS)])
def test_every_part_of_a_scan_says_what_it_consists_of(request_: Request, extras: bytes) -> None:
    """The empty end too: without these four bytes the SDK ends a scan short, and says nothing."""
    protocol = protocol_with()
    (part,) = frames(protocol.encode_batch(request_, [b"abc", b"", b"de"]))
    assert (part.code, part.extras, part.value, part.opaque) == (Status.SUCCESS, extras, b"abcde", 7)
    for status in (Status.SCAN_MORE, Status.SCAN_COMPLETE):
        (end,) = answer(protocol, request_, status)
        assert (end.code, end.extras, end.value) == (status, extras, b"")


def test_an_error_of_a_scan_has_no_extras() -> None:
    """It says nothing of contents."""
    (end,) = answer(protocol_with(), CONTINUE, Status.SCAN_CANCELLED, ErrorContext("why"))
    assert end.extras == b""


def test_a_part_of_a_scan_copies_no_chunk() -> None:
    """They are the same objects, after one header."""
    chunks = [bytes(100_000), bytes(5)]
    _, *rest = protocol_with().encode_batch(CONTINUE, chunks)
    assert [id(chunk) for chunk in rest] == [id(chunk) for chunk in chunks]


def test_statistics_are_a_frame_each_and_an_empty_one() -> None:
    """All with the opaque of the request."""
    found = answer(
        protocol_with(),
        Stat(Head(Opcode.STAT, 7), ""),
        Status.SUCCESS,
        Statistics([("a", "1"), ("b", "2")]),
    )
    assert [(frame.key, frame.value, frame.opaque) for frame in found] == [
        (b"a", b"1", 7),
        (b"b", b"2", 7),
        (b"", b"", 7),
    ]


def test_an_answer_has_all_of_its_parts() -> None:
    """Extras, key, value, CAS."""
    reply = Reply(b"value", b"extras", b"key", 0, 5)
    assert answer(protocol_with(), GET, Status.SUCCESS, reply) == [
        Frame(Opcode.GET, 7, 0, 5, 0, b"", b"extras", b"key", b"value")
    ]
