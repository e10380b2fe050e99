"""The front end as a whole: its bounds, what goes wrong in the parts that users write, and its end."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import ssl
import struct
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import ewb
from ewb import Status

from .helpers import GUARD, fail, nothing_runs, until
from .test_session import (
    Engine,
    KnownLines,
    Lines,
    Server,
    ask,
    everything,
    everything_or_reset,
    exactly,
    serving,
    talk,
    tls,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .test_session import Cookie

PORT = 0
errors_logged = partial(filter, lambda record: record.levelno >= logging.ERROR)


# -- bounds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "wrong"),
    [
        *[
            (name, 0)
            for name in ("max_connections", "max_commands", "max_in_flight", "commands_per_turn")
        ],
        *[(name, -1) for name in ("max_unsent", "max_frame", "frame_timeout", "write_timeout")],
        *[(name, 0) for name in ("command_timeout", "idle_timeout")],
        ("half_close_timeout", -1),
        ("idle_timeout", float("nan")),
    ],
)
async def test_a_bound_out_of_range_is_refused(bound: str, wrong: float) -> None:
    """The error names it."""
    async with ewb.open_workers(1) as workers:
        bounds: Any = {bound: wrong}
        with pytest.raises(ValueError, match=f"{bound} must be"):
            ewb.FrontEnd(Lines, Engine(), workers, **bounds)


@pytest.mark.parametrize("bound", ["max_connections", "max_unsent", "write_timeout"])
async def test_a_bound_of_the_wrong_type_is_refused(bound: str) -> None:
    """The error names it."""
    async with ewb.open_workers(1) as workers:
        bounds: Any = {bound: "1"}
        with pytest.raises(TypeError, match=f"{bound} must be"):
            ewb.FrontEnd(Lines, Engine(), workers, **bounds)


@pytest.mark.parametrize(
    "bound",
    ["frame_timeout", "write_timeout", "command_timeout", "idle_timeout", "half_close_timeout"],
)
async def test_who_wants_no_time_limit_is_told_how(bound: str) -> None:
    """None is a likely guess."""
    async with ewb.open_workers(1) as workers:
        bounds: Any = {bound: None}
        said = rf"^{bound} must be a number of seconds, not None \(math\.inf: no limit\)$"
        with pytest.raises(TypeError, match=said):
            ewb.FrontEnd(Lines, Engine(), workers, **bounds)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"protocol": Lines()}, "protocol must be .* a class, not .*: give Lines, and not Lines()"),
        ({"protocol": None}, "protocol must be a function that makes one, often a class, not None"),
        ({"engine": Engine}, "engine must be an object, not a class: give Engine()"),
        ({"engine": None}, "engine must have a method execute(cookie), which None has not"),
        (
            {"workers": None},
            "workers must be those of `async with open_workers() as workers`, not None",
        ),
        ({"hooks": None}, "hooks must be a list of ewb.Hook objects, not None"),
        ({"hooks": ewb.Hook()}, "hooks must be a list of ewb.Hook objects, not <ewb.* object .*>"),
    ],
)
async def test_a_part_that_is_none_is_refused_when_the_front_end_is_made(
    wrong: dict[str, Any], said: str
) -> None:
    """And not when the first client comes."""
    async with ewb.open_workers(1) as workers:
        parts: dict[str, Any] = {"protocol": Lines, "engine": Engine(), "workers": workers}
        with pytest.raises(TypeError, match="^" + said.replace("(", r"\(").replace(")", r"\)") + "$"):
            ewb.FrontEnd(**{**parts, **wrong})


async def never(*_: object) -> Any:
    """What a method of a protocol or an engine may not be."""
    raise AssertionError


async def never_ends(*_: object) -> Any:
    """Nor this."""
    yield b"."


@pytest.mark.parametrize("wrong", [never, never_ends])
@pytest.mark.parametrize(
    "method", ["receive_data", "next_request", "order", "encode_batch", "encode_end"]
)
async def test_an_async_method_of_a_protocol_is_refused(
    method: str, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a class when the front end is made; of what a function makes, when that is made."""
    said = f"^{method} must be a plain function, which does not block: it is async$"
    kind = type("AsyncLines", (Lines,), {method: wrong})
    async with ewb.open_workers(1) as workers:
        with pytest.raises(TypeError, match=said):
            ewb.FrontEnd(kind, Engine(), workers)
        front_end = ewb.FrontEnd(partial(kind), Engine(), workers)
        ours, theirs = memory_stream_pair()
        await front_end.serve(theirs)
        assert await everything(ours) == b""
    (record,) = errors_logged(caplog.records)
    assert record.exc_info is not None
    with pytest.raises(TypeError, match=said):
        raise record.exc_info[1] or AssertionError


