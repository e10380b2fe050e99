"""Documents: each command through a socket, and what plain memcached clients get."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from random import Random
from threading import Event
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from examples.range_scan import store as stores
from examples.range_scan.engine.writing import Writing
from examples.range_scan.store import Store
from examples.range_scan.store.batch import Batch
from examples.range_scan.wire import (
    Datatype,
    Feature,
    Frame,
    Opcode,
    Status,
    pack_request,
    snappy,
    vbucket_of,
)
from examples.range_scan.wire.requests import DocumentRequest, GetAndTouch, Head, Touch
from tests.faults.waiting import GUARD, wait_for

from .server_helpers import EVERYTHING, VBUCKETS, RawClient, context_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.tree

STORE = struct.pack(">II", 7, 0)
LARGE = Random(1).randbytes(1000) * 300  # noqa: S311 - large, but small once it is compressed


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server with a named collection."""
    with serving(tmp_path, collections=["shop.orders"]) as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[RawClient]:
    """A client that can do everything."""
    with RawClient(port) as client:
        yield client.begin()


def counter(delta: int, initial: int, expiry: int = 0) -> bytes:
    """Extras."""
    return struct.pack(">QQI", delta, initial, expiry)


def test_what_was_set_is_got_with_its_flags_and_cas(client: RawClient) -> None:
    """And with its datatype; GETK gives the key too, collection and all."""
    written = client.set(b"k", b'{"a":1}', flags=7, datatype=Datatype.JSON)
    assert written.cas
    read = client.call(Opcode.GET, key=b"\0k")
    assert (read.value, read.extras, read.cas, read.datatype) == (
        b'{"a":1}',
        b"\0\0\0\7",
        written.cas,
        1,
    )
    assert client.call(Opcode.GETK, key=b"\0k").key == b"\0k"


def test_mutations_are_answered_with_their_token(client: RawClient) -> None:
    """The vBucket's uuid stays, the sequence number grows."""
    tokens = [struct.unpack(">QQ", client.set(b"k", b"v", 1).extras) for _ in range(3)]
    assert len({uuid for uuid, _ in tokens}) == 1
    assert [seqno for _, seqno in tokens] == [1, 2, 3]


def test_without_the_feature_there_is_no_token(port: int) -> None:
    """Clients would take it for something else."""
    with RawClient(port) as client:
        client.begin(Feature.COLLECTIONS)
        assert client.set(b"k", b"v").extras == b""


def test_cas_guards_what_others_have_changed(client: RawClient) -> None:
    """SET, REPLACE, DELETE, APPEND: only with the CAS that it has now."""
    old = client.set(b"k", b"1").cas
    new = client.set(b"k", b"2").cas
    attempts: list[tuple[Opcode, dict[str, Any]]] = [
        (Opcode.SET, {"extras": STORE, "value": b"3"}),
        (Opcode.REPLACE, {"extras": STORE, "value": b"3"}),
        (Opcode.APPEND, {"value": b"3"}),
        (Opcode.DELETE, {}),
    ]
    for opcode, parts in attempts:
        assert client.call(opcode, key=b"\0k", cas=old, **parts).code == Status.EXISTS
    assert client.call(Opcode.DELETE, key=b"\0k", cas=new).code == Status.SUCCESS


def test_add_and_replace_look_whether_it_is_there(client: RawClient) -> None:
    """ADD only if not, REPLACE only if."""
    assert client.call(Opcode.REPLACE, key=b"\0k", extras=STORE).code == Status.NOT_FOUND
    assert client.call(Opcode.ADD, key=b"\0k", extras=STORE).code == Status.SUCCESS
    assert client.call(Opcode.ADD, key=b"\0k", extras=STORE).code == Status.EXISTS
    assert client.call(Opcode.REPLACE, key=b"\0k", extras=STORE, value=b"v").code == Status.SUCCESS


def test_append_and_prepend_need_something_to_add_to(client: RawClient) -> None:
    """A piece may come compressed, and may meet a compressed value."""
    assert client.call(Opcode.APPEND, key=b"\0k", value=b"v").code == Status.NOT_STORED
    client.set(b"k", snappy.deflate(b"b"), datatype=Datatype.SNAPPY)
    piece = snappy.deflate(b"c")
    assert client.call(Opcode.APPEND, key=b"\0k", value=piece, datatype=Datatype.SNAPPY).code == 0
    assert client.call(Opcode.PREPEND, key=b"\0k", value=b"a").code == Status.SUCCESS
    assert client.call(Opcode.GET, key=b"\0k").value == b"abc"


