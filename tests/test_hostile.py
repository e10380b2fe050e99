"""Clients that mean harm, over real sockets: what each holds is bounded, and others are served.

See also `range_scan/test_hostile.py`: there a whole server is weighed.
"""

from __future__ import annotations

import tracemalloc
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest
import trio

import ewb
from examples.line_server import LineEngine, LineProtocol
from examples.redis_server.resp import RespProtocol

from .helpers import GUARD, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.tree

MEMORY: Final = 1024 * 1024
"""Bytes that all streams together may buffer."""
UNSENT: Final = 50_000
"""Bytes that one connection may have encoded and not sent."""
CROWD: Final = 20
CHUNK: Final = 11
"""Bytes of a line that is streamed to them: each is granted one, whatever others hold."""


@attrs.frozen
class Server:
    """The line server on a port of its own, and one client that means no harm."""

    front_end: ewb.FrontEnd[list[bytes], ewb.Status]
    workers: ewb.Workers
    port: int
    neighbour: trio.SocketStream

    async def assert_neighbour_is_served(self) -> None:
        """It asks, and is answered: at once, and with a stream."""
        for command, answer in ((b"set k v\n", b"OK\n"), (b"count 3\n", b"1\n2\n3\nOK\n")):
            await self.neighbour.send_all(command)
            got = b""
            with trio.fail_after(GUARD):
                while len(got) < len(answer):
                    got += await self.neighbour.receive_some()
            assert got == answer

    async def assert_as_before(self) -> None:
        """Only the neighbour is there, and nothing is held for anybody."""
        await until(lambda: self.held() == (1, 0, 0, 0))

    def held(self) -> tuple[int, int, int, int]:
        """Connections, producers, bytes that are buffered, bytes that are not sent."""
        front_end, workers = self.front_end.statistics(), self.workers.statistics()
        return (
            front_end.connections,
            workers.producers,
            workers.buffered_bytes,
            front_end.unsent_bytes,
        )


@asynccontextmanager
async def serving(**settings: Any) -> AsyncGenerator[Server]:
    """A server that has little patience."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with (
        ewb.open_workers(threads=2, memory=MEMORY) as workers,
        trio.open_nursery() as nursery,
    ):
        front_end = ewb.FrontEnd(LineProtocol, LineEngine(), workers, max_unsent=UNSENT, **settings)
        await nursery.start(front_end.serve_listeners, listeners)
        async with await trio.open_tcp_stream("127.0.0.1", port) as neighbour:
            yield Server(front_end, workers, port, neighbour)
        front_end.shutdown()


async def test_slow_senders_are_cut_off() -> None:
    """A byte now and then is no progress, with a whole command before it or without."""
    async with serving(frame_timeout=0.5) as server:

        async def drip(before: bytes) -> None:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(before)
                    while True:
                        await stream.send_all(b"x")
                        await trio.sleep(0.01)

        with trio.fail_after(GUARD):
            async with trio.open_nursery() as nursery:
                for number in range(CROWD):
                    nursery.start_soon(drip, b"set a b\n" if number % 2 else b"")
                await until(lambda: server.front_end.statistics().connections == CROWD + 1)
                await server.assert_neighbour_is_served()
        await server.assert_neighbour_is_served()
        await server.assert_as_before()


async def test_slow_readers_are_cut_off() -> None:
    """While they read nothing, what is held for them is bounded; then their streams are closed."""
    async with serving(write_timeout=1) as server, AsyncExitStack() as stack:
        for _ in range(CROWD):
            client = trio.socket.socket()
            client.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            await client.connect(("127.0.0.1", server.port))
            stream = await stack.enter_async_context(trio.SocketStream(client))
            await stream.send_all(b"count 1000000000\n")
        await until(lambda: server.front_end.statistics().commands == CROWD)
        most = [0, 0]

        def all_are_cut_off() -> bool:
            connections, _, buffered, unsent = server.held()
            most[:] = max(most[0], buffered), max(most[1], unsent)
            return connections == 1

        await server.assert_neighbour_is_served()
        await until(all_are_cut_off)
        assert 0 < most[0] <= MEMORY + CROWD * CHUNK
        assert 0 < most[1] <= CROWD * (UNSENT + MEMORY)
        await server.assert_neighbour_is_served()
        await server.assert_as_before()


@pytest.mark.parametrize(
    ("header", "refused"),
    [
        (b"*4294967295\r\n", True),
        (b"*1\r\n$4294967295\r\n", True),
        (b"*1\r\n$18446744073709551616\r\n", True),
        (b"*999999999\r\n", True),
        (b"*1048576\r\n$8388608\r\n", False),
    ],
)
def test_a_redis_client_that_claims_much_takes_little(header: bytes, *, refused: bool) -> None:
    """Too much is refused; what is within the bounds takes memory as it comes, and not before."""
    tracemalloc.start()
    try:
        protocol = RespProtocol()
        protocol.receive_data(header)
        if refused:
            with pytest.raises(ewb.ProtocolError, match="length"):
                protocol.next_request()
        else:
            assert protocol.next_request() is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
