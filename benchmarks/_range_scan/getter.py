"""A neighbour: a process that GETs a document a millisecond, until its input ends.

It asks on time, whether or not earlier answers have come: a client that waits for these would ask least
often when the answer takes longest. It prints a line when the first answer is here, and at the end how
long each took.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
from collections import deque
from itertools import cycle
from time import perf_counter

HEADER = struct.Struct(">BBHBBHIIQ")
REQUEST, GET, HELLO = 0x80, 0x00, 0x1F
FEATURES = struct.pack(">HH", 0x0A, 0x0B)
EVERY = 0.001
"""Seconds between two GETs."""
LEFT_OUT = 0.1
"""Seconds at the beginning that do not count."""


class Neighbour:
    """One connection, and the GETs that are under way on it."""

    def __init__(self, connection: socket.socket, requests: list[bytes], answer_size: int) -> None:
        self._connection = connection
        self._requests = cycle(requests)
        self._answer_size = answer_size
        self._sent: deque[float] = deque()
        self._received = bytearray()
        self.times: list[float] = []

    def run(self) -> None:
        """GET on time until input ends."""
        self._ask()
        while not self.times:
            self._take()
        print("begun", flush=True)
        self.times.clear()
        started = due = perf_counter()
        while True:
            wait = max(0.0, due - perf_counter())
            readable, _, _ = select.select([self._connection, sys.stdin], [], [], wait)
            if self._connection in readable:
                self._take()
            if sys.stdin in readable:
                break
            if due <= perf_counter():
                self._ask()
                due += EVERY
            if due < started + LEFT_OUT:
                self.times.clear()
        while self._sent:
            self._take()

    def _ask(self) -> None:
        self._sent.append(perf_counter())
        self._connection.sendall(next(self._requests))

    def _take(self) -> None:
        data = self._connection.recv(64 * 1024)
        now = perf_counter()
        if not data:
            msg = "the server has closed the connection"
            raise RuntimeError(msg)
        self._received += data
        while len(self._received) >= self._answer_size:
            status, size = HEADER.unpack_from(self._received)[5:7]
            if status or HEADER.size + size != self._answer_size:
                msg = f"a GET was answered with 0x{status:02x} and {size} bytes"
                raise RuntimeError(msg)
            del self._received[: self._answer_size]
            self.times.append(now - self._sent.popleft())


def pack(opcode: int, vbucket: int = 0, key: bytes = b"", value: bytes = b"") -> bytes:
    """A request."""
    size = len(key) + len(value)
    return HEADER.pack(REQUEST, opcode, len(key), 0, 0, vbucket, size, 0, 0) + key + value


def main(*, port: int, keys: str, value_size: int) -> None:
    """Be the neighbour. `keys` are of documents, each behind the number of its vBucket."""
    words = keys.split()
    requests = [
        pack(GET, int(vbucket), key.encode())
        for vbucket, key in zip(words[::2], words[1::2], strict=True)
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(pack(HELLO, value=FEATURES))
        connection.recv(HEADER.size + len(FEATURES), socket.MSG_WAITALL)
        neighbour = Neighbour(connection, requests, HEADER.size + 4 + value_size)
        neighbour.run()
    print(json.dumps(neighbour.times))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
