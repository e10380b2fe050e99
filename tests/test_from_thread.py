"""`trio.from_thread` in producers: it works, and obeys each producer's own block."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from trio import _threads as trio_threads

import ewb
from ewb import _from_thread
from ewb._threads import Threads

from .helpers import GUARD, fail, until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ewb import Workers


async def add_later(one: int, other: int) -> int:
    """An async function like any other."""
    await trio.lowlevel.checkpoint()
    return one + other


async def fail_later(error: Exception) -> None:
    """An async function that fails."""
    await trio.lowlevel.checkpoint()
    raise error


class Sleeper:
    """An async function that sleeps until it is cancelled, and says when it does."""

    def __init__(self) -> None:
        self.asleep = trio.Event()
        self.cancelled = False

    async def sleep(self) -> None:
        """Sleep."""
        self.asleep.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled = True
            raise


# -- that it works ---------------------------------------------------------------------------------


async def test_a_producer_calls_into_trio() -> None:
    """Async and sync functions run on the front end, and their values come back."""

    def rows() -> Generator[object]:
        yield trio.from_thread.run(add_later, 1, 2)
        yield trio.from_thread.run_sync(threading.get_ident)
        trio.from_thread.check_cancelled()
        yield threading.get_ident()

    async with ewb.open_workers(1) as workers, workers.produce(rows, size=lambda _: 1) as chunks:
        assert await chunks.receive() == 3
        assert await chunks.receive() == threading.get_ident()
        assert await chunks.receive() != threading.get_ident()


async def test_a_producer_calls_into_trio_from_wherever_its_code_runs() -> None:
    """In the function before there is a generator, in `size`, in `__next__`, in `close`."""
    called: list[str] = []

    class Rows:
        def __init__(self) -> None:
            trio.from_thread.run_sync(called.append, "function")

        def __iter__(self) -> Rows:
            trio.from_thread.run_sync(called.append, "iter")
            return self

        def __next__(self) -> str:
            trio.from_thread.run_sync(called.append, "next")
            return "row"

        def close(self) -> None:
            trio.from_thread.run_sync(called.append, "close")

    def size(row: str) -> int:
        trio.from_thread.run_sync(called.append, "size")
        return len(row)

    async with ewb.open_workers(1) as workers:
        async with workers.produce(Rows, size=size, max_chunks=1) as chunks:
            await until(lambda: chunks.statistics().suspensions)
        assert called == ["function", "iter", "next", "size", "close"]


async def test_calls_between_many_slices_of_many_producers() -> None:
    """Producers that share a thread and take turns each have their own way into Trio."""

    def rows(number: int) -> Generator[bytes]:
        for value in range(20):
            assert trio.from_thread.run(add_later, number, value) == number + value
            trio.from_thread.check_cancelled()
            yield b"%d" % trio.from_thread.run_sync(add_now, number, value)

    def add_now(one: int, other: int) -> int:
        return one + other

    async def read(workers: Workers, number: int) -> None:
        async with workers.produce(rows, number, max_chunks=2, same_thread=number % 2 == 0) as chunks:
            received = [chunk async for chunk in chunks]
            assert received == [b"%d" % (number + value) for value in range(20)]

    async with ewb.open_workers(2) as workers, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(read, workers, number)


async def test_exceptions_of_the_function_reach_the_producer() -> None:
    """As they were raised; what the producer does with them is its own business."""
    mine = OSError("mine")
    caught_there: list[OSError] = []

    def rows() -> Generator[bytes]:
        try:
            trio.from_thread.run(fail_later, mine)
        except OSError as error:
            caught_there.append(error)
            yield b"caught"
        try:
            trio.from_thread.run_sync(fail, KeyError("sync"))
        except KeyError:
            yield b"caught too"
        trio.from_thread.run(fail_later, mine)

    async with ewb.open_workers(1) as workers, workers.produce(rows) as chunks:
        assert await chunks.receive() == b"caught"
        assert await chunks.receive() == b"caught too"
        with pytest.raises(OSError, match="mine") as caught:
            await chunks.receive()
    assert caught.value is mine
    assert caught_there == [mine]


async def test_what_trio_refuses_is_refused() -> None:
    """A sync function to `run`, or an async one to `run_sync`, is a TypeError as everywhere."""
    no_function: Any = len
    no_sync_function: Any = add_later

    def rows() -> Generator[bytes]:
        with pytest.raises(TypeError):
            trio.from_thread.run(no_function, b"")
        with pytest.raises(TypeError):
            trio.from_thread.run_sync(no_sync_function, 1, 2)
        yield b"refused"

    async with ewb.open_workers(1) as workers, workers.produce(rows) as chunks:
        assert await chunks.receive() == b"refused"


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_context_variables_go_along() -> None:
    """The function sees the producer's variables; what it sets is seen by nobody else."""

    async def see() -> str:
        await trio.lowlevel.checkpoint()
        seen = variable.get()
        variable.set("the function's")
        await trio.lowlevel.checkpoint()
        assert variable.get() == "the function's"
        return seen

    def rows(name: str) -> Generator[str]:
        assert trio.from_thread.run_sync(variable.get) == "the caller's"
        for number in range(3):
            variable.set(f"{name} {number}")
            yield trio.from_thread.run(see)
            assert variable.get() == f"{name} {number}"
            yield trio.from_thread.run_sync(variable.get)

    variable.set("the caller's")
    async with (
        ewb.open_workers(1) as workers,
        workers.produce(rows, "one", size=len, max_chunks=1) as ones,
        workers.produce(rows, "two", size=len, max_chunks=1) as twos,
    ):
        for number in range(3):
            for _ in range(2):
                assert await ones.receive() == f"one {number}"
                assert await twos.receive() == f"two {number}"
    assert variable.get() == "the caller's"


