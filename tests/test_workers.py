"""A pool of workers: how it starts, what it shares, what it says of itself, and how it ends."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
import weakref
from contextlib import AsyncExitStack
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio
import trio.testing

import ewb
from ewb import _handoff, _threads
from ewb._workers import _joined

from .helpers import GUARD, AtStep, Gate, Log, fail, nothing_runs, until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ewb import ChunkReceiver, Workers


def our_threads() -> set[str]:
    """The names of the worker threads that are there."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("ewb-")}


# -- the threads, and the settings ----------------------------------------------------------------


async def test_threads_live_as_long_as_the_block() -> None:
    """There are as many as were asked for, named for what they are, and none after the block."""
    async with ewb.open_workers(3) as workers:
        assert our_threads() == {"ewb-0", "ewb-1", "ewb-2"}
        assert workers.statistics().threads == 3
    assert our_threads() == set()


async def test_two_pools_are_apart() -> None:
    """Each has its own threads, and ends on its own."""
    async with ewb.open_workers(1) as outer:
        async with (
            ewb.open_workers(2) as inner,
            outer.produce(Log().numbers, 3) as ones,
            inner.produce(Log().numbers, 3) as twos,
        ):
            assert [chunk async for chunk in ones] == [chunk async for chunk in twos]
        with pytest.raises(trio.ClosedResourceError):
            await inner.produce(Log().numbers).__aenter__()
        async with outer.produce(Log().numbers, 1) as chunks:
            assert await chunks.receive() == b"0"


async def test_a_generator_for_its_function_is_refused_where_it_is_given() -> None:
    """The most natural slip: the message says what to give instead."""
    async with ewb.open_workers(1) as workers:
        wrong: Any = Log().numbers(1)
        with pytest.raises(TypeError, match=r"^produce needs a function, .*: give numbers, and not"):
            workers.produce(wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 5}, "size must be a function of a chunk, as len is, not 5"),
        ({"same_thread": "no"}, "same_thread must be True or False, not 'no'"),
        ({"same_thread": None}, "same_thread must be True or False, not None"),
    ],
)
async def test_a_setting_of_a_producer_is_checked_where_it_is_given(wrong: Any, said: str) -> None:
    """And not when the block is entered, or the first chunk comes."""
    async with ewb.open_workers(1) as workers:
        with pytest.raises(TypeError, match=f"^{said}$"):
            workers.produce(Log().numbers, 1, **wrong)


async def test_a_block_is_entered_once() -> None:
    """What `produce` returned is for one `async with`, and says so, also while that lasts."""
    async with ewb.open_workers(1) as workers:
        block = workers.produce(Log().numbers, 1)
        async with block as chunks:
            with pytest.raises(RuntimeError, match=r"call produce\(\) for each"):
                await block.__aenter__()
            assert await chunks.receive() == b"0"
        with pytest.raises(RuntimeError, match=r"call produce\(\) for each"):
            await block.__aenter__()


async def test_a_producer_that_has_ended_needs_no_collector() -> None:
    """Its channel goes with its reader: nothing of it waits for the next full collection."""
    gc.disable()
    try:
        async with ewb.open_workers(1) as workers:
            async with workers.produce(Log().numbers, 3) as chunks:
                assert [chunk async for chunk in chunks] == [b"0", b"1", b"2"]
            channel = weakref.ref(chunks._handoff)
            del chunks
            await until(lambda: channel() is None)
    finally:
        gc.enable()


async def test_workers_take_no_token_of_the_default_limiter() -> None:
    """Threads that stay must not use up the limit for threads that come and go."""
    limiter = trio.to_thread.current_default_thread_limiter()
    async with ewb.open_workers(4):
        assert limiter.borrowed_tokens == 0


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("threads", 0, ValueError),
        ("threads", 1.5, TypeError),
        ("threads", True, TypeError),
        ("memory", 0, ValueError),
        ("memory", "1M", TypeError),
        ("moderation", -1, ValueError),
        ("moderation", 2, ValueError),
        ("moderation", "fast", TypeError),
        ("time_slice", 0, ValueError),
        ("switch_interval", 0, ValueError),
    ],
)
async def test_settings_out_of_range(setting: str, value: object, error: type[Exception]) -> None:
    """The error names the setting, and nothing was started."""
    settings: dict[str, Any] = {setting: value}
    with pytest.raises(error, match=f"{setting} must be"):
        await ewb.open_workers(**settings).__aenter__()
    assert our_threads() == set()


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("high_water", 0, ValueError),
        ("high_water", 1.5, TypeError),
        ("max_chunks", 0, ValueError),
        ("max_chunks", None, TypeError),
    ],
)
async def test_bounds_out_of_range(setting: str, value: object, error: type[Exception]) -> None:
    """`produce` says so at once, before anything runs."""
    bounds: dict[str, Any] = {setting: value}
    async with ewb.open_workers(1) as workers:
        with pytest.raises(error, match=f"{setting} must be"):
            workers.produce(list, **bounds)


