"""How many commands a second does the Redis example answer?

Against servers of the same protocol, table of commands and store: one blocks in a thread for each
connection, one makes a thread hop for each command, as those do whose commands might block. Both need a
lock around the store, which the example does not.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import trio

import ewb
from examples.redis_server.commands import COMMANDS
from examples.redis_server.engine import RedisEngine
from examples.redis_server.resp import RespProtocol
from examples.redis_server.store import Store

from .commands import EWB, THREADS, Commands, compare
from .servers import READ_AT_ONCE, in_threads, on_trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks._measuring.harness import Figure, Run
    from examples.redis_server.resp import Request

    from .commands import Seen, Way

R = TypeVar("R")

CONNECTIONS = 50
DEPTHS = (1, 16)
THREAD_HOPS = "to_thread.run_sync each"


@dataclass(frozen=True)
class Command:
    """A command as it is on the wire, and its answer."""

    request: str
    answer: str


PING = Command("*1\r\n$4\r\nPING\r\n", "+PONG\r\n")
SET = Command("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n", "+OK\r\n")
GET = Command("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", "$5\r\nvalue\r\n")


def measure(run: Run) -> list[Figure]:
    """A table for each command and depth."""
    figures: list[Figure] = []
    everything = {"PING": PING, "SET": SET, "GET": GET}
    for name, command in run.pick(everything, {"SET": SET}).items():
        for depth in run.pick(DEPTHS, DEPTHS[-1:]):
            commands = Commands(
                CONNECTIONS, run.pick(0.4, 0.2), depth, request=command.request, answer=command.answer
            )
            client = partial(with_value, commands)
            figures += compare(run, f"{name}, {depth} in flight", client, WAYS)
    return figures


def with_value(commands: Commands, port: int) -> Seen:
    """Be measured by a client process, when there is something to get. Blocks this thread."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(SET.request.encode())
        connection.recv(len(SET.answer))
    return commands(port)


def by_ewb(client: Callable[[int], R]) -> R:
    """The example as it is."""

    async def main() -> R:
        async with ewb.open_workers() as workers, trio.open_nursery() as timers:
            front_end = ewb.FrontEnd(RespProtocol, RedisEngine(timers), workers)
            return await on_trio(front_end.serve, client)

    return trio.run(main)


class Database:
    """A store that threads share."""

    def __init__(self) -> None:
        """It is empty."""
        self._store = Store()
        self._lock = Lock()

    def execute(self, protocol: RespProtocol, request: Request) -> list[bytes]:
        """Execute a command. Returns its answer."""
        name, *args = request
        command = COMMANDS[name.upper()]
        command.check(name, args)
        with self._lock:
            reply = command.run(self._store, args)
        return protocol.encode_end(request, ewb.Status.OK, reply)


def by_threads(client: Callable[[int], R]) -> R:
    """A blocking thread for each connection."""
    database = Database()

    def serve(connection: socket.socket) -> None:
        protocol = RespProtocol()
        while data := connection.recv(READ_AT_ONCE):
            protocol.receive_data(data)
            answers: list[bytes] = []
            while (request := protocol.next_request()) is not None:
                answers += database.execute(protocol, request)
            connection.sendall(b"".join(answers))

    return in_threads(serve, client)


def by_thread_hops(client: Callable[[int], R]) -> R:
    """A handler on Trio that executes each command in a thread."""
    database = Database()

    async def serve(stream: trio.SocketStream) -> None:
        protocol = RespProtocol()
        async for data in stream:
            protocol.receive_data(bytes(data))
            answers: list[bytes] = []
            while (request := protocol.next_request()) is not None:
                answers += await trio.to_thread.run_sync(database.execute, protocol, request)
            await stream.send_all(b"".join(answers))

    return trio.run(on_trio, serve, client)


WAYS: Mapping[str, Way] = {EWB: by_ewb, THREADS: by_threads, THREAD_HOPS: by_thread_hops}
