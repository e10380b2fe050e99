"""Servers for as long as a client needs them: on Trio, or with a blocking thread for each connection.

Each has `client` called in a thread, with its port, ends when that is done, and returns what that did.
"""

from __future__ import annotations

import socket
import threading
from functools import partial
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

R = TypeVar("R")

READ_AT_ONCE = 64 * 1024
"""Bytes that a server asks for: as ewb and Trio do."""


async def on_trio(
    serve: Callable[[trio.SocketStream], Awaitable[object]], client: Callable[[int], R]
) -> R:
    """Have `serve` look after each connection, in a task."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        result = await trio.to_thread.run_sync(client, port)
        nursery.cancel_scope.cancel()
    return result


def in_threads(serve: Callable[[socket.socket], object], client: Callable[[int], R]) -> R:
    """Have `serve` look after each connection, in a thread."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            connection: socket.socket = self.request
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as Trio's are
            serve(connection)

    with ThreadServer(("127.0.0.1", 0), Handler) as server:
        accepting = threading.Thread(target=server.serve_forever, args=(0.02,))
        accepting.start()
        try:
            return client(server.server_address[1])
        finally:
            server.shutdown()
            accepting.join()


class ThreadServer(ThreadingTCPServer):
    """Leaving its block waits for the threads, which end when their clients are gone."""

    request_queue_size = 4096
