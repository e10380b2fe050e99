"""Clients that mean harm: what each costs the server is bounded, others are served, nothing is left."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
import pytest

from examples.range_scan import server as range_scan_server
from examples.range_scan.wire import (
    Datatype,
    Feature,
    Frame,
    Opcode,
    Status,
    leb128,
    pack_request,
    snappy,
)
from examples.range_scan.wire.frames import HEADER
from examples.range_scan.wire.rules import LOGIN, SMALL
from tests.faults.looking import Observer, connect
from tests.faults.server import ServerProcess, running
from tests.faults.waiting import GUARD, wait_for

from .server_helpers import EVERYTHING, MEBIBYTE, RawClient

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.tree

PLAIN: Final = tuple(set(EVERYTHING) - {Feature.SNAPPY})
"""What a client negotiates that takes no compressed values."""
BLOCK: Final = 64 * 1024
"""Bytes that snappy compresses at a time."""
ENOUGH: Final = 20_000
"""Bytes of a pipeline that show that it was begun."""
MANY: Final = 30
"""Questions in which nothing more of it was read, that show that it is held up."""


# -- what it costs ------------------------------------------------------------------------------------


@contextlib.contextmanager
def costs_at_most(server: ServerProcess, memory: int) -> Generator[Observer]:
    """What is done within takes no more bytes of memory than that at any time, and leaves nothing."""
    with Observer(server) as observer:
        with contextlib.suppress(OSError):  # else the peak is since it was started, which is stricter
            Path(f"/proc/{server.pid}/clear_refs").write_text("5")
        before = _memory(server, "VmRSS")
        yield observer
        observer.assert_served()
        taken = _memory(server, "VmHWM") - before
        print(f"took {taken / MEBIBYTE:.1f} MiB of {memory / MEBIBYTE:.0f}")  # noqa: T201 - measured
        assert taken <= memory, f"it took {taken / MEBIBYTE:.0f} MiB"
        observer.assert_as_before()


def _memory(server: ServerProcess, line: str) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    (found,) = (words for words in map(str.split, status) if words[0] == f"{line}:")
    return int(found[1]) * 1024


def _is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed it; what it said is skipped."""
    connection.settimeout(0)
    try:
        while connection.recv(MEBIBYTE):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def all_closed(connections: list[socket.socket]) -> None:
    """Wait until the server has closed all of them."""
    wait_for(lambda: sum(not _is_closed(connection) for connection in connections), "still open")


def receive_all(client: RawClient) -> list[int]:
    """The statuses of all replies, until the server closes the connection."""
    found: list[int] = []
    deadline = time.monotonic() + GUARD
    with contextlib.suppress(EOFError, ConnectionError):
        while time.monotonic() < deadline:
            found.append(client.receive().code)
        pytest.fail("the server goes on answering")
    return found


@contextlib.contextmanager
def sending(connection: socket.socket, data: bytes) -> Generator[None]:
    """Send it again and again, as fast as the server takes it."""

    def send() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(data)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        thread.join()


# -- large numbers ------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Generator[ServerProcess]:
    """A new one for each test: memory that was taken once would hide what is taken then."""
    with running(tmp_path / "store") as server:
        yield server


@pytest.mark.parametrize("length", [2**32 - 1, 2**32 - 24, 2**31, 21 * MEBIBYTE])
@pytest.mark.parametrize("logged_in", [False, True])
def test_a_length_of_gigabytes_is_refused_at_once(
    server: ServerProcess, length: int, *, logged_in: bool
) -> None:
    """Its header is all that is looked at; then the connection ends."""
    with costs_at_most(server, 8 * MEBIBYTE), RawClient(server.port) as client:
        if logged_in:
            client.begin()
        header = HEADER.pack(0x80, Opcode.SET, 0xFFFF, 0xFF, 0, 0, length, 7, 0)
        client.socket.sendall(header)
        assert client.receive().code == Status.TOO_BIG
        with pytest.raises((EOFError, ConnectionError)):
            client.receive()


def test_lengths_that_do_not_fit_together_are_refused(server: ServerProcess) -> None:
    """Key and extras longer than the body, in both framings."""
    with costs_at_most(server, 8 * MEBIBYTE):
        for magic in (0x80, 0x08):
            with RawClient(server.port) as client:
                client.begin()
                client.socket.sendall(HEADER.pack(magic, Opcode.GET, 0xFFFF, 0xFF, 0, 0, 5, 7, 0))
                assert client.receive().code == Status.INVALID
                with pytest.raises((EOFError, ConnectionError)):
                    client.receive()


