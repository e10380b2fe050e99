"""The range-scan server with a switch: a scan's name says by which of three designs it is read.

- `ROUND_TRIP` (kv_engine 0bdfc43b9): the worker enters the front end's thread for every write, and
  waits there until it is done.
- `ONE_BUFFER` (e0612b28f): the worker fills one buffer, stops, and notifies; the front end sends that
  and has the worker go on. Nothing is read meanwhile.
- Any other name: the example's own way.

All else is the same: store, protocol, front end, workers. The first two write 8 KiB at a time, as
kv_engine does.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import trio

import ewb
from examples.range_scan import wire
from examples.range_scan.auth import Authenticator
from examples.range_scan.engine import Engine, EngineSettings, Timers
from examples.range_scan.store import Limits, Scan, ScanEnd, ScanRequest, Settings, Store
from examples.range_scan.wire import Status
from examples.range_scan.wire.requests import ContinueScan, CreateScan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator
    from typing import TypeAlias

    from examples.range_scan.settings import ServerSettings
    from examples.range_scan.wire.requests import Request

    Chunks: TypeAlias = Generator[bytes, None, ScanEnd]
    Cookie: TypeAlias = ewb.Cookie[Request, Status]
    Answer: TypeAlias = Status | ewb.Status

ROUND_TRIP: Final = "round trip"
ONE_BUFFER: Final = "one buffer"
WRITE_SIZE: Final = 8 * 1024
"""Bytes, of a write and of the buffer."""
ENDS: Final = {ScanEnd.MORE: Status.SCAN_MORE, ScanEnd.COMPLETE: Status.SCAN_COMPLETE}


@dataclass
class Reading:
    """A scan of one of the two, while a command reads it: `cookie.stash`."""

    scan: Scan
    chunks: Chunks
    design: str


class Designs:
    """An engine that reads some scans itself, and has the example's do all else. Thread: front end."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self.streams: dict[str, trio.SocketStream] = {}
        """Of each connection, by its peer: one of the designs writes to them."""
        self._engine = engine
        self._store = store
        self._named: dict[bytes, CreateScan] = {}
        """Scans of the two designs, by their uuids."""

    def connect(self, connection: ewb.Connection) -> None:
        """A client has connected."""
        self._engine.connect(connection)

    def disconnect(self, connection: ewb.Connection) -> None:
        """A client is gone."""
        self._engine.disconnect(connection)

    def execute(self, cookie: Cookie) -> Answer:
        """Execute a command, or say that it would block."""
        if isinstance(cookie.stash, Reading):
            return self._go_on(cookie, cookie.stash)
        request = cookie.request
        if isinstance(request, ContinueScan) and request.uuid in self._named:
            return self._begin(cookie, request, self._named[request.uuid])
        answer = self._engine.execute(cookie)
        if isinstance(request, CreateScan) and request.name in {ROUND_TRIP, ONE_BUFFER}:
            reply = cast("wire.Reply", cookie.reply)
            self._named[bytes(reply.value)] = request
        return answer

    def _begin(self, cookie: Cookie, request: ContinueScan, created: CreateScan) -> Answer:
        """Take the snapshot only now: nobody writes here."""
        wanted = ScanRequest(vb=request.head.vbucket, keys_only=created.keys_only)
        request.keys_only = created.keys_only
        scan = self._store.open_scan(wanted)
        limits = Limits(items=request.items, bytes=request.bytes, seconds=request.milliseconds / 1000)
        chunks = scan.read(limits, WRITE_SIZE)
        cookie.stash = Reading(scan, chunks, created.name)
        if created.name == ROUND_TRIP:
            stream = self.streams[cookie.connection.peer]
            return cookie.run(write_all, chunks, partial(write, stream, cookie))
        return cookie.produce(fill, chunks, same_thread=False)

    def _go_on(self, cookie: Cookie, reading: Reading) -> Answer:
        if reading.design == ONE_BUFFER and cookie.status is ewb.Status.OK:
            return cookie.produce(fill, reading.chunks, same_thread=False)
        reading.scan.close()
        answer = cookie.result if reading.design == ROUND_TRIP else cookie.status
        return cast("Answer", answer)


def fill(chunks: Chunks) -> Generator[bytes, None, Status | None]:
    """Fill the buffer once. Thread: worker."""
    try:
        yield next(chunks)
    except StopIteration as end:
        return ENDS[end.value]
    return None


def write_all(chunks: Chunks, write: Callable[[bytes], Awaitable[None]]) -> Status:
    """Have each buffer written by the front end. Thread: worker."""
    while True:
        try:
            chunk = next(chunks)
        except StopIteration as end:
            return ENDS[end.value]
        trio.from_thread.run(write, chunk)


async def write(stream: trio.SocketStream, cookie: Cookie, chunk: bytes) -> None:
    """Send a buffer as a frame. Thread: front end."""
    protocol = cast("wire.BinaryProtocol", cookie.connection.protocol)
    await ewb.send_batch(stream, protocol.encode_batch(cookie.request, [chunk]))


async def serve(
    settings: ServerSettings, *, stops: AsyncIterator[object], ready: Callable[[int], object]
) -> None:
    """Serve, without logins, what `examples.range_scan.server.serve` serves. Thread: front end."""
    async with AsyncExitStack() as stack:
        store = stack.enter_context(Store.open(settings.data, Settings()))
        workers = await stack.enter_async_context(
            ewb.open_workers(settings.threads, memory=settings.memory)
        )
        nursery = await stack.enter_async_context(trio.open_nursery())
        listeners = await trio.open_tcp_listeners(0, host=settings.host)
        port = listeners[0].socket.getsockname()[1]
        engine = Engine(
            EngineSettings(needs_login=False),
            store=store,
            authenticator=Authenticator(settings.user, settings.password),
            topology=wire.Topology(bucket="", uuid="", vbuckets=store.vbuckets, port=port),
            timers=Timers(nursery),
            statistics=dict,
        )
        stack.enter_context(closing(engine))
        designs = Designs(engine, store)
        front_end = ewb.FrontEnd(wire.BinaryProtocol, designs, workers)

        async def serve_one(stream: trio.SocketStream) -> None:
            host, number = stream.socket.getpeername()
            designs.streams[f"{host}:{number}"] = stream
            await front_end.serve(stream)

        nursery.start_soon(trio.serve_listeners, serve_one, listeners)
        ready(port)
        await anext(stops)
        nursery.cancel_scope.cancel()