@pytest.mark.parametrize("method", ["execute", "connect", "disconnect"])
async def test_an_async_method_of_an_engine_is_refused(method: str) -> None:
    """When the front end is made: `connect` and `disconnect` would be never run, without a word."""
    engine = type("AsyncEngine", (Engine,), {method: never})()
    async with ewb.open_workers(1) as workers:
        with pytest.raises(TypeError, match=f"^{method} must be a plain function"):
            ewb.FrontEnd(Lines, engine, workers)


async def test_serve_turns_away_beyond_max_connections() -> None:
    """At once, without a word; the next one after somebody has left is served."""
    async with serving("memory", max_connections=2) as server:
        first, second = await server.connect(), await server.connect()
        await wait_all_tasks_blocked()
        third = await server.connect()
        assert await everything(third) == b""
        now = server.front_end.statistics()
        assert (now.connections, now.accepted, now.refused) == (2, 2, 1)
        await first.aclose()
        await until(lambda: server.front_end.statistics().connections == 1)
        assert await ask(await server.connect(), b"quit\n") == b"quit OK \n"
        await second.aclose()


async def test_serve_listeners_waits_at_max_connections() -> None:
    """Further clients are not turned away, but wait in the backlog until somebody leaves."""
    async with serving("tcp", max_connections=2) as server:
        first, second, third = [await server.connect() for _ in range(3)]
        for client in (first, second):
            await client.send_all(b"echo a\n")
            await exactly(client, 12)
        await third.send_all(b"echo b\n")
        await wait_all_tasks_blocked(0.05)
        now = server.front_end.statistics()
        assert (now.connections, now.accepted, now.refused, now.completed) == (2, 2, 0, 2)
        await first.aclose()
        assert await exactly(third, 12) == b"echo b OK b\n"
        await second.aclose()
        await third.aclose()


async def test_max_connections_counts_clients_not_listeners() -> None:
    """With two listeners and one place, a client of either is served."""
    with trio.fail_after(GUARD):
        async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
            front_end = ewb.FrontEnd(Lines, Engine(), workers, max_connections=1)
            listeners = [
                *await trio.open_tcp_listeners(PORT, host="127.0.0.1"),
                *await trio.open_tcp_listeners(PORT, host="127.0.0.1"),
            ]
            await nursery.start(front_end.serve_listeners, listeners)
            await wait_all_tasks_blocked()
            for listener in [*listeners, *reversed(listeners), listeners[0]]:
                client = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
                assert await talk(client, b"echo a\n") == b"echo a OK a\n"
                assert front_end.statistics().connections <= 1
            front_end.shutdown()


async def test_max_commands_stops_reading() -> None:
    """So many are in flight, of one connection; the next starts when one of them is done."""
    async with serving("memory", max_commands=3) as server, await server.connect() as client:
        await client.send_all(b"".join(b"~wait %d\n" % number for number in range(5)))
        await wait_all_tasks_blocked()
        assert sorted(server.engine.waiting) == ["0", "1", "2"]
        assert server.front_end.statistics().commands == 3
        server.engine.waiting["1"].notify()
        assert await exactly(client, 12) == b"~wait 1 OK \n"
        assert "3" in server.engine.waiting
        for key in ("0", "2", "3"):
            server.engine.waiting[key].notify()
        await until(lambda: "4" in server.engine.waiting)
        server.engine.waiting["4"].notify()
        await exactly(client, 4 * 12)


async def test_max_in_flight_refuses() -> None:
    """So many are in flight, of all connections; more are answered `BUSY`, and not executed."""
    async with (
        serving("memory", max_in_flight=2) as server,
        await server.connect() as one,
        await server.connect() as other,
    ):
        await one.send_all(b"~wait a\n~wait b\n")
        await wait_all_tasks_blocked()
        await other.send_all(b"echo c\n")
        assert await exactly(other, len(b"echo c BUSY \n")) == b"echo c BUSY \n"
        assert server.engine.executed == ["~wait a", "~wait b"]
        server.engine.waiting["a"].notify()
        await exactly(one, len(b"~wait a OK \n"))
        await other.send_all(b"echo c\n")
        assert await exactly(other, len(b"echo c OK c\n")) == b"echo c OK c\n"
        assert server.front_end.statistics().busy == 1
        server.engine.waiting["b"].notify()