@pytest.mark.parametrize("opcode", [Opcode.APPEND, Opcode.PREPEND])
def test_nothing_that_comes_compressed_adds_nothing(client: RawClient, opcode: Opcode) -> None:
    """Snappy takes a byte to say so, which is none of the document's."""
    client.set(b"k", b"v")
    piece = snappy.deflate(b"")
    assert piece
    reply = client.call(opcode, key=b"\0k", value=piece, datatype=Datatype.SNAPPY)
    assert reply.code == Status.SUCCESS
    assert client.call(Opcode.GET, key=b"\0k").value == b"v"


def test_counters_count(client: RawClient) -> None:
    """Up, and down to nothing; made if wanted; only numbers."""
    assert (
        client.call(Opcode.INCREMENT, key=b"\0c", extras=counter(5, 10, 0xFFFFFFFF)).code
        == Status.NOT_FOUND
    )
    values = [
        struct.unpack(">Q", client.call(opcode, key=b"\0c", extras=counter(5, 10)).value)[0]
        for opcode in (
            Opcode.INCREMENT,
            Opcode.INCREMENT,
            Opcode.DECREMENT,
            Opcode.DECREMENT,
            Opcode.DECREMENT,
            Opcode.DECREMENT,
        )
    ]
    assert values == [10, 15, 10, 5, 0, 0]
    client.set(b"text", b"seven")
    assert (
        client.call(Opcode.INCREMENT, key=b"\0text", extras=counter(1, 0)).code == Status.NOT_A_NUMBER
    )


def test_get_meta_tells_all_but_the_value(client: RawClient) -> None:
    """What the SDK's `exists` asks for."""
    cas = client.set(b"k", b"{}", flags=9, datatype=Datatype.JSON).cas
    reply = client.call(Opcode.GET_META, key=b"\0k", extras=b"\2")
    assert struct.unpack(">IIIQB", reply.extras) == (0, 9, 0, 1, 1)
    assert (reply.cas, reply.value) == (cas, b"")
    assert len(client.call(Opcode.GET_META, key=b"\0k").extras) == 20
    assert client.call(Opcode.GET_META, key=b"\0x", extras=b"\2").code == Status.NOT_FOUND


def test_expiry_counts_from_now_or_is_a_time(client: RawClient) -> None:
    """Up to thirty days it counts from now."""
    now = int(time.time())
    for expiry, expected in ((100, now + 100), (now + 5000, now + 5000)):
        assert client.call(Opcode.SET, key=b"\0k", extras=struct.pack(">II", 0, expiry)).code == 0
        kept = struct.unpack(">IIIQ", client.call(Opcode.GET_META, key=b"\0k").extras)[2]
        assert 0 <= kept - expected <= 60
    assert client.call(Opcode.TOUCH, key=b"\0k", extras=struct.pack(">I", 0)).code == Status.SUCCESS
    assert struct.unpack(">IIIQ", client.call(Opcode.GET_META, key=b"\0k").extras)[2] == 0
    assert client.call(Opcode.GAT, key=b"\0k", extras=struct.pack(">I", now - 1)).code == Status.SUCCESS
    assert client.call(Opcode.GET, key=b"\0k").code == Status.NOT_FOUND


@pytest.mark.parametrize(("now", "expected"), [(100.0, 101), (100.1, 102), (100.9, 102)])
def test_an_expiry_of_a_second_lasts_one(now: float, expected: int) -> None:
    """It comes as its second begins, so a part of the present one does not count."""
    written: list[stores.Mutation] = []
    store: Any = SimpleNamespace(submit=lambda mutation, _, **_options: written.append(mutation))
    session: Any = SimpleNamespace(vbucket_of=lambda _: 0)
    request = Touch(Head(Opcode.TOUCH), 0, b"k", expiry=1)
    cookie: Any = SimpleNamespace(request=request, stash=None, connection=None)
    Writing(store, clock=lambda: now).write(session, cookie)
    assert [mutation.expiry for mutation in written] == [expected]


def test_touch_of_nothing_is_not_found(client: RawClient) -> None:
    """Nor is GAT's."""
    for opcode in (Opcode.TOUCH, Opcode.GAT):
        assert client.call(opcode, key=b"\0k", extras=bytes(4)).code == Status.NOT_FOUND


