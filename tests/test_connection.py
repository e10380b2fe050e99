"""A connection, as the engine sees it, and what it may do with it from anywhere."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import ewb
from ewb import Status

from .helpers import until
from .test_session import (
    Engine,
    Lines,
    ask,
    everything,
    everything_or_reset,
    exactly,
    open_descriptors,
    reset,
    send,
    serving,
    talk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .test_session import Cookie

kinds = pytest.mark.parametrize("kind", ["tcp", "memory", "lockstep", "tls"])


async def test_it_carries_the_protocol_and_the_engines_own() -> None:
    """The same for all commands of a client, and another for another client."""

    class Counting(Engine):
        def do_count(self, cookie: Cookie, _: str) -> Status:
            connection = cookie.connection
            assert isinstance(connection.protocol, Lines)
            assert isinstance(connection.stash, int | None)
            connection.stash = (connection.stash or 0) + 1
            cookie.reply = str(connection.stash).encode()
            return Status.OK

    async with serving("memory", engine=Counting()) as server:
        for _ in range(2):
            answer = await talk(await server.connect(), b"count\n+count\n~count\n")
            assert answer == b"count OK 1\n+count OK 2\n~count OK 3\n"
        one, other = server.engine.connected
        assert one is not other
        assert one.protocol is not other.protocol


async def test_it_says_who_it_is() -> None:
    """By its address, or by the kind of its stream."""
    async with serving("tcp") as server, await server.connect() as client:
        await until(lambda: server.engine.connected)
        host, port = client.socket.getsockname()
        assert server.engine.connected[0].peer == f"{host}:{port}"
        assert repr(server.engine.connected[0]) == f"<Connection from {host}:{port}>"
    for kind, name in (("memory", "StapledStream"), ("tls", "SSLStream")):
        async with serving(kind) as server:
            assert await ask(await server.connect(), b"quit\n")
            assert server.engine.connected[0].peer == name


async def test_a_local_client_has_no_name() -> None:
    """A socket of the file system."""
    engine = Engine()
    async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
        front_end = ewb.FrontEnd(Lines, engine, workers)
        ours, theirs = [trio.SocketStream(one) for one in trio.socket.socketpair()]
        nursery.start_soon(front_end.serve, theirs)
        assert await ask(ours, b"quit\n") == b"quit OK \n"
    assert engine.connected[0].peer == "a local client"


async def test_a_client_that_is_gone_already_has_no_name() -> None:
    """It left between its being accepted and being served: the engine is told, and that is all."""
    engine = Engine()
    async with ewb.open_workers(1) as workers:
        front_end = ewb.FrontEnd(Lines, engine, workers)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            client = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
            stream = await listener.accept()
            reset(client)
            await trio.lowlevel.wait_readable(stream.socket)
            await front_end.serve(stream)
    assert [connection.peer for connection in engine.disconnected] == ["a client that is gone"]


@kinds
@pytest.mark.parametrize("end", [ewb.Connection.close, ewb.Connection.abort])
async def test_it_may_be_ended_while_idle(kind: str, end: Callable[[ewb.Connection], None]) -> None:
    """By anybody on the front end, at any time; twice is fine, and so is when it is over."""
    async with serving(kind) as server, await server.connect() as client:
        await client.send_all(b"echo a\n")
        await exactly(client, 12)
        await wait_all_tasks_blocked()
        (connection,) = server.engine.connected
        end(connection)
        end(connection)
        assert await everything_or_reset(client) == b""
        await client.aclose()
        await server.is_at_rest()
        end(connection)


@kinds
async def test_close_lets_what_is_in_flight_finish(kind: str) -> None:
    """What was read is answered, what comes after is not read."""
    async with serving(kind) as server, await server.connect() as client:
        await client.send_all(b"~wait k\n+lines 3\n")
        await exactly(client, 24 + len(b"+lines 3 OK \n"))
        (connection,) = server.engine.connected
        connection.close()
        await client.send_all(b"echo no\n")
        await wait_all_tasks_blocked()
        server.engine.waiting["k"].notify()
        assert await everything(client) == b"~wait k OK \n"
        assert "echo no" not in server.engine.executed


@pytest.mark.parametrize("requests", [b"big 3000000\n", b"echo a\nbig 3000000\n", b"~lines 400000\n"])
async def test_close_while_its_client_does_not_read(requests: bytes) -> None:
    """The owner is in the midst of a write: all of it is sent, and then it ends."""
    async with serving("tcp") as server, await server.connect() as client:
        await client.send_all(requests)
        await until(lambda: server.front_end.statistics().unsent_bytes)
        await wait_all_tasks_blocked()
        server.engine.connected[0].close()
        answer = await everything(client)
        assert answer.endswith(b"\n")
        assert len(answer) > 3_000_000


async def test_abort_while_its_client_does_not_read() -> None:
    """It ends at once."""
    async with serving("lockstep") as server, await server.connect() as client:
        await client.send_all(b"big 3000000\n")
        await wait_all_tasks_blocked()
        server.engine.connected[0].abort()
        await server.is_at_rest()
        assert len(await everything_or_reset(client)) < 3_000_000


@kinds
async def test_the_engine_may_refuse_a_client_as_it_comes(kind: str) -> None:
    """In `connect`, by `close` or `abort`: nothing of it is executed."""

    class Refusing(Engine):
        def connect(self, connection: ewb.Connection) -> None:
            super().connect(connection)
            (connection.close if len(self.connected) == 1 else connection.abort)()

    async with serving(kind, engine=Refusing()) as server:
        for _ in range(2):
            async with await server.connect() as client:
                await send(client, b"echo a\n")
                assert await everything_or_reset(client) == b""
        assert server.engine.executed == []


async def test_another_client_may_end_it() -> None:
    """An administrator's command, say."""

    class Admin(Engine):
        def do_kick(self, cookie: Cookie, how: str) -> Status:
            getattr(self.connected[0], how)()
            return Status.OK

    for how in (b"close", b"abort"):
        async with serving("tcp", engine=Admin()) as server:
            victim = await server.connect()
            await victim.send_all(b"echo a\n")
            await exactly(victim, 12)
            await victim.send_all(b"~wait k\n")
            await until(lambda: server.engine.waiting)
            assert (await ask(await server.connect(), b"kick %s\nquit\n" % how)).endswith(b"quit OK \n")
            if how == b"close":
                server.engine.waiting["k"].notify()
            answer = await everything_or_reset(victim)
            assert answer == (b"~wait k OK \n" if how == b"close" else b"")
            await victim.aclose()


async def test_descriptors_do_not_leak() -> None:
    """However many clients come and go, and however they end."""
    async with serving("tcp") as server:
        before = open_descriptors()
        for number in range(200):
            client = await server.connect()
            await client.send_all([b"quit\n", b"abort\n", b"bad\n", b"chunks 1000\n"][number % 4])
            if number % 3:
                await client.receive_some(1) if number % 4 != 1 else None
            if number % 5 == 0:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await client.aclose()
        await server.is_at_rest()
        assert open_descriptors() == before
