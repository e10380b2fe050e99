"""A cookie: one client command in flight, as its engine sees it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar, TypeVarTuple

import attrs

from ._checks import check_function
from ._producer import name_of
from ._settings import HIGH_WATER, MAX_CHUNKS, Bounds, check_flag
from ._sizes import check_size
from ._status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._connection import Connection

Req = TypeVar("Req")
S = TypeVar("S")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@attrs.frozen
class StreamWork:
    """What a cookie asked for: a producer to run on a worker."""

    start: Callable[[], Iterable[object]]
    name: str
    bounds: Bounds
    size: Callable[..., int] | None
    same_thread: bool


@attrs.frozen
class CallWork:
    """What a cookie asked for: a blocking call to make on a worker."""

    call: Callable[[], object]
    name: str


Work: TypeAlias = StreamWork | CallWork
"""What a cookie asks for."""


class Cookie(ABC, Generic[Req, S]):
    """One client command in flight, with its state. Made by the front end.

    `request`, `connection` and what ewb sets are for reading; `reply` and `stash` are the engine's.
    """

    __slots__ = (
        "__weakref__",
        "_front_end_thread",
        "_work",
        "connection",
        "exception",
        "has_streamed",
        "reply",
        "request",
        "result",
        "resumed",
        "stash",
        "status",
    )

    def __init__(self, request: Req, connection: Connection) -> None:
        self._front_end_thread = threading.get_ident()
        self._work: Work | None = None
        self.request = request
        """What the client asks for, as its protocol parsed it."""
        self.connection = connection
        """What lasts for the connection: its protocol, the engine's stash."""
        self.resumed = False
        """Whether `execute` is called again, what it waited for being there."""
        self.status: S | Status = Status.OK
        """When resumed: what the producer returned (None: OK), or what was notified; `FAILED` if the
        background work raised; `CANCELLED`, `TIMED_OUT`."""
        self.result: object = None
        """What the function of `run`, or the producer, returned in the wait that has just ended."""
        self.exception: BaseException | None = None
        """What the background work raised, in the wait that has just ended."""
        self.has_streamed = False
        """Whether some of its chunks were encoded: then it is too late for another kind of answer."""
        self.reply: object = None
        """The payload of the answer, for the protocol's `encode_end`."""
        self.stash: object = None
        """The engine's own."""

    def produce(
        self,
        fn: Callable[[*Ts], Iterable[T]],
        *args: *Ts,
        high_water: int = HIGH_WATER,
        max_chunks: int = MAX_CHUNKS,
        size: Callable[[T], int] | None = None,
        same_thread: bool = True,
    ) -> Status:
        """Stream what a generator yields to the client: `return cookie.produce(fn, *args)`.

        Thread: front end, in `execute`. The generator is started on a worker once `execute` has
        returned `WOULD_BLOCK`. Its chunks go through the protocol's `encode_batch`. When it has ended,
        and all its chunks are written or about to be, `execute` is called again, with what it returned
        as `status`.

        Args:
            fn: a generator function, or one that returns any iterator, of blocking code.
            args: positional arguments for it.
            high_water: bytes that are buffered at most, plus one chunk.
            max_chunks: chunks that are buffered at most.
            size: how much of `high_water` a chunk takes; not given: its bytes.
            same_thread: always resume the generator on the worker that it started on.

        Returns:
            `Status.WOULD_BLOCK`.

        Raises:
            RuntimeError: this call of `execute` has asked for something already, or is over.
            TypeError, ValueError: `fn` or `size` is no function, a bound no positive whole number.
        """
        check_function("produce", fn)
        check_size(size)
        check_flag("same_thread", same_thread)
        bounds = Bounds(high_water, max_chunks)
        return self._ask(StreamWork(partial(fn, *args), name_of(fn), bounds, size, same_thread))

    def run(self, fn: Callable[[*Ts], object], *args: *Ts) -> Status:
        """Make one blocking call on a worker: `return cookie.run(fn, *args)`.

        Thread: front end, in `execute`. The call begins once `execute` has returned `WOULD_BLOCK`. When
        it is done, `execute` is called again, with its value in `result`.

        Returns:
            `Status.WOULD_BLOCK`.

        Raises:
            RuntimeError: this call of `execute` has asked for something already, or is over.
            TypeError: `fn` is no function.
        """
        check_function("run", fn)
        return self._ask(CallWork(partial(fn, *args), name_of(fn)))

    @abstractmethod
    def notify(self, status: S | Status = Status.OK) -> None:
        """The answer that `execute` waits for is ready: have it called again. Thread: any.

        For a cookie that would block without having asked for `produce` or `run`. What comes while
        `execute` has not returned yet is kept. What comes second, or while something asked for is under
        way, or after the command is done or its connection gone, is ignored. So whoever hands something
        over that must not be lost looks in `Engine.disconnect` whether it was taken.

        Args:
            status: what `execute` will find as `cookie.status`.

        Raises:
            ValueError: the status is `WOULD_BLOCK`.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Stop waiting: `execute` is called again, with `Status.CANCELLED`. Thread: any.

        A producer is closed, on its worker, and chunks that were not written yet are dropped. Ignored
        if the cookie is not parked: it does not wait, or what it waited for is there.
        """

    @abstractmethod
    def _ask(self, work: Work) -> Status: ...
