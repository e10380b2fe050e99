"""What lasts for a client's connection, as the engine sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class Connection:
    """A client's connection: `cookie.connection`. Thread: front end, for all of it."""

    def __init__(
        self, protocol: object, peer: str, close: Callable[[], None], abort: Callable[[], None]
    ) -> None:
        self.protocol = protocol
        """The protocol object of this connection, as the front end's first argument made it."""
        self.peer = peer
        """Who it is, for messages: `127.0.0.1:50312`, or what kind of stream."""
        self.stash: object = None
        """The engine's own: who is logged in, what was negotiated."""
        self._close = close
        self._abort = abort

    def __repr__(self) -> str:
        return f"<Connection from {self.peer}>"

    def close(self) -> None:
        """Read no more requests; close it once all that were read are answered and sent."""
        self._close()

    def abort(self) -> None:
        """Close it at once: its commands are dropped, their background work is closed."""
        self._abort()


def peer_of(stream: trio.abc.Stream) -> str:
    """Who is at the other end of a stream, for messages."""
    below: trio.abc.Stream = stream
    while isinstance(below, trio.SSLStream):
        below = cast("trio.SSLStream[trio.abc.Stream]", below).transport_stream
    if isinstance(below, trio.SocketStream):
        try:
            name = below.socket.getpeername()
        except OSError:
            return "a client that is gone"
        if isinstance(name, tuple):
            return f"{name[0]}:{name[1]}"
        return str(name or "a local client")
    return type(stream).__name__
