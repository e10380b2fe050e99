"""The front end's side of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

import trio
from trio.lowlevel import (
    Abort,
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from ._backstop import current_backstop, time_is_real
from ._bell import Parked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ._handoff import Handoff
    from ._statistics import ChannelStatistics

T = TypeVar("T")
R = TypeVar("R")


class ChunkReceiver(trio.abc.ReceiveChannel[T], Generic[T, R]):
    """Receives what a producer yields: chunks of type `T`, and at the end its result, an `R`.

    Thread: front end, for every method but `statistics`. One reader at a time.

    All of the receiving methods raise:

    - whatever the producer raised, once all chunks before it were received;
    - `trio.EndOfChannel`: the producer has ended, and all was received;
    - `trio.ClosedResourceError`: this receiver was closed;
    - `trio.BrokenResourceError`: the producer's workers are gone, or a sender was dropped unclosed;
    - `trio.BusyResourceError`: another task is receiving here.
    """

    def __init__(
        self, handoff: Handoff[T], leave: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        # Nothing here knows this receiver: who drops it unclosed has it closed at once, not by the
        # collector, which may come at any time.
        self._handoff = handoff
        self._leave = leave
        self._busy = False
        self._end_seen = False
        self._backstop = current_backstop() if time_is_real() else None

    def __repr__(self) -> str:
        return f"<ChunkReceiver of {self._handoff!r}>"

    def __del__(self) -> None:
        # Senders must not wait for a reader that is no more. Never raises.
        self._handoff.close_soon()

    @enable_ki_protection
    def receive_batch_nowait(self) -> list[T]:
        """All chunks that are buffered, at least one.

        Raises:
            trio.WouldBlock: there is none yet.
            BaseException: see the class.
        """
        self._check_alone()
        return self._take_or_raise(self._handoff.drain)

    @enable_ki_protection
    async def receive_batch(self) -> list[T]:
        """All chunks that are buffered, as soon as there is at least one.

        A checkpoint. If it is cancelled, it has taken nothing.

        Raises:
            BaseException: see the class.
        """
        return await self._receive(self._handoff.drain)

    @enable_ki_protection
    async def receive(self) -> T:
        """The next chunk. Where speed matters, take batches.

        A checkpoint. If it is cancelled, it has taken nothing.

        Raises:
            BaseException: see the class.
        """
        (chunk,) = await self._receive(self._handoff.drain_one)
        return chunk

    @enable_ki_protection
    async def __anext__(self) -> T:
        """As `receive`, but by one coroutine less, which costs as much as to take a chunk."""
        try:
            (chunk,) = await self._receive(self._handoff.drain_one)
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return chunk

    def batches(self) -> AsyncIterator[list[T]]:
        """Iterate over the batches, until the producer ends: `async for batch in chunks.batches()`.

        Raises:
            BaseException: while iterating, see the class.
        """
        return _Batches(self.receive_batch)

    @property
    def result(self) -> R:
        """What the producer returned.

        Raises:
            RuntimeError: its end was not received yet, or it ended with an error.
        """
        end = self._handoff.end
        if end is None or not self._end_seen:
            msg = "the producer has no result before its end was received"
            raise RuntimeError(msg)
        if end.error is not None:
            msg = f"the producer has no result: it raised {end.error!r}"
            raise RuntimeError(msg)
        return cast("R", end.result)  # the producer that made `end` is the one typed to return R

    def statistics(self) -> ChannelStatistics:
        """What went through this channel, and what is in it now. Thread: any."""
        return self._handoff.statistics()

    @enable_ki_protection
    async def aclose(self) -> None:
        """Stop reading: drop the chunks that were not received, and have the producer closed.

        Returns when a generator is closed. If cancelled, it will be closed all the same, and the
        block that opened it waits for that, and raises what goes wrong in it.
        """
        self._handoff.close()
        self._handoff.answer()  # a task that is receiving here gets a ClosedResourceError
        if self._leave is not None:
            await self._leave()
        await trio.lowlevel.checkpoint()

    def unread_exit(self) -> BaseException | None:
        """A `KeyboardInterrupt` or the like that nobody has received, and that must not be lost."""
        end = self._handoff.end
        if end is None or self._end_seen or isinstance(end.error, Exception):
            return None
        return end.error

    # -- how it waits ---------------------------------------------------------------------------

    def _check_alone(self) -> None:
        if self._busy:
            msg = "another task is receiving from this channel"
            raise trio.BusyResourceError(msg)

    def _take_or_raise(self, take: Callable[[], list[T]]) -> list[T]:
        handoff = self._handoff
        if handoff.closed:
            msg = "this channel was closed"
            raise trio.ClosedResourceError(msg)
        end = handoff.end  # before looking for chunks: none comes after it
        if batch := take():
            return batch
        if end is None:
            raise trio.WouldBlock
        self._end_seen = True
        if end.error is None:
            raise trio.EndOfChannel
        raise end.error.with_traceback(end.traceback)

    async def _receive(self, take: Callable[[], list[T]]) -> list[T]:
        self._check_alone()
        self._busy = True
        try:
            # As Trio's own channels do: what is there is taken, however little time is left.
            await checkpoint_if_cancelled()
            waited = False
            while not self._handoff.ready:  # a doorbell may be meant for a wait that was cancelled
                waited = await self._park() or waited
            batch = self._take_or_raise(take)
            if not waited:
                await cancel_shielded_checkpoint()
            return batch
        finally:
            self._busy = False

    async def _park(self) -> bool:
        """Wait until there may be something to take; False if there is, so that it did not wait.

        Cancelled, it leaves nothing behind.
        """
        handoff, backstop = self._handoff, self._backstop
        task = current_task()
        parked, deadline = handoff.park(lambda: reschedule(task), moderate=backstop is not None)
        if parked is Parked.NO:
            return False
        if parked is Parked.MODERATED and backstop is not None:
            backstop.watch(handoff, deadline)

        def abort(_: object) -> Abort:
            handoff.unpark()
            return Abort.SUCCEEDED

        try:
            await wait_task_rescheduled(abort)
        finally:
            if parked is Parked.MODERATED and backstop is not None:
                backstop.forget(handoff)
        return True


class _Batches(Generic[T]):
    """`ChunkReceiver.batches()`: a plain iterator, which has nothing to close."""

    def __init__(self, receive_batch: Callable[[], Awaitable[list[T]]]) -> None:
        self._receive_batch = receive_batch

    def __aiter__(self) -> _Batches[T]:
        return self

    async def __anext__(self) -> list[T]:
        try:
            return await self._receive_batch()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