async def test_the_switch_interval_lasts_as_long_as_the_workers() -> None:
    """It is set within the block, and what was there before is restored, however the block ends."""
    before = sys.getswitchinterval()
    with pytest.raises(KeyError):  # noqa: PT012 - the block is meant
        async with ewb.open_workers(1, switch_interval=3e-6):
            assert sys.getswitchinterval() == pytest.approx(3e-6)
            raise KeyError
    assert sys.getswitchinterval() == before


async def test_workers_say_what_they_are() -> None:
    """Reprs are for people who debug."""
    async with ewb.open_workers(2) as workers:
        assert repr(workers) == "<open Workers: 2 threads, 0 producers>"
        async with workers.produce(Log().numbers) as chunks:
            assert repr(workers) == "<open Workers: 2 threads, 1 producers>"
            assert "open channel" in repr(chunks)
        assert "closed channel" in repr(chunks)
    assert repr(workers) == "<closed Workers: 2 threads, 0 producers>"


# -- starting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("possible", [0, 1, 3])
async def test_threads_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, possible: int) -> None:
    """The error says how many could be, and what to do; those that were started end again."""
    start = trio._threads.start_thread_soon  # type: ignore[attr-defined]
    interval = sys.getswitchinterval()
    started = 0

    def start_a_few(*args: Any) -> None:
        nonlocal started
        if started == possible:
            fail(RuntimeError("can't start new thread"))
        started += 1
        start(*args)

    monkeypatch.setattr("trio._threads.start_thread_soon", start_a_few)
    manager = ewb.open_workers(4, switch_interval=3e-6)
    with trio.fail_after(GUARD), pytest.raises(RuntimeError) as caught:
        await manager.__aenter__()
    message = str(caught.value)
    assert message.startswith(f"only {possible} of 4 worker threads could be started")
    assert "give open_workers fewer" in message
    assert "can't start new thread" in message
    assert our_threads() == set()
    assert sys.getswitchinterval() == interval


async def open_and_use(log: Log) -> str:
    """All that may wait: opening, receiving, closing."""
    async with ewb.open_workers(2) as workers, workers.produce(log.numbers, 9, max_chunks=2) as chunks:
        await chunks.receive()
        async for _ in chunks.batches():
            pass
        await chunks.aclose()
        return chunks.result


@pytest.mark.timeout(4 * GUARD)
@pytest.mark.parametrize("parked", [False, True], ids=["running", "parked"])
async def test_cancelled_at_every_await(*, parked: bool) -> None:
    """Wherever a cancellation strikes, from the first thread's start on, all is closed and ended."""
    cancelled = 0
    for step in count():
        log = Log()
        with trio.CancelScope() as scope:
            instrument = AtStep(scope.cancel, step, parked=parked)
            trio.lowlevel.add_instrument(instrument)
            try:
                assert await open_and_use(log) == "done"
            finally:
                trio.lowlevel.remove_instrument(instrument)
        assert log.closed == log.opened
        assert our_threads() == set()
        if not scope.cancel_called:
            break
        cancelled += scope.cancelled_caught
    assert cancelled > 3, "the test should have struck at several awaits"


@pytest.mark.timeout(4 * GUARD)
@pytest.mark.parametrize("parked", [False, True], ids=["running", "parked"])
def test_interrupted_at_every_await(*, parked: bool) -> None:
    """Ctrl-C is a plain KeyboardInterrupt wherever it strikes, and leaves nothing behind."""

    async def main(log: Log, step: int) -> bool:
        instrument = AtStep(lambda: signal.raise_signal(signal.SIGINT), step, parked=parked)
        trio.lowlevel.add_instrument(instrument)
        try:
            await open_and_use(log)
        finally:
            trio.lowlevel.remove_instrument(instrument)
        return instrument.struck

    interrupted = 0
    for step in count():
        log = Log()
        try:
            struck = trio.run(main, log, step)
        except KeyboardInterrupt:
            interrupted += 1
            struck = True
        assert log.closed == log.opened
        assert our_threads() == set()
        if not struck:
            break
    assert interrupted > 3, "the test should have struck at several awaits"


