"""One blocking call on a worker: its value, its error, and how it is stopped in each state."""

from __future__ import annotations

import contextvars
import gc
import inspect
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest
import trio

import ewb
from ewb._call import Call
from ewb._handoff import End

from .helpers import GUARD, Gate, fail, until
from .test_background import FakeWorkers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from ewb import Workers


class Owner:
    """Who waits for a call, and how often it was called."""

    def __init__(self, workers: Workers | FakeWorkers, fn: Callable[[], object]) -> None:
        self.called = self.told_closed = 0
        self.threads: set[int] = set()
        self.call = Call(workers, fn, "name", self.ready)  # type: ignore[arg-type]

    def stop(self) -> None:
        """It is not wanted any more."""
        self.call.stop(self.closed)

    def closed(self) -> None:
        """It is over."""
        assert self.call.finished.is_set()
        self.told_closed += 1

    def ready(self) -> None:
        """It has ended."""
        self.called += 1
        self.threads.add(threading.get_ident())

    async def wait(self) -> End:
        """Until it has."""
        with trio.fail_after(GUARD):
            await self.call.finished.wait()
        assert self.call.end is not None
        return self.call.end


async def test_its_value_is_there_when_its_owner_is_called() -> None:
    """Once, on the front end; the function ran elsewhere."""
    async with ewb.open_workers(1) as workers:
        owner = Owner(workers, threading.get_ident)
        end = await owner.wait()
        assert end.error is None
        assert end.result != threading.get_ident()
        assert owner.called == 1
        assert owner.threads == {threading.get_ident()}
        assert not owner.call.watch()


@pytest.mark.parametrize("value", [None, 0, "", b"bytes", [1], ewb.Status.WOULD_BLOCK])
async def test_any_value_will_do(value: object) -> None:
    """Whatever a function returns is its result."""
    async with ewb.open_workers(1) as workers:
        end = await Owner(workers, lambda: value).wait()
        assert end == End(value)


async def test_its_error_comes_with_its_traceback() -> None:
    """As it was raised, from where it was raised."""

    def broken() -> NoReturn:
        fail(KeyError("a slip"))

    async with ewb.open_workers(1) as workers:
        end = await Owner(workers, broken).wait()
    assert isinstance(end.error, KeyError)
    names, frame = [], end.traceback
    while frame is not None:
        names.append(frame.tb_frame.f_code.co_name)
        frame = frame.tb_next
    assert names[-2:] == ["broken", "fail"]


@pytest.mark.parametrize("error", [StopIteration, GeneratorExit, StopAsyncIteration])
async def test_an_error_that_would_be_misread_is_told_as_another(error: type[BaseException]) -> None:
    """Raised on the front end it would say something else: it is the cause of a RuntimeError."""
    async with ewb.open_workers(1) as workers:
        end = await Owner(workers, lambda: fail(error())).wait()
    assert isinstance(end.error, RuntimeError)
    assert error.__name__ in str(end.error)
    assert isinstance(end.error.__cause__, error)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_must_not_be_lost_is_kept_as_it_is(error: type[BaseException]) -> None:
    """Nor does it end the worker: the next call runs."""
    async with ewb.open_workers(1) as workers:
        end = await Owner(workers, lambda: fail(error())).wait()
        assert isinstance(end.error, error)
        assert await Owner(workers, lambda: 1).wait() == End(1)
        assert workers.statistics().threads == 1


async def test_an_async_function_is_refused() -> None:
    """With a message that says what is wanted; the coroutine is closed."""

    async def wrong() -> None:
        """It is never run."""

    async with ewb.open_workers(1) as workers:
        end = await Owner(workers, wrong).wait()
    assert isinstance(end.error, TypeError)
    assert "name is async: it must be a plain function" in str(end.error)


async def test_an_async_generator_function_is_refused() -> None:
    """As any async function: nothing of it would run."""

    async def wrong() -> AsyncGenerator[bytes]:
        yield b"never made"

    async with ewb.open_workers(1) as workers:
        end = await Owner(workers, wrong).wait()
    assert isinstance(end.error, TypeError)
    assert "name is async: it must be a plain function" in str(end.error)


