"""A producer that is looked after without a task: when its owner is called, and how it ends."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import ewb
from ewb._background import Stream, start
from ewb._call import Call
from ewb._cookie import CallWork, StreamWork
from ewb._handoff import End, Handoff
from ewb._settings import Bounds

from .helpers import GUARD, Gate, Log, fail, nothing_runs, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from ewb import Workers
    from ewb._cookie import Work

WIDE = Bounds(1 << 20, 1000)


class Portal:
    """A way to Trio that nobody goes."""

    def install(self) -> None:
        """Nothing."""

    leave = close = revoke = install


class FakeProducer:
    """A producer whose every step is the test's."""

    closing_error = None

    def __init__(self, handoff: Handoff[Any]) -> None:
        self.handoff = handoff
        self.finished = trio.Event()
        self.left = self.over = False
        self.when_finished: Callable[[], None] = lambda: None

    def add(self, chunk: bytes) -> bool:
        """Yield it, if there is room."""
        return self.handoff.offer(chunk, len(chunk))

    def end(self, end: End) -> None:
        """End so; the generator is closed."""
        self.over = True
        self.handoff.finish(end, self._set_finished)

    def _set_finished(self) -> None:
        self.finished.set()
        self.when_finished()


class FakeWorkers:
    """Workers without threads: what they are given goes on when the test says so.

    What they post is kept until it is delivered, in order, as a doorbell does it.
    """

    def __init__(self) -> None:
        self.posted: deque[Callable[[], object]] = deque()
        self.calls: list[Call] = []
        self.left: list[Call] = []
        self.producers: list[FakeProducer] = []

    def post(self, call: Callable[[], object]) -> bool:
        """Keep it."""
        self.posted.append(call)
        return True

    def deliver(self) -> None:
        """Do what was posted until now."""
        for _ in range(len(self.posted)):
            self.posted.popleft()()

    def begin(self, _: object, __: str, bounds: Bounds, size: Any, **___: bool) -> FakeProducer:
        """A stream is started."""
        handoff = Handoff[Any](bounds, size=size, moderation=0, post=self.post, on_room=lambda: None)
        self.producers.append(FakeProducer(handoff))
        return self.producers[-1]

    def start(self, call: Call) -> None:
        """A call is started."""
        self.calls.append(call)

    def new_portal(self) -> Portal:
        """Nobody uses it."""
        return Portal()

    def leave(self, job: Call | FakeProducer) -> None:
        """It is not wanted any more."""
        if isinstance(job, Call):
            self.left.append(job)
            return
        job.left = True
        job.handoff.close()
        if job.handoff.end is None:
            job.handoff.answer()

    def forget(self, job: object) -> None:
        """It is over."""


class Owner:
    """Who looks after a stream, and how often it was called to."""

    def __init__(self, workers: FakeWorkers, bounds: Bounds = WIDE) -> None:
        self.called = self.told_closed = 0
        work = StreamWork(partial(iter, [b""]), "name", bounds, None, same_thread=True)
        self.stream = Stream(workers, work, self.call)  # type: ignore[arg-type]
        self.producer = workers.producers[-1]
        self.workers = workers

    def call(self) -> None:
        """It is ready."""
        self.called += 1

    def stop(self) -> None:
        """It is not wanted any more."""
        self.stream.stop(self.closed)

    def closed(self) -> None:
        """It is closed."""
        assert self.stream.finished.is_set()
        self.told_closed += 1


@pytest.fixture
async def owner() -> Owner:
    return Owner(FakeWorkers())


# -- when its owner is called ----------------------------------------------------------------------


async def test_its_owner_is_called_once_for_each_watch(owner: Owner) -> None:
    """However many chunks come: once, and then not before it is watched again."""
    assert owner.stream.watch()
    for _ in range(5):
        owner.producer.add(b"a")
    owner.workers.deliver()
    assert owner.called == 1
    owner.producer.add(b"a")
    owner.workers.deliver()
    assert owner.called == 1
    assert owner.stream.take() == [b"a"] * 6
    assert owner.stream.watch()
    owner.producer.add(b"a")
    owner.workers.deliver()
    assert owner.called == 2