@pytest.fixture
def slow_start(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Threads start, and then wait at this gate, as on a machine with much to do."""
    gate = Gate()
    start = trio._threads.start_thread_soon  # type: ignore[attr-defined]

    def start_slowly(fn: Callable[[], object], *others: Any) -> None:
        def gated() -> object:
            gate.wait()
            return fn()

        start(gated, *others)

    monkeypatch.setattr("trio._threads.start_thread_soon", start_slowly)
    return gate


@pytest.mark.timeout(GUARD)
async def test_cancelled_while_a_thread_starts(slow_start: Gate) -> None:
    """A thread that comes to life after the cancellation ends all the same."""
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            async def cancel() -> None:
                await until(slow_start.reached.is_set)
                scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                slow_start.open()

            nursery.start_soon(cancel)
            async with ewb.open_workers(2):
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
    assert our_threads() == set()


@trio.lowlevel.enable_ki_protection
async def ctrl_c(gate: Gate, begin: Callable[[], bool]) -> None:
    """A system task that interrupts the main one once it waits for who is at this gate; it opens it."""
    await until(lambda: gate.reached.is_set() and begin())
    await trio.testing.wait_all_tasks_blocked()
    signal.raise_signal(signal.SIGINT)
    await trio.testing.wait_all_tasks_blocked()
    gate.open()


@pytest.mark.timeout(GUARD)
def test_interrupted_while_a_thread_starts(slow_start: Gate) -> None:
    """Ctrl-C at that time ends the run, and does not hang it."""

    async def main() -> None:
        trio.lowlevel.spawn_system_task(ctrl_c, slow_start, slow_start.reached.is_set)
        async with ewb.open_workers(2):
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert our_threads() == set()


@pytest.mark.timeout(GUARD)
def test_interrupted_twice() -> None:
    """It is one KeyboardInterrupt all the same: the second comes while a producer is being closed."""
    closing = Gate()

    def slow_to_close() -> Generator[bytes]:
        try:
            yield b"0"
            yield b"1"
        finally:
            closing.wait()

    async def main() -> None:
        trio.lowlevel.spawn_system_task(ctrl_c, closing, closing.reached.is_set)
        async with (
            ewb.open_workers(1) as workers,
            workers.produce(slow_to_close, max_chunks=1) as chunks,
        ):
            await chunks.receive()
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert our_threads() == set()


@pytest.mark.parametrize("first", [None, KeyboardInterrupt("first")])
def test_several_interrupts_are_one(first: KeyboardInterrupt | None) -> None:
    """Of those that come while the threads are waited for; anything else is told beside them."""
    second, other = KeyboardInterrupt("second"), OSError("other")
    several = BaseExceptionGroup("of the nursery", [second, KeyboardInterrupt("third")])
    assert _joined(first, several) is (first or second)
    told = _joined(first, BaseExceptionGroup("of the nursery", [second, other]))
    assert isinstance(told, BaseExceptionGroup)
    assert told.exceptions == ((first, second, other) if first else (second, other))


async def test_a_block_that_is_dropped_is_closed_at_once() -> None:
    """Not by the collector, which may come while any lock is held."""
    gc.disable()
    try:
        async with ewb.open_workers(1) as workers:
            chunks = await workers.produce(blocks, 10).__aenter__()
            await chunks.receive()
            del chunks
            await until(lambda: workers.statistics().producers == 0)
    finally:
        gc.enable()


# -- errors are not wrapped, cancellations pass ----------------------------------------------------


class Unusual(BaseException):
    """Neither an Exception, nor known to anybody."""


ERRORS = [
    ValueError("mine"),
    KeyboardInterrupt("mine"),
    SystemExit("mine"),
    Unusual("mine"),
    StopIteration("mine"),
    StopAsyncIteration("mine"),
    GeneratorExit("mine"),
    ExceptionGroup("mine", [ValueError("mine"), KeyError("mine")]),
    BaseExceptionGroup("mine", [Unusual("mine")]),
    trio.EndOfChannel("mine"),
]


@pytest.mark.parametrize("mine", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["open_workers", "produce"])
async def test_what_the_body_raises_is_raised(mine: BaseException, where: str) -> None:
    """It is the same object, in no group, with the context and the cause that it had."""
    cause, context = OSError("cause"), KeyError("context")

    async def body() -> None:
        async with ewb.open_workers(2) as workers:
            if where == "open_workers":
                raise_with(mine, cause, context)
            async with workers.produce(Log().numbers, max_chunks=2) as chunks:
                await chunks.receive()
                raise_with(mine, cause, context)

    async def caught() -> BaseException | None:
        try:
            await body()
        except BaseException as error:  # noqa: BLE001 - that is the question
            return error
        return None

    error = await caught()
    if isinstance(mine, StopIteration):  # Python's own rule for coroutines
        assert isinstance(error, RuntimeError)
        error = error.__cause__
    assert error is mine
    assert error.__cause__ is cause
    assert error.__context__ is context


def raise_with(error: BaseException, cause: Exception, context: Exception) -> NoReturn:
    """Raise an error that has a history."""
    try:
        raise context
    except KeyError:
        raise error from cause


async def test_a_cancellation_of_the_outside_passes() -> None:
    """A scope around the workers is left by the Cancelled that is its own."""
    log = Log()
    with trio.CancelScope() as scope:
        async with ewb.open_workers(2) as workers, workers.produce(log.numbers) as chunks:
            await chunks.receive()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    log.assert_closed()


async def test_a_cancellation_of_the_inside_stays_inside() -> None:
    """A scope in the block of the workers is no business of theirs."""
    log = Log()
    async with ewb.open_workers(2) as workers:
        with trio.CancelScope() as scope:
            async with workers.produce(log.numbers) as chunks:
                scope.cancel()
                await chunks.receive()
        assert scope.cancelled_caught
        async with workers.produce(log.numbers, 1) as chunks:
            assert await chunks.receive() == b"0"
    log.assert_closed()


async def test_a_cancellation_with_an_error_on_the_way() -> None:
    """An error in the cleanup of a cancelled body is raised as it is, and the scope not to blame."""

    async def body(scope: trio.CancelScope) -> None:
        async with ewb.open_workers(1):
            try:
                scope.cancel()
                await trio.lowlevel.checkpoint()
            finally:
                fail(ValueError("in cleanup"))

    with trio.CancelScope() as scope, pytest.raises(ValueError, match="in cleanup") as caught:
        await body(scope)
    assert isinstance(caught.value.__context__, trio.Cancelled)
    assert not scope.cancelled_caught


# -- ending ----------------------------------------------------------------------------------------


async def test_after_the_end_nothing_is_produced() -> None:
    """To produce with workers that were closed is an error that says what to do."""
    async with ewb.open_workers(1) as workers:
        early = workers.produce(Log().numbers)
    late = workers.produce(Log().numbers)
    for manager in (early, late):
        with pytest.raises(trio.ClosedResourceError, match="within the block of open_workers"):
            await manager.__aenter__()


class Reader:
    """A task that holds a block of workers that end before it."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.opened = trio.Event()
        self.go_on = trio.Event()
        self.end: BaseException | None = None
        self.result: str | None = None

    async def read(
        self,
        workers: Workers,
        fn: Callable[[], Generator[bytes, None, str]],
        *,
        max_chunks: int,
    ) -> None:
        """Hold the block; read when told to; note how it ends."""
        async with workers.produce(fn, max_chunks=max_chunks) as chunks:
            self.opened.set()
            await self.go_on.wait()
            try:
                while True:
                    self.received.append(await chunks.receive())
            except (trio.BrokenResourceError, trio.EndOfChannel) as error:
                self.end = error
            if isinstance(self.end, trio.EndOfChannel):
                self.result = chunks.result
            with pytest.raises(type(self.end)):
                await chunks.receive()


async def test_workers_end_while_a_block_is_open_and_its_producer_suspended() -> None:
    """The reader gets what was buffered, and then is told that there is nobody to produce more."""
    log, reader = Log(), Reader()
    async with trio.open_nursery() as nursery:
        async with ewb.open_workers(1) as workers:
            nursery.start_soon(lambda: reader.read(workers, log.numbers, max_chunks=3))
            await reader.opened.wait()
            await nothing_runs(workers)
        log.assert_closed()
        reader.go_on.set()
    assert reader.received == [b"0", b"1", b"2"]
    assert isinstance(reader.end, trio.BrokenResourceError)
    assert "gone" in str(reader.end)


async def test_workers_end_while_a_block_is_open_and_its_producer_runs() -> None:
    """The same for a reader that waits for a chunk, and a producer in the midst of making it."""
    log, reader, gate = Log(), Reader(), Gate()
    reader.go_on.set()

    def slow() -> Generator[bytes, None, str]:
        yield b"0"
        return (yield from log.numbers(0, gate))

    async with trio.open_nursery() as nursery:
        async with ewb.open_workers(1) as workers:
            nursery.start_soon(lambda: reader.read(workers, slow, max_chunks=3))
            await until(gate.reached.is_set)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(open_later, gate)
        log.assert_closed()
    assert reader.received == [b"0"]
    # It came to its own end before it could be told: then that is how it ended.
    assert isinstance(reader.end, trio.EndOfChannel)
    assert reader.result == "done"


async def open_later(gate: Gate) -> None:
    """Once everybody waits."""
    await trio.testing.wait_all_tasks_blocked()
    gate.open()


async def test_workers_end_while_a_block_is_open_and_its_producer_never_started() -> None:
    """It is not run any more, and its reader is told."""
    stuck, fresh, gate, log = Reader(), Reader(), Gate(), Log()
    fresh.go_on.set()
    async with trio.open_nursery() as nursery:
        async with ewb.open_workers(1) as workers:
            nursery.start_soon(
                lambda: stuck.read(workers, lambda: Log().numbers(0, gate), max_chunks=3)
            )
            await until(gate.reached.is_set)
            nursery.start_soon(lambda: fresh.read(workers, log.numbers, max_chunks=3))
            await fresh.opened.wait()
            nursery.start_soon(open_later, gate)
        stuck.go_on.set()
    assert fresh.received == []
    assert isinstance(fresh.end, trio.BrokenResourceError)
    assert log.opened == []


async def test_workers_end_while_a_block_is_open_and_its_producer_has_ended() -> None:
    """That one lacks nothing: its reader gets all of it, its end and its result."""
    log, reader = Log(), Reader()
    async with trio.open_nursery() as nursery:
        async with ewb.open_workers(1) as workers:
            nursery.start_soon(lambda: reader.read(workers, lambda: log.numbers(3), max_chunks=9))
            await reader.opened.wait()
            await nothing_runs(workers)
        reader.go_on.set()
    assert reader.received == [b"0", b"1", b"2"]
    assert isinstance(reader.end, trio.EndOfChannel)
    assert reader.result == "done"


async def test_an_error_while_the_workers_close_a_producer_is_raised_from_its_own_block() -> None:
    """Not from that of the workers, which has nothing to do with it."""

    def failing_to_close() -> Generator[bytes]:
        try:
            while True:
                yield b"chunk"
        finally:
            fail(OSError("cannot close"))

    async def hold(workers: Workers) -> None:
        with pytest.raises(OSError, match="cannot close"):  # noqa: PT012 - the block is meant
            async with workers.produce(failing_to_close) as chunks:
                await chunks.receive()
                opened.set()
                await closed.wait()

    opened, closed = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        async with ewb.open_workers(1) as workers:
            nursery.start_soon(hold, workers)
            await opened.wait()
        closed.set()


async def test_an_error_in_the_body_ends_the_workers_for_others_too() -> None:
    """Whatever ends the workers' block, a reader elsewhere is told the same."""
    log, reader = Log(), Reader()
    reader.go_on.set()
    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match="mine"):  # noqa: PT012 - the block is meant
            async with ewb.open_workers(1) as workers:
                nursery.start_soon(lambda: reader.read(workers, log.numbers, max_chunks=3))
                await until(lambda: len(reader.received) > 10)
                fail(ValueError("mine"))
        log.assert_closed()
    assert isinstance(reader.end, trio.BrokenResourceError)
    assert reader.received == [b"%d" % number for number in range(len(reader.received))]


