"""One connection: who reads when, what is bounded, and how it ends."""

from __future__ import annotations

import gc
import random
import socket
import ssl
import struct
import threading
import time
import weakref
from contextlib import asynccontextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import pytest
import trio
import trustme
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

import ewb
from ewb import Order, Status, _session

from .helpers import GUARD, Gate, Log, nothing_runs, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence

    from ewb._protocol import Buffer

Cookie: TypeAlias = "ewb.Cookie[str, Status]"


# -- a server of lines, which the other tests of the front end use too -----------------------------


class Lines:
    """A request is a line; `+` before it: may overlap, `~`: may be reordered; `-`: quiet."""

    def __init__(self) -> None:
        self.held = bytearray()

    def receive_data(self, data: bytes) -> None:
        """It keeps it."""
        self.held += data

    def next_request(self) -> str | None:
        """A line."""
        line, newline, rest = self.held.partition(b"\n")
        if not newline:
            return None
        self.held = rest
        if line == b"bad":
            msg = "a bad line"
            raise ewb.ProtocolError(msg, b"bad!\n")
        return line.decode()

    def order(self, request: str) -> Order:
        """By its mark."""
        return {"+": Order.OVERLAP, "~": Order.REORDER}.get(request[:1], Order.SERIAL)

    def encode_batch(self, request: str, batch: list[bytes]) -> Sequence[Buffer]:
        """As they are."""
        return batch

    def encode_end(self, request: str, status: Status, reply: bytes | None) -> Sequence[Buffer]:
        """A line; of a quiet one nothing."""
        if request.startswith("-"):
            return []
        return [f"{request} {status.name} ".encode(), reply or b"", b"\n"]


class KnownLines(Lines):
    """Which says how much it holds of a line that is not whole."""

    @property
    def unparsed(self) -> int:
        """Bytes of it."""
        return len(self.held) - self.held.rfind(b"\n") - 1


def lines(number: int, size: int = 8) -> Generator[bytes]:
    """A producer of so many lines."""
    line = b"." * (size - 1) + b"\n"
    for _ in range(number):
        yield line