async def test_a_generator_function_is_refused() -> None:
    """Nothing of it would run, and that be taken for success: the message says what runs it."""
    ran, made = [], []

    def wrong() -> Generator[bytes]:
        ran.append(1)
        yield b"never made"

    def makes() -> Generator[bytes]:
        made.append(wrong())
        return made[0]

    async with ewb.open_workers(1) as workers:
        end = await Owner(workers, makes).wait()
    assert isinstance(end.error, TypeError)
    assert str(end.error) == "name is a generator function: use cookie.produce"
    assert inspect.getgeneratorstate(made[0]) == inspect.GEN_CLOSED
    assert not ran


async def test_a_generator_that_was_begun_is_a_value() -> None:
    """Whoever has taken something of it knows what it is."""

    def begun() -> Generator[bytes]:
        chunks = numbers()
        next(chunks)
        return chunks

    def numbers() -> Generator[bytes]:
        yield b"1"
        yield b"2"

    async with ewb.open_workers(1) as workers:
        end = await Owner(workers, begun).wait()
    assert list(cast("Generator[bytes]", end.result)) == [b"2"]


# -- stopped ---------------------------------------------------------------------------------------


async def test_stopped_while_queued_it_is_never_made() -> None:
    """It is over at once, though no worker was free."""
    gate, made = Gate(), []
    async with ewb.open_workers(1) as workers:
        first = Owner(workers, gate.wait)
        await until(gate.reached.is_set)
        queued = Owner(workers, lambda: made.append(1))
        queued.stop()
        await queued.wait()
        assert workers.statistics().queued == 0
        gate.open()
        await first.wait()
    assert made == []
    assert (queued.called, queued.told_closed) == (0, 1)
    assert first.called == 1


async def test_stopped_while_it_runs_it_is_over_when_the_function_is() -> None:
    """Its value is dropped, and its owner not called."""
    gate = Gate()
    async with ewb.open_workers(1) as workers:
        owner = Owner(workers, gate.wait)
        await until(gate.reached.is_set)
        owner.stop()
        assert not owner.call.finished.is_set()
        gate.open()
        await owner.wait()
        assert (owner.called, owner.told_closed) == (0, 1)
        assert await Owner(workers, lambda: 1).wait() == End(1)


async def test_stopped_when_it_has_ended_and_nobody_knows_yet() -> None:
    """The news is on its way: it is over then, and its owner not called."""
    workers = FakeWorkers()
    owner = Owner(workers, lambda: 1)
    owner.call.run(0)
    owner.stop()
    assert not owner.call.finished.is_set()
    workers.deliver()
    assert owner.call.finished.is_set()
    assert owner.called == 0


async def test_stopped_after_its_end() -> None:
    """That changes nothing."""
    async with ewb.open_workers(1) as workers:
        owner = Owner(workers, lambda: 1)
        await owner.wait()
        owner.stop()
        assert owner.call.end == End(1)
        assert owner.called == 1


async def test_a_stop_of_a_queued_call_and_the_end_of_its_workers() -> None:
    """It is ended by one of the two, not by both."""
    gate, made = Gate(), []
    async with ewb.open_workers(1) as workers:
        Owner(workers, gate.wait)
        await until(gate.reached.is_set)
        queued = Owner(workers, lambda: made.append(1))
        queued.stop()
        gate.open()
    await queued.wait()
    assert made == []
    assert queued.called == 0


# -- its workers end -------------------------------------------------------------------------------


async def test_workers_that_end_wait_for_a_call_that_runs() -> None:
    """Its value still counts."""
    gate = Gate()

    def gated_value() -> str:
        gate.wait()
        return "value"

    async with ewb.open_workers(1) as workers:
        owner = Owner(workers, gated_value)
        await until(gate.reached.is_set)
        trio.lowlevel.current_trio_token().run_sync_soon(gate.open)
    assert await owner.wait() == End("value")
    assert owner.called == 1