async def test_all_streams_share_the_memory_of_the_workers() -> None:
    """Clients who do not read make producers wait, not memory grow; another is served all the same."""
    with trio.fail_after(GUARD):
        async with ewb.open_workers(2, memory=300_000) as workers, trio.open_nursery() as nursery:
            engine = Engine()
            front_end = ewb.FrontEnd(Lines, engine, workers, max_unsent=1000)
            server = Server(front_end, workers, engine, nursery, "lockstep")
            greedy = [await server.connect() for _ in range(20)]
            for client in greedy:
                await client.send_all(b"chunks 5000\n")
            await until(lambda: front_end.statistics().unsent_bytes >= 20 * 5000)
            await nothing_runs(workers)
            held = workers.statistics().buffered_bytes
            # Of each stream a chunk is granted in any case, but no second one while that is sent.
            assert front_end.statistics().unsent_bytes <= held <= 300_000 + 20 * 5000
            assert (await ask(await server.connect(), b"lines 1000\nquit\n")).endswith(b"quit OK \n")
            server.abort_all()
            await server.is_at_rest()


async def test_thousands_of_connections() -> None:
    """Each with a command that waits, some with a call and a stream; then all are told to go on."""
    count = 2000
    answers = []

    async def client(number: int) -> None:
        more = b"+echo a\n" if number % 10 else b"+add 1 2\n+lines 3\n"
        answers.append(await talk(await server.connect(), b"~wait %d\n" % number + more))

    async with serving("memory", half_close_timeout=GUARD) as server:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(client, number)
            await until(lambda: len(server.engine.waiting) == count)
            now = server.front_end.statistics()
            assert now.connections == count
            assert now.parked >= count
            for cookie in server.engine.waiting.values():
                cookie.notify()
        assert len(answers) == count
        whole = [b"+echo a OK a\n" in one or b"+add 1 2 OK \n.......\n" in one for one in answers]
        assert all(whole)
        assert server.front_end.statistics().completed == 2 * count + count // 10


# -- what goes wrong --------------------------------------------------------------------------------


class BrokenError(Exception):
    """A bug of the user's."""


def raises_late(error: BaseException) -> Generator[bytes]:
    """A producer that yields, and raises."""
    yield b"first\n"
    raise error


class BrokenEngine(Engine):
    """Which raises what the test says, where the client asks for it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def do_boom(self, cookie: Cookie, _: str) -> Status:
        """It raises."""
        raise self.error

    def do_late(self, cookie: Cookie, _: str) -> Status:
        """A producer that raises."""
        return cookie.produce(raises_late, self.error)

    def do_call(self, cookie: Cookie, _: str) -> Status:
        """A call that raises."""
        return cookie.run(fail, self.error)


@pytest.mark.parametrize("request_", [b"boom", b"+boom", b"~boom", b"late", b"call", b"~call"])
async def test_an_error_of_an_engine_or_its_work_ends_that_command(
    request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered FAILED, logged once with its traceback, and the connection goes on."""
    error = BrokenError("a bug")
    async with serving("memory", engine=BrokenEngine(error)) as server:
        answer = await talk(await server.connect(), request_ + b"\necho a\n")
        first = b"first\n" if request_ == b"late" else b""
        ends = {first + request_ + b" FAILED \n", b"echo a OK a\n"}
        assert answer in {b"".join(ends), b"".join(reversed([*ends]))}
        assert server.front_end.statistics().failed == 1
    (record,) = errors_logged(caplog.records)
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert error.__traceback__ is not None


class BrokenLines(KnownLines):
    """A protocol one of whose methods raises for a line of `broken`."""

    broken = ""

    def receive_data(self, data: bytes) -> None:
        """It keeps it."""
        if self.broken == "receive_data" and b"broken" in data:
            raise BrokenError
        super().receive_data(data)

    def next_request(self) -> str | None:
        """A line."""
        request = super().next_request()
        if self.broken == "next_request" and request is not None and "broken" in request:
            raise BrokenError
        return request

    def order(self, request: str) -> ewb.Order:
        """By its mark."""
        if self.broken == "order" and "broken" in request:
            raise BrokenError
        return super().order(request)

    def encode_batch(self, request: str, batch: list[bytes]) -> Any:
        """As they are."""
        if self.broken == "encode_batch":
            raise BrokenError
        return super().encode_batch(request, batch)

    def encode_end(self, request: str, status: Status, reply: bytes | None) -> Any:
        """A line; of a quiet one nothing."""
        if self.broken == "encode_end" and "broken" in request:
            raise BrokenError
        return super().encode_end(request, status, reply)


METHODS = ["receive_data", "next_request", "order", "encode_batch", "encode_end"]