def test_the_run_ends_while_a_system_task_holds_a_block() -> None:
    """The end of the run closes the generator like any other cancellation."""
    log = Log()

    async def background() -> None:
        async with ewb.open_workers(1) as workers, workers.produce(log.numbers, max_chunks=5) as chunks:
            async for _ in chunks:
                started.set()

    async def main() -> None:
        trio.lowlevel.spawn_system_task(background)
        await started.wait()

    started = trio.Event()
    trio.run(main)
    log.assert_closed()
    assert our_threads() == set()


@pytest.mark.timeout(GUARD)
def test_an_interrupt_waits_for_the_generator() -> None:
    """Ctrl-C while a block is being left does not leave it before the generator is closed."""
    gate, log = Gate(), Log()
    closed_when_left: list[int] = []

    async def main() -> None:
        leaving = trio.Event()
        trio.lowlevel.spawn_system_task(ctrl_c, gate, leaving.is_set)
        async with ewb.open_workers(1) as workers:
            try:
                async with workers.produce(log.numbers, 1, gate) as chunks:
                    await chunks.receive()
                    await until(gate.reached.is_set)
                    leaving.set()
            finally:
                closed_when_left.extend(log.closed)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    log.assert_closed()
    assert closed_when_left == log.closed
    assert our_threads() == set()


