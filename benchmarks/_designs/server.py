"""A process that scans a real store by one of the designs, once beside a neighbour and once alone.

It prints the ports for whoever reads the scan, and for the neighbour, whose bytes it echoes; and at the
end what it has sent. Both clients are processes of their own, which others start.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import TYPE_CHECKING

import trio

from examples.range_scan.store import ScanRequest, Settings, Store

from .designs import DESIGNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .designs import Design

BLOCK = 32 * 1024
"""Bytes that are read at a time, at the least, and cut to chunks."""


@dataclass(frozen=True)
class Sent:
    """One scan, or many in a row."""

    bytes: int
    seconds: float
    wake_ups: int
    """Of the front end's thread: how often it came back from waiting for the system."""


class WakeUps(trio.abc.Instrument):
    """Counts them. Thread: front end."""

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:
        """The system was asked what there is."""
        if timeout:  # else there was something to do anyway
            self.count += 1


def chunks_of(store: Store, size: int, stopping: Event) -> Iterator[bytes]:
    """What a scan reads, again and again, cut to chunks of so many bytes; a block at the least.

    Thread: worker.
    """
    while True:
        scan = store.open_scan(ScanRequest(vb=0))
        try:
            for block in scan.read(chunk_size=max(size, BLOCK)):
                for start in range(0, len(block), size):
                    yield block[start : start + size]
                if stopping.is_set():
                    return
        finally:
            scan.close()


async def send(stream: trio.SocketStream, design: Design, chunks: Iterator[bytes], buffer: int) -> Sent:
    """Send all chunks, and wait until the reader says that it has them."""
    wake_ups = WakeUps()
    async with stream:
        trio.lowlevel.add_instrument(wake_ups)
        started = perf_counter()
        await design(stream, chunks, buffer)
        await stream.send_eof()
        arrived = int.from_bytes(await stream.receive_some(8), "big")
        seconds = perf_counter() - started
        trio.lowlevel.remove_instrument(wake_ups)
    return Sent(arrived, seconds, wake_ups.count)


async def echo(listener: trio.SocketListener, begun: trio.Event, stopping: Event) -> None:
    """Be an echo server for one client; when it leaves, the scan is to stop."""
    try:
        async with await listener.accept() as stream:
            begun.set()
            async for data in stream:
                await stream.send_all(data)
    finally:
        stopping.set()


async def stop_after(seconds: float, stopping: Event) -> None:
    """Let the scan go on for so long."""
    await trio.sleep(seconds)
    stopping.set()


def main(
    *, data: str, design: str, chunk: int, buffer: int, seconds: float, neighbour: bool = True
) -> None:
    """Serve, and print what was sent."""
    sent: dict[str, Sent] = {}

    async def serve(store: Store) -> None:
        (scans,), (echoes,) = [await trio.open_tcp_listeners(0, host="127.0.0.1") for _ in "12"]
        print(*(listener.socket.getsockname()[1] for listener in (scans, echoes)), flush=True)
        async with scans, echoes, trio.open_nursery() as nursery:
            for name in ("beside a neighbour", "alone") if neighbour else ("alone",):
                stream, stopping = await scans.accept(), Event()
                if name != "alone":
                    begun = trio.Event()
                    nursery.start_soon(echo, echoes, begun, stopping)
                    await begun.wait()
                else:
                    nursery.start_soon(stop_after, seconds, stopping)
                chunks = chunks_of(store, chunk, stopping) if seconds else iter(())
                sent[name] = await send(stream, DESIGNS[design], chunks, buffer)

    with Store.open(Path(data), Settings(sync=False)) as store:
        trio.run(serve, store)
    print(json.dumps({name: asdict(one) for name, one in sent.items()}))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
