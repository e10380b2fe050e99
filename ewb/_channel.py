"""`open_channel`: the same channel, fed by threads that the user owns."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from ._doorbell import current_doorbell
from ._handoff import End, Handoff
from ._receiver import ChunkReceiver
from ._settings import HIGH_WATER, MAX_CHUNKS, MODERATION, ChannelSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from ._statistics import ChannelStatistics

T = TypeVar("T")


_OURS: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
"""What `send` raises: then the reader is gone, or the sender closed."""


class _Shared(Generic[T]):
    """What all clones of a sender share: `open` is guarded by the channel's lock."""

    def __init__(self) -> None:
        self.handoff: Handoff[T]
        self.room: threading.Condition
        self.open = 0
        # Why the end is no good one. Written without the lock, but before its writer takes the lock to
        # count itself out: so whoever counts out the last, and then reads this, sees one.
        self.broken: str | None = None


class ChunkSender(Generic[T]):
    """Sends chunks from a thread of the user's to a `ChunkReceiver`. From `open_channel`.

    Several threads may share one, or each have its own `clone`. The reader sees the end once all are
    closed. Chunks of one thread stay in order. If one is dropped without having been closed, or its
    `with` block is left by an error, not all may have been sent: then the reader gets a
    `trio.BrokenResourceError` at the end.
    """

    def __init__(self, shared: _Shared[T]) -> None:
        self._shared = shared
        self._closed = False  # guarded by the channel's lock
        with shared.room:
            shared.open += 1

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{state} ChunkSender to {self._shared.handoff!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_value is not None and not isinstance(exc_value, _OURS):
            self._shared.broken = (
                f"the block of a sender of this channel was left by {type(exc_value).__name__}"
            )
        self.close()

    def __del__(self) -> None:
        if not self._closed:
            self._shared.broken = "a sender of this channel was dropped without being closed"
            self.close()

    @enable_ki_protection
    def send_nowait(self, chunk: T) -> None:
        """Send, if there is room. Thread: any.

        Raises:
            trio.WouldBlock: the channel is full.
            trio.BrokenResourceError: nobody will read: the receiver was closed or collected, or its
                Trio run is over.
            trio.ClosedResourceError: this sender was closed.
            TypeError: the chunk has no size in bytes, and no `size` was given to `open_channel`.
        """
        handoff = self._shared.handoff
        size = handoff.buffer.size_of(chunk)
        if not handoff.offer(chunk, size, self._check_open, blocks=False):
            raise trio.WouldBlock

    def send(self, chunk: T) -> None:
        """Send; block this thread while the channel is full. Thread: any but Trio's.

        Raises:
            trio.BrokenResourceError: as `send_nowait`, also when it was blocking already.
            trio.ClosedResourceError: this sender was closed, also while this was blocking.
            RuntimeError: this is the thread of a Trio run, which must not be blocked.
            TypeError: as `send_nowait`.
        """
        if trio.lowlevel.in_trio_run():
            msg = "send() would block this Trio run: call it in a thread, or use send_nowait()"
            raise RuntimeError(msg)
        handoff, room = self._shared.handoff, self._shared.room
        size = handoff.buffer.size_of(chunk)
        while not handoff.offer(chunk, size, self._check_open, blocks=True):
            with room:
                while handoff.suspended and not self._closed:
                    room.wait()

    def _check_open(self) -> None:
        """Holds the channel's lock, so that no chunk comes after the end."""
        if self._closed:
            msg = "this sender was closed"
            raise trio.ClosedResourceError(msg)
        if self._shared.handoff.closed or self._shared.handoff.dropped:
            msg = "nobody will read: the receiver was closed or dropped, or its Trio run is over"
            raise trio.BrokenResourceError(msg)

    @enable_ki_protection
    def clone(self) -> ChunkSender[T]:
        """Another sender to the same channel, to be closed on its own. Thread: any.

        Raises:
            trio.ClosedResourceError: this sender was closed.
        """
        with self._shared.room:
            if self._closed:
                msg = "this sender was closed"
                raise trio.ClosedResourceError(msg)
            return ChunkSender(self._shared)

    @enable_ki_protection
    def close(self) -> None:
        """Send no more through this one. Closing again does nothing. Thread: any."""
        shared = self._shared
        with shared.room:
            if self._closed:
                return
            self._closed = True
            shared.open -= 1
            last = shared.open == 0
            shared.room.notify_all()
        if last:
            error = trio.BrokenResourceError(shared.broken) if shared.broken else None
            shared.handoff.finish(End(error=error))

    def statistics(self) -> ChannelStatistics:
        """What went through this channel, and what is in it now. Thread: any."""
        return self._shared.handoff.statistics()


def open_channel(
    *,
    high_water: int = HIGH_WATER,
    max_chunks: int = MAX_CHUNKS,
    size: Callable[[T], int] | None = None,
    moderation: float = MODERATION,
) -> tuple[ChunkSender[T], ChunkReceiver[T, None]]:
    """A bounded channel from threads that you own to this Trio run. Thread: front end.

    Args:
        high_water: bytes that are buffered at most, plus one chunk.
        max_chunks: chunks that are buffered at most.
        size: how much of `high_water` a chunk takes; not given: its bytes.
        moderation: seconds for which chunks may wait for a reader that was here a moment ago, so that
            one wake-up serves many; 0: wake it for each chunk, at many times the cost.

    Raises:
        TypeError, ValueError: a setting is out of its range.
    """
    settings = ChannelSettings(high_water, max_chunks, moderation)
    shared = _Shared[T]()
    doorbell = current_doorbell()

    def on_room() -> None:
        with shared.room:
            shared.room.notify_all()

    shared.handoff = Handoff(
        settings,
        size=size,
        moderation=settings.moderation,
        post=doorbell.post,
        on_room=on_room,
        resume_early=True,
    )
    shared.room = threading.Condition(shared.handoff.lock)
    doorbell.close_with_run(shared.handoff)
    return ChunkSender(shared), ChunkReceiver(shared.handoff)
