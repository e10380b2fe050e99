"""Range scans through a socket: what the SDK would hide, too."""

from __future__ import annotations

import socket
import struct
import threading
from base64 import b64encode
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples.range_scan.store import ScanRequest, Store
from examples.range_scan.wire import (
    DOCUMENTS,
    KEYS,
    Datatype,
    Feature,
    Frame,
    Opcode,
    Status,
    documents_in,
    keys_in,
    pack_request,
    snappy,
)

from .server_helpers import RawClient, context_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from examples.range_scan.store import Scan

pytestmark = pytest.mark.tree

WITHOUT_SNAPPY: list[Feature] = [feature for feature in Feature if feature is not Feature.SNAPPY]
IN_ORDER: list[Feature] = [feature for feature in Feature if feature is not Feature.UNORDERED]
NAMES = [b"a%03d" % number for number in range(100)]
BIG = 100_000


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server."""
    with serving(tmp_path, collections=["shop.orders"]) as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[RawClient]:
    """A client that can do everything."""
    with RawClient(port) as client:
        yield client.begin()


@pytest.fixture
def hundred(client: RawClient) -> RawClient:
    """A client whose vBucket 0 has a hundred documents."""
    store(client, dict.fromkeys(NAMES, b"value"))
    return client


def store(client: RawClient, documents: dict[bytes, bytes], vbucket: int = 0) -> None:
    """Store them all, and wait for the answers."""
    for number, (key, value) in enumerate(documents.items()):
        frame = Frame(Opcode.SET, 5000 + number, vbucket, key=b"\0" + key, value=value, extras=bytes(8))
        client.socket.sendall(pack_request(frame))
    assert {client.receive().code for _ in documents} <= {Status.SUCCESS}


def bounds(**keys: bytes) -> dict[str, str]:
    """A range, as CREATE has it."""
    return {name: b64encode(key).decode() for name, key in keys.items()}


def created(client: RawClient, **body: Any) -> bytes:
    """The uuid of a new scan."""
    reply = client.create_scan(**body)
    assert reply.code == Status.SUCCESS, reply.value
    assert len(reply.value) == 16
    return reply.value


def scanned(client: RawClient, uuid: bytes, **limits: int) -> tuple[list[bytes], int]:
    """The keys of all continues together, and how many there were."""
    keys, continues = list[bytes](), 0
    while True:
        end, values = client.continue_scan(uuid, **limits)
        assert end.code in {Status.SCAN_MORE, Status.SCAN_COMPLETE}
        keys += keys_in(values) if end.extras == KEYS else [one.key for one in documents_in(values)]
        continues += 1
        if end.code == Status.SCAN_COMPLETE:
            return keys, continues


def test_a_scan_gives_whole_documents(client: RawClient) -> None:
    """Flags, sequence number, CAS, datatype."""
    cas = client.set(b"k", b"{}", flags=5, datatype=Datatype.JSON).cas
    end, values = client.continue_scan(created(client))
    assert (end.code, end.extras) == (Status.SCAN_COMPLETE, DOCUMENTS)
    (document,) = documents_in(values)
    assert (document.key, document.value, document.flags) == (b"k", b"{}", 5)
    assert (document.seqno, document.cas, document.datatype) == (1, cas, Datatype.JSON)


@pytest.mark.parametrize("key_only", [False, True])
@pytest.mark.parametrize(
    ("limits", "at_least", "at_most"),
    [
        ({}, 1, 1),
        ({"items": 7}, 15, 16),
        ({"items": 1}, 100, 101),
        ({"size": 1}, 100, 101),
        ({"milliseconds": 60_000}, 1, 1),
    ],
)
def test_limits_end_a_continue_and_not_the_scan(
    hundred: RawClient, limits: dict[str, int], at_least: int, at_most: int, *, key_only: bool
) -> None:
    """At least one document each; all of them together."""
    keys, continues = scanned(hundred, created(hundred, key_only=key_only), **limits)
    assert keys == NAMES
    assert at_least <= continues <= at_most


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"start": b"a003", "end": b"a005"}, [3, 4, 5]),
        ({"excl_start": b"a003", "end": b"a005"}, [4, 5]),
        ({"start": b"a003", "excl_end": b"a005"}, [3, 4]),
        ({"excl_start": b"a003", "excl_end": b"a005"}, [4]),
        ({"start": b"a0985", "end": b"\xf4\x8f\xfb\xfb"}, [99]),
    ],
)
def test_bounds_are_in_the_range_or_not(
    hundred: RawClient, keys: dict[str, bytes], expected: list[int]
) -> None:
    """As they say; the last one is the SDK's own end, which is no UTF-8."""
    found, _ = scanned(hundred, created(hundred, range=bounds(**keys), key_only=True))
    assert found == [NAMES[number] for number in expected]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=3),
            st.booleans(),
            st.binary(max_size=3),
            st.booleans(),
            st.integers(0, 5),
        ),
        max_size=10,
    ),
    st.sets(st.binary(min_size=1, max_size=3), min_size=1, max_size=30),
)
def test_a_scan_is_a_slice_of_all_keys_in_order(
    client: RawClient, scans: list[tuple[bytes, bool, bytes, bool, int]], keys: set[bytes]
) -> None:
    """Whatever bytes keys, bounds and limits are."""
    assert client.call(Opcode.FLUSH).code == Status.SUCCESS
    store(client, dict.fromkeys(keys, b""))
    for start, with_start, end, with_end, items in scans:
        expected = [
            key
            for key in sorted(keys)
            if (start <= key if with_start else start < key) and (key <= end if with_end else key < end)
        ]
        asked = {
            ("" if with_start else "excl_") + "start": start,
            ("" if with_end else "excl_") + "end": end,
        }
        reply = client.create_scan(range=bounds(**asked), key_only=True)
        if reply.code == Status.NOT_FOUND:
            assert not expected
        else:
            assert scanned(client, reply.value, items=items)[0] == expected


