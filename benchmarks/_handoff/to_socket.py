"""How near does ewb come to the most that one can do: one blocking thread that sends what it makes?

Both run the same generator, which yields one object again and again, and send to a loopback socket
that another process reads. The clock stops when that process has said that it has all of it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import trio

import ewb
from benchmarks._measuring.harness import at_least, figure, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._measuring.harness import Figure, Run

SINK = Path(__file__).with_name("sink.py")
JOINED = 64 * 1024
"""Bytes that the blocking thread sends at once."""

# Size of a chunk, how many of them a full run sends (for about half a second), and what is asked.
SIZES = ((64, 2_000_000, 0.6), (1024, 400_000, 0.9), (8192, 100_000, 0.9), (65_536, 16_000, 0.9))


def chunks_of(size: int, count: int) -> Iterator[bytes]:
    """What both run: a generator, as a user's would be, and not the quicker `repeat` itself."""
    chunk = bytes(size)
    for _ in repeat(None, count):
        yield chunk


def measure(run: Run) -> list[Figure]:
    """A table for each size."""
    figures: list[Figure] = []
    with sink() as listener:
        for size, count, least in SIZES:
            figures += _measure_size(run, listener, size, count // run.pick(1, 4), least)
    return figures


def _measure_size(
    run: Run, listener: socket.socket, size: int, count: int, least: float
) -> list[Figure]:
    label = f"{size} B" if size < 1024 else f"{size // 1024} KiB"
    ours, theirs, informed = (
        f"{label}: ewb",
        f"{label}: one blocking thread",
        f"{label}: the same, told that all chunks are of one size",
    )
    ways: dict[str, Callable[[], float]] = {
        ours: partial(by_ewb, listener, size, count),
        theirs: partial(by_blocking_thread, listener, size, count),
    }
    if size * 16 <= JOINED:  # else there is nothing to gain by not counting
        ways[informed] = partial(by_informed_thread, listener, size, count)
    rates = run.interleaved(ways, repetitions=run.pick(11, 5))
    ratios = [ratio(f"{label}: ewb / one blocking thread", rates[ours], rates[theirs], at_least(least))]
    if informed in rates:
        ratios.append(ratio(f"{label}: ewb / one so informed", rates[ours], rates[informed]))
    return [*(figure(name, rates[name], "MB/s") for name in ways), *ratios]


@contextmanager
def sink() -> Iterator[socket.socket]:
    """Where the reading process connects to, once for each measurement."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen([sys.executable, "-I", str(SINK), str(port)])
        try:
            yield listener
        finally:
            listener.close()  # by this it ends, unless a measurement failed and left a connection open
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def _rate(started: float, answer: bytes | bytearray, expected: int) -> float:
    """MB a second, if all have arrived."""
    seconds = perf_counter() - started
    arrived = int.from_bytes(answer, "big")
    if arrived != expected:
        msg = f"{arrived} bytes arrived, of {expected}"
        raise RuntimeError(msg)
    return expected / seconds / 1e6


def by_ewb(listener: socket.socket, size: int, count: int) -> float:
    """A producer on a worker; the front end sends its batches."""
    connection, _ = listener.accept()

    async def main() -> float:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        async with stream, ewb.open_workers(threads=1) as workers:
            started = perf_counter()
            async with workers.produce(chunks_of, size, count) as chunks:
                async for batch in chunks.batches():
                    await ewb.send_batch(stream, batch)
            await stream.send_eof()
            return _rate(started, await stream.receive_some(8), size * count)

    return trio.run(main)


def by_blocking_thread(listener: socket.socket, size: int, count: int) -> float:
    """No event loop: this thread is blocked while it sends. It counts bytes, as any such code must."""
    connection, _ = listener.accept()
    with connection:
        started = perf_counter()
        parts: list[bytes] = []
        pending = 0
        for chunk in chunks_of(size, count):
            parts.append(chunk)
            pending += len(chunk)
            if pending >= JOINED:
                connection.sendall(b"".join(parts))
                parts.clear()
                pending = 0
        connection.sendall(b"".join(parts))
        connection.shutdown(socket.SHUT_WR)
        return _rate(started, connection.recv(8), size * count)


def by_informed_thread(listener: socket.socket, size: int, count: int) -> float:
    """As above, but it knows how many chunks make 64 KiB, and need not look at each."""
    connection, _ = listener.accept()
    with connection:
        started = perf_counter()
        chunks = chunks_of(size, count)
        while parts := list(islice(chunks, JOINED // size)):
            connection.sendall(b"".join(parts))
        connection.shutdown(socket.SHUT_WR)
        return _rate(started, connection.recv(8), size * count)