@pytest.mark.parametrize(
    ("opcode", "datatype", "value"),
    [
        (Opcode.RANGE_SCAN_CREATE, Datatype.JSON, b'{"a":[%b0]}' % (b"[]," * 6 * MEBIBYTE)),
        (Opcode.RANGE_SCAN_CREATE, Datatype.JSON, b"[" * 18 * MEBIBYTE),
        (Opcode.HELLO, Datatype.RAW, b"\0\x12" * 9 * MEBIBYTE),
        (Opcode.GET_COLLECTION_ID, Datatype.RAW, b"a" * 18 * MEBIBYTE),
        (Opcode.SASL_AUTH, Datatype.RAW, b"n,,n=u,r=" + b"a=," * 6 * MEBIBYTE),
    ],
    ids=["lists", "brackets", "HELLO", "GET_COLLECTION_ID", "SASL_AUTH"],
)
def test_what_is_taken_apart_is_small(
    server: ServerProcess, opcode: Opcode, datatype: Datatype, value: bytes
) -> None:
    """Eighteen mebibytes where a few bytes would do: refused unread, and the next one is served."""
    key = b"SCRAM-SHA512" if opcode == Opcode.SASL_AUTH else b""
    with costs_at_most(server, 80 * MEBIBYTE), RawClient(server.port) as client:
        client.begin()
        reply = client.call(opcode, key=key, value=value, datatype=datatype)
        assert reply.code == Status.TOO_BIG
        at_most = LOGIN if opcode == Opcode.SASL_AUTH else SMALL
        assert b"there may be %d" % at_most in reply.value
        assert client.call(Opcode.NOOP).code == Status.SUCCESS


# -- values that inflate ------------------------------------------------------------------------------


def inflating_to(blocks: int) -> bytes:
    """A sound value that takes so many times 64 KiB when it is plain, and a twentieth of that now."""
    head, block = leb128.encode(BLOCK), snappy.deflate(bytes(BLOCK))
    assert block.startswith(head)
    return leb128.encode(blocks * BLOCK) + block.removeprefix(head) * blocks


@pytest.mark.parametrize(
    "value",
    [b"\xff\xff\xff\xff\x0f\0a", inflating_to(snappy.MAX_VALUE // BLOCK + 1), inflating_to(6000)],
    ids=["4-GiB", "21-MiB", "375-MiB"],
)
def test_a_value_that_inflates_to_too_much_is_not_inflated(server: ServerProcess, value: bytes) -> None:
    """It says so itself, and that is looked at."""
    with costs_at_most(server, 8 * MEBIBYTE + 4 * len(value)), RawClient(server.port) as client:
        client.begin()
        for opcode, extras in ((Opcode.SET, bytes(8)), (Opcode.APPEND, b"")):
            reply = client.call(
                opcode, key=b"\0k", extras=extras, datatype=Datatype.SNAPPY, value=value
            )
            assert reply.code == Status.INVALID
            assert b"over the %d allowed" % snappy.MAX_VALUE in reply.value


@pytest.mark.slow
def test_values_that_inflate_are_inflated_one_by_one(server: ServerProcess) -> None:
    """Twelve values of a mebibyte that take twenty each, at once: written, read, scanned, deleted."""
    bomb, many = snappy.deflate(bytes(snappy.MAX_VALUE)), 12
    assert len(bomb) < MEBIBYTE
    keys = [b"\0bomb%d" % number for number in range(many)]
    with costs_at_most(server, 150 * MEBIBYTE) as observer:
        with RawClient(server.port) as writer:
            writer.begin()
            for key in keys:
                writer.send(
                    Opcode.SET, code=1, key=key, extras=bytes(8), datatype=Datatype.SNAPPY, value=bomb
                )
            observer.assert_served()
            assert {writer.receive().code for _ in keys} == {Status.SUCCESS}
        with RawClient(server.port) as reader:
            reader.begin(*PLAIN)
            for key in keys:
                reader.send(Opcode.GET, code=1, key=key)
            observer.assert_served()
            assert {len(reader.receive().value) for _ in keys} == {snappy.MAX_VALUE}
            uuid = reader.create_scan(1).value
            reader.send_continue(uuid, vbucket=1)
            observer.assert_served()
            inflated = 0
            while (frame := reader.receive()).code == Status.SUCCESS:
                inflated += len(frame.value)
            assert frame.code == Status.SCAN_COMPLETE
            assert inflated > many * snappy.MAX_VALUE
            for key in keys:
                assert reader.call(Opcode.DELETE, code=1, key=key).code == Status.SUCCESS


@pytest.mark.slow
def test_pieces_that_inflate_are_written_one_by_one(server: ServerProcess) -> None:
    """A piece to append is held plain until it is on disk, so it counts as what it is then."""
    bomb = snappy.deflate(bytes(snappy.MAX_VALUE))
    keys = [b"bomb%d" % number for number in range(12)]
    with costs_at_most(server, 150 * MEBIBYTE) as observer, RawClient(server.port) as writer:
        writer.begin()
        for key in keys:
            writer.set(key, b"")
        for key in keys:
            writer.send(Opcode.APPEND, key=b"\0" + key, datatype=Datatype.SNAPPY, value=bomb)
        observer.assert_served()
        assert {writer.receive().code for _ in keys} == {Status.SUCCESS}


# -- without end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Opcode.NOOP),
        Frame(Opcode.GET, key=b"\0large"),
        Frame(Opcode.GAT, key=b"\0large", extras=bytes(4)),
        Frame(Opcode.STAT),
        Frame(Opcode.SET, key=b"\0small", extras=bytes(8), value=bytes(1000)),
        Frame(Opcode.RANGE_SCAN_CONTINUE, extras=bytes(28)),
        Frame(0xEE),
    ],
    ids=["NOOP", "GET", "GAT", "STAT", "SET", "CONTINUE", "unknown"],
)
def test_pipelines_without_end(server: ServerProcess, frame: Frame) -> None:
    """A client that sends for ever, and reads nothing: it is not read any more, others are served."""
    data = pack_request(frame) * 1000
    with costs_at_most(server, 80 * MEBIBYTE) as observer, RawClient(server.port) as client:
        client.begin()
        client.set(b"large", bytes(100_000))
        with sending(client.socket, data):
            _until_it_stops(observer)
            observer.assert_served()