def test_a_scan_reads_the_snapshot_of_its_create(hundred: RawClient) -> None:
    """Whatever is written meanwhile, from wherever."""
    uuid = created(hundred)
    hundred.set(b"a0005", b"new")
    assert hundred.call(Opcode.DELETE, key=b"\0" + NAMES[-1]).code == Status.SUCCESS
    assert scanned(hundred, uuid, items=30)[0] == NAMES


def test_a_sample_is_the_same_for_the_same_seed(hundred: RawClient) -> None:
    """About as many as wanted; all of them, if there are no more."""
    once, again = (
        scanned(hundred, created(hundred, sampling={"samples": 30, "seed": 5}))[0] for _ in range(2)
    )
    assert once == again == sorted(once)
    assert 10 <= len(once) <= 50
    assert scanned(hundred, created(hundred, sampling={"samples": 100}))[0] == NAMES


def test_a_collection_is_scanned_by_itself(hundred: RawClient) -> None:
    """Its id is hexadecimal in CREATE."""
    _, number = struct.unpack(
        ">QI", hundred.call(Opcode.GET_COLLECTION_ID, value=b"shop.orders").extras
    )
    prefix = bytes([number])
    assert hundred.call(Opcode.SET, key=prefix + b"order", extras=bytes(8)).code == Status.SUCCESS
    assert scanned(hundred, created(hundred, collection=f"{number:x}"))[0] == [b"order"]


@pytest.mark.parametrize(
    ("body", "vbucket", "status", "context"),
    [
        ({"range": {"start": "eA=="}}, 0, Status.INVALID, "either end or excl_end"),
        ({"range": bounds(start=b"x", end=b"y")}, 0, Status.NOT_FOUND, ""),
        ({"range": bounds(start=b"b", end=b"a")}, 0, Status.NOT_FOUND, ""),
        ({"sampling": {"samples": 5}}, 1, Status.NOT_FOUND, ""),
        ({"collection": "63"}, 0, Status.UNKNOWN_COLLECTION, ""),
        ({}, 99, Status.NOT_MY_VBUCKET, "vBucket 99"),
        (
            {"snapshot_requirements": {"vb_uuid": "1", "seqno": 500, "timeout_ms": 3_600_000}},
            0,
            Status.VBUCKET_UUID_DIFFERS,
            "uuid",
        ),
        (
            {"snapshot_requirements": {"vb_uuid": "1", "seqno": 1}},
            0,
            Status.VBUCKET_UUID_DIFFERS,
            "uuid",
        ),
    ],
)
def test_a_scan_that_cannot_be_is_refused_and_why(
    hundred: RawClient, body: dict[str, Any], vbucket: int, status: Status, context: str
) -> None:
    """Each error of CREATE that needs no waiting."""
    reply = hundred.create_scan(vbucket, **body)
    assert reply.code == status
    assert context in context_of(reply)


