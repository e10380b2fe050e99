"""The two designs of kv_engine's range scans that came before, in the server of the example.

A scan's name says which of them reads it. All else is the same: store, protocol, front end, workers.

- `ROUND_TRIP` (kv_engine 0bdfc43b9): the worker enters the front end's thread for every write, and
  waits there until it is done.
- `ONE_BUFFER` (e0612b28f): the worker fills one buffer, stops, and notifies; the front end sends that
  and has the worker go on. Nothing is read meanwhile.

Both write 8 KiB at a time, as kv_engine does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import trio

import ewb
from examples.range_scan import server
from examples.range_scan.engine import engine
from examples.range_scan.engine.scans import Scans
from examples.range_scan.store import Limits, ScanEnd
from examples.range_scan.wire import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from examples.range_scan.engine.registry import OpenScan
    from examples.range_scan.engine.session import Answer, Cookie, Session
    from examples.range_scan.store import Scan
    from examples.range_scan.wire.requests import ContinueScan

    Chunks = Generator[bytes, None, ScanEnd]

ROUND_TRIP: Final = "round trip"
ONE_BUFFER: Final = "one buffer"
WRITE_SIZE: Final = 8 * 1024
"""Bytes, of a write and of the buffer."""

_ENDS: Final = {ScanEnd.MORE: Status.SCAN_MORE, ScanEnd.COMPLETE: Status.SCAN_COMPLETE}
_streams: Final[dict[str, trio.abc.Stream]] = {}
"""Of each connection, by its peer: ewb keeps them to itself, and one of the designs writes to them."""


def install() -> None:
    """Have the server of this process read scans in these ways, too."""
    engine.Scans = _Designs  # type: ignore[attr-defined]  # this is the switch
    listen = server._listen  # noqa: SLF001

    async def listen_and_note(*args: Any) -> tuple[list[_NotingListener], int]:
        listeners, port = await listen(*args)
        return [_NotingListener(listener) for listener in listeners], port

    server._listen = listen_and_note  # type: ignore[assignment]  # noqa: SLF001


class _NotingListener(trio.abc.Listener[trio.abc.Stream]):
    def __init__(self, listener: trio.abc.Listener[trio.abc.Stream]) -> None:
        self._listener = listener

    async def accept(self) -> trio.abc.Stream:
        stream = await self._listener.accept()
        if isinstance(stream, trio.SocketStream):
            host, port = stream.socket.getpeername()
            _streams[f"{host}:{port}"] = stream
        return stream

    async def aclose(self) -> None:
        await self._listener.aclose()


@dataclass
class _Buffered:
    """A scan that is read a buffer at a time."""

    entry: OpenScan
    chunks: Chunks


class _Designs(Scans):
    """Thread: front end."""

    def continue_(self, session: Session, cookie: Cookie) -> Answer:
        """Stream a part of a scan, in the way that its name says."""
        if isinstance(cookie.stash, _Buffered):
            return self._go_on(session, cookie, cookie.stash)
        request = cast("ContinueScan", cookie.request)
        entry = self._registry.find(request.uuid, request.head.vbucket)
        design = entry.scan.request.name
        if cookie.resumed and design == ROUND_TRIP:
            cookie.status = cast("Status", cookie.result)
        if cookie.resumed or design not in {ROUND_TRIP, ONE_BUFFER}:
            return super().continue_(session, cookie)
        self._registry.begin(entry, cookie)
        session.if_gone[cookie] = partial(self._registry.remove, entry)
        request.keys_only = entry.scan.request.keys_only
        limits = Limits(items=request.items, bytes=request.bytes, seconds=request.milliseconds / 1000)
        if design == ROUND_TRIP:
            cookie.stash = entry
            return cookie.run(_write_all, entry.scan, limits, partial(_write, cookie))
        cookie.stash = _Buffered(entry, entry.scan.read(limits, WRITE_SIZE))
        return cookie.produce(_fill, cookie.stash.chunks, same_thread=False)

    def _go_on(self, session: Session, cookie: Cookie, buffered: _Buffered) -> Answer:
        if cookie.status is ewb.Status.OK:
            return cookie.produce(_fill, buffered.chunks, same_thread=False)
        del session.if_gone[cookie]
        return self._continued(cookie, buffered.entry)


def _fill(chunks: Chunks) -> Generator[bytes, None, Status | None]:
    """Fill the buffer once. Thread: worker."""
    try:
        yield next(chunks)
    except StopIteration as end:
        return _ENDS[end.value]
    return None


def _write_all(scan: Scan, limits: Limits, write: Callable[[bytes], Awaitable[None]]) -> Status:
    """Read a part of a scan, and have each buffer written by the front end. Thread: worker."""
    chunks = scan.read(limits, WRITE_SIZE)
    while True:
        try:
            chunk = next(chunks)
        except StopIteration as end:
            return _ENDS[end.value]
        trio.from_thread.run(write, chunk)


async def _write(cookie: Cookie, chunk: bytes) -> None:
    """Send a buffer as a frame. Thread: front end."""
    protocol = cast("Any", cookie.connection.protocol)
    await ewb.send_batch(
        _streams[cookie.connection.peer], protocol.encode_batch(cookie.request, [chunk])
    )