@pytest.mark.parametrize(
    ("request_", "keeps"),
    [
        (Touch(Head(Opcode.TOUCH), 0, b"k", expiry=0), False),
        (GetAndTouch(Head(Opcode.GAT), 0, b"k", with_key=False, expiry=0), True),
    ],
    ids=["TOUCH", "GAT"],
)
def test_only_a_write_that_answers_with_the_document_keeps_it(
    request_: DocumentRequest, *, keeps: bool
) -> None:
    """Else a thousand of a few bytes each would hold as many documents, until they are answered."""
    outcome = stores.Outcome(stores.Status.OK, document=stores.Document(b"k", b"v", 0, 0, 1, 1, 0))
    store: Any = SimpleNamespace(submit=lambda _, callback, **_options: callback(outcome))
    session: Any = SimpleNamespace(vbucket_of=lambda _: 0)
    cookie: Any = SimpleNamespace(request=request_, stash=None, notify=lambda: None, connection=None)
    Writing(store).write(session, cookie)
    assert (cookie.stash.document is not None) == keeps


def test_quiet_commands_speak_only_if_there_is_something_to_say(client: RawClient) -> None:
    """A NOOP ends them: what was answered before it, was answered."""
    client.set(b"here", b"v")
    for opcode, parts in (
        (Opcode.GETQ, {"key": b"\0missing"}),
        (Opcode.GETKQ, {"key": b"\0here"}),
        (Opcode.GATQ, {"key": b"\0missing", "extras": bytes(4)}),
        (Opcode.SETQ, {"key": b"\0new", "extras": STORE}),
        (Opcode.ADDQ, {"key": b"\0new", "extras": STORE}),
        (Opcode.DELETEQ, {"key": b"\0missing"}),
        (Opcode.APPENDQ, {"key": b"\0here", "value": b"w"}),
        (Opcode.INCREMENTQ, {"key": b"\0n", "extras": counter(1, 1)}),
        (Opcode.NOOP, {}),
    ):
        client.send(opcode, **parts)
    found = []
    while (reply := client.receive()).opcode != Opcode.NOOP:
        found.append((reply.opcode, reply.code))
    assert found == [
        (Opcode.GETKQ, Status.SUCCESS),
        (Opcode.ADDQ, Status.EXISTS),
        (Opcode.DELETEQ, Status.NOT_FOUND),
    ]


def test_flush_removes_all_but_not_later(client: RawClient) -> None:
    """A delay is not served."""
    client.set(b"k", b"v", 1)
    assert client.call(Opcode.FLUSH, extras=struct.pack(">I", 60)).code == Status.NOT_SUPPORTED
    assert client.call(Opcode.FLUSH).code == Status.SUCCESS
    assert client.call(Opcode.GET, code=1, key=b"\0k").code == Status.NOT_FOUND


def test_collections_are_apart(client: RawClient) -> None:
    """And those that are not there are unknown."""
    reply = client.call(Opcode.GET_COLLECTION_ID, value=b"shop.orders")
    manifest, number = struct.unpack(">QI", reply.extras)
    assert manifest == 1
    key = bytes([number]) + b"k"
    assert client.call(Opcode.SET, key=key, value=b"order", extras=STORE).code == Status.SUCCESS
    assert client.call(Opcode.GET, key=key).value == b"order"
    assert client.call(Opcode.GET, key=b"\0k").code == Status.NOT_FOUND
    assert b'"orders"' in client.call(Opcode.GET_COLLECTIONS_MANIFEST).value


@pytest.mark.parametrize(
    ("opcode", "parts"),
    [
        (Opcode.GET, {"key": b"\x63k"}),
        (Opcode.SET, {"key": b"\x63k", "extras": STORE}),
        (Opcode.GET_COLLECTION_ID, {"value": b"shop.carts"}),
    ],
)
def test_unknown_collections_are_said_to_be(
    client: RawClient, opcode: Opcode, parts: dict[str, bytes]
) -> None:
    """With the manifest's uid, so that the client can look whether its own is older."""
    reply = client.call(opcode, **parts)
    assert reply.code == Status.UNKNOWN_COLLECTION
    assert b'"manifest_uid": "1"' in reply.value


def test_of_a_long_name_an_error_says_the_beginning(client: RawClient) -> None:
    """Each byte may take six in JSON."""
    reply = client.call(Opcode.GET_COLLECTION_ID, value=b"\0" * 16_000)
    assert reply.code == Status.UNKNOWN_COLLECTION
    assert len(reply.value) < 1000