def _until_it_stops(observer: Observer) -> None:
    """Wait until the server has read something of it, and then no more for many questions of ours."""
    quiet, first, last = 0, -1, -1

    def goes_on() -> bool:
        nonlocal quiet, first, last
        received = int(observer.statistics()["front_end:bytes_received"])
        first = received if first < 0 else first
        quiet = 0 if received - last > 100 else quiet + 1  # a question has 24 bytes
        last = received
        return received - first < ENOUGH or quiet < MANY

    wait_for(goes_on, "it reads on and on")


# -- logins -------------------------------------------------------------------------------------------


def test_a_flood_of_strangers(tmp_path: Path) -> None:
    """Twenty may wait, the last ones; all others are closed at once, and who logs in is served."""
    with (
        running(
            tmp_path / "store", says="had not logged in", max_strangers=20, login_timeout=GUARD
        ) as server,
        costs_at_most(server, 40 * MEBIBYTE) as observer,
        contextlib.ExitStack() as stack,
    ):
        flood = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(400)
        ]
        wait_for(lambda: sum(not _is_closed(one) for one in flood) - 20, "more than may wait")
        observer.assert_served()
        connect(server).close()  # which logs in
        wait_for(lambda: sum(not _is_closed(one) for one in flood) - 19, "one had to go")
        wait_for(lambda: int(observer.statistics()["front_end:connections"]) - 20, "connections")


def test_strangers_who_talk_are_shown_out_all_the_same(tmp_path: Path) -> None:
    """They begin one login after another, three times; or say hello, for as long as they may."""
    first = Frame(Opcode.SASL_AUTH, key=b"SCRAM-SHA1", value=b"n,,n=u,r=" + b"r" * 1000)
    hello = Frame(Opcode.HELLO, value=b"\0\7" * 7000)
    with (
        running(tmp_path / "store", says="is closed", login_timeout=2) as server,
        costs_at_most(server, 40 * MEBIBYTE) as observer,
        RawClient(server.port) as one,
        RawClient(server.port) as two,
        sending(one.socket, pack_request(first) * 10),
        sending(two.socket, pack_request(hello) * 10),
    ):
        observer.assert_served()
        assert receive_all(one) == [Status.AUTH_CONTINUE] * 3 + [Status.AUTH_ERROR]
        assert set(receive_all(two)) <= {Status.SUCCESS}