def statistics(client: RawClient, group: bytes) -> dict[str, str]:
    """A group of them."""
    client.send(Opcode.STAT, key=group)
    found = {}
    while (line := client.receive()).key:
        found[line.key.decode()] = line.value.decode()
    return found


def uuid_of(client: RawClient, vbucket: int = 0) -> str:
    """A vBucket's, in decimal."""
    return statistics(client, b"vbucket")[f"vb_{vbucket}:uuid"]


def test_a_snapshot_must_have_what_is_required(hundred: RawClient) -> None:
    """That sequence number, and perhaps still the document that it was given to."""
    wanted = {"vb_uuid": uuid_of(hundred), "seqno": 100, "seqno_exists": True}
    assert len(scanned(hundred, created(hundred, snapshot_requirements=wanted))[0]) == 100
    hundred.set(NAMES[-1], b"over it")
    assert hundred.create_scan(snapshot_requirements=wanted).code == Status.NOT_STORED
    wanted["seqno_exists"] = False
    assert hundred.create_scan(snapshot_requirements=wanted).code == Status.SUCCESS
    wanted["seqno"] = 102
    assert hundred.create_scan(snapshot_requirements=wanted).code == Status.TEMPORARY_FAILURE


def test_where_documents_may_expire_a_worker_looks_for_the_first(
    hundred: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of them may have: to walk over these would hold all other clients up."""
    threads: list[str] = []
    open_scan = Store.open_scan

    def noted(self: Store, request: ScanRequest) -> Scan:
        threads.append(threading.current_thread().name)
        return open_scan(self, request)

    monkeypatch.setattr(Store, "open_scan", noted)
    assert len(scanned(hundred, created(hundred))[0]) == 100
    expiry = struct.pack(">II", 0, 1000)
    assert hundred.call(Opcode.SET, key=b"\0" + b"b", extras=expiry).code == Status.SUCCESS
    assert len(scanned(hundred, created(hundred))[0]) == 101
    first, second = threads
    assert not first.startswith("ewb")
    assert second.startswith("ewb")


def test_create_waits_until_the_sequence_number_is_there(port: int, hundred: RawClient) -> None:
    """It holds no thread meanwhile: with sixteen of them, others' scans are served."""
    wanted = {"vb_uuid": uuid_of(hundred), "seqno": 101, "timeout_ms": 60_000}
    waiting = [RawClient(port).begin() for _ in range(16)]
    body = b'{"range":{"start":"","end":"/w=="},"snapshot_requirements":%s}'
    value = body % str(wanted).replace("'", '"').encode()
    try:
        for other in waiting:
            other.send(Opcode.RANGE_SCAN_CREATE, value=value, datatype=Datatype.JSON, opaque=9)
            other.send(Opcode.GET, key=b"\0" + NAMES[0], opaque=10)
            assert other.receive().opaque == 10
        assert scanned(hundred, created(hundred))[0] == NAMES
        hundred.set(b"one more", b"")
        for other in waiting:
            reply = other.receive()
            assert (reply.opaque, reply.code) == (9, Status.SUCCESS)
            assert len(scanned(other, reply.value)[0]) == 101
    finally:
        for other in waiting:
            other.socket.close()


def test_create_waits_no_longer_than_was_said(hundred: RawClient) -> None:
    """Then it is a temporary failure."""
    wanted = {"vb_uuid": uuid_of(hundred), "seqno": 500, "timeout_ms": 50}
    reply = hundred.create_scan(snapshot_requirements=wanted)
    assert reply.code == Status.TEMPORARY_FAILURE
    assert "in time" in context_of(reply)
    assert statistics(hundred, b"general")["store:waiters"] == "0"


def test_a_scan_is_gone_when_it_is_complete(hundred: RawClient) -> None:
    """A further continue or cancel finds nothing."""
    uuid = created(hundred)
    scanned(hundred, uuid)
    assert hundred.continue_scan(uuid)[0].code == Status.NOT_FOUND
    assert hundred.call(Opcode.RANGE_SCAN_CANCEL, extras=uuid).code == Status.NOT_FOUND


def test_a_scan_is_of_one_vbucket(hundred: RawClient) -> None:
    """Elsewhere there is none with that uuid."""
    assert hundred.continue_scan(created(hundred), vbucket=1)[0].code == Status.NOT_FOUND
    assert hundred.continue_scan(created(hundred), vbucket=99)[0].code == Status.NOT_MY_VBUCKET
    cancel = hundred.call(Opcode.RANGE_SCAN_CANCEL, extras=created(hundred), code=99)
    assert cancel.code == Status.NOT_MY_VBUCKET


def test_an_idle_scan_can_be_cancelled(hundred: RawClient) -> None:
    """Then it is gone."""
    uuid = created(hundred)
    assert hundred.continue_scan(uuid, items=5)[0].code == Status.SCAN_MORE
    assert hundred.call(Opcode.RANGE_SCAN_CANCEL, extras=uuid).code == Status.SUCCESS
    assert hundred.continue_scan(uuid)[0].code == Status.NOT_FOUND


def test_another_connection_may_go_on_with_an_idle_scan(port: int, hundred: RawClient) -> None:
    """Of the same bucket; also when the first one is gone."""
    uuid = created(hundred)
    _, values = hundred.continue_scan(uuid, items=40)
    hundred.socket.close()
    with RawClient(port) as other:
        assert [one.key for one in documents_in(values)] + scanned(other.begin(), uuid)[0] == NAMES


def test_there_are_only_so_many_scans(tmp_path: Path) -> None:
    """More are a temporary failure; there is room again when one has ended."""
    with serving(tmp_path, max_scans=2) as port, RawClient(port) as client:
        client.begin().set(b"k", b"v")
        uuid = created(client)
        created(client)
        refused = client.create_scan()
        assert refused.code == Status.TEMPORARY_FAILURE
        assert "2 scans are open" in context_of(refused)
        scanned(client, uuid)
        created(client)


def test_a_scan_lives_only_so_long(tmp_path: Path) -> None:
    """Then it is as if it had never been, and makes room."""
    with serving(tmp_path, scan_lifetime=0.3, max_scans=1) as port, RawClient(port) as client:
        client.begin().set(b"k", b"v")
        uuid = created(client)
        while client.create_scan().code == Status.TEMPORARY_FAILURE:
            pass
        assert client.continue_scan(uuid)[0].code == Status.NOT_FOUND


# -- clients that do not read -----------------------------------------------------------------------


@pytest.fixture
def large(client: RawClient) -> RawClient:
    """A client whose vBucket 0 has more than all buffers on the way can hold."""
    value = Random(1).randbytes(BIG)  # noqa: S311 - it is only data
    store(client, {b"b%03d" % number: value for number in range(200)})
    return client


def stuck(port: int, uuid: bytes, features: list[Feature] | None = None) -> RawClient:
    """A client that continues the scan, and has read only the beginning of it."""
    client = RawClient(port, receive_buffer=4096).begin(*(features or ()))
    client.send_continue(uuid)
    client.socket.recv(1)
    return client


def read_whole(client: RawClient, first: bytes) -> tuple[list[Frame], Frame]:
    """All frames of a stuck client, the last one apart."""
    client._frames.receive_data(first)
    found: list[Frame] = []
    while (
        frame := client.receive()
    ).code == Status.SUCCESS and frame.opcode == Opcode.RANGE_SCAN_CONTINUE:
        found.append(frame)
    return found, frame


def test_a_client_that_does_not_read_holds_up_nobody(port: int, large: RawClient) -> None:
    """More of them than there are threads; then they read, and all is there."""
    others = [stuck(port, created(large)) for _ in range(8)]
    try:
        assert len(scanned(large, created(large))[0]) == 200
        assert large.call(Opcode.NOOP).code == Status.SUCCESS
        for other in others:
            parts, end = read_whole(other, b"\x81")
            assert end.code == Status.SCAN_COMPLETE
            values = b"".join(part.value for part in (*parts, end))
            assert [one.key for one in documents_in(values)] == [
                b"b%03d" % number for number in range(200)
            ]
    finally:
        for other in others:
            other.socket.close()


def test_a_scan_that_is_being_continued_is_busy(port: int, large: RawClient) -> None:
    """For whoever else wants to continue it."""
    uuid = created(large)
    with stuck(port, uuid):
        end, _ = large.continue_scan(uuid)
        assert end.code == Status.BUSY
        assert "being continued" in context_of(end)


def test_cancel_ends_a_scan_that_is_being_continued(port: int, large: RawClient) -> None:
    """Who continues it is answered, with an end that says so."""
    uuid = created(large)
    with stuck(port, uuid) as other:
        assert large.call(Opcode.RANGE_SCAN_CANCEL, extras=uuid).code == Status.SUCCESS
        while statistics(large, b"general")["front_end:parked"] != "0":
            pass  # it ends although its client does not read
        parts, end = read_whole(other, b"\x81")
        assert end.code == Status.SCAN_CANCELLED
        assert sum(len(part.value) for part in parts) < 200 * BIG


def test_cancel_overtakes_the_continue_of_its_own_connection(port: int, large: RawClient) -> None:
    """Unordered execution was negotiated; in order, it would wait for ever."""
    uuid = created(large)
    with stuck(port, uuid) as other:
        other.send(Opcode.RANGE_SCAN_CANCEL, extras=uuid, opaque=77)
        other._frames.receive_data(b"\x81")
        ends = dict[int, int]()
        while len(ends) < 2:
            frame = other.receive()
            if frame.opcode == Opcode.RANGE_SCAN_CANCEL or frame.code != Status.SUCCESS:
                ends[frame.opcode] = frame.code
        assert ends == {
            Opcode.RANGE_SCAN_CANCEL: Status.SUCCESS,
            Opcode.RANGE_SCAN_CONTINUE: Status.SCAN_CANCELLED,
        }


def test_in_order_a_get_waits_for_the_continue_before_it(port: int, large: RawClient) -> None:
    """And unordered it does not."""
    for features, expected in (
        (IN_ORDER, [Opcode.RANGE_SCAN_CONTINUE, Opcode.GET]),
        (list(Feature), [Opcode.GET, Opcode.RANGE_SCAN_CONTINUE]),
    ):
        with stuck(port, created(large), features) as other:
            other.send(Opcode.GET, key=b"\0b000")
            other._frames.receive_data(b"\x81")
            order = list[int]()
            while len(order) < 2:
                frame = other.receive()
                if frame.opcode == Opcode.GET or frame.code != Status.SUCCESS:
                    order.append(frame.opcode)
            assert order == expected


def test_a_client_that_leaves_in_the_midst_ends_its_scan(port: int, large: RawClient) -> None:
    """There is no telling what it had read."""
    uuid = created(large)
    stuck(port, uuid).socket.close()
    while (end := large.continue_scan(uuid)[0]).code == Status.BUSY:
        pass
    assert end.code == Status.NOT_FOUND


def test_a_client_that_leaves_while_it_waits_leaves_nothing(port: int, hundred: RawClient) -> None:
    """Its scan is never opened; the server stops without waiting for it."""
    wanted = {"vb_uuid": uuid_of(hundred), "seqno": 101, "timeout_ms": 3_600_000}
    value = str({"range": bounds(start=b"", end=b"z"), "snapshot_requirements": wanted}).replace(
        "'", '"'
    )
    with RawClient(port) as other:
        other.begin().send(Opcode.RANGE_SCAN_CREATE, value=value.encode(), datatype=Datatype.JSON)
        assert other.call(Opcode.GET, key=b"\0x").code == Status.NOT_FOUND
        assert statistics(hundred, b"general")["store:waiters"] == "1"
        other.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )  # reset it
    while statistics(hundred, b"general")["front_end:connections"] != "1":
        pass
    assert statistics(hundred, b"general")["store:waiters"] == "0"
    hundred.set(b"one more", b"")
    assert statistics(hundred, b"range-scans")["scans"] == "0"


