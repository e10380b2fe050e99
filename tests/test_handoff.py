"""The buffer between a producer and a front end: its steps one by one, and its races by gates."""

from __future__ import annotations

import threading
from itertools import count, repeat
from typing import TYPE_CHECKING, Any

import pytest

from ewb import _handoff
from ewb._bell import WORTHWHILE, Parked
from ewb._budget import Budget
from ewb._courtesy import Courtesy
from ewb._handoff import BURST, End, Handoff
from ewb._ledger import Ledger
from ewb._settings import Bounds

from .helpers import GUARD, Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

FOREVER = float("inf")
MODERATION = 0.001


class FakeClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time, as it was last told."""
        return self.now


class FrontEnd:
    """Stands for Trio: hears doorbells when it is told to, and counts what it is told."""

    def __init__(self) -> None:
        self.posted: list[Callable[[], None]] = []
        self.rang = 0
        self.wakes = 0
        self.rooms = 0
        self.over = False
        self.on_post: Callable[[], object] = lambda: None

    def post(self, call: Callable[[], None]) -> bool:
        """A doorbell rings."""
        self.on_post()
        if self.over:
            return False
        self.rang += 1
        self.posted.append(call)
        return True

    def hear(self) -> None:
        """All doorbells that are out are answered."""
        while self.posted:
            self.posted.pop(0)()

    def wake(self) -> None:
        """The reader is woken."""
        self.wakes += 1

    def room(self) -> None:
        """The producer is resumed."""
        self.rooms += 1


class Thread(threading.Thread):
    """A thread whose error is the test's."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._error: BaseException | None = None
        self.value: object = None
        self.start()

    def run(self) -> None:
        """Keep what the call returns or raises."""
        try:
            self.value = self._call()
        except BaseException as error:  # noqa: BLE001 - raised in `done`
            self._error = error

    def done(self) -> object:
        """Wait for the end; returns or raises what the call did."""
        self.join(GUARD)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error
        return self.value


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(_handoff, "clock", fake)
    return fake