@pytest.mark.parametrize("before", [b"", b"~chunks 10\n~wait k\n"])
@pytest.mark.parametrize("method", METHODS)
async def test_an_error_of_a_protocol_closes_its_connection_only(
    method: str, before: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once; its commands are dropped; the server goes on."""
    made = 0

    def protocol() -> Lines:
        nonlocal made
        lines = BrokenLines()
        lines.broken = method if made == 0 else ""
        made += 1
        return lines

    async with serving("tcp", protocol) as server:
        broken, sound = await server.connect(), await server.connect()
        async with broken, sound:
            await sound.send_all(b"wait s\n")
            await until(lambda: "s" in server.engine.waiting)
            await broken.send_all(before)
            await broken.send_all(b"~lines 3\n" if method == "encode_batch" else b"~echo broken\n")
            await everything_or_reset(broken)
            await until(lambda: server.front_end.statistics().connections == 1)
            assert server.engine.disconnected == server.engine.connected[:1]
            server.engine.waiting["s"].notify()
            assert await exactly(sound, len(b"wait s OK \n")) == b"wait s OK \n"
    (record,) = errors_logged(caplog.records)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], BrokenError)


@pytest.mark.parametrize("error", [trio.BrokenResourceError, trio.ClosedResourceError])
@pytest.mark.parametrize("method", METHODS)
async def test_an_error_of_a_protocol_is_not_taken_for_the_streams(
    method: str, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """It uses a channel that was closed, say: that is a bug, and no client that has left."""

    def protocol() -> Lines:
        lines = Lines()
        setattr(lines, method, lambda *_: fail(error("a bug")))
        return lines

    async with serving("tcp", protocol) as server, await server.connect() as client:
        await client.send_all(b"lines 3\n")
        assert await everything_or_reset(client) == b""
    (record,) = errors_logged(caplog.records)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], error)


@pytest.mark.parametrize("requests", [b"echo a\n", b"chunks 1000\n", b"wait k\n"])
async def test_a_client_that_has_left_is_no_error(
    requests: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It may, at any time: nothing is logged of it."""
    async with serving("tcp") as server:
        client = await server.connect_tcp()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.send_all(requests)
        await until(lambda: server.engine.executed)
        await client.aclose()  # resets the connection
    assert not list(errors_logged(caplog.records))


async def test_a_protocol_that_cannot_be_made_closes_the_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged; the next client is served."""
    failures = [BrokenError()]

    def protocol() -> Lines:
        return fail(failures.pop()) if failures else Lines()

    async with serving("tcp", protocol) as server:
        async with await server.connect() as client:
            assert await everything_or_reset(client) == b""
        assert await ask(await server.connect(), b"quit\n") == b"quit OK \n"
        now = server.front_end.statistics()
        assert (now.accepted, now.refused) == (1, 1)
        assert not server.engine.disconnected[1:]
    assert len(list(errors_logged(caplog.records))) == 1


async def test_an_error_of_connect_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it is executed; it is logged; the next client is served."""

    class Picky(Engine):
        def connect(self, connection: ewb.Connection) -> None:
            super().connect(connection)
            if len(self.connected) == 1:
                raise BrokenError

    async with serving("tcp", engine=Picky()) as server:
        async with await server.connect() as client:
            await client.send_all(b"echo a\n")
            assert await everything_or_reset(client) == b""
        assert await ask(await server.connect(), b"quit\n") == b"quit OK \n"
        assert server.engine.executed == ["quit"]
    assert len(list(errors_logged(caplog.records))) == 1


async def test_an_error_of_disconnect_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """And does no more harm."""

    class Rude(Engine):
        def disconnect(self, connection: ewb.Connection) -> None:
            super().disconnect(connection)
            raise BrokenError

    async with serving("tcp", engine=Rude()) as server:
        for _ in range(2):
            assert await ask(await server.connect(), b"quit\n") == b"quit OK \n"
    assert len(list(errors_logged(caplog.records))) == 2


async def test_an_engine_needs_neither_connect_nor_disconnect() -> None:
    """They are optional."""

    class Plain:
        def execute(self, cookie: Cookie) -> Status:
            return Status.OK

    async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
        front_end = ewb.FrontEnd(Lines, Plain(), workers)
        ours, theirs = memory_stream_pair()
        nursery.start_soon(front_end.serve, theirs)
        assert await talk(ours, b"anything\n") == b"anything OK \n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(
    "where", ["boom", "late", "call", *METHODS, "connect", "disconnect", "factory"]
)
async def test_what_must_end_the_program_does(where: str, error: type[BaseException]) -> None:
    """It comes out of `serve`; all is closed and told to the engine before."""

    class Interrupted(BrokenEngine):
        def connect(self, connection: ewb.Connection) -> None:
            super().connect(connection)
            if where == "connect":
                raise error

        def disconnect(self, connection: ewb.Connection) -> None:
            super().disconnect(connection)
            if where == "disconnect":
                raise error

    def protocol() -> Any:
        if where == "factory":
            raise error
        lines = Lines()
        if where in METHODS:
            setattr(lines, where, lambda *_: fail(error()))
        return lines

    engine = Interrupted(error())
    request = where if where in {"boom", "late", "call"} else "lines 3"
    with trio.fail_after(GUARD):
        async with ewb.open_workers(2) as workers:
            front_end = ewb.FrontEnd(protocol, engine, workers)
            ours, theirs = memory_stream_pair()
            await ours.send_all(f"{request}\n".encode())
            await ours.send_eof()
            with pytest.raises(BaseException) as caught:  # noqa: PT011 - see below
                await front_end.serve(theirs)
            assert only_of(caught.value) is error
            now = front_end.statistics()
            assert now.connections == now.parked == now.complete == 0
            assert len(engine.disconnected) == len(engine.connected) == (where != "factory")
            await nothing_runs(workers)
            # its place is free again
            assert front_end._slots.value == front_end._slots.max_value