@pytest.mark.timeout(GUARD)
def test_an_interrupt_waits_for_the_workers() -> None:
    """Ctrl-C while workers wait for somebody else's producers does not lose their threads."""
    gate, log = Gate(), Log()

    async def hold(workers: Workers, opened: trio.Event, over: trio.Event) -> None:
        async with workers.produce(log.numbers, 1, gate), workers.produce(log.numbers):
            await until(lambda: gate.reached.is_set() and len(log.opened) == 2)
            opened.set()
            await over.wait()

    async def main() -> None:
        opened, over = trio.Event(), trio.Event()
        async with trio.open_nursery() as nursery:
            try:
                async with ewb.open_workers(2) as workers:
                    nursery.start_soon(hold, workers, opened, over)
                    await opened.wait()
                    trio.lowlevel.spawn_system_task(ctrl_c, gate, opened.is_set)
            finally:
                assert len(log.closed) == 2
                over.set()

    with pytest.RaisesGroup(KeyboardInterrupt):  # in a group by the test's own nursery
        trio.run(main)
    assert our_threads() == set()


# -- what they say of themselves -------------------------------------------------------------------


async def test_statistics_of_workers() -> None:
    """They say how many producers there are, and in which state."""
    gates = [Gate(), Gate()]

    def stuck(gate: Gate) -> Generator[bytes]:
        gate.wait()
        yield b"0123456789"

    async with ewb.open_workers(2, memory=10_000_000) as workers:
        await nothing_runs(workers)
        idle = workers.statistics()
        assert (idle.threads, idle.idle, idle.producers, idle.queued, idle.suspended) == (2, 2, 0, 0, 0)
        assert idle.running == ()
        assert (idle.buffered_bytes, idle.memory) == (0, 10_000_000)
        async with workers.produce(Log().numbers, max_chunks=3):
            await nothing_runs(workers)
            async with (
                workers.produce(stuck, gates[0]),
                workers.produce(stuck, gates[1]),
                workers.produce(Log().numbers),
            ):
                await until(lambda: all(gate.reached.is_set() for gate in gates))
                now = workers.statistics()
                assert (now.threads, now.idle, now.producers, now.queued) == (2, 0, 4, 1)
                assert now.suspended == 1
                assert sorted(producer.worker for producer in now.running) == [0, 1]
                for gate in gates:
                    gate.open()
                await nothing_runs(workers)
                now = workers.statistics()
                assert (now.idle, now.producers, now.queued, now.suspended) == (2, 2, 0, 2)
        await nothing_runs(workers)
        assert workers.statistics() == idle
    assert workers.statistics().threads == 0


