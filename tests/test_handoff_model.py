"""The buffer against a model of it, with the front end acting at every point of the producer's way.

Two channels share a budget. A producer's steps are scripted: what the front end does while a chunk is
being made, being measured, just after it was added (and is not counted yet), and when it is rung for.
So each interleaving that two threads could come to is come to here by one, on purpose.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ewb import _handoff
from ewb._bell import Parked
from ewb._budget import Budget
from ewb._courtesy import Courtesy
from ewb._handoff import End, Handoff
from ewb._settings import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

MODERATION = 0.001
LARGEST = 12

FRONT_END = ["drain", "drain one", "park", "park at once", "give up", "hear", "overdue", "read"]
acts = st.lists(st.sampled_from(FRONT_END), max_size=3)


class Chunk(NamedTuple):
    """What is produced: told apart by its number."""

    number: int
    size: int


class Step(NamedTuple):
    """How one chunk is made, and what the front end does meanwhile."""

    size: int
    seconds: float
    while_made: list[str]
    while_measured: list[str]
    when_added: list[str]


steps = st.builds(
    Step, st.integers(0, LARGEST), st.sampled_from([0.0, 1e-7, 3e-4, 2e-3]), acts, acts, acts
)


class Blow(NamedTuple):
    """What ends a channel in the midst of a slice, so seldom that the rest is tried too."""

    at: int
    where: str
    what: str


blows = st.none() | st.builds(
    Blow,
    st.integers(0, 11),
    st.sampled_from(["while_made", "while_measured", "when_added"]),
    st.sampled_from(["close", "cut short"]),
)
sometimes = st.sampled_from([False] * 7 + [True])


class FakeClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time, as it was last told."""
        return self.now


class Computing(Courtesy):
    """The courtesy of a worker whose producers compute all the time."""

    def is_computing(self, started: float, cpu_started: float, now: float) -> bool:
        """They do."""
        del started, cpu_started, now
        return True


class Boom(Exception):  # noqa: N818 - it is not ours
    """What a producer raises."""


class Chunks(list[Any]):
    """A buffer that tells the model of each chunk that was added."""

    def __init__(self, added: Callable[[Chunk], None]) -> None:
        super().__init__()
        self._added = added

    def append(self, chunk: Any) -> None:
        """Add, and tell."""
        super().append(chunk)
        self._added(chunk)