async def test_a_function_may_do_all_that_async_functions_do() -> None:
    """It runs in a task: it can open nurseries, have timeouts, and be long."""

    async def busy() -> list[str]:
        done: list[str] = []

        async def child() -> None:
            await trio.lowlevel.checkpoint()
            done.append("child")

        with trio.fail_after(GUARD):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                nursery.start_soon(child)
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        return done

    def rows() -> list[str]:
        return trio.from_thread.run(busy)

    async with ewb.open_workers(1) as workers, workers.produce(rows, size=len) as chunks:
        assert [chunk async for chunk in chunks] == ["child", "child"]


async def test_a_producer_may_have_a_trio_run_of_its_own() -> None:
    """A run within a producer is its own world; afterwards the way to the front end is open again."""

    async def world() -> list[bytes]:
        async with ewb.open_workers(1) as inner, inner.produce(lambda: [b"inner"]) as chunks:
            return [chunk async for chunk in chunks]

    def rows() -> Generator[bytes]:
        yield from trio.run(world)
        assert trio.from_thread.run(add_later, 1, 1) == 2
        yield b"outer"

    async with ewb.open_workers(1) as workers, workers.produce(rows) as chunks:
        assert [chunk async for chunk in chunks] == [b"inner", b"outer"]


# -- leaving the block ----------------------------------------------------------------------------


async def test_leaving_the_block_cancels_a_call_that_waits() -> None:
    """A producer that sits in `from_thread.run(trio.sleep_forever)` is freed by leaving its block."""
    sleeper, log = Sleeper(), list[str]()

    def rows() -> Generator[bytes]:
        try:
            trio.from_thread.run(sleeper.sleep)
        except trio.Cancelled:
            log.append("cancelled")
            raise
        finally:
            log.append("closed")
        yield b""

    async with ewb.open_workers(1) as workers:
        with trio.fail_after(GUARD):
            async with workers.produce(rows):
                await sleeper.asleep.wait()
        assert sleeper.cancelled
        assert log == ["cancelled", "closed"]


async def test_leaving_the_block_raises_in_check_cancelled() -> None:
    """A producer that asks is told, while its block waits for it, and not before."""
    asked = 0
    log: list[str] = []

    def rows() -> Generator[bytes]:
        nonlocal asked
        try:
            while True:
                trio.from_thread.check_cancelled()
                asked += 1
        except trio.Cancelled:
            log.append("cancelled")
            raise
        yield b""

    async with ewb.open_workers(1) as workers:
        with trio.fail_after(GUARD):
            async with workers.produce(rows):
                await until(lambda: asked > 100)
                assert log == []
        assert log == ["cancelled"]