class Engine:
    """What the tests' clients can ask for."""

    def __init__(self) -> None:
        self.log = Log()
        self.gates: dict[str, Gate] = {}
        self.waiting: dict[str, Cookie] = {}
        self.executed: list[str] = []
        self.connected: list[ewb.Connection] = []
        self.disconnected: list[ewb.Connection] = []
        self.closed_by_then: list[int] = []
        self.statuses: list[Status] = []

    def connect(self, connection: ewb.Connection) -> None:
        """It keeps it."""
        self.connected.append(connection)

    def disconnect(self, connection: ewb.Connection) -> None:
        """It keeps it, and how many producers were closed by then."""
        self.disconnected.append(connection)
        self.closed_by_then.append(len(self.log.closed))

    def gate(self, name: str) -> Gate:
        """Of that name."""
        return self.gates.setdefault(name, Gate())

    def execute(self, cookie: Cookie) -> Status:
        """See `Engine`."""
        if cookie.resumed:
            self.statuses.append(cookie.status)
            return cookie.status
        self.executed.append(cookie.request)
        word, _, rest = cookie.request.lstrip("+~-").partition(" ")
        return getattr(self, f"do_{word}")(cookie, rest)  # type: ignore[no-any-return]

    def do_echo(self, cookie: Cookie, text: str) -> Status:
        """The text."""
        cookie.reply = text.encode()
        return Status.OK

    def do_big(self, cookie: Cookie, size: str) -> Status:
        """So many bytes."""
        cookie.reply = b"x" * int(size)
        return Status.OK

    def do_lines(self, cookie: Cookie, number: str) -> Status:
        """So many lines."""
        return cookie.produce(lines, int(number))

    def do_chunks(self, cookie: Cookie, size: str) -> Status:
        """An endless stream of chunks of so many bytes."""
        return cookie.produce(self.chunks, int(size))

    def do_numbers(self, cookie: Cookie, stop: str) -> Status:
        """So many, or for ever; they are logged."""
        return cookie.produce(self.log.numbers, int(stop) if stop else None)

    def do_stuck(self, cookie: Cookie, name: str) -> Status:
        """A few numbers, and then it blocks a worker."""
        return cookie.produce(self.numbers_and_a_gate, self.gate(name))

    def do_run(self, cookie: Cookie, name: str) -> Status:
        """A call that waits at a gate."""
        return cookie.run(self.gate(name).wait)

    def do_sleep(self, cookie: Cookie, how: str) -> Status:
        """In Trio, in a nursery, from a worker: it is cancelled with a group."""
        reached = self.gate("asleep").reached

        async def sleep() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                reached.set()

        def stream() -> Generator[bytes]:
            yield b"going to sleep\n"
            trio.from_thread.run(sleep)

        if how == "stream":
            return cookie.produce(stream)
        return cookie.run(trio.from_thread.run, sleep)

    def do_add(self, cookie: Cookie, numbers: str) -> Status:
        """A call."""
        return cookie.run(sum, [int(number) for number in numbers.split()])

    def do_wait(self, cookie: Cookie, key: str) -> Status:
        """Until it is notified."""
        self.waiting[key] = cookie
        return Status.WOULD_BLOCK

    def do_set(self, cookie: Cookie, key: str) -> Status:
        """Notify who waits."""
        self.waiting.pop(key).notify()
        return Status.OK

    def do_boom(self, cookie: Cookie, what: str) -> Status:
        """It raises."""
        raise ValueError(what, cookie)

    def do_quit(self, cookie: Cookie, _: str) -> Status:
        """Close."""
        cookie.connection.close()
        return Status.OK

    def do_abort(self, cookie: Cookie, _: str) -> Status:
        """Abort."""
        cookie.connection.abort()
        return Status.OK

    def chunks(self, size: int) -> Generator[bytes]:
        """A producer that never ends."""
        self.log.opened.append(threading.get_ident())
        try:
            for _ in count():
                yield b"." * (size - 1) + b"\n"
        finally:
            self.log.closed.append(threading.get_ident())

    def numbers_and_a_gate(self, gate: Gate) -> Generator[bytes]:
        """A producer that waits at the end."""
        yield from self.log.numbers(3, gate)


@cache
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server, and for its clients."""
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(ours)
    authority.configure_trust(theirs)
    return ours, theirs


@attrs.define
class Server:
    """A front end that serves, and how to get a client of it."""

    front_end: ewb.FrontEnd[str, Status]
    workers: ewb.Workers
    engine: Engine
    nursery: trio.Nursery
    kind: str
    listeners: list[trio.SocketListener] = attrs.Factory(list)

    async def connect(self) -> Any:
        """A new client: a stream of the server's kind."""
        if self.kind == "tcp":
            return await self.connect_tcp()
        pair = lockstep_stream_pair if self.kind == "lockstep" else memory_stream_pair
        ours: trio.abc.Stream
        theirs: trio.abc.Stream
        ours, theirs = pair()
        if self.kind == "tls":
            of_server, of_client = tls()
            ours = trio.SSLStream(ours, of_client, server_hostname="localhost")
            theirs = trio.SSLStream(theirs, of_server, server_side=True)
        self.nursery.start_soon(self.front_end.serve, theirs)
        return ours

    async def connect_tcp(self) -> trio.SocketStream:
        """A new client of TCP."""
        host, port = self.listeners[0].socket.getsockname()[:2]
        return await trio.open_tcp_stream(host, port)

    async def engine_reached(self, gate: str) -> None:
        """Wait until a worker stands before this gate."""
        await until(self.engine.gate(gate).reached.is_set)

    def abort_all(self) -> None:
        """Cut off all clients."""
        for connection in self.engine.connected:
            connection.abort()

    async def is_at_rest(self) -> None:
        """Wait until all clients are gone; then nothing is left of them."""
        await until(lambda: not self.front_end.statistics().connections)
        now = self.front_end.statistics()
        assert now.waiting == now.executing == now.parked == now.ready == now.complete == 0
        assert now.suspended == now.unsent_bytes == 0
        assert self.front_end._counters.in_flight == 0
        assert len(self.engine.disconnected) == len(self.engine.connected)
        assert set(self.engine.disconnected) == set(self.engine.connected)
        await nothing_runs(self.workers)
        assert self.workers.statistics().producers == 0
        assert self.workers.statistics().buffered_bytes == 0
        assert sorted(self.engine.log.closed) == sorted(self.engine.log.opened)
        assert threading.get_ident() not in self.engine.log.closed