def test_unknown_vbuckets_are_not_mine(client: RawClient) -> None:
    """Reading or writing."""
    assert client.call(Opcode.GET, code=VBUCKETS, key=b"\0k").code == Status.NOT_MY_VBUCKET
    assert (
        client.call(Opcode.SET, code=VBUCKETS, key=b"\0k", extras=STORE).code == Status.NOT_MY_VBUCKET
    )


def test_plain_clients_find_what_others_stored(port: int, client: RawClient) -> None:
    """They say vBucket 0 for each key; we know better."""
    keys = [b"k%d" % number for number in range(20)]
    for key in keys:
        client.set(key, b"of " + key, vbucket_of(key, VBUCKETS))
    with RawClient(port) as plain:
        plain.login()
        assert [plain.call(Opcode.GET, key=key).value for key in keys] == [b"of " + key for key in keys]


@pytest.mark.parametrize("value", [b"small " * 10, LARGE], ids=["small", "large"])
def test_compressed_values_are_kept_so_and_made_plain_for_who_cannot(
    port: int, client: RawClient, value: bytes
) -> None:
    """By any of the commands that read."""
    stored = snappy.deflate(value)
    client.set(b"k", stored, datatype=Datatype.SNAPPY)
    same = client.call(Opcode.GET, key=b"\0k")
    assert (same.value, same.datatype) == (stored, Datatype.SNAPPY)
    with RawClient(port) as other:
        other.begin(Feature.COLLECTIONS, Feature.JSON)
        for opcode, extras in ((Opcode.GET, b""), (Opcode.GETK, b""), (Opcode.GAT, bytes(4))):
            plain = other.call(opcode, key=b"\0k", extras=extras)
            assert (plain.value, plain.datatype) == (value, 0)


@pytest.mark.parametrize("value", [b"\x05ab", b"\xf0\xff\x07" + bytes(100)], ids=["small", "large"])
def test_what_only_claims_to_be_compressed_is_not_stored(client: RawClient, value: bytes) -> None:
    """Nobody could read it."""
    reply = client.call(Opcode.SET, key=b"\0k", value=value, extras=STORE, datatype=Datatype.SNAPPY)
    assert reply.code == Status.INVALID
    assert "snappy" in context_of(reply)
    assert client.call(Opcode.GET, key=b"\0k").code == Status.NOT_FOUND


def test_the_largest_document_comes_back(client: RawClient) -> None:
    """Twenty mebibytes, less the frame's other parts."""
    value = bytes(20 * 2**20 - 24)
    client.set(b"k", value)
    assert client.call(Opcode.GET, key=b"\0k").value == value


def test_a_larger_frame_is_refused_before_it_is_sent(client: RawClient) -> None:
    """The header is enough."""
    frame = pack_request(Frame(Opcode.SET, 5, key=b"\0k", value=bytes(20 * 2**20), extras=STORE))
    client.socket.sendall(frame[:24])
    assert client.receive().code == Status.TOO_BIG
    with pytest.raises(EOFError):
        client.receive()


def test_many_writes_in_flight_are_all_answered(port: int) -> None:
    """Unordered: each by its opaque; the writer commits them together."""
    with RawClient(port) as client:
        client.begin(*EVERYTHING)
        frames = [
            pack_request(
                Frame(Opcode.SET, 1000 + number, number % VBUCKETS, key=b"\0%d" % number, extras=STORE)
            )
            for number in range(500)
        ]
        client.socket.sendall(b"".join(frames))
        replies = [client.receive() for _ in frames]
        assert {reply.opaque for reply in replies} == set(range(1000, 1500))
        assert {reply.code for reply in replies} == {Status.SUCCESS}


def test_in_order_each_command_sees_the_one_before(port: int) -> None:
    """Without unordered execution a pipeline is a sequence, also of commands that would block."""
    with RawClient(port) as client:
        client.begin(Feature.COLLECTIONS)
        for number in range(50):
            client.send(Opcode.SET, key=b"\0k", value=b"%d" % number, extras=STORE)
            client.send(Opcode.GET, key=b"\0k")
        for number in range(50):
            assert client.receive().opcode == Opcode.SET
            assert client.receive().value == b"%d" % number


class Disk(NamedTuple):
    """One that is slow: no commit ends until it is ready."""

    begun: Event
    ready: Event


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """All servers' here."""
    disk, commit = Disk(Event(), Event()), Batch.commit

    def slow(batch: Batch) -> object:
        disk.begun.set()
        assert disk.ready.wait(GUARD)
        return commit(batch)

    monkeypatch.setattr(Batch, "commit", slow)
    yield disk
    disk.ready.set()


