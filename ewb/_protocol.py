"""The two parts of a server that its author writes: a sans-I/O protocol, and an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar
from typing import Protocol as Structural

from ._checks import brief, check_plain
from ._status import Order, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._cookie import Cookie

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What is written to a stream."""

METHODS: Final = ("receive_data", "next_request", "order", "encode_batch", "encode_end")
"""Of a protocol."""

Req = TypeVar("Req")
S = TypeVar("S")
T = TypeVar("T")
S_contra = TypeVar("S_contra", contravariant=True)
P_contra = TypeVar("P_contra", contravariant=True)


class ProtocolError(Exception):
    """A client sent what its protocol does not allow: its connection is closed.

    Raised by a protocol, in `receive_data` or `next_request`. The commands before it are still
    completed and answered, then comes `reply`, then the end.

    Args:
        message: what was wrong; it is logged at level INFO.
        reply: bytes, a last answer to the client.
    """

    def __init__(self, message: str, reply: bytes = b"") -> None:
        super().__init__(message)
        if not isinstance(reply, (bytes, bytearray, memoryview)):
            msg = f"the reply of a ProtocolError must be bytes, not {brief(reply)}"
            raise TypeError(msg)
        self.reply = reply


class Protocol(Structural[Req, S_contra, T, P_contra]):
    """A wire format: one object per connection, which does no I/O.

    Need not be inherited; but then type checkers look at the methods, and `order` has its default.

    Thread: front end, for all methods; none of them is async. An exception other than `ProtocolError`
    is logged, and closes the connection that it came from.

    The type variables: requests, the engine's own statuses, chunks, and what answers carry
    (`Cookie.reply`).

    A protocol may also have an attribute `unparsed`: how many bytes it holds of a frame that is not
    whole yet. Without it, the front end goes by what it has fed, and notices a stalled frame only if
    that frame was begun by a read of its own.
    """

    def receive_data(self, data: bytes) -> None:
        """Take what the client sent; `b""`: it has half-closed, and sends no more.

        Raises:
            ProtocolError: the bytes are wrong.
        """
        ...

    def next_request(self) -> Req | None:
        """The next whole request, or None if that needs more data.

        Pulled one at a time: when it is asked for the next one, the command before was executed (or
        parked, if it may run beside others). So what a command changes here holds for the next frame.

        Raises:
            ProtocolError: the bytes are wrong.
        """
        ...

    def order(self, request: Req) -> Order:  # noqa: ARG002 - who inherits this need not override it
        """How this request may run beside others; asked once, before it starts."""
        return Order.SERIAL

    def encode_batch(self, request: Req, batch: list[T]) -> Sequence[Buffer]:
        """Chunks of a command's stream as whole messages: called once a batch, never once a chunk."""
        ...

    def encode_end(
        self, request: Req, status: S_contra | Status, reply: P_contra | None
    ) -> Sequence[Buffer]:
        """The end of a command's answer, often all of it; `[]` for a quiet command.

        Args:
            request: what was asked.
            status: what `execute` returned last, or ewb's own: FAILED, BUSY.
            reply: what the engine put in `Cookie.reply`.
        """
        ...


class Engine(Structural[Req, S]):
    """What executes commands. Need not be inherited.

    Thread: front end, for all methods; none of them is async. It may also have `connect(connection)`,
    called before the first command of a `Connection`, and `disconnect(connection)`, called when all its
    background work is closed. An exception in these is logged; one in `connect` closes the connection.
    """

    def execute(self, cookie: Cookie[Req, S]) -> S | Status:
        """Execute a command, or say `WOULD_BLOCK`; must not block.

        Called again, with `cookie.resumed` and `cookie.status`, when what it waited for is there. Never
        called twice at a time for one cookie. An exception ends the command with `Status.FAILED`, and
        is logged.
        """
        ...


def check_protocol(make: object) -> None:
    """See what `FrontEnd` was given to make protocols with; of a class, its methods too.

    Raises:
        TypeError: it makes none, or none that would do.
    """
    if not callable(make):
        kind = type(make).__name__
        how = f": give {kind}, and not {kind}()" if hasattr(make, "receive_data") else ""
        msg = f"protocol must be a function that makes one, often a class, not {brief(make)}{how}"
        raise TypeError(msg)
    if isinstance(make, type):
        check_plain(make, *METHODS)


def made_plain(make: Callable[[], T]) -> T:
    """A protocol of whose methods none is async: what a function makes is known only then.

    Raises:
        TypeError: which one is.
    """
    made = make()
    check_plain(made, *METHODS)
    return made


def check_engine(engine: object) -> None:
    """See what `FrontEnd` was given to execute commands.

    Raises:
        TypeError: it cannot do that.
    """
    if isinstance(engine, type):
        msg = f"engine must be an object, not a class: give {engine.__name__}()"
        raise TypeError(msg)
    if not callable(getattr(engine, "execute", None)):
        msg = f"engine must have a method execute(cookie), which {brief(engine)} has not"
        raise TypeError(msg)
    check_plain(engine, "execute", "connect", "disconnect")