@pytest.mark.parametrize("way", ["end", "error", "cancel", "aclose"])
async def test_however_the_block_is_left(way: str) -> None:
    """The end, an error, a cancellation: all cancel the call; and so does closing the receiver."""
    sleeper = Sleeper()

    def rows() -> Generator[bytes]:
        yield b"first"
        trio.from_thread.run(sleeper.sleep)

    async def use(workers: Workers) -> None:
        async with workers.produce(rows) as chunks:
            assert await chunks.receive() == b"first"
            await sleeper.asleep.wait()
            if way == "error":
                raise KeyError
            if way == "cancel":
                scope.cancel()
                await trio.lowlevel.checkpoint()
            if way == "aclose":
                await chunks.aclose()
                assert sleeper.cancelled

    async with ewb.open_workers(1) as workers:
        with trio.fail_after(GUARD), trio.CancelScope() as scope:
            if way == "error":
                with pytest.raises(KeyError):
                    await use(workers)
            else:
                await use(workers)
        assert scope.cancelled_caught == (way == "cancel")
        assert sleeper.cancelled
        assert workers.statistics().producers == 0


async def test_no_other_producers_calls_are_cancelled() -> None:
    """Of two that sleep in Trio, only the one whose block is left wakes."""
    sleepers = [Sleeper(), Sleeper()]
    left = [trio.Event(), trio.Event()]

    def rows(number: int) -> Generator[bytes]:
        yield b"first"
        trio.from_thread.run(sleepers[number].sleep)

    async def use(workers: Workers, number: int, until_then: trio.Event) -> None:
        async with workers.produce(rows, number) as chunks:
            await chunks.receive()
            await until_then.wait()
        left[number].set()

    async with ewb.open_workers(2) as workers, trio.open_nursery() as nursery:
        first, second = trio.Event(), trio.Event()
        nursery.start_soon(use, workers, 0, first)
        nursery.start_soon(use, workers, 1, second)
        for sleeper in sleepers:
            await sleeper.asleep.wait()
        first.set()
        with trio.fail_after(GUARD):
            await left[0].wait()
        await trio.testing.wait_all_tasks_blocked()
        assert sleepers[0].cancelled
        assert not sleepers[1].cancelled
        second.set()
        with trio.fail_after(GUARD):
            await left[1].wait()


async def test_producers_of_one_thread_are_cancelled_apart() -> None:
    """A thread that has just closed a cancelled producer does not cancel the next one's calls."""

    def rows() -> Generator[bytes]:
        while True:
            trio.from_thread.check_cancelled()
            yield b"%d" % trio.from_thread.run(add_later, 1, 1)

    async with ewb.open_workers(1) as workers, workers.produce(rows, max_chunks=1) as lasting:
        for _ in range(10):
            async with workers.produce(rows, max_chunks=1) as passing:
                assert await passing.receive() == b"2"
                assert await lasting.receive() == b"2"
            assert await lasting.receive() == b"2"


async def test_a_producer_that_goes_on_is_cancelled_again() -> None:
    """As in any task: whoever swallows a Cancelled gets another one at the next call."""
    sleeper, log = Sleeper(), list[str]()

    def rows() -> Generator[bytes]:
        for call in (
            lambda: trio.from_thread.run(sleeper.sleep),
            lambda: trio.from_thread.run(add_later, 1, 1),
            trio.from_thread.check_cancelled,
        ):
            try:
                call()
            except trio.Cancelled:
                log.append("cancelled")
        yield b"too late"
        log.append("not reached")

    async with ewb.open_workers(1) as workers:
        with trio.fail_after(GUARD):
            async with workers.produce(rows):
                await sleeper.asleep.wait()
    assert log == ["cancelled"] * 3