@asynccontextmanager
async def serving(
    kind: str = "tcp",
    protocol: Callable[[], Any] = KnownLines,
    engine: Any = None,
    threads: int = 2,
    **bounds: Any,
) -> AsyncGenerator[Server]:
    """A server. When its clients are gone, which the test sees to, nothing is left of them."""
    engine = engine or Engine()
    with trio.fail_after(GUARD):
        async with ewb.open_workers(threads) as workers, trio.open_nursery() as nursery:
            front_end = ewb.FrontEnd(protocol, engine, workers, **bounds)
            server = Server(front_end, workers, engine, nursery, kind)
            if kind == "tcp":
                listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
                server.listeners = await nursery.start(front_end.serve_listeners, listeners)
            try:
                yield server
                await server.is_at_rest()
            finally:
                for gate in engine.gates.values():
                    gate.open()
            front_end.shutdown()


# -- its clients ------------------------------------------------------------------------------------


async def everything(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes until the other end closes."""
    return b"".join([data async for data in stream])


async def everything_or_reset(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes until the other end closes, or is gone."""
    got = b""
    try:
        async for data in stream:
            got += data
    except trio.BrokenResourceError:
        pass
    return got


async def exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    """So many bytes."""
    got = bytearray()
    while len(got) < size:
        data = await stream.receive_some(size - len(got))
        assert data, f"the connection ended after {bytes(got[-100:])!r}"
        got += data
    return bytes(got)


async def ask(stream: trio.abc.Stream, requests: bytes) -> bytes:
    """Send all this, and read all that comes until the server closes."""
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(send, stream, requests)
        answer = await everything(stream)
        nursery.cancel_scope.cancel()
    return answer


async def talk(stream: trio.abc.HalfCloseableStream, requests: bytes) -> bytes:
    """Send all this, half-close, and read all that comes."""

    async def send_and_half_close() -> None:
        await stream.send_all(requests)
        await stream.send_eof()

    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(send_and_half_close)
        return await everything(stream)


async def send(stream: trio.abc.SendStream, requests: bytes) -> None:
    """Send them, as far as the server reads them."""
    with suppress(trio.BrokenResourceError):
        await stream.send_all(requests)


async def send_for_ever(stream: trio.abc.SendStream, first: bytes, then: bytes) -> None:
    """Until the server has enough of it."""
    with suppress(trio.BrokenResourceError):
        await stream.send_all(first)
        while True:
            await stream.send_all(then)


async def send_in_pieces(stream: trio.abc.SendStream, requests: bytes, chance: random.Random) -> None:
    """As a network might deliver them."""
    while requests:
        size = chance.choice([1, 7, 50, 10_000])
        await stream.send_all(requests[:size])
        requests = requests[size:]
        if chance.random() < 0.3:
            await wait_all_tasks_blocked()


def conversation(chance: random.Random, number: int) -> tuple[bytes, bytes]:
    """So many requests that are answered in order, and the answers."""
    requests, answers = b"", b""
    for _ in range(number):
        word, reply = chance.choice(
            [
                ("echo a", "echo a OK a\n"),
                ("add 1 2", "add 1 2 OK \n"),
                ("lines 3", ".......\n" * 3 + "lines 3 OK \n"),
                ("lines 500", ".......\n" * 500 + "lines 500 OK \n"),
                ("big 2000", f"big 2000 OK {'x' * 2000}\n"),
                ("echo " + "e" * 500, f"echo {'e' * 500} OK {'e' * 500}\n"),
            ]
        )
        mark = chance.choice(["", "+"])
        requests += f"{mark}{word}\n".encode()
        head, _, end = reply.rpartition(word)
        answers += f"{head}{mark}{word}{end}".encode()
    return requests, answers


def open_descriptors() -> int:
    """How many this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


kinds = pytest.mark.parametrize("kind", ["tcp", "memory", "lockstep", "tls"])
half_closing_kinds = pytest.mark.parametrize("kind", ["tcp", "memory", "lockstep"])


# -- answers -----------------------------------------------------------------------------------------


@kinds
async def test_commands_are_answered_in_order(kind: str) -> None:
    """A stream, a call, a long answer and a quiet command, pipelined: whatever they go over."""
    async with serving(kind) as server:
        requests = b"echo a\nlines 2\nadd 1 2\n-echo q\n+lines 1\nbig 100000\nquit\n"
        assert await ask(await server.connect(), requests) == (
            b"echo a OK a\n.......\n.......\nlines 2 OK \nadd 1 2 OK \n.......\n+lines 1 OK \n"
            b"big 100000 OK " + b"x" * 100_000 + b"\nquit OK \n"
        )


@half_closing_kinds
@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_who_half_closes_after_the_last_command_gets_all_answers(kind: str, size: int) -> None:
    """However long they are, and whether they wait for a worker or not."""
    async with serving(kind) as server:
        got = await talk(await server.connect(), b"+lines 20000\n+add 1\n~big %d\necho a\n" % size)
        assert len(got) == 20_000 * 8 + size + len(
            b"+lines 20000 OK \n+add 1 OK \necho a OK a\n"
        ) + len(b"~big %d OK \n" % size)
        assert got.endswith(b"echo a OK a\n")


async def test_a_lone_newline_before_the_end_is_no_loss() -> None:
    """Half a request at the end is nothing: all before it is answered."""
    async with serving("memory") as server:
        assert await talk(await server.connect(), b"echo a\nech") == b"echo a OK a\n"


@pytest.mark.parametrize(
    "buffer",
    [b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"aXbXc")[::2], memoryview(b"")],
    ids=["bytes", "bytearray", "view", "gaps", "empty"],
)
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("kind", ["tcp", "memory"])
async def test_any_buffer_goes_out(kind: str, buffer: Buffer, others: int) -> None:
    """Whatever kind of buffer a protocol encodes to, alone or with others."""

    class Buffers(Lines):
        def encode_end(self, request: str, status: Status, reply: bytes | None) -> Sequence[Buffer]:
            return [*[b"<"] * others, buffer]

    async with serving(kind, Buffers) as server:
        assert await talk(await server.connect(), b"echo a\n") == b"<" * others + bytes(buffer)


async def test_replies_of_one_turn_go_out_at_once() -> None:
    """Sixty-four pipelined commands are read with one call of the system, and answered with one."""
    async with serving("tcp") as server, await server.connect() as client:
        await client.send_all(b"echo a\n" * 64)
        await exactly(client, 64 * len(b"echo a OK a\n"))
        assert server.front_end.statistics().writes <= 2


# -- who reads ------------------------------------------------------------------------------------


@kinds
async def test_requests_that_max_unsent_held_back_are_answered(kind: str) -> None:
    """All that was read is answered, though the client sends nothing more."""
    async with (
        serving(kind, max_unsent=1000) as server,
        await server.connect() as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.send_all, b"big 1000\n" * 20)
        await exactly(client, 20 * (1000 + len(b"big 1000 OK \n")))


@kinds
@pytest.mark.parametrize("size", [100_000, 300_000])
async def test_a_reader_held_by_read_ahead_goes_on(kind: str, size: int) -> None:
    """What waits behind a command that runs is read when it is done, and what comes after that too."""
    async with serving(kind) as server, await server.connect() as client:
        long = b"echo " + b"a" * size + b"\n"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"run g\n" + 2 * long)
            await until(lambda: server.front_end.statistics().bytes_received > 65_536)
            server.engine.gate("g").open()
            await exactly(client, len(b"run g OK \n") + 2 * (len(long) + size + len(b" OK ")))
        for _ in range(3):
            await client.send_all(b"echo b\n")
            assert await exactly(client, 12) == b"echo b OK b\n"


@kinds
async def test_the_reader_hands_back_after_a_write_that_had_to_wait(kind: str) -> None:
    """Long answers, for which the reader takes over, and short ones, for which it does not, in turn."""
    async with serving(kind) as server, await server.connect() as client:
        for _ in range(5):
            await client.send_all(b"big 3000000\n")
            await exactly(client, 3_000_000 + len(b"big 3000000 OK \n"))
            await client.send_all(b"echo a\n")
            await exactly(client, len(b"echo a OK a\n"))
        assert server.front_end.statistics().connections == 1


@half_closing_kinds
async def test_read_ahead_is_bounded_behind_a_command_that_runs(kind: str) -> None:
    """A client that pipelines without end behind a command that runs is not read without end."""
    async with serving(kind) as server, await server.connect() as client:
        with trio.CancelScope() as sending:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_for_ever, client, b"run g\n", b"echo a\n" * 1000)
                await until(lambda: server.front_end.statistics().bytes_received > 65_536)
                await trio.sleep(0.6)  # longer than it takes the watchdog to look again
                assert server.front_end.statistics().bytes_received <= 3 * 65_536
                server.engine.gate("g").open()
                sending.cancel()
        server.abort_all()


@pytest.mark.parametrize("requests", [b"echo a\n", b"+add 1\n", b"~wait k\n", b"big 5000\n"])
async def test_memory_is_bounded_with_a_client_that_never_reads(requests: bytes) -> None:
    """It pipelines for ever, and reads nothing: what is held of it stops growing."""
    async with (
        serving("tcp", max_unsent=50_000, max_commands=50) as server,
        await server.connect() as client,
    ):
        with trio.CancelScope() as sending:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_for_ever, client, b"", requests * 1000)
                await wait_all_tasks_blocked(0.2)  # a worker may be at something
                now = server.front_end.statistics()
                assert now.unsent_bytes <= 50_000 + 5100
                assert now.commands - now.completed <= 50
                assert len(server.engine.connected[0].protocol.held) <= 4 * 65_536  # type: ignore[attr-defined]
                sending.cancel()
        server.abort_all()


@pytest.mark.parametrize("protocol", [Lines, KnownLines])
@kinds
async def test_an_endless_frame_ends_at_max_frame(kind: str, protocol: type[Lines]) -> None:
    """The connection is closed after a frame of that size, and no more is held."""
    async with (
        serving(kind, protocol, max_frame=200_000) as server,
        await server.connect() as client,
    ):
        got = b""
        with trio.CancelScope() as sending:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_for_ever, client, b"echo a\n", b"e" * 1000)
                got = await everything_or_reset(client)
                sending.cancel()
        assert got == b"echo a OK a\n"
        assert len(server.engine.connected[0].protocol.held) <= 200_000 + 2 * 65_536  # type: ignore[attr-defined]
        assert server.front_end.statistics().protocol_errors == 1


@pytest.mark.parametrize("protocol", [Lines, KnownLines])
async def test_many_frames_are_not_one_large_one(protocol: type[Lines]) -> None:
    """What commands of the past took does not count against a frame that is begun."""
    async with serving("memory", protocol, max_frame=1000) as server, await server.connect() as client:
        for _ in range(200):
            await client.send_all(b"add 1 2\n")
            await exactly(client, len(b"add 1 2 OK \n"))
        await client.send_all(b"echo")
        await wait_all_tasks_blocked()
        await client.send_all(b" a\n")
        assert await exactly(client, 12) == b"echo a OK a\n"


@pytest.mark.parametrize("seed", range(60))
@kinds
async def test_any_conversation(kind: str, seed: int) -> None:
    """Whatever is asked, in whatever pieces, however it is read: the answers are right and complete."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    requests, expected = conversation(chance, 30)
    bounds = chance.choice([{}, {"max_unsent": 500}, {"max_commands": 2}, {"commands_per_turn": 1}])
    async with serving(kind, chance.choice([Lines, KnownLines]), **bounds) as server:
        async with await server.connect() as client, trio.open_nursery() as nursery:
            nursery.start_soon(send_in_pieces, client, requests, chance)
            got = bytearray()
            while len(got) < len(expected):
                data = await client.receive_some(chance.choice([1, 100, 100_000]))
                assert data, bytes(got[-200:])
                got += data
                if chance.random() < 0.1:
                    await wait_all_tasks_blocked()
            assert bytes(got) == expected
        # and nothing was said too much
        assert server.front_end.statistics().bytes_sent == len(expected)


# -- ends -----------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize(
    "before", [b"", b"echo a\n", b"big 3000000\n", b"lines 3\n", b"+add 1\n~add 2\n"]
)
async def test_quit_in_the_midst_of_pipelined_commands(kind: str, before: bytes) -> None:
    """All before it, and itself, is answered; what comes after it is not executed."""
    async with serving(kind) as server:
        got = await ask(await server.connect(), before + b"quit\necho no\n")
        assert got.endswith(b"quit OK \n")
        assert len(server.engine.executed) == before.count(b"\n") + 1
        if b"big" in before:
            assert len(got) > 3_000_000