@pytest.fixture(autouse=True)
def give_way(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A worker gives way for no time, unless a test says for how long."""

    def set_seconds(seconds: float) -> None:
        monkeypatch.setattr(_handoff, "GIVE_WAY", seconds)

    set_seconds(0.0)
    return set_seconds


@pytest.fixture
def front() -> FrontEnd:
    return FrontEnd()


def channel(
    front: FrontEnd,
    *,
    high_water: int = 100,
    max_chunks: int = 1000,
    size: Callable[[Any], int] | None = None,
    moderation: float = MODERATION,
    budget: Budget | None = None,
) -> Handoff[Any]:
    return Handoff(
        Bounds(high_water, max_chunks),
        size=size,
        moderation=moderation,
        post=front.post,
        on_room=front.room,
        budget=budget,
    )


class Computing(Courtesy):
    """The courtesy of a worker whose producers compute all the time."""

    def is_computing(self, started: float, cpu_started: float, now: float) -> bool:
        """They do."""
        del started, cpu_started, now
        return True


def fill(handoff: Handoff[Any], iterator: Iterator[Any], until: float) -> None:
    handoff.fill(iterator, until, Computing(wanted=True))


def offer(handoff: Handoff[Any], *chunks: bytes) -> list[bool]:
    return [handoff.offer(chunk, handoff.buffer.size_of(chunk)) for chunk in chunks]


def end_of(iterator: Iterator[bytes], handoff: Handoff[Any]) -> object:
    """Fill until the generator ends; returns what it returned."""
    with pytest.raises(StopIteration) as stop:
        fill(handoff, iterator, FOREVER)
    return stop.value.value


def keep_up(handoff: Handoff[Any]) -> None:
    """Have the reader be one that was here a moment ago."""
    assert offer(handoff, b"before") == [True]
    assert handoff.drain() == [b"before"]


# -- fill: how far a generator is run ---------------------------------------------------------------


def test_stops_at_high_water(front: FrontEnd) -> None:
    """A generator is run until its bytes have reached the bound, and not once more."""
    handoff = channel(front, high_water=100)
    asked = count()
    fill(handoff, (b"0123456789" for _ in asked), FOREVER)
    assert next(asked) == 10
    assert handoff.drain() == [b"0123456789"] * 10


def test_passes_high_water_by_one_chunk_at_most(front: FrontEnd) -> None:
    """The chunk that crosses the bound is the last."""
    handoff = channel(front, high_water=100)
    fill(handoff, repeat(bytes(30)), FOREVER)
    assert handoff.statistics().buffered_bytes == 120


def test_stops_at_max_chunks(front: FrontEnd) -> None:
    """A generator is run until there are as many chunks as may be, however small they are."""
    handoff = channel(front, max_chunks=7)
    fill(handoff, repeat(b"x"), FOREVER)
    assert handoff.statistics().buffered_chunks == 7


def test_chunks_without_bytes_are_bounded_too(front: FrontEnd) -> None:
    """Empty chunks never reach high water, but they are counted."""
    handoff = channel(front, max_chunks=7)
    fill(handoff, repeat(b""), FOREVER)
    assert handoff.drain() == [b""] * 7


def test_a_chunk_larger_than_the_bound_passes_alone(front: FrontEnd) -> None:
    """A chunk beyond all bounds passes an empty buffer, and nothing joins it."""
    handoff = channel(front, high_water=10)
    fill(handoff, repeat(bytes(1000)), FOREVER)
    assert handoff.drain() == [bytes(1000)]
    fill(handoff, repeat(bytes(1000)), FOREVER)
    assert handoff.drain() == [bytes(1000)]


@pytest.mark.parametrize("step", [1e-7, 1e-4], ids=["quick", "slow"])
def test_stops_when_its_time_is_over(front: FrontEnd, clock: FakeClock, step: float) -> None:
    """An endless generator gives its worker up, at the latest a burst after its time."""
    handoff = channel(front, high_water=10**9, max_chunks=10**9)

    def endless() -> Iterator[bytes]:
        while True:
            clock.now += step
            yield b"x"

    until = clock.now + 0.001
    fill(handoff, endless(), until)
    assert until <= clock.now <= until + step * BURST


def test_what_was_yielded_before_the_end_is_there(front: FrontEnd) -> None:
    """The end of a generator comes with its result, after its chunks."""
    handoff = channel(front)

    def two() -> Generator[bytes, None, str]:
        yield b"one"
        yield b"two"
        return "result"

    assert end_of(two(), handoff) == "result"
    assert handoff.drain() == [b"one", b"two"]


def test_what_was_yielded_before_an_error_is_there(front: FrontEnd) -> None:
    """An error of a generator takes nothing with it."""
    handoff = channel(front)

    def failing() -> Iterator[bytes]:
        yield b"one"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fill(handoff, failing(), FOREVER)
    assert handoff.drain() == [b"one"]
    assert handoff.statistics().bytes == 3


@pytest.mark.parametrize("chunk", [b"0123456789", bytearray(10), "0123456789"], ids=type)
def test_the_users_size_counts_whatever_a_chunk_is(front: FrontEnd, chunk: object) -> None:
    """With `size=` given, it alone says how much of high water a chunk takes, bytes or not."""
    handoff = channel(front, high_water=8, size=lambda _: 1)
    fill(handoff, repeat(chunk), FOREVER)
    assert handoff.statistics().buffered_chunks == 8
    assert handoff.statistics().buffered_bytes == 8


def test_both_ways_in_count_alike(front: FrontEnd) -> None:
    """A chunk takes as much when a worker adds it as when a user's thread does."""
    filled, offered = (channel(front, size=lambda chunk: 3 * len(chunk)) for _ in range(2))
    end_of(iter([b"abc"]), filled)
    offer(offered, b"abc")
    assert filled.statistics().buffered_bytes == offered.statistics().buffered_bytes == 9


def test_a_chunk_without_a_size_is_an_error_after_those_before_it(front: FrontEnd) -> None:
    """What is neither bytes-like nor measured ends the producer, and earlier chunks are kept."""
    handoff = channel(front)
    with pytest.raises(TypeError, match="size="):
        fill(handoff, iter([b"one", "two"]), FOREVER)
    assert handoff.drain() == [b"one"]
    assert handoff.statistics().buffered_bytes == 0


def test_nothing_is_produced_for_a_closed_channel(front: FrontEnd) -> None:
    """A producer whose reader has gone is not asked for more."""
    handoff = channel(front)
    handoff.close()
    asked = count()
    fill(handoff, (b"x" for _ in asked), FOREVER)
    assert next(asked) == 0


@pytest.mark.parametrize("stop", [Handoff.close, Handoff.cut_short])
def test_stops_in_the_midst_of_a_burst_when_it_is_to_end(
    front: FrontEnd, stop: Callable[[Handoff[Any]], None]
) -> None:
    """A producer that is told to end does so after the chunk it is at."""
    handoff = channel(front)
    asked: list[int] = []

    def endless() -> Iterator[bytes]:
        for n in count():
            asked.append(n)
            if n == 30:
                stop(handoff)
            yield b"x"

    fill(handoff, endless(), FOREVER)
    assert handoff.stopping
    assert asked[-1] == 30


def test_cut_short_keeps_what_there_is(front: FrontEnd) -> None:
    """When the workers end, what was produced can still be read."""
    handoff = channel(front)
    end_of(iter([b"one", b"two"]), handoff)
    handoff.cut_short()
    handoff.finish(End())
    assert handoff.drain() == [b"one", b"two"]


# -- doorbells --------------------------------------------------------------------------------------


def test_nobody_is_rung_for_who_does_not_wait(front: FrontEnd) -> None:
    """While the front end is busy elsewhere, chunks cost no wake-up."""
    handoff = channel(front)
    end_of(iter([b"one", b"two"]), handoff)
    offer(handoff, b"three")
    assert front.rang == 0


def test_the_first_chunk_wakes_who_waits(front: FrontEnd) -> None:
    """The front end that has waited is rung for at once, and once however many chunks follow."""
    handoff = channel(front)
    assert handoff.park(front.wake, moderate=True)[0] is Parked.ARMED
    end_of(iter([b"one", b"two", b"three"]), handoff)
    assert front.rang == 1
    front.hear()
    assert front.wakes == 1
    assert handoff.drain() == [b"one", b"two", b"three"]
    assert handoff.statistics().doorbells == 1


def test_rings_before_the_second_chunk_is_made(front: FrontEnd) -> None:
    """The first chunk is not held back for the next: its producer may block for ever."""
    handoff = channel(front)
    handoff.park(front.wake, moderate=True)
    rung_before: list[int] = []

    def watched() -> Iterator[bytes]:
        for _ in range(3):
            rung_before.append(front.rang)
            yield b"x"

    end_of(watched(), handoff)
    assert rung_before == [0, 1, 1]


def test_who_finds_something_does_not_wait(front: FrontEnd) -> None:
    """A front end that is about to park and finds a chunk goes and takes it."""
    handoff = channel(front)
    offer(handoff, b"one")
    assert handoff.park(front.wake, moderate=True)[0] is Parked.NO
    offer(handoff, b"two")
    assert front.rang == 0


def test_who_finds_the_end_does_not_wait(front: FrontEnd) -> None:
    """An end that came before the wait is seen like a chunk."""
    handoff = channel(front)
    handoff.finish(End())
    assert handoff.park(front.wake, moderate=True)[0] is Parked.NO
    assert front.rang == 0


def test_a_cancelled_wait_is_not_woken(front: FrontEnd) -> None:
    """A doorbell that was meant for a wait that is over wakes nobody."""
    handoff = channel(front)
    handoff.park(front.wake, moderate=True)
    offer(handoff, b"one")
    handoff.unpark()
    front.hear()
    assert front.wakes == 0
    assert handoff.drain() == [b"one"]


def test_after_a_cancelled_wait_nobody_is_rung_for(front: FrontEnd) -> None:
    """A front end that gave up waiting costs its producer nothing."""
    handoff = channel(front)
    handoff.park(front.wake, moderate=True)
    handoff.unpark()
    end_of(iter([b"one", b"two"]), handoff)
    assert front.rang == 0


def test_the_next_wait_is_woken_by_a_doorbell_that_is_still_out(front: FrontEnd) -> None:
    """A second wait does not ring a second time: the first one's doorbell wakes it."""
    handoff = channel(front)
    handoff.park(front.wake, moderate=True)
    offer(handoff, b"one")
    handoff.unpark()
    assert handoff.drain() == [b"one"]
    handoff.park(front.wake, moderate=False)
    offer(handoff, b"two")
    assert front.rang == 1
    front.hear()
    assert front.wakes == 1


def test_who_keeps_up_is_not_woken_for_each_chunk(front: FrontEnd, clock: FakeClock) -> None:
    """A front end that was here a moment ago is left in peace for a while."""
    handoff = channel(front, high_water=1000)
    keep_up(handoff)
    assert handoff.park(front.wake, moderate=True) == (Parked.MODERATED, clock.now + MODERATION)
    offer(handoff, b"one", b"two")
    end_of(iter([b"three"]), handoff)
    assert front.rang == 0
    handoff.overdue()
    assert front.wakes == 1
    assert handoff.drain() == [b"one", b"two", b"three"]


def test_who_keeps_up_is_woken_for_half_a_buffer(front: FrontEnd, clock: FakeClock) -> None:
    """A front end that keeps up is woken before its producer has to stop."""
    handoff = channel(front, high_water=100)
    keep_up(handoff)
    handoff.park(front.wake, moderate=True)
    before = clock.now
    fill(handoff, repeat(bytes(10)), FOREVER)
    assert front.rang == 1
    assert clock.now == before


@pytest.mark.parametrize("slow", [True, False])
def test_who_keeps_up_is_woken_early_for_enough_chunks(
    front: FrontEnd,
    clock: FakeClock,
    slow: bool,
) -> None:
    """Chunks that take their time ring when there are some and a while has passed."""
    handoff = channel(front, high_water=10**6)
    keep_up(handoff)
    handoff.park(front.wake, moderate=True)

    def some() -> Iterator[bytes]:
        for _ in range(WORTHWHILE + 1):
            clock.now += MODERATION / (WORTHWHILE + 2) if slow else 0.0
            yield b"x"

    end_of(some(), handoff)
    assert front.rang == (1 if slow else 0)


def test_without_moderation_each_wait_is_woken_by_a_chunk(front: FrontEnd, clock: FakeClock) -> None:
    """With an interval of zero, the front end is woken for each chunk that it waits for."""
    handoff = channel(front, moderation=0)
    before = clock.now
    for n in range(1, 4):
        handoff.park(front.wake, moderate=True)
        offer(handoff, b"x")
        assert front.rang == n
        front.hear()
        handoff.drain()
    assert clock.now == before


@pytest.mark.usefixtures("clock")
def test_an_interval_without_a_chunk_arms(front: FrontEnd) -> None:
    """When nothing has come within the interval, the next chunk rings at once."""
    handoff = channel(front)
    keep_up(handoff)
    assert handoff.park(front.wake, moderate=True)[0] is Parked.MODERATED
    handoff.overdue()
    assert front.wakes == 0
    offer(handoff, b"x")
    assert front.rang == 1
    front.hear()
    assert front.wakes == 1


@pytest.mark.usefixtures("clock")
def test_the_armed_interval_reaches_a_generator_that_runs(front: FrontEnd) -> None:
    """A worker in the midst of a burst sees that its reader wants the next chunk."""
    handoff = channel(front, high_water=10**6)
    keep_up(handoff)
    handoff.park(front.wake, moderate=True)
    rung_before: list[int] = []

    def turns_slow() -> Iterator[bytes]:
        for n in range(4):
            if n == 2:
                handoff.overdue()  # takes n = 0 and 1 into account
                handoff.drain()
                handoff.park(front.wake, moderate=False)
            rung_before.append(front.rang)
            yield b"x"

    end_of(turns_slow(), handoff)
    assert rung_before == [0, 0, 0, 1]


def test_a_wait_that_is_over_is_not_overdue(front: FrontEnd) -> None:
    """The timer of a wait that was answered, or cancelled, does nothing."""
    handoff = channel(front)
    handoff.overdue()
    keep_up(handoff)
    handoff.park(front.wake, moderate=True)
    handoff.unpark()
    offer(handoff, b"x")
    handoff.overdue()
    assert front.wakes == 0


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("order", ["overdue first", "answer first"])
def test_a_doorbell_and_a_timer_wake_once(front: FrontEnd, order: str) -> None:
    """A reader that is rung for just when its interval is over wakes once, in either order."""
    handoff = channel(front, high_water=100)
    keep_up(handoff)
    handoff.park(front.wake, moderate=True)
    offer(handoff, bytes(60))
    assert front.rang == 1
    for act in (
        (handoff.overdue, front.hear) if order == "overdue first" else (front.hear, handoff.overdue)
    ):
        act()
        assert front.wakes == 1
    assert handoff.drain() == [bytes(60)]


@pytest.mark.usefixtures("clock")
def test_the_end_of_a_slice_rings_for_what_there_is(front: FrontEnd) -> None:
    """A producer that gives its worker up may wait long for another slice: its chunks must not."""
    handoff = channel(front)
    keep_up(handoff)
    handoff.park(front.wake, moderate=True)
    fill(handoff, repeat(b"x"), -FOREVER)
    assert front.rang == 0
    assert handoff.rest()
    assert front.rang == 1


def test_the_end_wakes_who_waits(front: FrontEnd) -> None:
    """A front end that waits learns of the end, even if no chunk comes with it."""
    handoff = channel(front)
    handoff.park(front.wake, moderate=True)
    handoff.finish(End(result=7))
    front.hear()
    assert front.wakes == 1
    assert handoff.drain() == []
    assert handoff.end == End(result=7)


@pytest.mark.parametrize("ring", ["offer", "fill", "rest", "finish"])
def test_a_run_that_is_over_closes_the_channel(front: FrontEnd, ring: str) -> None:
    """When there is no Trio to ring for, nobody will read: the producer is to end."""
    handoff = channel(front)
    if ring == "rest":
        keep_up(handoff)
    handoff.park(front.wake, moderate=True)
    front.over = True
    if ring == "offer":
        offer(handoff, b"x")
    elif ring == "fill":
        fill(handoff, repeat(b"x"), FOREVER)
    elif ring == "rest":
        fill(handoff, repeat(b"x"), -FOREVER)
        handoff.rest()
    else:
        handoff.finish(End())
    assert handoff.closed
    assert handoff.stopping


# -- suspended, and resumed -------------------------------------------------------------------------


def test_a_full_buffer_suspends(front: FrontEnd) -> None:
    """At high water the producer may not go on; half of the buffer drained, it is resumed, once."""
    handoff = channel(front, high_water=100)
    fill(handoff, repeat(bytes(10)), FOREVER)
    assert not handoff.rest()
    assert front.rooms == 0
    assert len(handoff.drain()) == 10
    assert front.rooms == 1
    handoff.drain()
    assert front.rooms == 1


def test_a_producer_with_room_may_go_on(front: FrontEnd) -> None:
    """At the end of a slice a producer with room only waits for its turn."""
    handoff = channel(front, high_water=100)
    fill(handoff, repeat(bytes(10)), -FOREVER)
    assert handoff.rest()
    handoff.drain()
    assert front.rooms == 0
    assert handoff.statistics().suspensions == 0


@pytest.mark.parametrize("max_chunks", [1000, 10], ids=["bytes", "chunks"])
def test_is_resumed_once_there_is_room_enough(front: FrontEnd, max_chunks: int) -> None:
    """A reader that takes chunk by chunk does not wake its producer for each."""
    handoff = channel(front, high_water=100, max_chunks=max_chunks)
    fill(handoff, repeat(bytes(10)), FOREVER)
    handoff.rest()
    rooms = []
    for _ in range(10):
        handoff.drain_one()
        rooms.append(front.rooms)
    assert rooms[:4] == [0] * 4
    assert sorted(rooms) == rooms
    assert rooms[-1] == 1


@pytest.mark.parametrize("stop", [Handoff.close, Handoff.cut_short])
def test_a_suspended_producer_is_resumed_to_end(
    front: FrontEnd, stop: Callable[[Handoff[Any]], None]
) -> None:
    """A suspended producer gets a slice in which it can be closed, and only one."""
    handoff = channel(front, high_water=100)
    fill(handoff, repeat(bytes(10)), FOREVER)
    assert not handoff.rest()
    stop(handoff)
    stop(handoff)
    assert front.rooms == 1
    assert not handoff.suspended


def test_time_suspended_is_measured(front: FrontEnd, clock: FakeClock) -> None:
    """Statistics say how often and how long a producer was suspended, also while it is."""
    handoff = channel(front, high_water=100)
    fill(handoff, repeat(bytes(100)), FOREVER)
    handoff.rest()
    clock.now += 2.0
    assert handoff.statistics().suspensions == 1
    assert handoff.statistics().seconds_suspended == 2.0
    handoff.drain()
    clock.now += 2.0
    assert handoff.statistics().seconds_suspended == 2.0
    fill(handoff, repeat(bytes(100)), FOREVER)
    handoff.rest()
    clock.now += 0.5
    assert handoff.statistics().suspensions == 2
    assert handoff.statistics().seconds_suspended == 2.5


# -- offer: threads of the user's -------------------------------------------------------------------


def test_offers_are_taken_up_to_the_bound(front: FrontEnd) -> None:
    """Chunks are taken until the bound is reached, the last one whole; then they are refused."""
    handoff = channel(front, high_water=100)
    assert offer(handoff, bytes(60), bytes(60), b"x") == [True, True, False]
    assert handoff.drain() == [bytes(60), bytes(60)]
    assert front.rooms == 1
    assert offer(handoff, b"x") == [True]


def test_refused_offers_are_one_suspension(front: FrontEnd, clock: FakeClock) -> None:
    """However often it is tried, a full buffer is full once."""
    handoff = channel(front, max_chunks=1)
    assert offer(handoff, b"a", b"b", b"c") == [True, False, False]
    clock.now += 1.0
    statistics = handoff.statistics()
    assert statistics.suspensions == 1
    assert statistics.seconds_suspended == 1.0
    handoff.drain()
    assert front.rooms == 1


# -- what the front end takes -----------------------------------------------------------------------


def test_nothing_to_drain_is_nothing(front: FrontEnd) -> None:
    """Draining an empty buffer gives nothing and counts as no batch."""
    handoff = channel(front)
    assert handoff.drain() == []
    assert handoff.drain_one() == []
    assert handoff.statistics().batches == 0


def test_one_by_one_and_all_at_once_keep_the_order(front: FrontEnd) -> None:
    """Chunks held back by taking one come first when all are taken."""
    handoff = channel(front)
    offer(handoff, b"1", b"2", b"3")
    assert handoff.drain_one() == [b"1"]
    offer(handoff, b"4")
    assert handoff.drain_one() == [b"2"]
    assert handoff.drain() == [b"3", b"4"]
    assert handoff.drain_one() == []


def test_held_chunks_count_against_the_bound(front: FrontEnd) -> None:
    """A chunk makes room when the caller of a receive has it, not before."""
    handoff = channel(front, high_water=30)
    offer(handoff, bytes(10), bytes(10), bytes(10))
    handoff.drain_one()
    statistics = handoff.statistics()
    assert (statistics.buffered_chunks, statistics.buffered_bytes) == (2, 20)
    assert (statistics.chunks, statistics.bytes) == (1, 10)
    assert offer(handoff, bytes(10), bytes(10)) == [True, False]


def test_held_chunks_are_something_to_look_at(front: FrontEnd) -> None:
    """Nobody waits while chunks are held back."""
    handoff = channel(front)
    offer(handoff, b"1", b"2")
    handoff.drain_one()
    assert handoff.ready
    assert handoff.park(front.wake, moderate=True)[0] is Parked.NO


def test_a_size_is_asked_once(front: FrontEnd) -> None:
    """The user's `size` is asked when a chunk is added, and not by the front end again."""
    asked: list[bytes] = []

    def my_size(chunk: bytes) -> int:
        asked.append(chunk)
        return 7 if asked.count(chunk) == 1 else 1000

    handoff = channel(front, high_water=1000, size=my_size)
    end_of(iter([b"a", b"b"]), handoff)
    offer(handoff, b"c", b"d")
    assert handoff.drain_one() == [b"a"]
    assert handoff.statistics().buffered_bytes == 21
    assert handoff.drain_one() == [b"b"]
    assert handoff.drain() == [b"c", b"d"]
    assert asked == [b"a", b"b", b"c", b"d"]
    statistics = handoff.statistics()
    assert (statistics.buffered_bytes, statistics.bytes) == (0, 28)


def test_statistics_tell_what_went_through(front: FrontEnd) -> None:
    """Chunks, bytes, batches and peaks are those of the data."""
    handoff = channel(front, high_water=1000, max_chunks=50)
    offer(handoff, bytes(10), bytes(20))
    handoff.drain()
    offer(handoff, bytes(15))
    statistics = handoff.statistics()
    assert (statistics.chunks, statistics.bytes, statistics.batches) == (2, 30, 1)
    assert (statistics.buffered_chunks, statistics.buffered_bytes) == (1, 15)
    assert (statistics.peak_chunks, statistics.peak_bytes) == (2, 30)
    assert (statistics.high_water, statistics.max_chunks) == (1000, 50)


def test_a_repr_tells_the_state(front: FrontEnd) -> None:
    """The repr shows how full a channel is, and whether it is open, ended or closed."""
    handoff = channel(front, high_water=100, max_chunks=50)
    offer(handoff, b"abc")
    assert "open channel" in repr(handoff)
    assert "1 of 50 chunks, 3 of 100 bytes" in repr(handoff)
    handoff.finish(End())
    assert "ended channel" in repr(handoff)
    handoff.close()
    assert "closed channel" in repr(handoff)


# -- closing ----------------------------------------------------------------------------------------


def test_closing_drops_what_was_not_received(front: FrontEnd) -> None:
    """A closed channel holds nothing, and what it dropped does not count as received."""
    handoff = channel(front)
    offer(handoff, b"1", b"22", b"333")
    handoff.drain_one()
    handoff.close()
    handoff.close()
    statistics = handoff.statistics()
    assert (statistics.buffered_chunks, statistics.buffered_bytes) == (0, 0)
    assert (statistics.chunks, statistics.bytes) == (1, 1)
    assert statistics.peak_bytes == 6


def test_a_chunk_made_while_the_channel_was_closed_goes_too(front: FrontEnd) -> None:
    """What a producer adds before it has noticed is dropped when it has ended."""
    budget = Budget(1000)
    handoff = channel(front, budget=budget)

    def late() -> Iterator[bytes]:
        yield b"one"
        handoff.close()
        yield b"two"
        raise AssertionError

    fill(handoff, late(), FOREVER)
    handoff.finish(End())
    statistics = handoff.statistics()
    assert (statistics.buffered_chunks, statistics.buffered_bytes, statistics.bytes) == (0, 0, 0)
    assert handoff.drain() == []
    assert budget.used == 0


def test_an_answer_wakes_the_reader_of_a_closed_channel(front: FrontEnd) -> None:
    """A task that waits learns that the channel was closed beneath it."""
    handoff = channel(front)
    handoff.park(front.wake, moderate=True)
    handoff.close()
    handoff.answer()
    assert front.wakes == 1
    assert handoff.ready


# -- the memory that channels share -----------------------------------------------------------------


def test_channels_share_a_budget_and_none_starves(front: FrontEnd) -> None:
    """When one has taken all memory, another still gets a chunk through, one at a time."""
    budget = Budget(100)
    greedy, modest = (channel(front, high_water=1000, budget=budget) for _ in range(2))
    fill(greedy, repeat(bytes(10)), FOREVER)
    assert not greedy.rest()
    assert budget.used == 100
    for _ in range(3):
        fill(modest, repeat(bytes(10)), FOREVER)
        assert not modest.rest()
        assert modest.drain() == [bytes(10)]
    assert len(greedy.drain()) == 10
    assert front.rooms == 4
    assert budget.used == 0


def test_a_producer_at_rest_keeps_no_credit(front: FrontEnd) -> None:
    """What a producer was promised and did not use goes back when it gives its worker up."""
    budget = Budget(1000)
    handoff = channel(front, high_water=1000, budget=budget)
    fill(handoff, repeat(bytes(10)), -FOREVER)
    assert budget.used > 10
    assert handoff.rest()
    assert budget.used == 10


@pytest.mark.parametrize("last", ["close", "finish"])
def test_whatever_comes_last_the_budget_is_even(front: FrontEnd, last: str) -> None:
    """A channel that is closed and whose producer has ended has nothing on account."""
    budget = Budget(1000)
    handoff = channel(front, high_water=1000, budget=budget)
    fill(handoff, repeat(bytes(10)), -FOREVER)
    acts: list[Callable[[], None]] = [handoff.close, lambda: handoff.finish(End())]
    if last == "close":
        acts.reverse()
    for act in acts:
        act()
    assert budget.used == 0


def test_what_is_lent_counts_until_it_is_returned(front: FrontEnd) -> None:
    """Chunks that a front end has yet to send are not buffered any more, but take memory."""
    budget = Budget(1000)
    handoff = channel(front, high_water=200, budget=budget)
    fill(handoff, repeat(bytes(10)), FOREVER)
    handoff.rest()
    assert len(handoff.drain(lend=True)) == 20
    assert (handoff.statistics().buffered_bytes, budget.used) == (0, 200)
    handoff.returned()
    assert budget.used == 0


def test_what_is_lent_is_not_taken_from_the_channels_own_room(front: FrontEnd) -> None:
    """Its producer reads ahead while that is sent."""
    handoff = channel(front, high_water=100, budget=Budget(1000))
    fill(handoff, repeat(bytes(10)), FOREVER)
    assert not handoff.rest()
    handoff.drain(lend=True)
    assert front.rooms == 1
    fill(handoff, repeat(bytes(10)), FOREVER)
    assert handoff.statistics().buffered_bytes == 100


def test_an_empty_channel_gets_no_chunk_while_its_last_ones_are_sent(front: FrontEnd) -> None:
    """Not if all memory is taken: its client has enough to read. Then it goes on, one at a time."""
    budget = Budget(100)
    greedy, modest = (channel(front, high_water=1000, budget=budget) for _ in range(2))
    fill(greedy, repeat(bytes(10)), FOREVER)
    fill(modest, repeat(bytes(10)), FOREVER)
    assert not modest.rest()
    assert len(modest.drain(lend=True)) == 1
    assert front.rooms == 0
    assert modest.suspended
    modest.returned()
    assert front.rooms == 1
    fill(modest, repeat(bytes(10)), FOREVER)
    assert not modest.rest()
    assert len(modest.drain()) == 1


def test_who_lends_buffers_ahead_in_one_half_of_the_memory_only(front: FrontEnd) -> None:
    """The other half is kept for those whose clients read."""
    budget = Budget(1000)
    stalled, healthy = (channel(front, high_water=400, budget=budget) for _ in range(2))
    fill(stalled, repeat(bytes(10)), FOREVER)
    stalled.drain(lend=True)
    fill(stalled, repeat(bytes(10)), FOREVER)
    assert not stalled.rest()
    assert budget.used == 500
    fill(healthy, repeat(bytes(10)), FOREVER)
    assert healthy.statistics().buffered_bytes == 400


def test_a_producer_learns_that_what_was_lent_is_back(front: FrontEnd) -> None:
    """Though it is returned just after it had to stop, and before it is at rest."""
    budget = Budget(100)
    greedy, modest = (channel(front, high_water=1000, budget=budget) for _ in range(2))
    fill(greedy, repeat(bytes(10)), FOREVER)
    fill(modest, repeat(bytes(10)), -FOREVER)
    modest.drain(lend=True)
    asked = count()
    fill(modest, (bytes(10) for _ in asked), FOREVER)
    assert next(asked) == 0
    modest.returned()
    assert modest.rest()


@pytest.mark.parametrize("ending", ["close", "finish"])
def test_what_is_lent_outlives_its_channel(front: FrontEnd, ending: str) -> None:
    """It is being sent, whatever becomes of the producer."""
    budget = Budget(1000)
    handoff = channel(front, budget=budget)
    fill(handoff, repeat(bytes(10)), -FOREVER)
    handoff.drain(lend=True)
    handoff.finish(End())
    if ending == "close":
        handoff.close()
    assert budget.used == 10
    handoff.returned()
    assert budget.used == 0
    assert front.rooms == 0


# -- courtesy: a worker that has rung leaves the GIL alone for a moment -----------------------------


def read_all(handoff: Handoff[Any], front: FrontEnd) -> None:
    """What a front end does that hears a doorbell, and waits again."""
    front.hear()
    handoff.drain()
    handoff.park(front.wake, moderate=True)


@pytest.mark.parametrize("end", ["read", "close", "cut short", "over"])
def test_a_worker_that_computes_gives_way_until_it_was_heard(
    front: FrontEnd, clock: FakeClock, give_way: Callable[[float], None], end: str
) -> None:
    """A worker that computes long, and rings, waits until it was heard, or nobody is there to hear."""
    give_way(GUARD * 100)
    handoff = channel(front, high_water=10**6)
    rang = threading.Event()
    made = count()
    front.on_post = rang.set
    front.over = end == "over"
    handoff.park(front.wake, moderate=True)

    def few() -> Iterator[bytes]:
        clock.now += GUARD * 100
        for _ in range(3):
            next(made)
            yield b"x"

    def work() -> None:
        try:
            fill(handoff, few(), FOREVER)
        except StopIteration:
            return

    worker = Thread(work)
    assert rang.wait(GUARD)
    if end == "read":
        assert next(made) == 1
        read_all(handoff, front)
    elif end == "close":
        handoff.close()
    elif end == "cut short":
        handoff.cut_short()
    worker.done()


def test_a_worker_gives_way_for_a_moment_only(front: FrontEnd) -> None:
    """A worker whose doorbell nobody hears goes on."""
    handoff = channel(front)
    handoff.park(front.wake, moderate=True)
    end_of(iter([b"1", b"2", b"3"]), handoff)
    assert handoff.statistics().buffered_chunks == 3


@pytest.mark.usefixtures("clock")
def slowly(clock: FakeClock, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A producer that computes a second for each chunk."""
    for chunk in chunks:
        clock.now += 1.0
        yield chunk


def test_a_front_end_that_is_back_before_the_worker_gives_way(
    front: FrontEnd, clock: FakeClock
) -> None:
    """However soon a front end has answered and waits again, either goes on."""
    handoff = channel(front, moderation=0)
    post = front.post

    def post_and_answer(call: Callable[[], None]) -> bool:
        assert post(call)
        read_all(handoff, front)
        return True

    handoff._post = post_and_answer
    handoff.park(front.wake, moderate=True)
    end_of(slowly(clock, [b"1", b"2", b"3", b"4"]), handoff)
    assert front.rang == 4
    assert handoff.statistics().chunks == 4


class LateLock:
    """A lock whose timed wait ends without it, just before it is released."""

    def __init__(self, lock: Any, meanwhile: Callable[[], None]) -> None:
        self._lock, self._meanwhile = lock, meanwhile

    def acquire(self, *, timeout: float = -1) -> bool:
        """A wait without a timeout is for what is there already."""
        if timeout == -1:
            assert self._lock.acquire(timeout=GUARD)
            return True
        self._meanwhile()
        return False

    def release(self) -> None:
        """As any lock."""
        self._lock.release()


def test_an_answer_just_when_patience_ends(front: FrontEnd, clock: FakeClock) -> None:
    """A front end that is back the moment that a worker gives up waiting for it harms neither."""
    handoff = channel(front, moderation=0)
    real: Any = handoff._its_turn()
    handoff._turn = LateLock(real, lambda: read_all(handoff, front))  # type: ignore[assignment]
    handoff.park(front.wake, moderate=True)
    end_of(slowly(clock, [b"1", b"2", b"3", b"4"]), handoff)
    front.hear()
    assert front.wakes == 4
    assert handoff.statistics().chunks >= 3


# -- races, in either order -------------------------------------------------------------------------


class GatedChunks(list[Any]):
    """A buffer in which a producer stops just after it has added a chunk."""

    gate: Gate

    def append(self, chunk: Any) -> None:
        """Add a chunk, and stop."""
        super().append(chunk)
        self.gate.wait()


class GatedLedger(Ledger):
    """A ledger in which a producer stops just before it is told how much room there is."""

    __slots__ = ("gate",)
    gate: Gate | None

    def grant(self, count: int) -> int:
        """Stop, and then as any ledger."""
        if self.gate is not None:
            self.gate.wait()
        return super().grant(count)


class GatedHandoff(Handoff[Any]):
    """A channel whose front end stops after it has armed, just before it looks."""

    gate: Gate | None = None

    @property
    def ready(self) -> bool:
        """Stop, and only then look."""
        if self.gate is not None:
            self.gate.wait()
        return super().ready


def test_arm_after_the_chunk_was_added(front: FrontEnd) -> None:
    """Added first: the front end that arms finds the chunk, does not wait, and is not rung for."""
    handoff = channel(front)
    handoff.buffer.chunks = chunks = GatedChunks()
    chunks.gate = Gate()
    producer = Thread(lambda: end_of(iter([b"x"]), handoff))
    assert chunks.gate.reached.wait(GUARD)
    assert handoff.park(front.wake, moderate=True)[0] is Parked.NO
    assert handoff.drain() == [b"x"]
    chunks.gate.open()
    producer.done()
    assert front.rang == 0
    statistics = handoff.statistics()
    assert (statistics.buffered_chunks, statistics.buffered_bytes, statistics.bytes) == (0, 0, 1)


def test_arm_before_the_chunk_is_added(front: FrontEnd) -> None:
    """Armed first: the producer that adds a chunk finds the channel armed, and rings once."""
    handoff = channel(front)
    gate = Gate()

    def waits() -> Iterator[bytes]:
        gate.wait()
        yield b"x"
        yield b"y"

    producer = Thread(lambda: end_of(waits(), handoff))
    assert gate.reached.wait(GUARD)
    assert handoff.park(front.wake, moderate=True)[0] is Parked.ARMED
    gate.open()
    producer.done()
    assert front.rang == 1
    front.hear()
    assert front.wakes == 1
    assert handoff.drain() == [b"x", b"y"]


def test_a_chunk_is_added_between_arming_and_looking(front: FrontEnd) -> None:
    """Armed, then added, then looked: the front end takes the chunk, and nobody rings."""
    handoff = GatedHandoff(
        Bounds(), size=None, moderation=MODERATION, post=front.post, on_room=front.room
    )
    handoff.buffer.chunks = chunks = GatedChunks()
    chunks.gate, makes, looks = Gate(), Gate(), Gate()

    def one() -> Iterator[bytes]:
        makes.wait()
        yield b"x"

    producer = Thread(lambda: end_of(one(), handoff))
    assert makes.reached.wait(GUARD)
    handoff.gate = looks
    reader = Thread(lambda: handoff.park(front.wake, moderate=True))
    assert looks.reached.wait(GUARD)
    makes.open()
    assert chunks.gate.reached.wait(GUARD)
    chunks.gate.open()
    looks.open()
    parked = reader.done()
    producer.done()
    assert isinstance(parked, tuple)
    assert parked[0] is Parked.NO
    assert front.rang == 0
    assert handoff.drain() == [b"x"]


class GatedCopy(list[Any]):
    """A buffer in which the front end stops when it has copied the chunks, before it takes them out."""

    gate: Gate

    def __getitem__(self, index: Any) -> Any:
        """As any list, and stop."""
        copied = super().__getitem__(index)
        self.gate.wait()
        return copied


@pytest.mark.parametrize("take", [Handoff.drain, Handoff.drain_one])
def test_a_chunk_is_added_in_the_midst_of_a_drain(
    front: FrontEnd, take: Callable[[Handoff[Any]], list[Any]]
) -> None:
    """A chunk that comes while others are taken stays, and so does its size."""
    budget = Budget(1000)
    handoff = channel(front, budget=budget)
    handoff.buffer.chunks = chunks = GatedCopy()
    chunks.gate, makes = Gate(), Gate()

    def two() -> Iterator[bytes]:
        yield b"1"
        makes.wait()
        yield b"333"

    producer = Thread(lambda: end_of(two(), handoff))
    assert makes.reached.wait(GUARD)
    reader = Thread(lambda: take(handoff))
    assert chunks.gate.reached.wait(GUARD)
    makes.open()
    producer.done()
    chunks.gate.open()
    assert reader.done() == [b"1"]
    statistics = handoff.statistics()
    assert (statistics.buffered_chunks, statistics.buffered_bytes, statistics.bytes) == (1, 3, 1)
    assert handoff.drain() == [b"333"]
    assert handoff.statistics().buffered_bytes == 0
    handoff.finish(End())
    assert budget.used == 0


def test_the_wait_is_cancelled_before_the_doorbell_is_out(front: FrontEnd) -> None:
    """Disarmed, cancelled, waiting again, then rung: one doorbell, and it wakes the second wait."""
    handoff = channel(front)
    gate = Gate()
    front.on_post = gate.wait
    handoff.park(front.wake, moderate=False)
    producer = Thread(lambda: offer(handoff, b"1"))
    assert gate.reached.wait(GUARD)
    handoff.unpark()
    assert handoff.drain() == [b"1"]
    assert handoff.park(front.wake, moderate=False)[0] is Parked.ARMED
    gate.open()
    producer.done()
    assert offer(handoff, b"2") == [True]
    assert front.rang == 1
    front.hear()
    assert front.wakes == 1
    assert handoff.drain() == [b"2"]


def test_close_before_suspend(front: FrontEnd) -> None:
    """Closed first: a producer that comes to rest is not suspended, for nobody would resume it."""
    handoff = channel(front, high_water=10)
    fill(handoff, repeat(bytes(10)), FOREVER)
    handoff.close()
    assert handoff.rest()
    assert front.rooms == 0


@pytest.mark.parametrize("act", [Handoff.close, Handoff.cut_short, Handoff.drain])
def test_close_or_drain_in_the_midst_of_suspending(
    front: FrontEnd, act: Callable[[Handoff[Any]], object]
) -> None:
    """Who closes or drains while a producer is being suspended resumes it, once."""
    handoff = channel(front, high_water=10)
    handoff.buffer.ledger = ledger = GatedLedger(handoff.buffer.ledger.bounds, None)
    ledger.gate = None
    fill(handoff, repeat(bytes(10)), FOREVER)
    ledger.gate = Gate()
    worker = Thread(handoff.rest)
    assert ledger.gate.reached.wait(GUARD)
    acting = threading.Event()

    def act_on_it() -> None:
        acting.set()
        act(handoff)

    front_end = Thread(act_on_it)
    assert acting.wait(GUARD)
    ledger.gate.open()
    assert worker.done() is False
    front_end.done()
    assert front.rooms == 1
    assert not handoff.suspended


def test_close_while_a_chunk_is_being_made(front: FrontEnd) -> None:
    """Closed between a producer's room and its chunk: it stops after that one, which is dropped."""
    budget = Budget(1000)
    handoff = channel(front, budget=budget)
    gate = Gate()

    def makes() -> Iterator[bytes]:
        gate.wait()
        yield b"x"
        raise AssertionError

    worker = Thread(lambda: fill(handoff, makes(), FOREVER))
    assert gate.reached.wait(GUARD)
    handoff.close()
    gate.open()
    worker.done()
    handoff.finish(End())
    assert budget.used == 0
    assert handoff.statistics().buffered_chunks == 0
    assert front.rang == 0


@pytest.mark.parametrize("order", ["cancel first", "answer first"])
def test_the_end_against_a_cancelled_wait(front: FrontEnd, order: str) -> None:
    """The end is seen by this wait or by the next one, whichever of end and cancel comes first."""
    handoff = channel(front)
    handoff.park(front.wake, moderate=True)
    handoff.finish(End())
    if order == "cancel first":
        handoff.unpark()
        front.hear()
        assert front.wakes == 0
    else:
        front.hear()
        handoff.unpark()
        assert front.wakes == 1
    assert handoff.park(front.wake, moderate=True)[0] is Parked.NO


@pytest.mark.parametrize("order", ["cancel first", "end first"])
def test_a_cancelled_wait_against_the_end(front: FrontEnd, order: str) -> None:
    """No doorbell is rung for a wait that was cancelled before the end, one for a later cancel."""
    handoff = channel(front)
    handoff.park(front.wake, moderate=True)
    acts: list[Callable[[], None]] = [handoff.unpark, lambda: handoff.finish(End())]
    if order == "end first":
        acts.reverse()
    for act in acts:
        act()
    assert front.rang == (0 if order == "cancel first" else 1)
    front.hear()
    assert front.wakes == 0


def test_close_while_a_doorbell_is_out(front: FrontEnd) -> None:
    """A doorbell that is heard after the channel was closed finds nobody, and does nothing."""
    handoff = channel(front)
    handoff.park(front.wake, moderate=True)
    offer(handoff, b"x")
    handoff.close()
    handoff.answer()
    assert front.wakes == 1
    front.hear()
    assert front.wakes == 1
    handoff.finish(End())
    assert front.rang == 1


def test_one_producer_and_one_front_end_at_full_speed(front: FrontEnd) -> None:
    """With real threads nothing is lost, doubled or reordered, and the bounds hold all the time."""
    budget = Budget(500)
    handoff = channel(front, high_water=200, max_chunks=20, budget=budget)
    total = 3000
    room = threading.Semaphore(0)
    handoff._on_room = room.release

    def produce() -> None:
        numbers = (n.to_bytes(4, "big") * (n % 7) for n in range(total))
        while True:
            try:
                fill(handoff, numbers, FOREVER)
            except StopIteration:
                handoff.finish(End())
                return
            if not handoff.rest():
                assert room.acquire(timeout=GUARD)

    worker = Thread(produce)
    woken = threading.Semaphore(0)
    heard = threading.Semaphore(0)

    def post(call: Callable[[], None]) -> bool:
        alive = front.post(call)
        heard.release()
        return alive

    handoff._post = post
    received: list[bytes] = []
    while True:
        end = handoff.end
        if batch := handoff.drain():
            received += batch
        elif end is not None:
            break
        elif handoff.park(woken.release, moderate=False)[0] is not Parked.NO:
            assert heard.acquire(timeout=GUARD)
            front.hear()
            assert woken.acquire(timeout=GUARD)
    worker.done()
    assert received == [n.to_bytes(4, "big") * (n % 7) for n in range(total)]
    statistics = handoff.statistics()
    assert statistics.peak_chunks <= 20
    assert statistics.peak_bytes < 200 + 24
    assert statistics.chunks == total
    assert budget.used == 0
