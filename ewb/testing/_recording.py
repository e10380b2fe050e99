"""A stream that keeps what is written to it, write by write."""

from __future__ import annotations

import trio
import trio.testing


class RecordingStream(trio.abc.HalfCloseableStream):
    """The server's end of a connection whose client is the test. Thread: front end.

    What the server sends is kept; what it receives is what the test feeds. It can be held up, as by a
    client that does not read.
    """

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        """What each `send_all` was given."""
        self.eof_sent = False
        """Whether the server has said that it sends no more."""
        self.closed = False
        """Whether the server has closed it."""
        self._feed_in, self._feed_out = trio.testing.memory_stream_one_way_pair()
        self._may_write = trio.Event()
        self._may_write.set()

    @property
    def data(self) -> bytes:
        """All that was sent."""
        return b"".join(self.writes)

    async def feed(self, data: bytes) -> None:
        """The client sends this."""
        await self._feed_in.send_all(data)

    async def feed_eof(self) -> None:
        """The client sends no more."""
        await self._feed_in.aclose()

    def hold(self) -> None:
        """The client stops reading: from now on the server's writes wait."""
        if self._may_write.is_set():  # else writes wait for this event, which nobody would set
            self._may_write = trio.Event()

    def release(self) -> None:
        """The client reads again."""
        self._may_write.set()

    # -- what the server calls --------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Keep what is sent; wait if held."""
        await self.wait_send_all_might_not_block()
        if self.closed:
            msg = "this stream was closed"
            raise trio.ClosedResourceError(msg)
        if data:
            self.writes.append(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait while held."""
        await trio.lowlevel.checkpoint()
        await self._may_write.wait()

    async def send_eof(self) -> None:
        """Keep that no more will be sent."""
        await trio.lowlevel.checkpoint()
        self.eof_sent = True

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What was fed."""
        return await self._feed_out.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Keep that it was closed."""
        self.closed = True
        await self._feed_out.aclose()