class Channel:
    """A channel, and next to it what it should be like."""

    def __init__(
        self, clock: FakeClock, bounds: Bounds, moderation: float, budget: Budget | None
    ) -> None:
        self.clock = clock
        self.bounds = bounds
        self.pending: deque[Chunk] = deque()  # produced and not received
        self.received = 0
        self.received_bytes = 0
        self.waiting: Parked | None = None
        self.posted: list[Callable[[], None]] = []
        self.rings = 0
        self.over = self.closed = self.cut = self.ended = False
        self.suspended = False
        self.resumed = False
        self.inexact = False  # a chunk was taken before it was counted
        self.made = 0
        self.knew = False
        self.step: Step | None = None
        self.script: deque[Step] = deque()
        self.when_rung: list[str] = []
        self.handoff: Handoff[Chunk] = Handoff(
            bounds,
            size=self.size_of,
            moderation=moderation,
            post=self.post,
            on_room=self.on_room,
            budget=budget,
        )
        self.handoff.buffer.chunks = Chunks(self.added)

    def __repr__(self) -> str:
        return repr(self.handoff)

    @property
    def bytes(self) -> int:
        """Bytes produced and not received."""
        return sum(chunk.size for chunk in self.pending)

    @property
    def stopping(self) -> bool:
        """Nothing more is to be produced."""
        return self.closed or self.cut

    # -- what the channel calls ------------------------------------------------------------------

    def size_of(self, chunk: Chunk) -> int:
        """As a user's `size`; by the producer only, the front end comes in between."""
        step, self.step = self.step, None
        if step is not None:
            self.perform(step.while_measured)
        return chunk.size

    def added(self, chunk: Chunk) -> None:
        """A producer has added a chunk, and not counted it yet."""
        if self.closed:
            return
        assert len(self.pending) < self.bounds.max_chunks
        assert self.bytes < self.bounds.high_water
        self.pending.append(chunk)
        if self.script and (after := self.script.popleft().when_added):
            self.inexact = True
            self.perform(after)

    def post(self, call: Callable[[], None]) -> bool:
        """A doorbell rings: for somebody who waits, and only if none is out."""
        assert self.waiting is not None
        assert not self.posted
        if self.over:
            self.closed, self.waiting = True, None
            self.pending.clear()
            return False
        self.posted.append(call)
        self.rings += 1
        self.perform(self.when_rung)
        return True

    def on_room(self) -> None:
        """A suspended producer is resumed: once, when there is room or it is to end."""
        assert not self.resumed
        assert self.handoff.suspended is False
        assert self.stopping or len(self.pending) <= self.bounds.max_chunks // 2
        self.suspended = False
        self.resumed = True

    def wake(self) -> None:
        """The reader is woken: if it waits."""
        assert self.over or self.waiting is not None
        self.waiting = None

    # -- the front end ---------------------------------------------------------------------------

    def perform(self, names: list[str]) -> None:
        """The front end does what it can of this."""
        for name in names:
            getattr(self, name.replace(" ", "_"))()

    def drain(self) -> None:
        """Receive a batch: all there is, in order."""
        if self.waiting is None and not self.closed:
            expected = list(self.pending)
            self.pending.clear()
            self._receive(expected)
            assert self.handoff.drain() == expected

    def drain_one(self) -> None:
        """Receive a chunk: the first there is."""
        if self.waiting is None and not self.closed:
            expected = [self.pending.popleft()] if self.pending else []
            self._receive(expected)
            assert self.handoff.drain_one() == expected

    def _receive(self, chunks: list[Chunk]) -> None:
        self.received += len(chunks)
        self.received_bytes += sum(chunk.size for chunk in chunks)

    def park(self) -> None:
        """Wait, unless there is something to look at."""
        self._park(moderate=True)

    def park_at_once(self) -> None:
        """Wait without a timer."""
        self._park(moderate=False)

    def _park(self, *, moderate: bool) -> None:
        if self.waiting is not None:
            return
        something = bool(self.pending) or self.ended or self.closed
        parked, deadline = self.handoff.park(self.wake, moderate=moderate)
        assert (parked is Parked.NO) is something
        if parked is Parked.MODERATED:
            assert moderate
            assert self.clock.now <= deadline <= self.clock.now + MODERATION
        self.waiting = None if something else parked

    def give_up(self) -> None:
        """The wait is cancelled."""
        if self.waiting is not None:
            self.waiting = None
            self.handoff.unpark()

    def hear(self) -> None:
        """The doorbell is answered."""
        while self.posted:
            self.posted.pop()()

    def read(self) -> None:
        """What a reader does that keeps up, from one wait to the next."""
        self.perform(["hear", "drain", "park"])

    def overdue(self) -> None:
        """The time of a moderated wait is over: it ends if there is anything, else the reader arms."""
        if self.waiting is Parked.MODERATED:
            something = bool(self.pending) or self.ended
            self.waiting = Parked.ARMED
            self.handoff.overdue()
            assert (self.waiting is None) is something

    def close(self) -> None:
        """The reader goes."""
        self.closed = True
        self.pending.clear()
        self.handoff.close()
        self.handoff.answer()
        assert self.waiting is None

    def cut_short(self) -> None:
        """The workers end."""
        self.cut = True
        self.handoff.cut_short()

    # -- the producer ----------------------------------------------------------------------------

    def generator(self, last: str, until: float) -> Iterator[Chunk]:
        """Makes what the script says, and then ends, fails, or runs until its time is over."""
        channel = self

        class Generator:
            def __iter__(self) -> Self:
                return self

            def __next__(self) -> Chunk:
                return channel.make(last, until)

        return Generator()

    def make(self, last: str, until: float) -> Chunk:
        """One step. It may take for ever, so nobody may be stranded, and there must be room for it."""
        self.check_nobody_is_stranded()
        assert not self.knew  # a producer that is told to end may have begun a chunk, but only one
        self.knew = self.stopping
        assert len(self.pending) < self.bounds.max_chunks
        assert self.bytes < self.bounds.high_water
        if not self.script:
            if last == "end":
                raise StopIteration
            if last == "error":
                raise Boom
            self.clock.now = max(until, self.clock.now)
            return self.chunk(1)
        step = self.script[0]
        self.clock.now += step.seconds
        self.perform(step.while_made)
        self.step = step
        return self.chunk(step.size)

    def chunk(self, size: int) -> Chunk:
        """The next one."""
        self.made += 1
        return Chunk(self.made, size)

    def run(self, script: list[Step], last: str) -> None:
        """A slice, as a worker runs it."""
        self.resumed = False
        self.script.extend(script)
        until = self.clock.now + 1.0
        try:
            if not self.stopping:
                self.handoff.fill(self.generator(last, until), until, Computing(wanted=True))
        except (StopIteration, Boom):
            self.finish()
        else:
            if self.stopping:
                self.finish()
            elif not self.handoff.rest() and not self.resumed:
                self.suspended = True
                assert self.pending
        finally:
            self.script.clear()
            self.step = None

    def finish(self) -> None:
        """The producer has ended."""
        self.ended, self.suspended = True, False
        self.handoff.finish(End())

    # -- what must hold --------------------------------------------------------------------------

    def check_nobody_is_stranded(self) -> None:
        """Who waits with something to look at has been rung for, or has a timer."""
        if self.waiting is not None and self.pending:
            assert self.posted or self.waiting is Parked.MODERATED
        if self.waiting is not None and self.ended:
            assert self.posted

    def check(self) -> None:
        """All that holds while nobody is in the middle of something."""
        self.check_nobody_is_stranded()
        if self.suspended:
            assert self.pending
            assert not self.stopping
        assert self.handoff.suspended is self.suspended
        statistics = self.handoff.statistics()
        assert self.over or statistics.doorbells == self.rings
        assert statistics.chunks == self.received
        assert statistics.buffered_chunks == len(self.pending)
        assert statistics.peak_chunks <= self.bounds.max_chunks
        assert statistics.peak_bytes < self.bounds.high_water + LARGEST
        missing = statistics.buffered_bytes - self.bytes
        if self.inexact:
            # A chunk that was taken before it was counted counts until the next ones are taken.
            assert 0 <= missing <= LARGEST
        else:
            assert missing == 0
            assert statistics.bytes == self.received_bytes


