"""A proxy that goes wrong as it is told: between a real client and a real server, on loopback.

Each connection has its own faults: each strikes once, in one direction, when exactly so many bytes have
passed that way. All that passes before is passed on as it comes.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter, deque
from contextlib import contextmanager
from enum import Enum, auto
from functools import partial
from queue import SimpleQueue
from random import Random
from typing import TYPE_CHECKING, Final

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

HOST: Final = "127.0.0.1"
READ_AT_ONCE: Final = 64 * 1024
NO_LINGER: Final = struct.pack("ii", 1, 0)
"""Close with a reset, whatever is on the way."""
PIECE: Final = 7
"""Bytes of a piece when dribbling, at most."""


class Way(Enum):
    """Where bytes go."""

    UP = auto()
    """To the server."""
    DOWN = auto()
    """To the client."""


class What(Enum):
    """What goes wrong."""

    CUT = auto()
    """Both sides are closed."""
    RESET = auto()
    """Both sides are reset."""
    HALF_CLOSE = auto()
    """The receiver is told that no more comes this way; what comes is thrown away."""
    STALL = auto()
    """Nothing more passes this way until `Proxy.go_on`."""
    DELAY = auto()
    """What comes is held back for `seconds`; it then passes in one piece."""
    DRIBBLE = auto()
    """From here on all passes in pieces of a few bytes."""


@attrs.frozen
class Fault:
    """Something that goes wrong on one connection."""

    what: What
    way: Way
    after: int
    """Bytes that pass before it."""
    seconds: float = 0.0


class _Over(Exception):  # noqa: N818 - it is no error: the connection is to end
    pass


class Proxy:
    """Made by `open_proxy` and `proxying`. Thread: any, for its methods.

    Args:
        upstream: the server's port; may be changed, for later connections.
        faults_of: the faults of the n-th connection, from 0, unless `plan` says more.
    """

    def __init__(self, upstream: int, faults_of: Callable[[int], Sequence[Fault]]) -> None:
        self.upstream = upstream
        self.port = 0
        self.connections = 0
        self.struck = Counter[What]()
        self.stalled = 0
        """Directions that stall now."""
        self.passed: dict[Way, bytearray] = {}
        """All that the last connection passed on."""
        self._faults_of = faults_of
        self._planned: deque[tuple[Fault, ...]] = deque()
        self._token = trio.lowlevel.current_trio_token()
        self._going_on = trio.Event()

    def plan(self, *faults: Fault) -> None:
        """Let these happen to the next connection that has no plan yet."""
        self._planned.append(faults)

    def go_on(self) -> None:
        """Let all that is stalled go on."""
        self._token.run_sync_soon(self._release)

    def _release(self) -> None:
        self._going_on.set()
        self._going_on = trio.Event()

    async def serve(self, client: trio.SocketStream) -> None:
        """Thread: the proxy's own, as all below."""
        number, self.connections = self.connections, self.connections + 1
        faults = self._planned.popleft() if self._planned else self._faults_of(number)
        self.passed = passed = {way: bytearray() for way in Way}
        try:
            server = await trio.open_tcp_stream(HOST, self.upstream)
        except OSError:
            await client.aclose()
            return
        ways = {Way.UP: (client, server), Way.DOWN: (server, client)}
        async with client, server:
            try:
                async with trio.open_nursery() as nursery:
                    for way, (source, sink) in ways.items():
                        its = sorted((it for it in faults if it.way is way), key=lambda it: it.after)
                        pump = _Pump(self, source, sink, its, passed[way], seed=number)
                        nursery.start_soon(pump.run)
            except* (_Over, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # that is what ends a connection here

    async def strike(self, fault: Fault, *streams: trio.SocketStream) -> None:
        """Do what a fault is, as far as it is not about what comes behind it."""
        self.struck[fault.what] += 1
        match fault.what:
            case What.CUT:
                raise _Over
            case What.RESET:
                for stream in streams:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                raise _Over
            case What.STALL:
                self.stalled += 1
                await self._going_on.wait()
                self.stalled -= 1
            case What.DELAY:
                await trio.sleep(fault.seconds)
            case _:
                pass


class _Pump:
    """One direction of a connection."""

    def __init__(
        self,
        proxy: Proxy,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        faults: Sequence[Fault],
        passed: bytearray,
        *,
        seed: int,
    ) -> None:
        self._proxy = proxy
        self._source = source
        self._sink = sink
        self._faults = deque(faults)
        self._passed = passed
        self._random = Random(seed)  # noqa: S311 - no secret
        self._dribbles = self._discards = False

    async def run(self) -> None:
        """Until there is no more."""
        await self._strike_what_is_due()
        while data := await self._source.receive_some(READ_AT_ONCE):
            await self._pass_on(memoryview(bytes(data)))
        if not self._discards:
            await self._sink.send_eof()

    async def _pass_on(self, data: memoryview) -> None:
        while data and not self._discards:
            size = len(data)
            if self._faults:
                size = min(size, self._faults[0].after - len(self._passed))
            if self._dribbles:
                size = min(size, self._random.randint(1, PIECE))
            await self._sink.send_all(data[:size])
            self._passed += data[:size]
            data = data[size:]
            await self._strike_what_is_due()

    async def _strike_what_is_due(self) -> None:
        while self._faults and self._faults[0].after <= len(self._passed):
            fault = self._faults.popleft()
            await self._proxy.strike(fault, self._source, self._sink)
            if fault.what is What.HALF_CLOSE:
                await self._sink.send_eof()
                self._discards = True
            if fault.what is What.DRIBBLE:
                self._dribbles = True


def _none(_: int) -> Sequence[Fault]:
    return ()


async def run_proxy(
    upstream: int,
    faults_of: Callable[[int], Sequence[Fault]] = _none,
    *,
    task_status: trio.TaskStatus[Proxy] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a proxy until cancelled; it is what `nursery.start` returns. Thread: any Trio run's."""
    proxy = Proxy(upstream, faults_of)
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    proxy.port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
        task_status.started(proxy)


@contextmanager
def proxying(upstream: int, faults_of: Callable[[int], Sequence[Fault]] = _none) -> Generator[Proxy]:
    """A proxy on a thread of its own, for clients that block."""
    started: SimpleQueue[tuple[Proxy, Callable[[], object]]] = SimpleQueue()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            proxy: Proxy = await nursery.start(run_proxy, upstream, faults_of)
            token = trio.lowlevel.current_trio_token()
            started.put((proxy, partial(token.run_sync_soon, nursery.cancel_scope.cancel)))

    thread = threading.Thread(target=trio.run, args=(main,), name="proxy of a test")
    thread.start()
    proxy, stop = started.get()
    try:
        yield proxy
    finally:
        stop()
        thread.join()
