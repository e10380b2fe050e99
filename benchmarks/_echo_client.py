"""A neighbour: a process that sends one byte a millisecond, and times how long its echo takes.

It sends on time, whether or not earlier echoes have come: a client that waits for these would ask
least often when the answer takes longest, and so miss what it is there to see.
"""

from __future__ import annotations

import json
import select
import socket
import sys
from collections import deque
from time import perf_counter

EVERY = 0.001
"""Seconds between two bytes."""
SETTLING = 0.1
"""Seconds at the beginning that do not count."""


def echo_times(connection: socket.socket, seconds: float) -> list[float]:
    """Send for so long, and wait for all echoes. Returns how long each took, in seconds."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent: deque[float] = deque()
    times: list[float] = []
    started = due = perf_counter()
    end = started + SETTLING + seconds
    while due < end or sent:
        wait = max(0.0, due - perf_counter()) if due < end else None
        readable, _, _ = select.select([connection], [], [], wait)
        if readable:
            echoed = len(connection.recv(4096))
            if not echoed:
                break  # the server is gone
            now = perf_counter()
            echoes = [sent.popleft() for _ in range(echoed)]
            times += [now - at for at in echoes if at >= started + SETTLING]
        if due <= perf_counter() and due < end:
            sent.append(perf_counter())
            connection.send(b"x")
            due += EVERY
    return times


def main(port: int, seconds: float) -> None:
    """Be the client, and print what it saw."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        times = echo_times(connection, seconds)
    print(json.dumps(times))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