async def test_workers_that_end_make_no_call_that_is_queued() -> None:
    """Its owner is told that they are gone."""
    gate, made = Gate(), []
    async with ewb.open_workers(1) as workers:
        Owner(workers, gate.wait)
        await until(gate.reached.is_set)
        queued = Owner(workers, lambda: made.append(1))
        trio.lowlevel.current_trio_token().run_sync_soon(gate.open)
    end = await queued.wait()
    assert isinstance(end.error, trio.BrokenResourceError)
    assert queued.called == 1
    assert made == []


# -- where it runs ---------------------------------------------------------------------------------


async def test_it_runs_in_a_copy_of_the_callers_context() -> None:
    """It sees what is set there, and sets nothing there."""
    number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)
    number.set(7)

    def look_and_set() -> int:
        before = number.get()
        number.set(99)
        return before

    async with ewb.open_workers(1) as workers:
        assert await Owner(workers, look_and_set).wait() == End(7)
        assert await Owner(workers, look_and_set).wait() == End(7)
    assert number.get() == 7


async def test_trio_can_be_called_while_it_runs_and_not_after() -> None:
    """`trio.from_thread` works in it; what it leaves behind on its thread does not reach Trio."""
    async with ewb.open_workers(1) as workers:
        owner = Owner(workers, lambda: trio.from_thread.run_sync(threading.get_ident))
        assert await owner.wait() == End(threading.get_ident())
        owner = Owner(workers, lambda: trio.from_thread.run(trio.sleep, 0))
        assert await owner.wait() == End(None)


async def test_calls_share_workers_with_streams() -> None:
    """A call is made though endless streams are under way on all of them."""

    def endless() -> Iterator[bytes]:
        while True:
            yield b"."
            time.sleep(0)

    async with ewb.open_workers(2) as workers, trio.open_nursery() as nursery:

        async def drain() -> None:
            async with workers.produce(endless) as chunks:
                async for _ in chunks.batches():
                    pass

        for _ in range(4):
            nursery.start_soon(drain)
        await until(lambda: workers.statistics().producers == 4)
        assert await Owner(workers, lambda: 1).wait() == End(1)
        nursery.cancel_scope.cancel()


# -- in statistics ---------------------------------------------------------------------------------


async def test_statistics_name_it_while_it_runs() -> None:
    """As a producer that holds a worker; then it is gone from there."""
    gate = Gate()
    async with ewb.open_workers(1) as workers:
        owner = Owner(workers, gate.wait)
        await until(gate.reached.is_set)
        [running] = workers.statistics().running
        assert running.name == "name"
        assert repr(owner.call) == "<Call of name>"
        assert not owner.call.suspended
        assert owner.call.take() == []
        gate.open()
        await owner.wait()
        await until(lambda: workers.statistics().producers == 0)


async def test_nothing_is_kept_of_a_call_that_is_over() -> None:
    """Neither its function nor its value: an idle worker holds nothing alive."""

    class Value:
        """Something to refer to."""

    refs: list[weakref.ref[Any]] = []

    def make() -> Value:
        value = Value()
        refs.append(weakref.ref(value))
        return value

    async with ewb.open_workers(1) as workers:
        call = Call(workers, make, "name", lambda: None)
        await until(call.finished.is_set)
        await until(lambda: workers.statistics().idle == 1)
        gc.disable()
        try:
            del call
            await until(lambda: refs[0]() is None)
        finally:
            gc.enable()


async def test_what_its_error_leaves_in_its_midst_ends_on_its_worker() -> None:
    """Though its owner keeps the error."""
    ended: list[int] = []

    def lines() -> Iterator[bytes]:
        try:
            yield b"one"
        finally:
            ended.append(threading.get_ident())

    def fails() -> None:
        source = lines()
        raise ValueError(next(source))

    async with ewb.open_workers(1) as workers:
        end = await Owner(workers, fails).wait()
        assert isinstance(end.error, ValueError)
        assert len(ended) == 1
        assert ended != [threading.get_ident()]