class HandoffModel(RuleBasedStateMachine):
    """A worker's channel, one of a user's thread, and one more worker's that shares memory."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.clock = FakeClock()
        self.patch.setattr(_handoff, "clock", self.clock)
        self.patch.setattr(_handoff, "GIVE_WAY", 0.0)

    def teardown(self) -> None:
        """Read everything, close everything: nothing is left anywhere."""
        try:
            if hasattr(self, "budget"):
                self.end_all()
        finally:
            self.patch.undo()

    def end_all(self) -> None:
        """As it is said in teardown."""
        self.workers[1].cut_short()
        assert not self.workers[1].suspended
        for channel in self.channels:
            channel.perform(["hear", "overdue", "give up", "drain"])
            assert not channel.pending
            assert not channel.suspended
        for channel in self.channels:
            channel.close()
            if not channel.ended:
                channel.finish()
            channel.hear()
            channel.check()
        assert self.budget.used == 0

    @initialize(
        high_water=st.integers(1, 40),
        max_chunks=st.integers(1, 9),
        moderation=st.sampled_from([0.0, MODERATION]),
        memory=st.none() | st.integers(1, 60),
    )
    def open(self, high_water: int, max_chunks: int, moderation: float, memory: int | None) -> None:
        """Two channels with a worker's producer, one that threads of the user's feed."""
        self.budget = Budget(memory)
        bounds = Bounds(high_water, max_chunks)
        self.workers = [Channel(self.clock, bounds, moderation, self.budget) for _ in range(2)]
        self.user = Channel(self.clock, bounds, moderation, None)
        self.channels = [*self.workers, self.user]

    @rule(
        n=st.integers(0, 1),
        script=st.lists(steps, max_size=12),
        when_rung=acts,
        last=st.sampled_from(["slice"] * 6 + ["end", "error"]),
        blow=blows,
        fatal=sometimes,
    )
    def run_a_slice(
        self,
        n: int,
        script: list[Step],
        when_rung: list[str],
        last: str = "slice",
        blow: Blow | None = None,
        *,
        fatal: bool = False,
    ) -> None:
        """A worker runs a producer that is not suspended and has not ended."""
        channel = self.workers[n]
        channel.when_rung = when_rung
        if fatal and blow and blow.at < len(script):
            getattr(script[blow.at], blow.where).append(blow.what)
        if not channel.suspended and not channel.ended:
            channel.run(script, last)
        channel.when_rung = []

    @rule(n=st.integers(0, 1), script=st.lists(steps, max_size=12))
    def run_a_slice_in_peace(self, n: int, script: list[Step]) -> None:
        """The same, and the front end is elsewhere all the time."""
        calm = [step._replace(while_made=[], while_measured=[], when_added=[]) for step in script]
        self.run_a_slice(n, calm, [])

    @precondition(lambda self: not self.user.ended and not self.user.closed)
    @rule(size=st.integers(0, LARGEST), when_rung=acts, fatal=sometimes)
    def offer(self, size: int, when_rung: list[str], *, fatal: bool) -> None:
        """A user's thread sends a chunk: it is taken exactly if there is room."""
        channel = self.user
        channel.when_rung = [*when_rung, "close"] if fatal else when_rung
        room = len(channel.pending) < channel.bounds.max_chunks
        room = room and channel.bytes < channel.bounds.high_water
        chunk = channel.chunk(size)
        if not channel.suspended:
            channel.resumed = False
        assert channel.handoff.offer(chunk, size) is room
        if not room:
            channel.suspended = True
        channel.when_rung = []

    @rule(sizes=st.lists(st.integers(0, LARGEST), max_size=5))
    def offer_some(self, sizes: list[int]) -> None:
        """The same, a few at once, and the front end is elsewhere."""
        for size in sizes:
            if not self.user.ended and not self.user.closed:
                self.offer(size, [], fatal=False)

    @rule(really=sometimes)
    def close_the_sender(self, *, really: bool) -> None:
        """A user's thread has no more to send."""
        if really and not self.user.ended:
            self.user.finish()

    @rule(n=st.integers(0, 2), what=st.lists(st.sampled_from(FRONT_END), min_size=1, max_size=4))
    def front_end(self, n: int, what: list[str]) -> None:
        """The front end does something, and the clock goes on."""
        self.channels[n].perform(what)

    @rule(n=st.integers(0, 2), what=st.sampled_from(["close", "cut short", "over"]), really=sometimes)
    def stop(self, n: int, what: str, *, really: bool) -> None:
        """The reader goes, or the workers do; or Trio is gone, as who rings learns."""
        if really and what == "over":
            self.channels[n].over = True
        elif really and (what == "close" or self.channels[n] is not self.user):
            self.channels[n].perform([what])

    @rule(seconds=st.sampled_from([1e-4, 5e-4, 2e-3]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @invariant()
    def all_channels_are_as_they_should(self) -> None:
        """What holds for each, and for the memory that they share."""
        if not hasattr(self, "budget"):
            return
        for channel in self.channels:
            channel.check()
        pending = sum(channel.bytes for channel in self.workers)
        buffered = [channel.handoff.statistics().buffered_bytes for channel in self.workers]
        assert self.budget.used == sum(buffered) >= pending
        if self.budget.limit is not None:
            assert pending <= self.budget.limit + LARGEST * len(self.workers)
        if not any(channel.pending for channel in self.workers):
            assert self.budget.used == 0


HandoffModel.TestCase.settings = settings(
    max_examples=2 * settings().max_examples, stateful_step_count=25
)
TestHandoffModel = HandoffModel.TestCase