def test_who_guesses_passwords_has_three_guesses(server: ServerProcess) -> None:
    """For each connection, also if it sends a hundred at once; PLAIN and SCRAM count together."""
    wrong = pack_request(Frame(Opcode.SASL_AUTH, key=b"PLAIN", value=b"\0Administrator\0guess"))
    step = pack_request(Frame(Opcode.SASL_STEP, key=b"SCRAM-SHA512", value=b"c=biws,r=x,p=AAAA"))
    with costs_at_most(server, 20 * MEBIBYTE):
        for _ in range(50):
            with RawClient(server.port) as client:
                client.socket.sendall((wrong + step) * 50)
                assert receive_all(client) == [Status.AUTH_ERROR] * 3


# -- slowly -------------------------------------------------------------------------------------------


def short_limits() -> None:
    """In the server: a frame may take a second, and a client may read nothing for another."""
    range_scan_server.FRAME_TIMEOUT = 1.0  # type: ignore[misc]
    range_scan_server.WRITE_TIMEOUT = 0.5  # type: ignore[misc]


def test_slow_senders_are_cut_off(tmp_path: Path) -> None:
    """Fifty clients that send a byte of a frame now and then: none keeps its connection so."""
    frame = pack_request(Frame(Opcode.SET, key=b"\0k", extras=bytes(8), value=bytes(10_000)))
    with (
        running(tmp_path / "store", sabotage=short_limits, no_auth=True) as server,
        costs_at_most(server, 40 * MEBIBYTE) as observer,
        contextlib.ExitStack() as stack,
    ):
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(50)
        ]
        sent = 0

        def drip() -> int:
            nonlocal sent
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.settimeout(0)
                    connection.send(frame[sent : sent + 1])
            sent += 1
            assert sent < len(frame), "they had time for all of it"
            observer.assert_served()
            return sum(not _is_closed(connection) for connection in slow)

        wait_for(drip, "still open")


def test_slow_readers_are_cut_off(tmp_path: Path) -> None:
    """Twenty clients that ask for all documents, and read none: scans and buffers are given up."""
    with (
        running(
            tmp_path / "store",
            sabotage=short_limits,
            no_auth=True,
            vbuckets=1,
            scan_lifetime=0.5,
            memory=4 * MEBIBYTE,
        ) as server,
        connect(server) as writer,
    ):
        sum(writer.store([(b"k%d" % number, bytes(100_000)) for number in range(200)], datatype=0))
        writer.close()
        with costs_at_most(server, 80 * MEBIBYTE) as observer, contextlib.ExitStack() as stack:
            slow: list[socket.socket] = []
            for _ in range(20):
                client = stack.enter_context(RawClient(server.port, receive_buffer=4096))
                client.hello(Feature.COLLECTIONS, Feature.JSON)
                client.send_continue(client.create_scan().value)
                slow.append(client.socket)
            observer.assert_served()
            wait_for(lambda: int(observer.statistics()["front_end:connections"]) - 1, "connected")
            all_closed(slow)


# -- many ---------------------------------------------------------------------------------------------

IDLE: Final = 9_900
CROWD: Final = """
import resource, socket, sys
port, many = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (many + 100, many + 100))
connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(many)]
print("connected", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_idle_connections(tmp_path: Path) -> None:
    """Each takes a little memory and no time; others are served; nothing is left of them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < IDLE + 200:
        pytest.skip("needs leave to open ten thousand files")
    with (
        running(tmp_path / "store", no_auth=True) as server,
        costs_at_most(server, IDLE * 64 * 1024) as observer,
    ):
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (IDLE + 200, hard))
        before = server.memory()
        with _crowd(server.port):
            wait_for(
                lambda: int(observer.statistics()["front_end:connections"]) != IDLE + 1, "connected"
            )
            observer.assert_served()
            each = (server.memory() - before) / IDLE
            idle, busy = _cpu_while_idle(server.pid)
            print(f"{each / 1024:.1f} KiB each; {busy:.2f} s of CPU in {idle:.2f} s")  # noqa: T201 - measured
            assert each < 40 * 1024
            assert busy < idle / 2
            observer.assert_served()


@contextlib.contextmanager
def _crowd(port: int) -> Generator[None]:
    command = [sys.executable, "-c", CROWD, str(port), str(IDLE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
        assert crowd.stdout is not None
        try:
            assert crowd.stdout.readline() == "connected\n"
            yield
        finally:
            crowd.kill()


def _cpu_while_idle(pid: int) -> tuple[float, float]:
    """Seconds, and seconds of CPU that the process took in them."""
    process = psutil.Process(pid)

    def used() -> tuple[float, float]:
        times: Any = process.cpu_times()
        return time.monotonic(), times.user + times.system

    began, busy = used()
    time.sleep(2)
    ended, busy_then = used()
    return ended - began, busy_then - busy