def statistics(client: RawClient) -> dict[str, str]:
    """What STAT tells."""
    client.send(Opcode.STAT)
    found = {}
    while (line := client.receive()).key:
        found[line.key.decode()] = line.value.decode()
    return found


def wait_until_queued(observer: RawClient, count: int) -> None:
    """Wait until so many writes wait for those that are being committed."""

    def otherwise() -> str:
        found = statistics(observer)["store:queued"]
        return "" if found == f"{count}" else found

    wait_for(otherwise, "writes that wait")


def test_what_a_client_that_is_gone_had_queued_is_not_written(tmp_path: Path, disk: Disk) -> None:
    """Nobody is left to be told; others need not wait for it."""
    with serving(tmp_path) as port, RawClient(port) as observer, RawClient(port) as writer:
        observer.begin()
        writer.begin().send(Opcode.SET, key=b"\0first", extras=STORE)
        assert disk.begun.wait(GUARD)
        with RawClient(port) as gone:
            gone.begin()
            for number in range(100):
                gone.send(Opcode.SET, key=b"\0%d" % number, extras=STORE)
            wait_until_queued(observer, 100)
            reset = struct.pack("ii", 1, 0)
            gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        wait_until_queued(observer, 0)
        disk.ready.set()
        assert writer.receive().code == Status.SUCCESS
        assert statistics(observer)["store:documents"] == "1"


def test_what_was_sent_before_the_end_is_written(tmp_path: Path, disk: Disk) -> None:
    """A client that says that no more comes still gets its answers."""
    with serving(tmp_path) as port, RawClient(port) as writer:
        writer.begin()
        for number in range(100):
            writer.send(Opcode.SET, key=b"\0%d" % number, extras=STORE)
        writer.socket.shutdown(socket.SHUT_WR)
        assert disk.begun.wait(GUARD)
        disk.ready.set()
        assert {writer.receive().code for _ in range(100)} == {Status.SUCCESS}
        with pytest.raises(EOFError):
            writer.receive()


@pytest.mark.parametrize(("stops", "grace"), [(1, 0.01), (2, 1000)])
def test_a_server_that_must_end_does_not_write_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Disk, stops: int, grace: float
) -> None:
    """When its time is over, or it was told twice, all clients are gone: it ends what has begun."""
    close = Store.close

    def close_then(store: Store) -> None:
        assert store.statistics().queued == 0
        disk.ready.set()
        close(store)

    monkeypatch.setattr(Store, "close", close_then)
    with (
        contextlib.ExitStack() as stack,  # of clients: they stay until the server has ended
        serving(tmp_path, stops=stops, grace=grace) as port,
    ):
        observer, writer = (stack.enter_context(RawClient(port)).begin() for _ in range(2))
        writer.send(Opcode.SET, key=b"\0first", extras=STORE)
        assert disk.begun.wait(GUARD)
        for number in range(100):
            writer.send(Opcode.SET, key=b"\0%d" % number, extras=STORE)
        wait_until_queued(observer, 100)
    monkeypatch.undo()
    with Store.open(tmp_path) as store:
        assert store.statistics().documents == 1


def test_documents_are_there_after_a_restart(tmp_path: Path) -> None:
    """With their CAS."""
    with serving(tmp_path) as port, RawClient(port) as client:
        cas = client.begin().set(b"k", b"v").cas
    with serving(tmp_path) as port, RawClient(port) as client:
        reply = client.begin().call(Opcode.GET, key=b"\0k")
        assert (reply.value, reply.cas) == (b"v", cas)


def test_a_full_store_says_so_and_still_deletes(tmp_path: Path) -> None:
    """A temporary failure, for the SDK; reading goes on."""
    value = Random(1).randbytes(100_000)  # noqa: S311 - it is only data
    with serving(tmp_path, max_size=16 * 2**20) as port, RawClient(port) as client:
        client.begin()
        for number in range(1000):
            key = b"\0%d" % number
            reply = client.call(Opcode.SET, key=key, value=value, extras=STORE)
            if reply.code != Status.SUCCESS:
                break
        assert reply.code == Status.NO_MEMORY
        assert context_of(reply)
        assert client.call(Opcode.GET, key=b"\0" + b"0").value == value
        assert client.call(Opcode.DELETE, key=b"\0" + b"0").code == Status.SUCCESS