@kinds
@pytest.mark.parametrize("before", [b"", b"echo a\n", b"lines 3\n", b"run g\n"])
@pytest.mark.parametrize("after", [0, 100, 1_000_000])
async def test_the_last_reply_reaches_a_client_that_goes_on_sending(
    kind: str, before: bytes, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset would destroy it: so what still comes is read for a while, and thrown away."""
    if after <= 100:  # that has come already
        monkeypatch.setattr(_session, "LINGER", 0.2)
    async with serving(kind) as server:
        server.engine.gate("g").open()
        got = await ask(await server.connect(), before + b"bad\n" + b"echo no\n" * after)
        assert got.endswith(b"bad!\n")
        assert b"no" not in got


@kinds
async def test_abort_within_execute_is_at_once(kind: str) -> None:
    """Nothing of that client is executed or answered any more."""
    async with serving(kind) as server, await server.connect() as client:
        await client.send_all(b"abort\necho a\n")
        assert await everything_or_reset(client) == b""
        await server.is_at_rest()
        assert server.engine.executed == ["abort"]


@kinds
async def test_abort_drops_what_is_in_flight(kind: str) -> None:
    """Its streams are closed, on workers, before the engine is told."""
    async with serving(kind) as server, await server.connect() as client:
        await client.send_all(b"~chunks 1000\n~wait k\n")
        await exactly(client, 10_000)
        await client.send_all(b"~abort\n")
        await everything_or_reset(client)
        await server.is_at_rest()
        assert server.engine.closed_by_then == [1]
        server.engine.waiting["k"].notify()  # too late, and no harm
        assert server.front_end.statistics().dropped == 2


def half_close(client: trio.SocketStream) -> None:
    client.socket.shutdown(trio.socket.SHUT_WR)


def close(client: trio.SocketStream) -> None:
    client.socket.close()


def reset(client: trio.SocketStream) -> None:
    client.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


@attrs.frozen
class Moment:
    """When a client leaves: what it has sent, and what the server is at by then."""

    sends: bytes
    reached: Callable[[Server], object]
    noticed: bool = True
    """Before a worker that is stuck has gone on."""


MOMENTS = {
    "idle": Moment(b"echo a\n", lambda server: server.front_end.statistics().completed),
    "new": Moment(b"", lambda server: server.engine.connected),
    "mid-frame": Moment(b"echo a\nec", lambda server: server.front_end.statistics().completed),
    "streaming": Moment(b"~chunks 10\n", lambda server: server.front_end.statistics().bytes_sent),
    "write blocked": Moment(b"chunks 50000\n", lambda server: server.front_end.statistics().suspended),
    "answer blocked": Moment(
        b"big 30000000\n", lambda server: server.front_end.statistics().unsent_bytes
    ),
    "parked": Moment(b"wait k\n", lambda server: server.engine.waiting),
    "alone in a call": Moment(b"run g\n", lambda server: server.engine.gate("g").reached.is_set()),
    "stuck in a stream": Moment(b"stuck g\n", lambda server: server.engine.gate("g").reached.is_set()),
    "many": Moment(
        b"+run g\n+chunks 1000\n~chunks 1000\n~wait k\n~wait l\necho held\n",
        lambda server: len(server.engine.waiting) == 2 and server.engine.gate("g").reached.is_set(),
    ),
    "reader held": Moment(
        b"run g\n" + b"echo a\n" * 30_000,
        lambda server: server.front_end.statistics().bytes_received > 65_536,
        noticed=False,  # it does not read on, so it cannot see the end
    ),
}


@pytest.mark.parametrize("leave", [half_close, close, reset])
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
async def test_a_client_that_vanishes_leaves_nothing(
    moment: Moment, leave: Callable[[trio.SocketStream], None]
) -> None:
    """Its producers are closed, on workers, then the engine is told; and nothing is in flight."""
    descriptors = open_descriptors()
    async with serving("tcp", half_close_timeout=0.05) as server:
        client = await server.connect_tcp()
        try:
            with trio.move_on_after(0.2 if not moment.noticed else GUARD):
                await client.send_all(moment.sends)
            await until(lambda: moment.reached(server))
            leave(client)
            if moment.noticed:
                await until(lambda: not server.front_end.statistics().parked)
            for gate in server.engine.gates.values():
                gate.open()
            if leave is half_close and not moment.noticed:
                await everything_or_reset(client)
            await server.is_at_rest()
            assert server.engine.closed_by_then == [len(server.engine.log.opened)]
            for cookie in server.engine.waiting.values():
                cookie.notify()
                await trio.to_thread.run_sync(cookie.notify)
            assert server.front_end.statistics().ready == 0
        finally:
            client.socket.close()
    assert open_descriptors() == descriptors


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_an_error_while_a_stream_is_closed_is_told_to_a_silent_clients_log(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes when the connection is idle, and stays so: nobody has to wait for its next command."""
    gate = Gate()

    class Failing(Engine):
        def do_fails(self, cookie: Cookie, _: str) -> Status:
            self.waiting["fails"] = cookie
            return cookie.produce(self.rows_of_a_cursor)

        def rows_of_a_cursor(self) -> Generator[bytes]:
            try:
                yield b"row\n"
                trio.from_thread.run(trio.sleep_forever)
            finally:
                gate.wait()
                raise KeyError

    engine = Failing()
    async with serving(kind, engine=engine) as server:
        client = await server.connect()
        await client.send_all(b"fails\n")
        await exactly(client, 4)
        engine.waiting.pop("fails").cancel()
        await until(gate.reached.is_set)
        await until(lambda: server.front_end.statistics().completed == 1)
        gate.open()
        await until(lambda: caplog.records)
        await client.aclose()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]