async def test_watching_twice_is_watching_once(owner: Owner) -> None:
    """A stream that is watched says so, and its owner is called once."""
    assert owner.stream.watch()
    assert owner.stream.watch()
    owner.producer.add(b"a")
    owner.workers.deliver()
    assert owner.called == 1


async def test_what_is_there_already_is_said_at_once(owner: Owner) -> None:
    """A chunk, or the end, before the watch: then nobody is called, and it says False."""
    owner.producer.add(b"a")
    assert not owner.stream.watch()
    assert owner.stream.take() == [b"a"]
    owner.producer.end(End("done"))
    assert not owner.stream.watch()
    owner.workers.deliver()
    assert owner.called == 0


async def test_the_end_calls_its_owner(owner: Owner) -> None:
    """Without a chunk, too; and what it returned is there."""
    assert owner.stream.watch()
    owner.producer.end(End("done"))
    owner.workers.deliver()
    assert owner.called == 1
    assert owner.stream.end is not None
    assert owner.stream.end.result == "done"
    assert not owner.stream.has_chunks
    assert owner.stream.finished.is_set()


async def test_chunks_stay_until_they_are_taken(owner: Owner) -> None:
    """In their bounded channel: its producer is suspended at the bound, and no sooner."""
    small = Owner(owner.workers, Bounds(1 << 20, 3))
    assert [small.producer.add(b"a") for _ in range(4)] == [True, True, True, False]
    assert small.stream.suspended
    assert small.stream.has_chunks
    assert small.stream.take() == [b"a"] * 3
    assert not small.stream.suspended
    assert not small.stream.has_chunks


# -- stop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rung", [False, True], ids=["before the doorbell", "while it is out"])
@pytest.mark.parametrize("watched", [False, True])
async def test_its_owner_is_not_called_after_a_stop(owner: Owner, *, watched: bool, rung: bool) -> None:
    """Whether it was watched, and even if the doorbell had been rung before."""
    if watched:
        owner.stream.watch()
    if rung:
        owner.producer.add(b"a")
    owner.stop()
    owner.producer.end(End())
    owner.workers.deliver()
    assert (owner.called, owner.told_closed) == (0, 1)
    assert owner.producer.left
    assert not owner.stream.has_chunks


async def test_it_can_be_stopped_after_its_end(owner: Owner) -> None:
    """That changes nothing but that its chunks are gone."""
    owner.stream.watch()
    owner.producer.add(b"a")
    owner.producer.end(End("done"))
    owner.stop()
    owner.workers.deliver()
    assert owner.called == 0
    assert owner.stream.finished.is_set()


# -- with real workers -----------------------------------------------------------------------------


async def read(workers: Workers, work: StreamWork) -> AsyncGenerator[list[object]]:
    """What a session does with a stream, as a task of its own."""
    ready = trio.Event()

    def on_ready() -> None:
        ready.set()

    stream = start(workers, work, on_ready)
    with trio.fail_after(GUARD):
        while True:
            ready = trio.Event()
            if stream.watch():
                await ready.wait()
            end = stream.end
            if stream.has_chunks:
                yield stream.take()
            if end is not None:
                break
        await stream.finished.wait()


def work(fn: Callable[..., Any], *args: Any, bounds: Bounds = WIDE) -> StreamWork:
    """What a cookie asks for."""
    return StreamWork(partial(fn, *args), "name", bounds, None, same_thread=True)


