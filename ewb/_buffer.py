"""The chunks of a channel, from where its producer appends them until they are handed to its reader.

    append ──▶ chunks ──┬── take_all ─────────────────────▶ a batch
                        └── hold ──▶ held ── take_one ────▶ one chunk

Invariants:

- `chunks` is appended to by the producer and taken from by the front end, with no lock: see
  `_handoff.py`, and there also who may do what when. All else is guarded by the channel's lock.
- `ledger` counts what is here: what is in `chunks` as produced and not drained, what is in `held` as
  held. After `settle` it does so exactly, but for a chunk that is appended and not yet counted.
- A size that the user's function has told is with its chunk, in a list beside: the front end must not
  run such code. It is appended before the chunk, and taken after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ._ledger import Ledger
from ._sizes import checked_size, size_in_bytes
from ._statistics import ChannelStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._budget import Budget
    from ._settings import Bounds

T = TypeVar("T")


class _Nothing:
    """No chunk is of this type."""


class Buffer(Generic[T]):
    """What one channel holds. Methods need the channel's lock, unless they say that they do not."""

    __slots__ = (
        "_batches",
        "_held_sizes",
        "_peak_bytes",
        "_peak_chunks",
        "_received",
        "_sizes",
        "chunks",
        "held",
        "ledger",
        "plain",
        "size_of",
    )

    def __init__(self, bounds: Bounds, size: Callable[[T], int] | None, budget: Budget | None) -> None:
        self.size_of: Callable[[T], int] = size_in_bytes if size is None else checked_size(size)
        """How much of `high_water` a chunk takes. User code, so it is called without the lock."""
        self.plain: type = bytes if size is None else _Nothing
        """Chunks of this type are as large as `len` says."""
        self.chunks: list[T] = []
        self.ledger = Ledger(bounds, budget)
        # Drained, not yet handed to the caller of receive(); the last one first. (Lists: two deques
        # would be most of what a channel weighs.) The front end looks here without the lock.
        self.held: list[T] = []
        self._sizes: list[int] | None = None if size is None else []
        self._held_sizes: list[int] | None = None if size is None else []
        self._batches = self._received = self._peak_chunks = self._peak_bytes = 0

    @property
    def count(self) -> int:
        """Chunks produced and not yet received."""
        return len(self.chunks) + len(self.held)

    # -- what comes in --------------------------------------------------------------------------

    def measure(self, chunk: T) -> int:
        """The size of a chunk that is not plain, remembered if it is the user's to say.

        Thread: worker, without the lock. The chunk is to be appended next.
        """
        size = self.size_of(chunk)
        if self._sizes is not None:
            self._sizes.append(size)
        return size

    def append(self, chunk: T, size: int) -> None:
        """Add a chunk of a thread of the user's."""
        if self._sizes is not None:
            self._sizes.append(size)
        self.chunks.append(chunk)
        self.ledger.produced += size

    def grant(self) -> int:
        """How many chunks may be appended now; 0 if it is full."""
        self._count_drained()
        return self.ledger.grant(self.count)

    # -- what goes out --------------------------------------------------------------------------

    def take_all(self, *, lend: bool) -> list[T]:
        """All chunks there are. The caller settles.

        Args:
            lend: what is in `chunks` counts against the shared memory until it is returned.
        """
        before = self.ledger.drained
        batch = self._drain()
        if lend:
            self.ledger.lent += self.ledger.drained - before
        if self.held:
            batch = [*reversed(self.held), *batch]
        if self.held or self._held_sizes:
            self._forget_held()
        self._received += len(batch)
        return batch

    def hold(self) -> bool:
        """Drain for `take_one`; returns if there was anything. Nothing is held before."""
        before = self.ledger.drained
        self.held.extend(reversed(self._drain()))
        if self._held_sizes is not None:
            self._held_sizes.reverse()
        self.ledger.held = self.ledger.drained - before
        return bool(self.held)

    def take_one(self) -> T:
        """The first chunk that is held. The caller settles, when it is the last or before."""
        held, ledger = self.held, self.ledger
        chunk = held.pop()
        size = self._held_sizes.pop() if self._held_sizes else size_in_bytes(chunk)
        ledger.held = ledger.held - size if held and ledger.held > size else 0
        self._received += 1
        return chunk

    def drop(self) -> None:
        """Forget all chunks."""
        self.settle()
        self.note_peaks()
        self.ledger.dropped += self.ledger.buffered
        self.chunks.clear()
        if self._sizes is not None:
            self._sizes.clear()
        self._forget_held()
        self.ledger.drained = self.ledger.produced

    def _drain(self) -> list[T]:
        produced = self.ledger.produced
        count = len(self.chunks)
        if count == 0:
            return []
        self.note_peaks()
        batch = self.chunks[:count]
        del self.chunks[:count]
        if self._sizes is not None and self._held_sizes is not None:
            self._held_sizes.extend(self._sizes[:count])
            del self._sizes[:count]
        self.ledger.drained = produced
        self._batches += 1
        return batch

    def _forget_held(self) -> None:
        self.held.clear()
        if self._held_sizes is not None:
            self._held_sizes.clear()
        self.ledger.held = 0

    # -- what is counted ------------------------------------------------------------------------

    def settle(self) -> None:
        """Bring the counts up to date, and tell the budget."""
        self._count_drained()
        self.ledger.settle()

    def _count_drained(self) -> None:
        # A drain may have taken a chunk that was not counted yet. With nothing left in `chunks`,
        # all that is counted has been drained. `produced` is read first: what it counts was
        # appended before, so finding `chunks` empty after that proves it.
        ledger = self.ledger
        produced = ledger.produced
        if not self.chunks:
            if self.held:
                ledger.held += produced - ledger.drained
            ledger.drained = produced

    def note_peaks(self) -> None:
        """Before chunks leave, or when none are added for a while: when peaks are."""
        self._peak_chunks = max(self._peak_chunks, self.count)
        self._peak_bytes = max(self._peak_bytes, self.ledger.buffered)

    def statistics(
        self, *, doorbells: int, suspensions: int, seconds_suspended: float
    ) -> ChannelStatistics:
        """What went through and what is here now, with what others have counted."""
        self.settle()
        self.note_peaks()
        return ChannelStatistics(
            chunks=self._received,
            bytes=self.ledger.received,
            batches=self._batches,
            doorbells=doorbells,
            suspensions=suspensions,
            seconds_suspended=seconds_suspended,
            buffered_chunks=self.count,
            buffered_bytes=self.ledger.buffered,
            peak_chunks=self._peak_chunks,
            peak_bytes=self._peak_bytes,
            high_water=self.ledger.bounds.high_water,
            max_chunks=self.ledger.bounds.max_chunks,
        )