async def test_finally_of_a_block_that_is_left() -> None:
    """Cleaning up may call sync functions, and async ones that shield themselves, as in any task."""
    log: list[str] = []

    async def say_goodbye() -> str:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        return "shielded"

    def rows() -> Generator[bytes]:
        try:
            while True:
                yield b"chunk"
        finally:
            trio.from_thread.run_sync(log.append, "sync")
            log.append(trio.from_thread.run(say_goodbye))
            try:
                trio.from_thread.run(trio.sleep_forever)
            except trio.Cancelled:
                log.append("cancelled")

    async with ewb.open_workers(1) as workers:
        with trio.fail_after(GUARD):
            async with workers.produce(rows, max_chunks=1) as chunks:
                await chunks.receive()
        assert log == ["sync", "shielded", "cancelled"]


async def test_finally_at_the_producers_own_end() -> None:
    """Nobody is leaving: calls there are like all others."""

    def rows() -> Generator[bytes]:
        try:
            yield b"chunk"
        finally:
            assert trio.from_thread.run(add_later, 1, 1) == 2
            trio.from_thread.check_cancelled()

    async with ewb.open_workers(1) as workers, workers.produce(rows) as chunks:
        assert [chunk async for chunk in chunks] == [b"chunk"]


async def test_being_cancelled_is_no_error() -> None:
    """A Cancelled that goes through the producer, or comes up in its `finally`, ends with its block."""

    def rows() -> Generator[bytes]:
        try:
            yield b"chunk"
            yield b"chunk"
        finally:
            trio.from_thread.run(trio.sleep_forever)

    async with ewb.open_workers(1) as workers:
        async with workers.produce(rows, max_chunks=1) as chunks:
            await chunks.receive()
        assert workers.statistics().producers == 0


@pytest.mark.parametrize("how", ["finally", "except", "except from None", "from another"])
async def test_an_error_while_being_cancelled_is_raised_from_the_block(how: str) -> None:
    """It is an error of cleaning up, like one in the `finally` of a generator that is closed."""
    sleeper = Sleeper()

    def rows() -> Generator[bytes]:
        error = OSError("cannot clean up")
        try:
            trio.from_thread.run(sleeper.sleep)
        except trio.Cancelled:
            if how == "except":
                raise error  # noqa: B904 - that is the question
            if how == "except from None":
                raise error from None
            if how == "from another":
                raise error from KeyError("other")
            raise
        finally:
            if how == "finally":
                fail(error)
        yield b""

    async with ewb.open_workers(1) as workers:
        with pytest.raises(OSError, match="cannot clean up"):
            async with workers.produce(rows):
                await sleeper.asleep.wait()


# -- the workers' block, and what is around it ------------------------------------------------------


class Holder:
    """A task that holds the block of a producer which sleeps in Trio."""

    def __init__(self) -> None:
        self.sleeper = Sleeper()
        self.error: BaseException | None = None
        self.ended = trio.Event()

    def rows(self) -> Generator[bytes]:
        """The producer."""
        yield b"first"
        trio.from_thread.run(self.sleeper.sleep)

    async def hold(self, workers: Workers) -> None:
        """Read it, to whatever end."""
        async with workers.produce(self.rows) as chunks:
            assert await chunks.receive() == b"first"
            try:
                await chunks.receive()
            except Exception as error:  # noqa: BLE001 - that is the question
                self.error = error
            self.ended.set()


async def test_the_end_of_the_workers_cancels_all_calls() -> None:
    """Then the readers elsewhere are told that the workers are gone."""
    holder = Holder()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(GUARD):
            async with ewb.open_workers(1) as workers:
                nursery.start_soon(holder.hold, workers)
                await holder.sleeper.asleep.wait()
        assert holder.sleeper.cancelled
    assert isinstance(holder.error, trio.BrokenResourceError)


async def test_a_cancellation_around_the_workers_is_none_of_a_block() -> None:
    """Until the workers end, a block of another task goes on, and so do its producer's calls."""
    holder = Holder()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with ewb.open_workers(1) as workers:
                nursery.start_soon(holder.hold, workers)
                await holder.sleeper.asleep.wait()
                try:
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.testing.wait_all_tasks_blocked()
                    assert not holder.sleeper.cancelled
                    assert not holder.ended.is_set()
        assert holder.sleeper.cancelled
    assert isinstance(holder.error, trio.BrokenResourceError)


