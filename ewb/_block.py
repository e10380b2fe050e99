"""The block in which a producer lives: begun when it is entered, closed before it is left."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from trio.lowlevel import enable_ki_protection

from ._receiver import ChunkReceiver
from ._waiting import wait_whatever_comes

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._producer import Producer

T = TypeVar("T")


class Block(Generic[T]):
    """What `Workers.produce` returns. Not made with a generator, which is several objects more.

    Thread: front end.
    """

    __slots__ = ("_begin", "_leave", "_producer", "_receiver")

    def __init__(self, begin: Callable[[], Producer], leave: Callable[[Producer], None]) -> None:
        """A block to be entered once.

        Args:
            begin: starts the producer.
            leave: has it closed, which `finished` then tells.
        """
        self._begin: Callable[[], Producer] | None = begin
        self._leave = leave
        self._producer: Producer  # from here on: once it was entered
        self._receiver: ChunkReceiver[T, Any]

    @enable_ki_protection
    async def __aenter__(self) -> ChunkReceiver[T, Any]:
        begin, self._begin = self._begin, None
        if begin is None:
            msg = "this block was entered before: call produce() for each `async with`"
            raise RuntimeError(msg)
        self._producer = begin()
        leave = partial(_left, self._leave, self._producer)
        self._receiver = ChunkReceiver(self._producer.handoff, leave)
        return self._receiver

    @enable_ki_protection
    async def __aexit__(self, *_: object) -> None:
        producer, receiver = self._producer, self._receiver
        del self._producer, self._receiver  # they know the error whose traceback knows this block
        self._leave(producer)
        if not producer.over:
            await wait_whatever_comes(producer.finished)
        error = producer.closing_error
        if error is None:
            error = receiver.unread_exit()
        if error is not None:
            try:
                raise error
            finally:
                del error, producer, receiver  # break the cycle through this frame


async def _left(leave: Callable[[Producer], None], producer: Producer) -> None:
    """Have it closed, and wait for that."""
    leave(producer)
    await producer.finished.wait()