def test_a_scan_grown_too_old_ends_for_who_is_reading_it(tmp_path: Path) -> None:
    """Always with a terminal status: without one, the SDK waits for ever."""
    value = Random(1).randbytes(BIG)  # noqa: S311 - it is only data
    with serving(tmp_path, scan_lifetime=2) as port, RawClient(port) as client:
        store(client.begin(), {b"b%03d" % number: value for number in range(200)})
        with stuck(port, created(client)) as other:
            while statistics(client, b"range-scans")["scans"] != "0":
                pass
            assert read_whole(other, b"\x81")[1].code == Status.SCAN_CANCELLED


def test_a_drained_server_lets_a_scan_finish(tmp_path: Path) -> None:
    """It is asked to stop in the midst of it."""
    value = Random(1).randbytes(BIG)  # noqa: S311 - it is only data
    got = list[int]()
    with serving(tmp_path, grace=60) as port:
        client = RawClient(port).begin()
        store(client, {b"b%03d" % number: value for number in range(200)})
        other = stuck(port, created(client))

        def read() -> None:
            got.append(read_whole(other, b"\x81")[1].code)

        reader = threading.Thread(target=read)
        reader.start()
        client.socket.close()
    reader.join(30)
    other.socket.close()
    assert got == [Status.SCAN_COMPLETE]


