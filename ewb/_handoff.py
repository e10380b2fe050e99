"""The bounded buffer between a producer and a front end. It knows nothing of Trio.

      worker, or a thread of the user's                        front end
    ┌────────────────────────────────┐   chunks   ┌───────────────────────────────────┐
    │ fill / offer ── append ────────┼──▶ ▒▒▒▒ ───┼──▶ drain ──▶ held ──▶ the caller  │
    │                                │            │                                   │
    │ finds it parked: disarm, ring ─┼─ doorbell ─┼──▶ answer ──▶ wakes the reader    │
    │ full: rest, suspended ◀────────┼── resume ──┼─── drained enough                 │
    └────────────────────────────────┘            └───────────────────────────────────┘

Invariants:

- `buffer.chunks` is appended to by the producer and taken from by the front end, with no lock: a
  list's `append`, and copying or deleting a slice, are each atomic. `ledger.produced` has one writer,
  the producer, *after* the append; so what it counts has been appended, and a drain that reads it
  first and takes all chunks takes what it counts.
- All other fields but `dropped` are guarded by `lock`: who writes them holds it. Some are read without
  it, and tell what was so a moment ago; each is marked below. By two of these, `ledger.limit` and
  `ring_from`, the producer is sent to `_look_up`, which takes the lock.
- No lost wake-up: the front end arms (`ledger.limit = LOOK_UP`) *before* it looks at `chunks`; the
  producer appends *before* it looks at `limit`. Whichever comes second sees the other.

What of this rests on the GIL: that each of a list's operations is atomic, and that all threads see all
stores in one order, so that of two threads that each store and then look, one sees the other's. Without
a GIL, a list's own lock does the former, and nothing assures the latter: there `park` and `fill` would
have to meet in a lock (see `docs/reliability.md`). Nothing rests on when the GIL changes hands, nor on
`+=` being atomic.
"""

from __future__ import annotations

import threading
from itertools import repeat
from math import inf
from time import thread_time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import attrs

from ._bell import WORTHWHILE, Bell, Parked
from ._buffer import Buffer
from ._clock import clock
from ._courtesy import PATIENCE
from ._ledger import LOOK_UP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from ._budget import Budget
    from ._courtesy import Courtesy
    from ._settings import Bounds
    from ._statistics import ChannelStatistics

T = TypeVar("T")

BURST: Final = 32
"""Chunks between two looks at the clock, while they come faster than one in `QUICK`."""
QUICK: Final = 1e-6
"""Seconds a chunk, below which reading the clock after each would cost more than it tells."""
LEISURELY: Final = 10e-6
"""Seconds a chunk, above which a moderated reader is woken early, if that is worthwhile. It costs the
producer some 0.1 ms, which one in a hurry would rather spend once in an interval."""
GIVE_WAY: Final = 0.001
"""Seconds for which a computing worker that has rung waits, at most, for the reader to be back."""


@attrs.frozen
class End:
    """How a producer ended."""

    result: object = None
    error: BaseException | None = None
    traceback: TracebackType | None = None
    """The error's, as it was first raised: raising it again adds to it."""


def _nobody() -> None:
    """Is to be resumed any more."""


