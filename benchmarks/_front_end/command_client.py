"""A client that keeps so many commands in flight, on each of so many connections, and counts answers.

It does little for a command, so that it waits for the server and not the other way round: it takes its
connections in turn, waits in one system call for all answers of one, and sends the next commands. It
says what share of a core it took.
"""

from __future__ import annotations

import json
import resource
import socket
import sys
from contextlib import ExitStack
from time import perf_counter, process_time

SPARE_FILES = 64


class Load:
    """Commands in flight on each connection."""

    def __init__(
        self, connections: list[socket.socket], request: bytes, answer: bytes, depth: int
    ) -> None:
        """`depth` requests are in flight on each connection, each answered by `answer`."""
        self._connections = connections
        self._requests = request * depth
        self._answers = answer * depth
        self._buffer = bytearray(len(self._answers))
        self._depth = depth

    def begin(self) -> None:
        """Send the first."""
        for connection in self._connections:
            connection.sendall(self._requests)

    def go_round(self) -> int:
        """Wait for the answers of each connection, and send the next. Returns how many came."""
        for connection in self._connections:
            self._wait(connection)
            connection.sendall(self._requests)
        return len(self._connections) * self._depth

    def end(self) -> None:
        """Wait for the last."""
        for connection in self._connections:
            self._wait(connection)

    def _wait(self, connection: socket.socket) -> None:
        size = connection.recv_into(self._buffer, 0, socket.MSG_WAITALL)
        if size != len(self._answers) or self._buffer != self._answers:
            msg = f"the answer was {bytes(self._buffer[:size])[:50]!r}, and {size} bytes long"
            raise RuntimeError(msg)


def measure(load: Load, seconds: float) -> dict[str, float]:
    """Count for so long, at the least one round, after one that does not count."""
    load.begin()
    load.go_round()
    started, worked_before, answers = perf_counter(), process_time(), 0
    while (took := perf_counter() - started) < seconds:
        answers += load.go_round()
    share = (process_time() - worked_before) / took
    load.end()
    return {"rate": answers / took, "share": share}


def connect(port: int) -> socket.socket:
    """A connection that sends at once what it is given."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def allow_open_files(count: int) -> None:
    """Raise this process's own limit, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(*, port: int, connections: int, depth: int, request: str, answer: str, seconds: float) -> None:
    """Be the client, and print what it saw."""
    allow_open_files(connections + SPARE_FILES)
    with ExitStack() as stack:
        opened = [stack.enter_context(connect(port)) for _ in range(connections)]
        load = Load(opened, request.encode(), answer.encode(), depth)
        print(json.dumps(measure(load, seconds)))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
