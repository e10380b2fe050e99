"""A neighbour: a process that sends a message a millisecond, and times how long its answer takes.

An answer is as long as a message. It sends on time, whether or not earlier answers have come: a client
that waits for these would ask least often when the answer takes longest, and so miss what it is there
to see.
"""

from __future__ import annotations

import json
import select
import socket
import sys
from collections import deque
from time import perf_counter

EVERY = 0.001
"""Seconds between two messages."""
SETTLING = 0.1
"""Seconds at the beginning that do not count."""


def echo_times(connection: socket.socket, seconds: float, message: bytes) -> list[float]:
    """Send for so long, and wait for all answers. Returns how long each took, in seconds."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent: deque[float] = deque()
    times: list[float] = []
    arrived = 0  # bytes of an answer that is not whole yet
    started = due = perf_counter()
    end = started + SETTLING + seconds
    while due < end or sent:
        wait = max(0.0, due - perf_counter()) if due < end else None
        readable, _, _ = select.select([connection], [], [], wait)
        if readable:
            data = connection.recv(4096)
            if not data:
                break  # the server is gone
            now = perf_counter()
            echoed, arrived = divmod(arrived + len(data), len(message))
            echoes = [sent.popleft() for _ in range(echoed)]
            times += [now - at for at in echoes if at >= started + SETTLING]
        if due <= perf_counter() and due < end:
            sent.append(perf_counter())
            connection.send(message)
            due += EVERY
    return times


def main(port: int, seconds: float, message: str = "x") -> None:
    """Be the client, and print what it saw."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        times = echo_times(connection, seconds, message.encode())
    print(json.dumps(times))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