# -- compressed values --------------------------------------------------------------------------------


def test_compressed_documents_are_scanned_as_they_are_or_made_plain(
    port: int, client: RawClient
) -> None:
    """For a client that knows no snappy; the plain ones among them stay as they are."""
    value = b"again and again " * 50
    packed = snappy.deflate(value)
    for number in range(50):
        client.set(b"c%02d" % number, packed if number % 3 else value, datatype=2 if number % 3 else 0)
    _, values = client.continue_scan(created(client))
    assert {one.datatype for one in documents_in(values)} == {0, 2}
    with RawClient(port) as other:
        _, values = other.begin(*WITHOUT_SNAPPY).continue_scan(created(other))
    plain = list(documents_in(values))
    assert [one.value for one in plain] == [value] * 50
    assert {one.datatype for one in plain} == {0}


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"size": 1}, [1] * 6),
        ({"size": 2 * 10_000}, [2, 2, 2]),
        ({"size": 2 * 10_100}, [3, 3]),
        ({"size": 10**6}, [6]),
        ({"size": 10**6, "items": 4}, [4, 2]),
        ({"size": 10**6, "milliseconds": 60_000}, [6]),
    ],
)
def test_a_limit_of_bytes_is_one_of_what_is_sent(
    port: int, client: RawClient, limits: dict[str, int], expected: list[int]
) -> None:
    """Not of the few that the store has, compressed: the document that reaches it is the last."""
    packed = snappy.deflate(bytes(10_000))
    for number in range(6):
        client.set(b"c%d" % number, packed, datatype=Datatype.SNAPPY)
    with RawClient(port) as other:
        uuid, counts = created(other.begin(*WITHOUT_SNAPPY)), list[int]()
        end = None
        while end != Status.SCAN_COMPLETE:
            last, values = other.continue_scan(uuid, **limits)
            end = last.code
            counts.append(sum(1 for _ in documents_in(values)))
    assert [count for count in counts if count] == expected


# -- limits of the store ------------------------------------------------------------------------------


def test_an_old_scan_that_makes_the_store_grow_is_cancelled(tmp_path: Path) -> None:
    """Its next continue says so; new scans are served."""
    value = Random(1).randbytes(BIG)  # noqa: S311 - it is only data
    with serving(tmp_path, max_growth=4 * 2**20) as port, RawClient(port) as client:
        store(client.begin(), {b"g%03d" % number: value for number in range(50)})
        uuid = created(client)
        assert client.continue_scan(uuid, items=1)[0].code == Status.SCAN_MORE
        while statistics(client, b"general")["store:scans"] != "0":
            store(client, {b"g%03d" % number: value for number in range(50)})
        end, _ = client.continue_scan(uuid)
        assert end.code == Status.SCAN_CANCELLED
        assert context_of(end)
        assert len(scanned(client, created(client))[0]) == 50