def only_of(error: BaseException) -> type[BaseException]:
    """What is in all the groups."""
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return type(error)


async def test_workers_that_are_closed_fail_the_commands_that_need_them() -> None:
    """A command in flight, and later ones: they are answered, and the server lives."""
    engine = Engine()
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            ours, theirs = memory_stream_pair()
            async with ewb.open_workers(2) as workers:
                front_end = ewb.FrontEnd(Lines, engine, workers)
                nursery.start_soon(front_end.serve, theirs)
                await ours.send_all(b"chunks 1000\nadd 1\nlines 3\necho a\n")
                await exactly(ours, 10_000)
            await ours.send_eof()
            answer = await everything(ours)
        assert answer.endswith(b"chunks 1000 FAILED \nadd 1 FAILED \nlines 3 FAILED \necho a OK a\n")
        assert len(engine.disconnected) == 1


class Unclosable(trio.abc.Stream):
    """A stream with a bug."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As any."""
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As any."""
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As any."""
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        """It is closed, and says that it is not."""
        with trio.CancelScope(shield=True):
            await self._inner.aclose()
        raise BrokenError


async def test_a_stream_that_cannot_be_closed_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; its producers are closed all the same, and others are served on."""
    async with serving("memory") as server:
        ours, theirs = memory_stream_pair()
        server.nursery.start_soon(server.front_end.serve, Unclosable(theirs))
        await ours.send_all(b"~chunks 1000\n~wait k\n")
        await exactly(ours, 10_000)
        server.abort_all()
        await server.is_at_rest()
        assert await ask(await server.connect(), b"quit\n") == b"quit OK \n"
    assert list(errors_logged(caplog.records))


def test_ctrl_c_in_an_engine_ends_the_program_in_good_order() -> None:
    """All clients are closed, producers too, and the engine is told; then `trio.run` raises it."""

    class Struck(Engine):
        def do_strike(self, cookie: Cookie, _: str) -> Status:
            signal.raise_signal(signal.SIGINT)
            return Status.OK

    engine = Struck()

    async def main() -> None:
        async with serving("memory", engine=engine) as server:
            other, client = await server.connect(), await server.connect()
            await other.send_all(b"chunks 1000\n")
            await exactly(other, 10_000)
            await client.send_all(b"strike\n")
            await trio.sleep_forever()

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - it may be in groups
        trio.run(main)
    assert only_of(caught.value) is KeyboardInterrupt
    assert len(engine.connected) == len(engine.disconnected) == 2
    assert len(engine.log.opened) == len(engine.log.closed) == 1


# -- accepting ------------------------------------------------------------------------------------


class ScriptedListener(trio.abc.Listener[trio.abc.Stream]):
    """Gives what the test has for it, and then nothing more."""

    def __init__(self, *script: BaseException | trio.abc.Stream) -> None:
        self.script = [*script]
        self.closed = False

    async def accept(self) -> trio.abc.Stream:
        """The next of the script."""
        await trio.lowlevel.checkpoint()
        if not self.script:
            await trio.sleep_forever()
        one = self.script.pop(0)
        if isinstance(one, BaseException):
            raise one
        return one

    async def aclose(self) -> None:
        """It was."""
        self.closed = True
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_accepting_goes_on_when_there_is_no_descriptor_left(
    number: int, mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and tried again a moment later."""
    ours, theirs = memory_stream_pair()
    listener = ScriptedListener(OSError(number, "no room"), OSError(number, "no room"), theirs)
    async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
        front_end = ewb.FrontEnd(Lines, Engine(), workers)
        await nursery.start(front_end.serve_listeners, [listener])
        for _ in range(2):
            await wait_all_tasks_blocked()
            mock_clock.jump(0.5)
        assert await talk(ours, b"echo a\n") == b"echo a OK a\n"
        front_end.shutdown()
    assert listener.closed
    assert [record.getMessage() for record in errors_logged(caplog.records)] == [
        "cannot accept: no room; trying again in 0.1 s"
    ] * 2


