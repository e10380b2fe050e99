"""The three ways to send what a thread reads, each in its cleanest form. Thread: front end.

- `round_trip` (kv_engine 0bdfc43b9): the worker enters the front end's thread for every write, and
  waits there until it is done.
- `one_buffer` (e0612b28f): the worker fills one buffer, stops, and notifies; the front end sends that
  and has the worker go on. Nothing is read meanwhile.
- `read_ahead`: ewb. The worker reads ahead into a bounded channel; at each wake-up the front end sends
  all that is there.

All send the same chunks to a stream; a buffer is a number of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

import ewb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from typing import TypeAlias

    Design: TypeAlias = Callable[[trio.SocketStream, Iterator[bytes], int], Awaitable[None]]


async def round_trip(stream: trio.SocketStream, chunks: Iterator[bytes], _: int) -> None:
    """Without a buffer: each chunk is written by itself."""

    def work() -> None:
        for chunk in chunks:
            trio.from_thread.run(stream.send_all, chunk)

    await trio.to_thread.run_sync(work)


async def one_buffer(stream: trio.SocketStream, chunks: Iterator[bytes], buffer: int) -> None:
    """A buffer for each hop to the thread and back."""
    while filled := await trio.to_thread.run_sync(_fill, chunks, buffer):
        await stream.send_all(filled)


def _fill(chunks: Iterator[bytes], buffer: int) -> bytes:
    """Thread: worker."""
    filled: list[bytes] = []
    size = 0
    for chunk in chunks:
        filled.append(chunk)
        size += len(chunk)
        if size >= buffer:
            break
    return b"".join(filled)


async def read_ahead(stream: trio.SocketStream, chunks: Iterator[bytes], buffer: int) -> None:
    """A channel between two that need not wait for each other."""
    async with (
        ewb.open_workers(threads=1) as workers,
        workers.produce(lambda: chunks, high_water=buffer) as receiver,
    ):
        async for batch in receiver.batches():
            await ewb.send_batch(stream, batch)


DESIGNS: Mapping[str, Design] = {
    "round trip": round_trip,
    "one buffer": one_buffer,
    "ewb": read_ahead,
}