async def test_an_answer_is_sent_to_its_end_though_something_is_being_closed() -> None:
    """Where the end of the input is the end of the client, it waits for what is in flight only."""
    gate = Gate()

    class Slow(Engine):
        def do_slow(self, cookie: Cookie, _: str) -> Status:
            self.waiting["slow"] = cookie
            return cookie.produce(self.rows)

        def rows(self) -> Generator[bytes]:
            try:
                yield b"row\n"
                trio.from_thread.run(trio.sleep_forever)
            finally:
                gate.wait()

    engine = Slow()
    async with serving("tcp", engine=engine, half_close_timeout=0) as server:
        client = await server.connect()
        await client.send_all(b"slow\n")
        await exactly(client, 4)
        engine.waiting.pop("slow").cancel()
        await until(gate.reached.is_set)
        await client.send_all(b"big 20000000\n")
        await until(lambda: server.front_end.statistics().completed == 2)
        await client.send_eof()
        assert len(await everything(client)) > 20_000_000
        gate.open()
        await client.aclose()


@pytest.mark.parametrize("how", ["stream", "call"])
async def test_who_leaves_while_a_worker_is_in_a_nursery_ends_nobody_else(how: str) -> None:
    """Its work is cancelled there with a group of Cancelled, which must not end the server."""
    async with serving("tcp") as server:
        async with await server.connect() as client:
            await client.send_all(f"sleep {how}\n".encode())
            await server.engine_reached("asleep")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it resets
        await server.is_at_rest()
        assert await talk(await server.connect(), b"echo still here\n") == (
            b"echo still here OK still here\n"
        )


