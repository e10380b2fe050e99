"""How near does a stream to a loopback socket come to the most that goes through?

Two limits: one blocking thread that joins chunks and sends them with `sendall`; and the system's own
copying, one large buffer sent again and again. All send to the same process, which reads with
`recv_into` and looks at nothing.
"""

from __future__ import annotations

import socket
from functools import partial
from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks._handoff.to_socket import by_blocking_thread, by_ewb, sink
from benchmarks._measuring.harness import FRACTION, figure, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._measuring.harness import Figure, Run

LOOPBACK = "loopback: one large buffer, again and again"
BUFFER = 256 * 1024
"""Bytes of the large buffer: what the reader takes at once, and the caches hold."""

# Label and size of a chunk, and how many a full run sends, for some 0.2 s.
SIZES = (
    ("64 B", 64, 800_000),
    ("1 KiB", 1024, 200_000),
    ("8 KiB", 8192, 50_000),
    ("64 KiB", 65_536, 8_000),
)


def measure(run: Run) -> list[Figure]:
    """Rates, and what share of each limit is reached."""
    share = run.pick(1, 4)
    with sink() as listener:
        ways: dict[str, Callable[[], float]] = {LOOPBACK: partial(by_loopback, listener, 2048 // share)}
        for label, size, count in SIZES:
            ways[f"{label}: ewb"] = partial(by_ewb, listener, size, count // share)
            ways[f"{label}: sendall"] = partial(by_blocking_thread, listener, size, count // share)
        rates = run.interleaved(ways, repetitions=run.pick(11, 5))
    figures = [figure(name, rates[name], "MB/s") for name in ways]
    for label, _, _ in SIZES:
        ours, theirs = rates[f"{label}: ewb"], rates[f"{label}: sendall"]
        figures += [
            ratio(f"chunks of {label} to a socket / sendall", ours, theirs, curve=FRACTION),
            ratio(f"chunks of {label} to a socket / loopback", ours, rates[LOOPBACK], curve=FRACTION),
        ]
    return figures


def by_loopback(listener: socket.socket, buffers: int) -> float:
    """MB a second, when nothing is made or joined."""
    connection, _ = listener.accept()
    with connection:
        buffer = bytes(BUFFER)
        started = perf_counter()
        for _ in repeat(None, buffers):
            connection.sendall(buffer)
        connection.shutdown(socket.SHUT_WR)
        arrived = int.from_bytes(connection.recv(8), "big")
        seconds = perf_counter() - started
    if arrived != buffers * BUFFER:
        msg = f"{arrived} bytes arrived, of {buffers * BUFFER}"
        raise RuntimeError(msg)
    return arrived / seconds / 1e6