class Handoff(Generic[T]):
    """One channel's state. Each method names its thread; "producer" is a worker or a user's thread."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        size: Callable[[T], int] | None,
        moderation: float,
        post: Callable[[Callable[[], None]], bool],
        on_room: Callable[[], None],
        budget: Budget | None = None,
        resume_early: bool = False,
    ) -> None:
        """A channel that is empty and open.

        Args:
            bounds: where the producer stops.
            size: how much of `high_water` a chunk takes; None: its bytes.
            moderation: seconds between two wake-ups of a front end that keeps up.
            post: has the front end call a function soon; False if its run is over. Called by the
                producer, without the lock.
            on_room: resumes a suspended producer; called by the front end, without the lock.
            budget: the memory shared with other channels.
            resume_early: resume a suspended producer as soon as there is any room, not only when
                most of the buffer is free.
        """
        self._post = post
        self._on_room = on_room
        self._resume_early = resume_early
        # Chunks, above which a suspended producer need not be thought of.
        self._resume_at = bounds.max_chunks if resume_early else bounds.max_chunks // 4
        # Reentrant: the collector may drop a sender, and so close it, while its thread holds this.
        self.lock = threading.RLock()
        self.buffer = Buffer(bounds, size, budget)
        self._bell = Bell(moderation)
        # From here to `end`: written with the lock held, read without it too.
        self.ring_from = inf  # when a moderated reader may be worth waking (of `clock`)
        self.suspended = False
        self.closed = False  # nobody will read
        self.dropped = False  # the same, and it will be closed soon; written without the lock
        self.cut = False  # nothing more is to be produced, though somebody may read what there is
        self.end: End | None = None
        self._turn: threading.Lock | None = None  # released for a worker that waits in _give_way
        self._waits = False
        self._suspended_at = 0.0
        self._seconds_suspended = 0.0
        self._suspensions = 0  # read without the lock too

    def __repr__(self) -> str:
        state = "closed" if self.closed else "ended" if self.end else "open"
        ledger = self.buffer.ledger
        return (
            f"<{state} channel at {id(self):#x}: {self.buffer.count} of {ledger.bounds.max_chunks} "
            f"chunks, {ledger.buffered} of {ledger.bounds.high_water} bytes>"
        )

    @property
    def stopping(self) -> bool:
        """The producer is to end. Thread: any."""
        return self.closed or self.cut

    # -- producer: a worker runs a generator ----------------------------------------------------

    def fill(self, iterator: Iterator[T], until: float, courtesy: Courtesy) -> None:
        """Run a generator, or another iterator, until it must stop. Thread: worker.

        Returns when the buffer is full, the producer is to end, or `until` (of `clock`) has passed.
        The clock is read once in `BURST` chunks while they come quickly, so a producer that turns
        slow within a burst may overrun `until` by the rest of it.

        Raises:
            BaseException: whatever the generator raises, its `StopIteration` included.
        """
        buffer = self.buffer
        append, size, plain, ledger = buffer.chunks.append, buffer.measure, buffer.plain, buffer.ledger
        produced, burst, computing = ledger.produced, 1, False
        started, cpu_started = clock(), thread_time()
        now, look_at_it = started, started + PATIENCE
        while room := self._look_up(now, give_way=computing):
            while room:
                burst = min(burst, room)
                for _ in repeat(None, burst):
                    chunk = next(iterator)
                    # Not in a function of its own: a call would cost half as much as all the rest.
                    # What is of type `plain` has a length, which a type checker cannot know.
                    produced += len(chunk) if type(chunk) is plain else size(chunk)  # type: ignore[arg-type]
                    append(chunk)
                    ledger.produced = produced
                    if produced >= ledger.limit:
                        room = 0
                        break
                else:
                    room -= burst
                before, now = now, clock()
                spent = now - before
                if now >= until:
                    return
                if now >= look_at_it:
                    computing = courtesy.is_computing(started, cpu_started, now)
                    look_at_it = now + PATIENCE
                if spent >= LEISURELY and now >= self.ring_from and len(buffer.chunks) >= WORTHWHILE:
                    break
                burst = BURST if spent < burst * QUICK else 1

    def _look_up(self, now: float, *, give_way: bool) -> int:
        """Ring if that is due; returns how many chunks may follow, 0 to stop. Thread: worker."""
        with self.lock:
            ring = self._ring_is_due(now)
            room = 0 if self.stopping else self.buffer.grant()
            self._attend()
            self._waits = give_way and ring and room > 0
            turn = self._its_turn() if self._waits else None
        if ring:
            self._ring()
        if turn is not None:
            self._give_way(turn)
        return room

    def _give_way(self, turn: threading.Lock) -> None:
        """Leave the GIL to the front end, until it is back waiting here. Thread: worker, no lock held.

        Otherwise a computing producer would hold the front end up at each of its system calls.
        """
        if not turn.acquire(timeout=GIVE_WAY):
            with self.lock:
                if not self._waits:  # the front end was here meanwhile
                    turn.acquire()
                self._waits = False

    def rest(self) -> bool:
        """The generator has been left: may it go on at once? Thread: worker.

        If not, it is suspended now, and `on_room` is called once there is room or it is to end.
        Either way the credit goes back, for others to use meanwhile.
        """
        with self.lock:
            runnable = self.stopping or self.buffer.grant() > 0
            self.buffer.ledger.return_credit()
            if not runnable:
                self._suspend()
            ring = bool(self.buffer.chunks) and self._disarm()
        if ring:
            self._ring()
        return runnable

    def finish(self, end: End, then: Callable[[], None] | None = None) -> None:
        """Nothing will be produced any more. Thread: producer.

        Args:
            end: how it has ended.
            then: what the front end is to call as well, in any case: with the same doorbell.
        """
        with self.lock:
            self.end = end
            self._unsuspend()
            if self.closed:
                self.buffer.drop()
            self.buffer.settle()
            self.buffer.ledger.return_credit()
            ring = self._disarm()
            self._on_room = _nobody  # it may know who knows this channel
        if ring:
            self._ring(then)
        elif then is not None:
            self._post(then)

    # -- producer: threads of the user's, which share `lock` ------------------------------------

    def offer(
        self, chunk: T, size: int, check: Callable[[], None] | None = None, *, blocks: bool = True
    ) -> bool:
        """Add a chunk if there is room. Thread: any.

        If not, and the producer `blocks`, it counts as suspended. `check` is called first, with the
        lock held, and raises if nothing may be added any more.
        """
        with self.lock:
            if check is not None:
                check()
            if self.buffer.grant() == 0:
                self.buffer.ledger.return_credit()
                if blocks and not self.suspended:
                    self._suspend()
                return False
            self.buffer.append(chunk, size)
            self.buffer.ledger.return_credit()
            ring = self._ring_is_due(clock())
        if ring:
            self._ring()
        return True

    # -- front end ------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Is there something to look at: a chunk, or an end? Thread: front end."""
        buffer = self.buffer
        return bool(buffer.chunks or buffer.held or self.end is not None or self.closed)

    def drain(self, *, lend: bool = False) -> list[T]:
        """All chunks there are, which now belong to the caller. Thread: front end.

        Args:
            lend: they count against the shared memory until they are `returned`.
        """
        with self.lock:
            batch = self.buffer.take_all(lend=lend)
            if batch:
                self._bell.served(clock())
            resume = self._resume()
        if resume:
            self._on_room()
        return batch

    def returned(self) -> None:
        """All that was lent is sent. Thread: front end."""
        with self.lock:
            self.buffer.ledger.lent = 0
            resume = self._resume()
        if resume:
            self._on_room()

    def drain_one(self) -> list[T]:
        """The first chunk there is, if there is one, and hold the others. Thread: front end."""
        with self.lock:
            buffer = self.buffer
            if not buffer.held:
                if not buffer.hold():
                    return []
                self._bell.served(clock())
            chunk = buffer.take_one()
            # The budget need not know of each chunk: it learns of them with the last, or when the
            # producer may go on.
            few = buffer.count <= self._resume_at
            resume = (not buffer.held or (few and self.suspended)) and self._resume()
        if resume:
            self._on_room()
        return [chunk]

    def park(self, waker: Callable[[], None], *, moderate: bool) -> tuple[Parked, float]:
        """About to wait: arm, unless there is something to look at. Thread: front end.

        Returns:
            NO if there is: then look again. Else wait until `waker` is called; and if it is
            MODERATED, see to it that `overdue` is called at the time that comes with it.
        """
        with self.lock:
            self._release()
            parked = self._bell.park(waker, clock(), moderate=moderate)
            self._attend()  # arm, and only then look
            if self.ready:
                self._bell.unpark()
                self._attend()
                parked = Parked.NO
            return parked, self._bell.deadline

    def overdue(self) -> None:
        """A moderated reader has waited long enough: wake it, or arm. Thread: front end."""
        with self.lock:
            waker = self._bell.unpark()
        if waker is not None:
            parked, _ = self.park(waker, moderate=False)
            if parked is Parked.NO:
                waker()

    def unpark(self) -> None:
        """The wait was cancelled. Thread: front end."""
        with self.lock:
            self._bell.unpark()
            self._attend()

    def answer(self) -> None:
        """The doorbell is heard: wake the reader, if it still waits. Thread: front end."""
        with self.lock:
            waker = self._bell.answer()
            self._attend()
        if waker is not None:
            waker()

    def close(self) -> None:
        """Nobody will read: drop what there is, and have the producer stop. Thread: any."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            self.buffer.drop()
            self._attend()
            self._release()
            resume = self._resume()
        if resume:
            self._on_room()

    def close_soon(self) -> None:
        """Have the front end close it: the collector calls this, whatever locks its thread holds.

        Thread: any.
        """
        self.dropped = True
        if not (self.closed or self._post(self.close)):
            self.close()  # the front end's run is over

    def cut_short(self) -> None:
        """Have the producer stop; what it has produced can still be read. Thread: front end."""
        with self.lock:
            self.cut = True
            self._attend()
            self._release()
            resume = self._resume()
        if resume:
            self._on_room()

    # -- any ------------------------------------------------------------------------------------

    @property
    def doorbells(self) -> int:
        """Wake-ups posted so far. Thread: any."""
        return self._bell.rings

    @property
    def suspensions(self) -> int:
        """Times the producer was suspended so far. Thread: any."""
        return self._suspensions

    def statistics(self) -> ChannelStatistics:
        """What went through and what is here now. Thread: any."""
        with self.lock:
            suspended = clock() - self._suspended_at if self.suspended else 0.0
            return self.buffer.statistics(
                doorbells=self._bell.rings,
                suspensions=self._suspensions,
                seconds_suspended=self._seconds_suspended + suspended,
            )

    # -- with the lock held ---------------------------------------------------------------------

    def _its_turn(self) -> threading.Lock:
        if self._turn is None:
            self._turn = threading.Lock()
            self._turn.acquire()
        return self._turn

    def _release(self) -> None:
        """Let a worker that gave way go on."""
        if self._waits and self._turn is not None:
            self._waits = False
            self._turn.release()

    def _suspend(self) -> None:
        self.buffer.note_peaks()
        self.suspended = True
        self._suspensions += 1
        self._suspended_at = clock()

    def _resume(self) -> bool:
        """After a change on the front end's side: must a suspended producer be resumed?

        A worker's not before most of the buffer is free, lest it wake for each chunk that is received;
        a thread of the user's at once, lest others take all the room there is.
        """
        self.buffer.settle()
        if not self.suspended:
            return False
        ledger = self.buffer.ledger
        room = ledger.has_room if self._resume_early else ledger.is_nearly_empty
        may_go_on = room(self.buffer.count) and not ledger.is_starved()
        return (self.stopping or may_go_on) and self._unsuspend()

    def _unsuspend(self) -> bool:
        if not self.suspended:
            return False
        self.suspended = False
        self._seconds_suspended += clock() - self._suspended_at
        return True

    def _ring_is_due(self, now: float) -> bool:
        """Is the reader to be woken for the chunks there are? If so, the caller must `_ring`."""
        if self._bell.parked is Parked.NO:
            return False
        count = len(self.buffer.chunks)
        half_full = self.buffer.ledger.is_half_full(count)
        return self._bell.is_due(count, now, half_full=half_full) and self._disarm()

    def _disarm(self) -> bool:
        """True for the one caller who must `_ring`, if the reader waits."""
        if not self._bell.disarm():
            return False
        self._attend()
        return True

    def _attend(self) -> None:
        """Set the hints that the producer reads without the lock."""
        if self.stopping or self._bell.wants_any:
            self.buffer.ledger.limit = LOOK_UP
        self.ring_from = self._bell.early

    # -- without the lock -----------------------------------------------------------------------

    def _ring(self, then: Callable[[], None] | None = None) -> None:
        """Have the front end answer. Thread: producer."""

        def answer_and_then() -> None:
            self.answer()
            if then is not None:
                then()

        if not self._post(self.answer if then is None else answer_and_then):
            self.close()  # the front end's run is over