async def test_a_shielded_block_in_a_cancelled_one() -> None:
    """Where a cleanup is shielded, its producers can call into Trio."""
    with trio.CancelScope() as scope:
        async with ewb.open_workers(1) as workers:
            scope.cancel()
            with trio.CancelScope(shield=True):
                async with workers.produce(
                    lambda: [trio.from_thread.run(add_later, 1, 1)], size=lambda _: 1
                ) as chunks:
                    assert await chunks.receive() == 2


async def test_an_error_while_the_workers_end_is_raised_from_the_block() -> None:
    """A call is cancelled by it, the producer fails to clean up: its block says so, read or not."""
    sleeper, opened, left = Sleeper(), trio.Event(), trio.Event()

    def rows() -> Generator[bytes]:
        try:
            trio.from_thread.run(sleeper.sleep)
        finally:
            fail(OSError("cannot clean up"))
        yield b""

    async def hold(workers: Workers) -> None:
        with pytest.raises(OSError, match="cannot clean up"):  # noqa: PT012 - the block is meant
            async with workers.produce(rows):
                opened.set()
                await left.wait()

    async with trio.open_nursery() as nursery:
        async with ewb.open_workers(1) as workers:
            nursery.start_soon(hold, workers)
            await sleeper.asleep.wait()
        left.set()


# -- producers within producers' calls -------------------------------------------------------------


def inner_rows(number: int, log: list[str]) -> Generator[bytes]:
    """An endless producer that calls into Trio itself."""
    try:
        while True:
            yield b"%d" % trio.from_thread.run(add_later, number, 1)
    finally:
        log.append(f"inner {number}")


async def test_a_call_may_use_other_producers() -> None:
    """What runs in Trio for a producer may produce, and what comes of that goes to the first."""
    log: list[str] = []

    async def take(workers: Workers, number: int) -> bytes:
        async with workers.produce(inner_rows, number, log, max_chunks=2) as chunks:
            return b",".join([await chunks.receive() for _ in range(5)])

    def outer(workers: Workers) -> Generator[bytes]:
        for number in range(3):
            yield trio.from_thread.run(take, workers, number)

    async with ewb.open_workers(2) as workers, workers.produce(outer, workers) as chunks:
        received = [chunk async for chunk in chunks]
    assert received == [b"1,1,1,1,1", b"2,2,2,2,2", b"3,3,3,3,3"]
    assert log == ["inner 0", "inner 1", "inner 2"]


async def test_leaving_the_outer_block_closes_the_inner_ones() -> None:
    """A cancellation goes down through all of them, and each is closed before the one around it."""
    log: list[str] = []
    asleep = trio.Event()

    async def nest(workers: Workers, depth: int) -> None:
        if depth == 3:
            asleep.set()
            await trio.sleep_forever()
        async with workers.produce(nested, workers, depth + 1) as chunks:
            await chunks.receive()

    def nested(workers: Workers, depth: int) -> Generator[bytes]:
        try:
            trio.from_thread.run(nest, workers, depth)
            yield b""
        finally:
            log.append(f"closed {depth}")

    async with ewb.open_workers(4) as workers:
        with trio.fail_after(GUARD):
            async with workers.produce(nested, workers, 0):
                await asleep.wait()
        assert log == ["closed 3", "closed 2", "closed 1", "closed 0"]


async def test_an_error_comes_up_through_the_calls() -> None:
    """From the innermost producer through all readers and calls to the outermost reader."""

    async def nest(workers: Workers, depth: int) -> None:
        async with workers.produce(nested, workers, depth + 1) as chunks:
            await chunks.receive()

    def nested(workers: Workers, depth: int) -> Generator[bytes]:
        if depth == 3:
            fail(OSError("innermost"))
        trio.from_thread.run(nest, workers, depth)
        yield b""

    async with ewb.open_workers(4) as workers, workers.produce(nested, workers, 0) as chunks:
        with pytest.raises(OSError, match="innermost"):
            await chunks.receive()