@pytest.mark.parametrize("max_chunks", [1, 3, 1000])
async def test_no_chunk_is_lost_however_small_the_channel(max_chunks: int) -> None:
    """All that was yielded is taken, in order, whoever is faster."""
    log = Log()
    taken: list[object] = []
    async with ewb.open_workers(1) as workers:
        bounds = Bounds(1 << 20, max_chunks)
        async for batch in read(workers, work(log.numbers, 1000, bounds=bounds)):
            assert 1 <= len(batch) <= max_chunks
            taken += batch
    assert taken == [b"%d" % n for n in range(1000)]
    log.assert_closed()


async def test_a_chunk_reaches_a_watching_owner_though_its_producer_then_blocks() -> None:
    """Moderation may hold it back, but for a moment only: it is never stranded."""
    gate = Gate()
    taken: list[object] = []

    def bursts() -> Iterator[bytes]:
        for n in range(3):
            yield b"%d" % n
            yield b"%d" % n
        gate.wait()

    async with ewb.open_workers(1) as workers:
        async for batch in read(workers, work(bursts)):
            taken += batch
            if len(taken) == 6:
                gate.open()
    assert len(taken) == 6


async def test_under_a_clock_that_jumps_nobody_waits_moderately(
    autojump_clock: object,
) -> None:
    """A test's clock fires no timers in time, so each chunk is rung for."""
    assert autojump_clock is not None
    gate = Gate()
    taken: list[object] = []

    def bursts() -> Iterator[bytes]:
        for n in range(5):
            yield b"%d" % n
        gate.wait()

    async with ewb.open_workers(1) as workers:
        ready = threading.Event()
        stream = start(workers, work(bursts), ready.set)
        while len(taken) < 5:
            if stream.watch():
                await trio.to_thread.run_sync(lambda: None)  # a real thread: the loop goes round
                continue
            taken += stream.take()
        assert not stream.has_chunks
        gate.open()
        await stream.finished.wait()
    assert taken == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_stop_closes_the_generator_on_its_worker() -> None:
    """`finished` is set when its `finally` has run, not before."""
    log, closing = Log(), Gate()

    def producer() -> Iterator[bytes]:
        try:
            yield from log.numbers()
        finally:
            closing.wait()

    async with ewb.open_workers(1) as workers:
        stream = start(workers, work(producer, bounds=Bounds(10, 2)), lambda: None)
        await nothing_runs(workers)
        stream.stop(lambda: None)
        await until(closing.reached.is_set)
        assert not stream.finished.is_set()
        closing.open()
        with trio.fail_after(GUARD):
            await stream.finished.wait()
    log.assert_closed()


async def test_a_stop_says_what_went_wrong_while_it_was_closed() -> None:
    """An error of a `finally` is there for whoever waits until it is closed."""

    def producer() -> Iterator[bytes]:
        try:
            yield b"a"
        finally:
            fail(KeyError("in finally"))

    async with ewb.open_workers(1) as workers:
        stream = start(workers, work(producer, bounds=Bounds(1, 1)), lambda: None)
        await nothing_runs(workers)
        stream.stop(lambda: None)
        await until(stream.finished.is_set)
        assert isinstance(stream.closing_error, KeyError)


async def test_workers_that_were_closed_start_nothing() -> None:
    """Neither a stream nor a call: the error says what to do."""
    async with ewb.open_workers(1) as workers:
        pass
    asked: list[Work] = [work(Log().numbers), CallWork(lambda: None, "name")]
    for one in asked:
        with pytest.raises(trio.ClosedResourceError, match="within the block of open_workers"):
            start(workers, one, lambda: None)


async def test_what_was_asked_for_is_started_as_that() -> None:
    """A producer is a `Stream`, a call a `Call`."""
    async with ewb.open_workers(1) as workers:
        one = start(workers, work(Log().numbers, 1), lambda: None)
        other = start(workers, CallWork(lambda: None, "name"), lambda: None)
        assert isinstance(one, Stream)
        assert isinstance(other, Call)
        await until(lambda: one.finished.is_set() and other.finished.is_set())