async def test_statistics_name_who_holds_a_worker() -> None:
    """A stuck producer is found by its name, its worker and how long it has been there."""
    gates = [Gate(), Gate()]

    def stuck_in_a_query(gate: Gate) -> Generator[bytes]:
        gate.wait()
        yield b""

    async with ewb.open_workers(2) as workers, workers.produce(stuck_in_a_query, gates[0]):
        await until(gates[0].reached.is_set)
        async with workers.produce(stuck_in_a_query, gates[1]):
            await until(gates[1].reached.is_set)
            first, second = workers.statistics().running
            assert "stuck_in_a_query" in first.name
            assert "stuck_in_a_query" in second.name
            assert first.worker != second.worker
            assert first.seconds >= second.seconds > 0  # the longest first
            later = workers.statistics().running[0]
            assert later.seconds > first.seconds
            gates[1].open()
        gates[0].open()


async def test_statistics_of_a_channel() -> None:
    """They say what went through, what is there, and what the bounds are."""
    async with ewb.open_workers(1) as workers:
        async with workers.produce(Log().numbers, 10, max_chunks=4, high_water=100) as chunks:
            await nothing_runs(workers)
            now = chunks.statistics()
            assert (now.chunks, now.bytes, now.batches) == (0, 0, 0)
            assert (now.buffered_chunks, now.buffered_bytes) == (4, 4)
            assert (now.high_water, now.max_chunks) == (100, 4)
            assert now.suspensions == 1
            assert now.seconds_suspended > 0
            received = [chunk async for chunk in chunks]
            now = chunks.statistics()
            assert (now.chunks, now.bytes) == (len(received), 10)
            assert (now.buffered_chunks, now.buffered_bytes) == (0, 0)
            assert now.batches >= 3
            assert (now.peak_chunks, now.peak_bytes) == (4, 4)
            assert now.doorbells <= now.batches + 1
            suspended = now.seconds_suspended
        assert chunks.statistics().seconds_suspended == suspended
        assert workers.statistics().buffered_bytes == 0


# -- memory ----------------------------------------------------------------------------------------


def blocks(size: int, number: int | None = None) -> Generator[bytes]:
    """Blocks of this size."""
    for _ in count() if number is None else range(number):
        yield bytes(size)


async def test_stalled_readers_starve_nobody() -> None:
    """They use all of the shared memory up; others get through, one chunk at a time."""
    memory, size = 10_000, 100
    async with ewb.open_workers(2, memory=memory) as workers:
        async with (
            workers.produce(blocks, size) as one,
            workers.produce(blocks, size) as two,
            workers.produce(blocks, size) as three,
        ):
            await nothing_runs(workers)
            stalled = [one.statistics(), two.statistics(), three.statistics()]
            held = sum(now.buffered_bytes for now in stalled)
            assert memory <= held <= memory + 3 * size
            assert workers.statistics().buffered_bytes == held
            assert all(now.buffered_chunks >= 1 for now in stalled)
            async with workers.produce(blocks, size, 500) as chunks:
                received = [chunk async for chunk in chunks]
                assert len(received) == 500
                assert chunks.statistics().peak_chunks == 1
            assert workers.statistics().buffered_bytes == held
            # The greediest reader goes, and makes room for all.
            await max((one, two, three), key=lambda each: each.statistics().buffered_bytes).aclose()
            async with workers.produce(blocks, size, 500) as chunks:
                await nothing_runs(workers)
                assert chunks.statistics().buffered_chunks > 1
                assert len([chunk async for chunk in chunks]) == 500
        assert workers.statistics().buffered_bytes == 0