async def test_a_session_is_collected_when_it_is_over() -> None:
    """Nothing holds a connection, its protocol or its cookies once it has ended."""
    left: list[weakref.ref[object]] = []

    class Forgetful(Engine):
        def disconnect(self, connection: ewb.Connection) -> None:
            left.extend((weakref.ref(connection), weakref.ref(connection.protocol)))

    engine = Forgetful()
    with trio.fail_after(GUARD):
        async with ewb.open_workers(2) as workers:
            front_end = ewb.FrontEnd(Lines, engine, workers)
            for _ in range(3):
                ours, theirs = memory_stream_pair()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(front_end.serve, theirs)
                    await talk(ours, b"lines 3\nadd 1\n")
                del ours, theirs
            engine.connected.clear()
            gc.collect()
            assert len(left) == 6
            assert [one() for one in left] == [None] * 6


# -- sharing --------------------------------------------------------------------------------------


async def test_a_short_command_behind_an_endless_stream_is_answered_soon() -> None:
    """It may be reordered, so it is answered after a few batches."""
    async with serving("tcp") as server, await server.connect() as client:
        await client.send_all(b"~chunks 1000\n")
        await exactly(client, 1_000_000)
        await client.send_all(b"~echo a\n")
        got = bytearray()
        while b"~echo a OK a\n" not in got:
            got += await client.receive_some(65_536)
            assert len(got) < 50_000_000
        server.abort_all()