async def test_who_was_accepted_and_has_no_place_is_closed_at_shutdown() -> None:
    """It waited for somebody to leave; its stream is not forgotten."""
    first, theirs = memory_stream_pair()
    second, others = memory_stream_pair()
    with trio.fail_after(GUARD):
        async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
            front_end = ewb.FrontEnd(Lines, Engine(), workers, max_connections=1)
            listener = ScriptedListener(theirs, others)
            await nursery.start(front_end.serve_listeners, [listener])
            await until(lambda: not listener.script)
            await wait_all_tasks_blocked()
            front_end.shutdown()
            assert await everything(second) == b""
            assert await everything(first) == b""
            await first.aclose()
            await second.aclose()


async def test_a_stream_that_cannot_be_turned_away_ends_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither if no protocol can be made for it, nor if there is no place, nor after the shutdown."""

    def no_protocol() -> NoReturn:
        raise ValueError

    with trio.fail_after(GUARD):
        async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
            front_end = ewb.FrontEnd(no_protocol, Engine(), workers)
            listener = ScriptedListener(
                Unclosable(memory_stream_pair()[1]), Unclosable(memory_stream_pair()[1])
            )
            await nursery.start(front_end.serve_listeners, [listener])
            await until(lambda: front_end.statistics().refused == 2)
            front_end.shutdown()
        async with ewb.open_workers(1) as workers:
            await turned_away_at_shutdown(ewb.FrontEnd(Lines, Engine(), workers, max_connections=1))
    told = [record.getMessage() for record in errors_logged(caplog.records)]
    assert told.count("closing the stream of a client that was not served failed") == 3


async def turned_away_at_shutdown(front_end: ewb.FrontEnd[str, Status]) -> None:
    """One client is served, and another one waits for its place."""
    ours, theirs = memory_stream_pair()
    listener = ScriptedListener(theirs, Unclosable(memory_stream_pair()[1]))
    async with trio.open_nursery() as nursery:
        await nursery.start(front_end.serve_listeners, [listener])
        await until(lambda: not listener.script)
        await wait_all_tasks_blocked()
        front_end.shutdown()
        await ours.aclose()


async def test_a_listener_that_cannot_accept_any_more_ends_it_all() -> None:
    """The error comes out, and all clients and listeners are closed."""
    ours, theirs = memory_stream_pair()
    listener = ScriptedListener(theirs, OSError(errno.EBADF, "broken"))
    other = ScriptedListener()
    async with ewb.open_workers(1) as workers:
        engine = Engine()
        front_end = ewb.FrontEnd(Lines, engine, workers)
        with pytest.raises(BaseExceptionGroup) as caught:
            await front_end.serve_listeners([listener, other])
        assert only_of(caught.value) is OSError
        assert await everything(ours) == b""
        assert listener.closed
        assert other.closed
        assert front_end.statistics().connections == 0
        assert len(engine.connected) == len(engine.disconnected)
        assert front_end._slots.value == front_end._slots.max_value


async def test_listeners_may_be_served_by_several_calls() -> None:
    """Plain ones and those of TLS, say; one `shutdown` ends them all."""
    with trio.fail_after(GUARD):
        async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
            front_end = ewb.FrontEnd(Lines, Engine(), workers)
            for _ in range(2):
                listeners = await trio.open_tcp_listeners(PORT, host="127.0.0.1")
                await nursery.start(front_end.serve_listeners, listeners)
                client = await trio.open_tcp_stream(*listeners[0].socket.getsockname()[:2])
                assert await ask(client, b"quit\n") == b"quit OK \n"
            front_end.shutdown()


async def test_serve_is_a_handler_for_serve_tcp() -> None:
    """And a cancellation from outside closes all that it serves."""
    with trio.fail_after(GUARD):
        async with ewb.open_workers(2) as workers:
            engine = Engine()
            front_end = ewb.FrontEnd(Lines, engine, workers)
            async with trio.open_nursery() as nursery:
                server = Server(front_end, workers, engine, nursery, "tcp")
                server.listeners = await nursery.start(
                    partial(trio.serve_tcp, front_end.serve, PORT, host="127.0.0.1")
                )
                assert (
                    await ask(await server.connect(), b"echo a\nquit\n") == b"echo a OK a\nquit OK \n"
                )
                async with await server.connect() as client:
                    await client.send_all(b"~chunks 1000\n~wait k\n~run g\n")
                    await exactly(client, 10_000)
                    await server.engine_reached("g")
                    server.engine.gate("g").open()
                    nursery.cancel_scope.cancel()
            await server.is_at_rest()
            assert engine.closed_by_then == [0, 1]


async def test_tls_listeners_and_a_client_that_speaks_no_tls() -> None:
    """Who does not shake hands is closed, and others are served."""
    of_server, of_client = tls()
    with trio.fail_after(GUARD):
        async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
            front_end = ewb.FrontEnd(Lines, Engine(), workers)
            listeners = await trio.open_ssl_over_tcp_listeners(PORT, of_server, host="127.0.0.1")
            await nursery.start(front_end.serve_listeners, listeners)
            address = listeners[0].transport_listener.socket.getsockname()[:2]  # type: ignore[attr-defined]
            async with await trio.open_tcp_stream(*address) as client:
                await client.send_all(b"GET / HTTP/1.0\r\n\r\n" * 10)
                assert b"OK" not in await everything_or_reset(client)
            stream = await trio.open_tcp_stream(*address)
            tls_client = trio.SSLStream(stream, of_client, server_hostname="localhost")
            assert await ask(tls_client, b"echo a\nquit\n") == b"echo a OK a\nquit OK \n"
            assert isinstance(of_client, ssl.SSLContext)
            front_end.shutdown()


# -- shutdown -------------------------------------------------------------------------------------


async def test_shutdown_lets_commands_finish_and_closes_idle_clients_at_once() -> None:
    """Nothing new is read; who has something in flight gets its answer, all of it."""
    async with serving("tcp") as server:
        idle, busy, mid_frame = [await server.connect() for _ in range(3)]
        async with idle, busy, mid_frame:
            await idle.send_all(b"echo a\n")
            await exactly(idle, 12)
            await mid_frame.send_all(b"ec")
            await busy.send_all(b"~run g\n~big 5000000\n")
            await until(lambda: server.front_end.statistics().unsent_bytes)
            await server.engine_reached("g")
            server.front_end.shutdown()
            server.front_end.shutdown()
            assert await everything(idle) == b""
            assert await everything(mid_frame) == b""
            with pytest.raises(OSError):  # noqa: PT011 - one of several
                await server.connect()
            await busy.send_all(b"echo late\n")
            await exactly(busy, 5_000_000 + len(b"~big 5000000 OK \n"))
            server.engine.gate("g").open()
            assert await everything(busy) == b"~run g OK \n"
        assert server.engine.executed == ["echo a", "~run g", "~big 5000000"]


async def test_after_its_grace_shutdown_cancels() -> None:
    """What is in flight is dropped, its producers are closed, and clients who do not read cut off."""
    engine = Engine()
    with trio.fail_after(GUARD):
        async with ewb.open_workers(2) as workers, trio.open_nursery() as nursery:
            front_end = ewb.FrontEnd(Lines, engine, workers)
            server = Server(front_end, workers, engine, nursery, "tcp")
            server.listeners = await nursery.start(
                partial(front_end.serve_listeners, grace=0.05),
                await trio.open_tcp_listeners(PORT, host="127.0.0.1"),
            )
            parked, streaming, blocked = [await server.connect() for _ in range(3)]
            async with parked, streaming, blocked:
                await parked.send_all(b"wait k\n")
                await streaming.send_all(b"chunks 1000\n")
                await blocked.send_all(b"big 30000000\n")
                await until(lambda: front_end.statistics().suspended and "k" in engine.waiting)
                front_end.shutdown()
                assert await everything_or_reset(parked) == b""
                await server.is_at_rest()
        assert engine.closed_by_then.count(1) >= 1


async def test_shutdown_before_serving() -> None:
    """Then nobody is served: the listeners are closed at once."""
    async with ewb.open_workers(1) as workers:
        front_end = ewb.FrontEnd(Lines, Engine(), workers)
        front_end.shutdown()
        listener = ScriptedListener()
        await front_end.serve_listeners([listener])
        assert listener.closed


async def test_after_shutdown_serve_turns_away() -> None:
    """It closes the stream, and counts it."""
    async with serving("memory") as server:
        server.front_end.shutdown()
        assert await everything(await server.connect()) == b""
        assert server.front_end.statistics().refused == 1
        assert "shut down" in repr(server.front_end)


async def test_shutdown_ends_those_of_serve_too() -> None:
    """Each when it has got its answer; a half-read pipeline is not read on."""
    async with serving("memory") as server, await server.connect() as client:
        await client.send_all(b"run g\necho no\n")
        await server.engine_reached("g")
        server.front_end.shutdown()
        server.engine.gate("g").open()
        assert await everything(client) == b"run g OK \n"


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param(b"echo a\n", marks=pytest.mark.slow),
        b"~chunks 100\n~wait k\n",
        pytest.param(b"run g\n", marks=pytest.mark.slow),
        b"big 3000000\n",
    ],
)
async def test_a_cancellation_at_any_step_leaves_nothing(requests: bytes) -> None:
    """Of any task of the server: all is closed, the engine is told, and no place is lost."""
    step = 0
    struck = True
    while struck and step < 150:
        engine = Engine()
        engine.gate("g").open()
        with trio.fail_after(GUARD):
            async with ewb.open_workers(2) as workers:
                front_end = ewb.FrontEnd(KnownLines, engine, workers, max_connections=5)
                ours, theirs = memory_stream_pair()
                await ours.send_all(requests)
                await ours.send_all(b"quit\n")
                listener = ScriptedListener(theirs)
                with trio.CancelScope() as scope:
                    canceller = AtAnyStep(scope.cancel, step)
                    trio.lowlevel.add_instrument(canceller)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(read_and_shut_down, front_end, ours)
                        await front_end.serve_listeners([listener])
                trio.lowlevel.remove_instrument(canceller)
                struck = canceller.struck
                assert struck or not scope.cancelled_caught
                now = front_end.statistics()
                assert now.connections == now.parked == now.waiting == now.unsent_bytes == 0
                assert front_end._counters.in_flight == 0
                assert engine.disconnected == engine.connected
                assert front_end._slots.value == 5
                await nothing_runs(workers)
                assert sorted(engine.log.closed) == sorted(engine.log.opened)
                assert threading.get_ident() not in engine.log.closed
                await ours.aclose()
                assert listener.closed
                if not listener.script:  # it was accepted
                    with pytest.raises(trio.ClosedResourceError):
                        await theirs.send_all(b"x")
        step += 1 if step < 40 else 7


@pytest.mark.parametrize("kind", ["tcp", "memory", "lockstep", "tls"])
@pytest.mark.parametrize(
    "pieces", [[b"echo a\nbig 200000\n", b"echo b\n+add 1\n"], [b"lines 3\necho a\n"] * 3]
)
async def test_a_shutdown_at_any_step_loses_no_answer(kind: str, pieces: list[bytes]) -> None:
    """Whatever was executed by then is answered in full, and the client sees the end."""
    step = 0
    struck = True
    while struck and step < 300:
        async with serving(kind, max_unsent=1000) as server:
            async with await server.connect() as client:
                striker = AtAnyStep(server.front_end.shutdown, step)
                trio.lowlevel.add_instrument(striker)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_with_pauses, client, pieces)
                    answer = await everything_or_reset(client)
                    nursery.cancel_scope.cancel()
                trio.lowlevel.remove_instrument(striker)
                struck = striker.struck
            ends = [line for line in answer.split(b"\n") if b" OK " in line]
            assert len(ends) == len(server.engine.executed)
            assert answer.endswith(b"\n") or not answer
            assert server.front_end.statistics().dropped == 0
        step += 1 if step < 50 else 9


async def send_with_pauses(client: trio.abc.SendStream, pieces: list[bytes]) -> None:
    """One piece after the other, and then `quit`."""
    for piece in [*pieces, b"quit\n"]:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await client.send_all(piece)
            await wait_all_tasks_blocked()


async def read_and_shut_down(
    front_end: ewb.FrontEnd[str, Status], client: trio.abc.ReceiveStream
) -> None:
    """A client that reads all there is, and then it is closing time."""
    await everything_or_reset(client)
    front_end.shutdown()


class AtAnyStep(trio.abc.Instrument):
    """Does something at the n-th step of a front end's tasks."""

    def __init__(self, do: Callable[[], object], step: int) -> None:
        self.do = do
        self.steps_left = step
        self.struck = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        if task.name.startswith("ewb._") and not self.struck:
            if self.steps_left == 0:
                self.struck = True
                self.do()
            self.steps_left -= 1


# -- observing ------------------------------------------------------------------------------------


async def test_statistics_tell_what_was_done() -> None:
    """After a conversation, and while one is under way."""
    async with serving("memory") as server:
        requests = b"echo a\nlines 3\nadd 1\nbad\n"
        answer = await ask(await server.connect(), requests)
        await server.is_at_rest()
        now = server.front_end.statistics()
        assert (now.connections, now.accepted, now.refused, now.protocol_errors) == (0, 1, 0, 1)
        assert (now.commands, now.completed, now.failed, now.dropped) == (3, 3, 0, 0)
        assert (now.would_blocks, now.resumes) == (2, 2)
        assert (now.bytes_received, now.bytes_sent) == (len(requests), len(answer))
        assert now.seconds_parked > 0
        async with await server.connect() as client:
            await client.send_all(b"+wait k\n+echo a\necho held\n")
            await wait_all_tasks_blocked()
            now = server.front_end.statistics()
            assert (now.connections, now.parked, now.complete, now.waiting) == (1, 1, 1, 1)
            assert "1 connections" in repr(server.front_end)
            server.engine.waiting["k"].notify()
            assert server.front_end.statistics().ready == 1