async def test_memory_bounds_all_channels_together() -> None:
    """Never is more than the budget held, but for a chunk of each producer."""
    memory, size, producers = 5_000, 50, 20
    most = 0

    async def read(workers: Workers) -> None:
        nonlocal most
        async with workers.produce(blocks, size, 200) as chunks:
            async for _ in chunks.batches():
                most = max(most, workers.statistics().buffered_bytes)
                await trio.lowlevel.checkpoint()

    async with ewb.open_workers(2, memory=memory) as workers:
        async with trio.open_nursery() as nursery:
            for _ in range(producers):
                nursery.start_soon(read, workers)
        assert most <= memory + producers * size
        assert workers.statistics().buffered_bytes == 0


async def test_without_a_budget_each_channel_has_its_own_bounds() -> None:
    """`memory=None` leaves it at that."""
    async with (
        ewb.open_workers(2, memory=None) as workers,
        workers.produce(blocks, 100, high_water=10_000) as one,
        workers.produce(blocks, 100, high_water=10_000) as two,
    ):
        await nothing_runs(workers)
        assert one.statistics().buffered_bytes == two.statistics().buffered_bytes == 10_000
        assert workers.statistics().memory is None


@pytest.mark.parametrize("way", ["drained", "left", "failed"])
async def test_memory_comes_back(way: str) -> None:
    """However a producer ends, what it held is there for others again."""

    def failing() -> Generator[bytes]:
        yield bytes(1000)
        fail(OSError("disk"))

    async with ewb.open_workers(1, memory=2000) as workers:
        for _ in range(5):
            fn = failing if way == "failed" else (lambda: blocks(1000, 2))
            async with workers.produce(fn) as chunks:
                await nothing_runs(workers)
                assert workers.statistics().buffered_bytes >= 1000
                if way != "left":
                    await drain(chunks)
                    assert workers.statistics().buffered_bytes == 0
            assert workers.statistics().buffered_bytes == 0


async def drain(chunks: ChunkReceiver[bytes, Any]) -> None:
    """Read to the end, whatever that is."""
    try:
        async for _ in chunks:
            pass
    except OSError:
        pass


# -- a worker thread that breaks ------------------------------------------------------------------

UNLUCKY = 7
"""`max_chunks` of the producers whose worker thread breaks."""


@pytest.fixture
def _broken_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker thread breaks after a slice of an unlucky producer. No way is known; but who knows."""
    rest = _handoff.Handoff.rest

    def breaks(handoff: _handoff.Handoff[Any]) -> bool:
        if handoff.buffer.ledger.bounds.max_chunks == UNLUCKY:
            fail(OSError("the thread is broken"))
        return rest(handoff)

    monkeypatch.setattr(_handoff.Handoff, "rest", breaks)


async def read_to_the_end(
    chunks: ChunkReceiver[bytes, Any], most: int = sys.maxsize
) -> tuple[list[bytes], str]:
    """What can be read, and how that ends; whatever happens to the workers meanwhile."""
    received: list[bytes] = []
    with trio.CancelScope(shield=True), trio.fail_after(GUARD):
        try:
            while len(received) < most:
                received.append(await chunks.receive())
        except trio.BrokenResourceError:
            return received, "broken"
    return received, "goes on"


@pytest.mark.timeout(GUARD)
@pytest.mark.usefixtures("_broken_threads")
@pytest.mark.parametrize("same_thread", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
async def test_a_worker_that_breaks(threads: int, *, same_thread: bool) -> None:
    """The reader is told, the block is cancelled, and what broke is raised from it. Nothing hangs."""
    log = Log()
    cancelled: list[BaseException] = []
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="broken"), allow_unwrapped=True):
        async with ewb.open_workers(threads) as workers:
            try:
                async with workers.produce(
                    log.numbers, max_chunks=UNLUCKY, same_thread=same_thread
                ) as chunks:
                    received, end = await read_to_the_end(chunks)
                    assert received == [b"%d" % number for number in range(log.made)]
                    assert received
                    assert end == "broken"
                    await trio.sleep_forever()
            except trio.Cancelled as error:
                cancelled.append(error)
                raise
    assert len(cancelled) == 1
    log.assert_closed()
    assert our_threads() == set()


@pytest.mark.timeout(GUARD)
@pytest.mark.usefixtures("_broken_threads")
async def test_a_worker_that_breaks_ends_those_bound_to_it() -> None:
    """What its suspended producers have made can be read; no other thread may go on with them."""
    log, calls = Log(), Log()

    def calling() -> Generator[bytes]:
        trio.from_thread.run_sync(calls.opened.append, 0)
        try:
            yield from log.numbers()
        finally:
            trio.from_thread.run_sync(calls.closed.append, 0)

    outcomes = []
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="broken"), allow_unwrapped=True):
        async with (
            ewb.open_workers(2) as workers,
            workers.produce(calling, max_chunks=2) as one,
            workers.produce(calling, max_chunks=2) as two,
        ):
            await nothing_runs(workers)
            with trio.CancelScope(shield=True):
                async with workers.produce(lambda: [b"x"] * 99, max_chunks=UNLUCKY):
                    await until(lambda: workers.statistics().threads == 1)
            for chunks in (one, two):
                received, end = await read_to_the_end(chunks, 100)
                outcomes.append((len(received), end))
                assert received == [b"%d" % number for number in range(len(received))]
    # Both may have been begun by the worker that broke, or one, or none.
    assert set(outcomes) <= {(2, "broken"), (100, "goes on")}
    assert sorted(log.closed) == sorted(log.opened)
    assert len(calls.opened) == len(calls.closed) == 2
    assert our_threads() == set()


@pytest.mark.timeout(GUARD)
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit])
async def test_whatever_breaks_a_worker_is_raised(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    """A RuntimeError there is not taken for a thread that could not be started; nothing is lost."""

    def breaks(_: object) -> NoReturn:
        raise kind

    async def body() -> None:
        async with ewb.open_workers(1) as workers:
            monkeypatch.setattr(_handoff.Handoff, "rest", breaks)
            async with workers.produce(Log().numbers, max_chunks=2):
                await trio.sleep_forever()

    with pytest.RaisesGroup(kind, allow_unwrapped=True) as caught:
        await body()
    assert "could be started" not in str(caught.value)


@pytest.mark.timeout(GUARD)
async def test_an_error_of_the_body_and_a_worker_that_breaks_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then both are raised."""
    log = Log()
    reader = Reader()

    done = _threads.Threads._done

    def breaks(*args: Any, **kwargs: Any) -> None:
        done(*args, **kwargs)
        if log.closed:
            fail(OSError("the thread is broken"))

    monkeypatch.setattr(_threads.Threads, "_done", breaks)
    async with trio.open_nursery() as nursery:
        with pytest.RaisesGroup(
            pytest.RaisesExc(ValueError, match="mine"), pytest.RaisesExc(OSError, match="broken")
        ):
            async with ewb.open_workers(1) as workers:
                nursery.start_soon(lambda: reader.read(workers, log.numbers, max_chunks=3))
                await reader.opened.wait()
                await nothing_runs(workers)
                fail(ValueError("mine"))
        reader.go_on.set()
    assert isinstance(reader.end, trio.BrokenResourceError)
    log.assert_closed()