async def test_a_stream_that_is_always_ready_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer and a client so quick that nothing ever has to wait: others have their turn still."""
    sends = 0
    most = 0

    def send_at_once(
        _: object, batch: Sequence[Buffer], progress: Callable[[int], object]
    ) -> Sequence[Buffer]:
        """The client takes it all, and the producer has made more by then."""
        nonlocal sends, most
        sends += 1
        most = max(most, sends)
        assert sends < 5000, "nobody else had a turn"
        progress(sum(map(len, batch)))
        made = server.engine.log.made
        for _ in range(10_000):  # it may be suspended just now
            if server.engine.log.made > made:
                break
            time.sleep(0)
        return []

    async with serving("memory") as server, await server.connect() as client:
        monkeypatch.setattr("ewb._session.send_at_once", send_at_once)
        await client.send_all(b"numbers \n")
        await until(lambda: sends)
        for _ in range(50):
            sends = 0
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        server.abort_all()
    assert 0 < most < 100


async def test_one_that_pipelines_without_end_does_not_starve_others() -> None:
    """While one client sends all the time, another is answered after a few thousand requests."""
    async with serving("tcp", commands_per_turn=16) as server:
        greedy, modest = await server.connect(), await server.connect()
        async with greedy, modest, trio.open_nursery() as nursery:
            nursery.start_soon(send_for_ever, greedy, b"", b"echo greedy\n" * 1000)
            nursery.start_soon(everything_or_reset, greedy)
            await until(lambda: server.front_end.statistics().completed > 1000)
            for _ in range(20):
                before = server.front_end.statistics().completed
                await modest.send_all(b"echo a\n")
                assert await exactly(modest, 12) == b"echo a OK a\n"
                assert server.front_end.statistics().completed - before < 20_000
            nursery.cancel_scope.cancel()
