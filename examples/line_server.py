"""A line server whose commands may block: the example to begin with.

`count N` streams numbers, `hash TEXT` takes a while, `wait KEY` waits for the next `set KEY VALUE`.
Answers come in order, and end with `OK`. With a tag, as in `@7 count 5`, they come as they are ready.

Run it: `python -m examples.line_server`, and talk to it: `nc localhost 4000`
"""

import argparse
import sys
from collections import deque
from collections.abc import Iterator
from hashlib import pbkdf2_hmac
from signal import SIGINT, SIGTERM
from weakref import WeakSet

import trio

import ewb
from examples._program import announce, listen, obey, port_number

Request = list[bytes]  # the tag, perhaps empty, and the words
Cookie = ewb.Cookie[Request, ewb.Status]


class LineProtocol(ewb.Protocol[Request, ewb.Status, bytes, bytes]):
    """Bytes to requests, and answers to bytes. One object per connection; it does no I/O."""

    def __init__(self) -> None:
        self._lines = deque[bytes]()
        self._rest = b""

    def receive_data(self, data: bytes) -> None:
        """Take what the client sent: some lines, and the beginning of one."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += filter(bytes.strip, lines)

    def next_request(self) -> Request | None:
        """The next line, if a whole one is there."""
        if not self._lines:
            return None
        words = self._lines.popleft().split()
        return words if words[0].startswith(b"@") else [b"", *words]

    def order(self, request: Request) -> ewb.Order:
        """By their tags a client can tell answers apart, in whatever order they come."""
        return ewb.Order.REORDER if request[0] else ewb.Order.SERIAL

    def encode_batch(self, request: Request, batch: list[bytes]) -> list[bytes]:
        """Lines of a stream: all that were there."""
        return [b"%s %s" % (request[0], line) for line in batch] if request[0] else batch

    def encode_end(self, request: Request, status: ewb.Status, reply: bytes | None) -> list[bytes]:
        """The last line of an answer."""
        return [b" ".join(filter(None, [request[0], status.name.encode(), reply])) + b"\n"]


def count_to(last: int) -> Iterator[bytes]:
    """A stream: blocking code in a plain generator. It runs on a worker."""
    for number in range(1, last + 1):
        yield b"%d\n" % number


def slow_hash(text: bytes) -> bytes:
    """One blocking call. It runs on a worker."""
    return pbkdf2_hmac("sha256", text, b"salt", 100_000).hex().encode()


class LineEngine:
    """Executes the commands of all connections, on the front end: its state needs no lock."""

    def __init__(self) -> None:
        self._waiting = WeakSet[Cookie]()  # weak: a cookie whose client leaves is forgotten

    def execute(self, cookie: Cookie) -> ewb.Status:
        """Answer at once, or say `WOULD_BLOCK`: then this is called again when the answer is there."""
        if cookie.resumed:
            cookie.reply = cookie.result or cookie.reply
            return cookie.status
        match cookie.request[1:]:
            case [b"count", last] if last.isdigit():
                return cookie.produce(count_to, int(last))
            case [b"hash", text]:
                return cookie.run(slow_hash, text)
            case [b"wait", _]:
                self._waiting.add(cookie)
                return ewb.Status.WOULD_BLOCK
            case [b"set", key, value]:
                for waiter in [it for it in self._waiting if it.request[2] == key]:
                    self._waiting.remove(waiter)
                    waiter.reply = value
                    waiter.notify()
                return ewb.Status.OK
            case _:
                cookie.reply = b"try: count N, hash TEXT, wait KEY, set KEY VALUE"
                return ewb.Status.FAILED


async def serve(host: str, port: int) -> int:
    """Serve until told to end, and then two seconds at most, or until told again: the exit code."""
    listeners = await listen(host, port)
    with trio.open_signal_receiver(SIGINT, SIGTERM) as signals:
        announce(f"listening on {host}:{listeners[0].socket.getsockname()[1]}")
        async with ewb.open_workers() as workers, trio.open_nursery() as nursery:
            front_end = ewb.FrontEnd(LineProtocol, LineEngine(), workers, max_frame=64 * 1024)
            nursery.start_soon(obey, signals, front_end.shutdown, nursery.cancel_scope)
            await front_end.serve_listeners(listeners, grace=2)
            nursery.cancel_scope.cancel()
            return 0
    return 130


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.line_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=4000, type=port_number)
    options = parser.parse_args()
    sys.exit(trio.run(serve, options.host, options.port))