@pytest.mark.timeout(GUARD)
async def test_an_inner_producer_that_no_thread_is_left_for() -> None:
    """The one thread waits in the outer one's call: leaving the block solves it."""
    waiting = trio.Event()

    async def take(workers: Workers) -> None:
        async with workers.produce(inner_rows, 1, []) as chunks:
            waiting.set()
            await chunks.receive()

    def outer(workers: Workers) -> Generator[bytes]:
        trio.from_thread.run(take, workers)
        yield b""

    async with ewb.open_workers(1) as workers:
        with trio.fail_after(GUARD):
            async with workers.produce(outer, workers):
                await waiting.wait()
                await trio.testing.wait_all_tasks_blocked()
                assert workers.statistics().queued == 1


# -- threads that are not ours ---------------------------------------------------------------------


async def test_a_plain_thread_has_no_access() -> None:
    """A thread that a producer starts is none of Trio's, as everywhere."""
    said: list[str] = []

    def plain() -> None:
        for call in (
            lambda: trio.from_thread.run(add_later, 1, 1),
            lambda: trio.from_thread.run_sync(len, b""),
            trio.from_thread.check_cancelled,
        ):
            with pytest.raises(RuntimeError, match="this thread wasn't created by Trio"):
                call()
            said.append("no")

    def rows() -> Generator[bytes]:
        thread = threading.Thread(target=plain)
        thread.start()
        thread.join()
        yield b"done"

    async with ewb.open_workers(1) as workers, workers.produce(rows) as chunks:
        assert await chunks.receive() == b"done"
    assert said == ["no"] * 3


async def test_a_plain_thread_with_a_token_has_access() -> None:
    """And so has a producer that names one: then it is not bound to its block."""
    token = trio.lowlevel.current_trio_token()

    def rows() -> Generator[int]:
        yield trio.from_thread.run(add_later, 1, 1, trio_token=token)
        yield trio.from_thread.run_sync(threading.get_ident, trio_token=token)

    async with ewb.open_workers(1) as workers, workers.produce(rows, size=lambda _: 1) as chunks:
        assert [chunk async for chunk in chunks] == [2, threading.get_ident()]


async def test_threads_of_trio_are_as_before() -> None:
    """Threads that were workers go back to Trio's cache, and serve `to_thread.run_sync` as ever."""

    def in_thread() -> int:
        trio.from_thread.check_cancelled()
        return trio.from_thread.run(add_later, 1, 1)

    def cancelled_in_thread() -> None:
        trio.from_thread.run(sleeper.sleep)

    def rows() -> Generator[int]:
        while True:
            yield in_thread()

    async with ewb.open_workers(3) as workers:
        async with workers.produce(rows, size=lambda _: 1, max_chunks=3) as chunks:
            await chunks.receive()
        assert await trio.to_thread.run_sync(in_thread) == 2
    for _ in range(5):
        assert await trio.to_thread.run_sync(in_thread) == 2
    sleeper = Sleeper()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, cancelled_in_thread)
        await sleeper.asleep.wait()
        nursery.cancel_scope.cancel()
    assert sleeper.cancelled


@pytest.mark.timeout(GUARD)
@pytest.mark.parametrize("called", [True, False])
async def test_between_producers_nobody_has_access(
    monkeypatch: pytest.MonkeyPatch, *, called: bool
) -> None:
    """A `__del__` that the collector runs on an idle worker is nobody's: it is told, nothing hangs."""
    told: list[str] = []
    done = Threads._done

    def done_and_collected(threads: Threads, worker: Any, producer: Any, *, again: bool) -> None:
        done(threads, worker, producer, again=again)
        if producer.ended:
            with contextlib.suppress(RuntimeError):
                trio.from_thread.check_cancelled()
            with pytest.raises(RuntimeError):  # RunFinishedError is one
                trio.from_thread.run_sync(len, b"")
            told.append("no")

    def rows() -> Generator[bytes]:
        if called:
            trio.from_thread.run_sync(len, b"")
        yield b"chunk"

    monkeypatch.setattr(Threads, "_done", done_and_collected)
    async with ewb.open_workers(1) as workers:
        async with workers.produce(rows) as chunks:
            assert [chunk async for chunk in chunks] == [b"chunk"]
        await until(lambda: workers.statistics().idle == 1)
    assert told == ["no"]


