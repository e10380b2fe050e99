"""A client of a front end, without sockets."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ewb._front_end import FrontEnd

Req = TypeVar("Req")
S = TypeVar("S")


class MemoryClient:
    """The client's end of a connection in memory, from `connect`. Thread: front end."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        """For what has no method here: it is a stream as any."""
        self._received = bytearray()

    async def send(self, data: bytes) -> None:
        """Send this."""
        await self.stream.send_all(data)

    async def receive_exactly(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            EOFError: the server closed before that.
        """
        while len(self._received) < count:
            await self._receive()
        return self._take(count)

    async def receive_until(self, end: bytes) -> bytes:
        """What comes up to `end`, which is the last of it.

        Raises:
            EOFError: the server closed before that.
        """
        while (found := self._received.find(end)) < 0:
            await self._receive()
        return self._take(found + len(end))

    async def finish(self) -> bytes:
        """Send no more, and return all that comes until the server closes."""
        await self.stream.send_eof()
        while data := await self.stream.receive_some():
            self._received += data
        return self._take(len(self._received))

    async def aclose(self) -> None:
        """Leave, whatever is in flight."""
        await self.stream.aclose()

    async def _receive(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            msg = f"the server closed the connection; before that it sent {bytes(self._received)!r}"
            raise EOFError(msg)
        self._received += data

    def _take(self, count: int) -> bytes:
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken


@asynccontextmanager
async def connect(
    front_end: FrontEnd[Req, S], *, lockstep: bool = False
) -> AsyncGenerator[MemoryClient]:
    """Be a client without a socket, in an `async with`. Thread: front end.

    Leaving the block is the client's vanishing: its commands in flight are dropped. The front end is
    done with it by then.

    Args:
        front_end: serves it.
        lockstep: nothing is buffered in between: a client that does not read holds the server's writes
            up at once.

    Raises:
        BaseException: whatever the block raises; in a group, what `FrontEnd.serve` does.
    """
    pair = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
    ours, theirs = pair()
    # The nursery is not the user's, so what the block raises must not come out of it in a group: it is
    # kept, and raised behind it. Unless the front end has failed: Trio knows then what goes together.
    kept: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(front_end.serve, theirs)
            try:
                yield MemoryClient(ours)
            except BaseException as error:
                if nursery.cancel_scope.cancel_called:
                    raise
                kept = error
            finally:
                with trio.CancelScope(shield=True):  # or this, too, would raise that it is cancelled
                    await trio.aclose_forcefully(ours)
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if kept is None:
            raise
        kept = _joined(kept, group)
    try:
        if kept is not None:
            raise kept
    finally:
        kept = None  # break the cycle through this frame


def _joined(kept: BaseException, group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What to raise for what the block raised, and what the nursery did after it."""
    _, failures = group.split(trio.Cancelled)
    if failures is None:  # it was cancelled from outside, where the block's own error goes to as well
        return kept
    return BaseExceptionGroup(group.message, [kept, *failures.exceptions])