@pytest.mark.timeout(GUARD)
@pytest.mark.usefixtures("_broken_threads")
async def test_nobody_goes_on_with_what_a_broken_worker_is_about_to_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reader that makes room just then must not have its producer resumed on another thread."""
    abandon = _threads._abandon
    gate = Gate()
    logs = [Log() for _ in range(6)]

    def abandon_later(*args: Any, **kwargs: Any) -> None:
        if args[0] and threading.current_thread().name.startswith("ewb-"):
            gate.wait()
        abandon(*args, **kwargs)

    monkeypatch.setattr(_threads, "_abandon", abandon_later)
    ends: list[str] = []
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="broken"), allow_unwrapped=True):
        async with ewb.open_workers(2) as workers, AsyncExitStack() as blocks:
            receivers = []
            for log in logs:
                block = workers.produce(log.numbers, 6, max_chunks=2)
                receivers.append(await blocks.enter_async_context(block))
                await nothing_runs(workers)  # so that they are spread
            await blocks.enter_async_context(workers.produce(lambda: [b"x"] * 99, max_chunks=UNLUCKY))
            with trio.CancelScope(shield=True):
                await until(gate.reached.is_set)
                for chunks in receivers:
                    assert chunks.receive_batch_nowait() == [b"0", b"1"]
                await nothing_runs(workers)
                gate.open()
                for chunks in receivers:
                    received, end = await read_to_the_end(chunks, 4)
                    ends.append(end)
                    assert received == ([] if end == "broken" else [b"2", b"3", b"4", b"5"])
    assert sorted(ends) == ["broken"] * 3 + ["goes on"] * 3
    for log in logs:
        log.assert_closed()


# -- credit ----------------------------------------------------------------------------------------


async def test_who_waits_for_a_thread_holds_no_memory_but_its_chunks() -> None:
    """What a producer was promised goes back when its slice is over."""
    both, gate = Gate(), Gate()

    def stuck() -> list[bytes]:
        gate.wait()
        return []

    def slow() -> Generator[bytes]:
        both.wait()
        while True:
            time.sleep(0.002)  # so each chunk ends a slice
            yield b"chunk"

    async with (
        ewb.open_workers(1, time_slice=0.001) as workers,
        workers.produce(slow) as chunks,
        workers.produce(stuck),
    ):
        both.open()
        await until(gate.reached.is_set)
        assert workers.statistics().queued == 1
        assert workers.statistics().buffered_bytes == chunks.statistics().buffered_bytes > 0
        gate.open()