# -- what is relied on, of what is private to Trio ---------------------------------------------------


async def test_pinned_the_data_of_a_thread() -> None:
    """`to_thread.run_sync` gives its thread these four attributes, and no other."""
    data = await trio.to_thread.run_sync(lambda: dict(trio_threads.PARENT_TASK_DATA.__dict__))
    assert set(data) == {"token", "abandon_on_cancel", "cancel_register", "task_register"}
    assert data["token"] is trio.lowlevel.current_trio_token()
    assert data["abandon_on_cancel"] is False
    assert data["cancel_register"] == [None]
    assert data["task_register"] == [trio.lowlevel.current_task()]
    assert not trio_threads.PARENT_TASK_DATA.__dict__, "it is thread-local"


class FakeToken:
    """All that is used of a token in a producer's thread."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []
        self.task: trio.lowlevel.Task | None = None
        self.registers: list[int] = []

    def run_sync_soon(self, *args: Any, **kwargs: Any) -> None:
        """Called with one function that takes nothing, and with nothing else."""
        assert not kwargs
        (call,) = args
        self.calls.append(call)

    def __getitem__(self, index: int) -> trio.lowlevel.Task | None:
        """As a register, it is asked for its first item only."""
        self.registers.append(index)
        return self.task


@pytest.mark.parametrize("kind", ["Run", "RunSync"])
async def test_pinned_the_way_of_a_call(kind: str) -> None:
    """A call posts one function, which reschedules the registered task with a message that runs it."""
    fake = FakeToken()
    results: list[object] = []

    def thread() -> None:
        data: Any = trio_threads.PARENT_TASK_DATA
        data.token, data.abandon_on_cancel, data.task_register = fake, False, fake
        if kind == "Run":
            results.append(trio.from_thread.run(add_later, 1, 2))
        else:
            results.append(trio.from_thread.run_sync(max, 3, 2))

    plain = threading.Thread(target=thread)
    plain.start()
    await until(lambda: fake.calls)
    fake.task = trio.lowlevel.current_task()
    (call,) = fake.calls
    call()
    message = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
    assert fake.registers == [0]
    assert type(message).__name__ == kind
    if isinstance(message, trio_threads.Run):
        await message.run()
    else:
        assert isinstance(message, trio_threads.RunSync)
        assert message.run_sync() is None  # type: ignore[func-returns-value]  # pinned
    plain.join(GUARD)
    assert results == [3]


def test_pinned_the_way_of_check_cancelled() -> None:
    """It asks the register for its first item, and calls that if it is not None."""
    asked: list[object] = []

    class Register:
        def __init__(self, answer: Callable[[], None] | None) -> None:
            self.answer = answer

        def __getitem__(self, index: int) -> Callable[[], None] | None:
            asked.append(index)
            return self.answer

    def thread() -> None:
        data: Any = trio_threads.PARENT_TASK_DATA
        data.cancel_register = Register(None)
        trio.from_thread.check_cancelled()
        data.cancel_register = Register(lambda: asked.append("called"))
        trio.from_thread.check_cancelled()

    plain = threading.Thread(target=thread)
    plain.start()
    plain.join(GUARD)
    assert asked == [0, 0, "called"]


async def test_an_interrupt_comes_between_the_messages_of_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Ctrl-C finds what the task runs for the thread, or waits: no message is lost."""
    waits: list[bool] = []

    async def noted(abort: Callable[[Any], Any]) -> Any:
        waits.append(trio.lowlevel.currently_ki_protected())
        return await trio.lowlevel.wait_task_rescheduled(abort)

    monkeypatch.setattr(_from_thread, "wait_task_rescheduled", noted)

    def producer() -> Generator[bool]:
        yield trio.from_thread.run_sync(trio.lowlevel.currently_ki_protected)
        yield trio.from_thread.run(protected)

    async def protected() -> bool:
        await trio.lowlevel.checkpoint()
        return trio.lowlevel.currently_ki_protected()

    async with ewb.open_workers(1) as workers, workers.produce(producer, size=int) as chunks:
        assert [chunk async for chunk in chunks] == [False, False]
    assert len(waits) == 3
    assert all(waits)
