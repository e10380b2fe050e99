"""The same server three ways: by ewb, by hand on Trio, and by a blocking thread for each connection.

All parse and encode by the same protocol class, and serve for as long as `client` needs them.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager, suppress
from functools import partial
from itertools import repeat
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

import trio

import ewb

from .servers import READ_AT_ONCE, in_threads, on_trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from socket import socket
    from typing import TypeAlias

    LineCookie: TypeAlias = ewb.Cookie[bytes, ewb.Status]

R = TypeVar("R")

PING = b"ping"
"""Is answered at once."""
CALL = b"call"
"""Is answered after a blocking call in a thread."""
WAKE = b"wake"
"""Is answered when a thread of the engine's own has notified its cookie. ewb only."""
STREAM = b"stream"
"""Is answered by chunks, without an end."""

ANSWER = b"done\n"
"""To each command but `stream`."""
CHUNK = b"chunk" + bytes(16 * 1024 - 5)


class Lines:
    """A line is a command."""

    def __init__(self, order: ewb.Order = ewb.Order.SERIAL) -> None:
        """Each command of this connection runs in this order."""
        self._order = order
        self._lines: deque[bytes] = deque()
        self._rest = b""

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take what the client sent."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(lines)

    def next_request(self) -> bytes | None:
        """The next line, or None."""
        return self._lines.popleft() if self._lines else None

    def order(self, request: bytes) -> ewb.Order:
        """The same for all."""
        del request
        return self._order

    def encode_batch(self, request: bytes, batch: list[bytes]) -> list[bytes]:
        """Chunks are messages."""
        del request
        return batch

    def encode_end(self, request: bytes, status: ewb.Status, reply: object) -> list[bytes]:
        """The same for all."""
        del request, status, reply
        return [ANSWER]


def nothing() -> None:
    """The blocking call: what is measured is what it costs to make one."""


def chunks() -> Iterator[bytes]:
    """An endless stream."""
    for _ in repeat(None):
        yield CHUNK


# -- ewb ----------------------------------------------------------------------------------------------


class LineEngine:
    """Would block in each way there is."""

    def __init__(self, notifier: SimpleQueue[LineCookie | None]) -> None:
        """Cookies to be notified go to `notifier`."""
        self._notifier = notifier

    def execute(self, cookie: LineCookie) -> ewb.Status:
        """Execute one of the four commands."""
        if cookie.resumed or cookie.request == PING:
            return cookie.status
        if cookie.request == CALL:
            return cookie.run(nothing)
        if cookie.request == STREAM:
            return cookie.produce(chunks)
        self._notifier.put(cookie)
        return ewb.Status.WOULD_BLOCK


@contextmanager
def notifying_thread() -> Iterator[SimpleQueue[LineCookie | None]]:
    """A thread that notifies each cookie it is given."""
    cookies: SimpleQueue[LineCookie | None] = SimpleQueue()

    def work() -> None:
        while (cookie := cookies.get()) is not None:
            cookie.notify()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield cookies
    finally:
        cookies.put(None)
        thread.join()


def by_ewb(client: Callable[[int], R], *, order: ewb.Order = ewb.Order.SERIAL) -> R:
    """A front end, with workers as by default."""

    async def main() -> R:
        with notifying_thread() as notifier:
            async with ewb.open_workers() as workers:
                front_end = ewb.FrontEnd(partial(Lines, order), LineEngine(notifier), workers)
                return await on_trio(front_end.serve, client)

    return trio.run(main)


# -- by hand ------------------------------------------------------------------------------------------


def by_hand(client: Callable[[int], R]) -> R:
    """A handler as one writes it: receive, parse, execute, and send the answers to one read at once."""

    async def serve(stream: trio.SocketStream) -> None:
        protocol = Lines()
        async for data in stream:
            protocol.receive_data(data)
            answers: list[bytes] = []
            while (request := protocol.next_request()) is not None:
                if request == CALL:
                    await trio.to_thread.run_sync(nothing)
                answers += protocol.encode_end(request, ewb.Status.OK, None)
            await stream.send_all(b"".join(answers))

    return trio.run(on_trio, serve, client)


def by_hand_with_streams(client: Callable[[int], R]) -> R:
    """A handler that streams in a task of its own, with a thread hop for each chunk."""

    async def send_chunks(stream: trio.SocketStream, lock: trio.StrictFIFOLock) -> None:
        iterator = chunks()
        while True:
            chunk = await trio.to_thread.run_sync(next, iterator)
            async with lock:  # whole messages, one at a time
                await stream.send_all(chunk)

    async def serve(stream: trio.SocketStream) -> None:
        protocol, lock = Lines(), trio.StrictFIFOLock()
        try:
            async with trio.open_nursery() as streams:
                async for data in stream:
                    protocol.receive_data(data)
                    while (request := protocol.next_request()) is not None:
                        if request == STREAM:
                            streams.start_soon(send_chunks, stream, lock)
                            continue
                        async with lock:
                            await stream.send_all(ANSWER)
                streams.cancel_scope.cancel()
        except* trio.BrokenResourceError:
            pass  # a client ends a stream by leaving

    return trio.run(on_trio, serve, client)


def by_threads(client: Callable[[int], R]) -> R:
    """The same handler, blocking, in a thread for each connection."""

    def serve(connection: socket) -> None:
        protocol = Lines()
        while data := connection.recv(READ_AT_ONCE):
            protocol.receive_data(data)
            answers: list[bytes] = []
            while (request := protocol.next_request()) is not None:
                if request == STREAM:
                    stream_to(connection)
                    return
                answers += protocol.encode_end(request, ewb.Status.OK, None)
            connection.sendall(b"".join(answers))

    return in_threads(serve, client)


def stream_to(connection: socket) -> None:
    """Send chunks until the client leaves."""
    with suppress(ConnectionError):
        for chunk in chunks():
            connection.sendall(chunk)
