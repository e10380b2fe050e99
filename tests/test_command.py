"""One command's life: the ways to would-block, who may notify or cancel it, and when that counts."""

from __future__ import annotations

import gc
import threading
import weakref
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ewb import Order, Status
from ewb._command import Command
from ewb._connection import Connection
from ewb._life import State

from .helpers import GUARD, Gate, Log, fail, until
from .test_pipeline import Own, calls, endless, letters, open_bench, streams, waits

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from .test_pipeline import Bench, Cookie

WAYS = ("produce", "run", "notify")


# -- the three ways ------------------------------------------------------------------------------


def waits_in(bench: Bench, seen: list[Any], call: int) -> bool:
    """Has its so-many-th call returned, and would block?"""
    return len(seen) == call and bench.state("s1") is State.PARKED


@pytest.mark.parametrize("ways", list(product(WAYS, repeat=3)), ids=" ".join)
async def test_the_ways_to_would_block_may_follow_each_other(ways: tuple[str, ...]) -> None:
    """In any order, any number of times: each one's outcome is there when `execute` is called again."""
    seen: list[tuple[Any, Any, bool]] = []

    def execute(cookie: Cookie) -> Any:
        seen.append((cookie.status, cookie.result, cookie.resumed))
        if len(seen) > len(ways):
            return Own.LOCKED
        way = ways[len(seen) - 1]
        if way == "produce":
            return cookie.produce(letters, "ab")
        return cookie.run(len, "four") if way == "run" else Status.WOULD_BLOCK

    async with open_bench({"s1": execute}) as bench:
        bench.feed("s1 s2")
        for n, way in enumerate(ways):
            if way == "notify":
                await bench.until(partial(waits_in, bench, seen, n + 1))
                bench.cookie("s1").notify(Own.MISSING)
        await bench.until_idle()
        chunks = ["s1:a", "s1:b"] * ways.count("produce")
        assert bench.sent == [*chunks, "s1=LOCKED", "s2=OK"]
    outcome = {
        "produce": (Status.OK, None, True),
        "run": (Status.OK, 4, True),
        "notify": (Own.MISSING, None, True),
    }
    assert seen == [(Status.OK, None, False), *[outcome[way] for way in ways]]


async def test_a_command_may_would_block_very_often() -> None:
    """A thousand calls of one command: nothing piles up, on the stack or elsewhere."""

    def execute(cookie: Cookie) -> Any:
        cookie.stash = (cookie.stash or 0) + 1  # type: ignore[operator]
        cookie.notify()
        return Status.WOULD_BLOCK if cookie.stash < 1000 else Status.OK

    async with open_bench({"s1": execute}) as bench:
        bench.feed("s1")
        await bench.until_sent("s1=OK")
        assert bench.counters.would_blocks == bench.counters.resumes == 999


@pytest.mark.parametrize("status", [*Own, Status.OK, Status.BUSY, "a string", 0, False])
async def test_an_engines_own_statuses_are_passed_through(status: Any) -> None:
    """Whatever it returns at once, is notified of, or has a producer return."""

    def says() -> Generator[bytes, None, Any]:
        yield b"."
        return status

    commands = {"s1": lambda _: status, "s2": waits, "s3": streams(says)}
    async with open_bench(commands) as bench:
        bench.feed("s1 s2 s3")
        bench.cookie("s2").notify(status)
        await bench.until_idle()
        said = getattr(status, "name", repr(status))
        assert bench.answers == [f"s1={said}", f"s2={said}", f"s3={said}"]
        assert bench.cookie("s3").status is status
        assert bench.cookie("s3").result is status


async def test_what_a_call_returns_is_its_result_and_no_status() -> None:
    """Though it looked like one."""
    async with open_bench({"s1": calls(lambda: Status.FAILED)}) as bench:
        bench.feed("s1")
        await bench.until_idle()
        assert bench.sent == ["s1=OK Status.FAILED"]


@pytest.mark.parametrize("way", ["notify", "produce"])
async def test_would_block_is_no_answer(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody may say that what a cookie waits for would block: it would wait for ever."""

    def would_block() -> Generator[bytes, None, Status]:
        yield b"."
        return Status.WOULD_BLOCK

    async with open_bench({"s1": streams(would_block) if way == "produce" else waits}) as bench:
        bench.feed("s1")
        if way == "notify":
            with pytest.raises(ValueError, match="WOULD_BLOCK"):
                bench.cookie("s1").notify(Status.WOULD_BLOCK)
            bench.cookie("s1").notify()
        await bench.until_idle()
        assert bench.answers == ["s1=OK" if way == "notify" else "s1=FAILED"]
    assert len(caplog.records) == (way == "produce")


# -- notify ----------------------------------------------------------------------------------------


def here(call: Callable[[], object]) -> None:
    """On the front end."""
    call()


def in_a_thread(call: Callable[[], object]) -> None:
    """In a thread of the user's that is done before this returns."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


anywhere = pytest.mark.parametrize("where", [here, in_a_thread])


@anywhere
async def test_a_notify_before_execute_has_returned_is_kept(where: Callable[..., None]) -> None:
    """Whoever made it: the command parks, and is executed again at once."""
    seen: list[Any] = []

    def eager(cookie: Cookie) -> Any:
        seen.append((cookie.resumed, cookie.status))
        if cookie.resumed:
            return cookie.status
        where(partial(cookie.notify, Own.MISSING))
        return Status.WOULD_BLOCK

    async with open_bench({"s1": eager}) as bench:
        bench.feed("s1 s2")
        await bench.until_idle()
        assert bench.sent == ["s1=MISSING", "s2=OK"]
    assert seen == [(False, Status.OK), (True, Own.MISSING)]


@anywhere
async def test_the_first_notify_counts(where: Callable[..., None]) -> None:
    """A second one is ignored, whether the first one found the cookie in `execute` or parked."""

    def eager(cookie: Cookie) -> Any:
        if not cookie.resumed:
            where(partial(cookie.notify, Own.MISSING))
            where(partial(cookie.notify, Own.LOCKED))
        return waits(cookie)

    async with open_bench({"o1": eager, "o2": waits}) as bench:
        bench.feed("o1 o2")
        where(partial(bench.cookie("o2").notify, Own.LOCKED))
        where(partial(bench.cookie("o2").notify, Own.MISSING))
        await bench.until_idle()
        assert bench.sent == ["o1=MISSING", "o2=LOCKED"]
        assert bench.engine.executed.count("o1") == 2
        assert bench.engine.executed.count("o2") == 2


@anywhere
async def test_a_second_notify_does_not_count_for_the_next_wait(where: Callable[..., None]) -> None:
    """It was of the wait before: when it is heard, the command waits for something else."""
    heard = trio.Event()

    def twice(cookie: Cookie) -> Any:
        cookie.stash = (cookie.stash or 0) + 1  # type: ignore[operator]
        return Status.WOULD_BLOCK if cookie.stash < 3 else cookie.status

    async with open_bench({"s1": twice}) as bench:
        bench.feed("s1")
        cookie = bench.cookie("s1")
        where(cookie.notify)
        where(partial(cookie.notify, Own.LOCKED))
        where(lambda: bench.pipeline.post(heard.set))
        with trio.fail_after(GUARD):
            await heard.wait()
        await bench.until(lambda: cookie.stash == 2)
        assert bench.state("s1") is State.PARKED
        where(partial(cookie.notify, Own.MISSING))
        await bench.until_idle()
        assert bench.sent == ["s1=MISSING"]


async def test_a_late_notify_of_an_earlier_wait_is_not_taken_for_this_one() -> None:
    """A thread that notified in the first wait, and is heard in the second: nothing happens."""
    held: list[Callable[[], object]] = []

    def twice(cookie: Cookie) -> Any:
        cookie.stash = (cookie.stash or 0) + 1  # type: ignore[operator]
        return Status.WOULD_BLOCK if cookie.stash < 3 else cookie.status

    async with open_bench({"s1": twice}) as bench:
        bench.pipeline.post = held.append  # type: ignore[assignment]
        bench.feed("s1")
        cookie = bench.cookie("s1")
        in_a_thread(partial(cookie.notify, Own.LOCKED))
        cookie.notify()
        await bench.until(lambda: cookie.stash == 2)
        held.pop()()
        assert bench.state("s1") is State.PARKED
        cookie.notify(Own.MISSING)
        await bench.until_sent("s1=MISSING")


@anywhere
@pytest.mark.parametrize("way", ["run", "produce"])
async def test_a_notify_while_work_is_under_way_is_ignored(
    way: str, where: Callable[..., None]
) -> None:
    """Early, meanwhile, or by the work itself: the command waits for what it has asked for."""
    gate, heard = Gate(), trio.Event()
    cookies: list[Cookie] = []

    def work() -> Iterator[bytes]:
        cookies[0].notify(Own.LOCKED)
        gate.wait()
        yield b"."

    def execute(cookie: Cookie) -> Any:
        if cookie.resumed:
            return cookie.status
        cookies.append(cookie)
        where(partial(cookie.notify, Own.LOCKED))
        return cookie.run(list, work()) if way == "run" else cookie.produce(work)

    async with open_bench({"s1": execute}) as bench:
        bench.feed("s1")
        await until(gate.reached.is_set)
        where(partial(cookies[0].notify, Own.LOCKED))
        where(lambda: bench.pipeline.post(heard.set))
        await bench.until(heard.is_set)
        assert bench.state("s1") is State.PARKED
        assert bench.engine.executed == ["s1"]
        gate.open()
        await bench.until_idle()
        assert bench.answers == ["s1=OK"]


@anywhere
@pytest.mark.parametrize("late", ["notify", "cancel"])
async def test_what_comes_after_a_command_is_done_is_ignored(
    late: str, where: Callable[..., None]
) -> None:
    """A cookie that was answered stays as it is, and so do those after it."""
    heard = trio.Event()
    async with open_bench({"s1": waits, "s2": waits}) as bench:
        bench.feed("s1 s2")
        cookie = bench.cookie("s1")
        cookie.notify()
        await bench.until(lambda: "s2" in bench.engine.executed)
        where(getattr(cookie, late))
        where(lambda: bench.pipeline.post(heard.set))
        await bench.until(heard.is_set)
        assert cookie.status is Status.OK
        assert bench.state("s1") is State.DONE
        assert bench.state("s2") is State.PARKED
        assert bench.sent == ["s1=OK"]


@anywhere
@pytest.mark.parametrize("late", ["notify", "cancel"])
async def test_what_comes_after_the_connection_is_gone_is_ignored(
    late: str, where: Callable[..., None]
) -> None:
    """And after its workers are, and the Trio run it was made in."""
    async with open_bench({"s1": waits}) as bench:
        bench.feed("s1")
        cookie = bench.cookie("s1")
    where(getattr(cookie, late))
    await trio.testing.wait_all_tasks_blocked()
    assert bench.state("s1") is State.DROPPED
    assert bench.engine.executed == ["s1"]


def test_a_notify_after_the_run_is_over_is_ignored() -> None:
    """A thread that outlives the server does no harm, and is not told."""
    cookies: list[Cookie] = []

    async def main() -> None:
        async with open_bench({"s1": waits}) as bench:
            bench.feed("s1")
            cookies.append(bench.cookie("s1"))

    trio.run(main)
    in_a_thread(cookies[0].notify)
    in_a_thread(cookies[0].cancel)
    cookies[0].notify()


async def test_one_command_may_notify_others() -> None:
    """From within `execute`, as `set` does for those that `wait`: they follow, none is re-entered."""
    inside: list[str] = []

    def waiter(cookie: Cookie) -> Any:
        inside.append(cookie.request)
        assert len(inside) == 1
        inside.pop()
        return waits(cookie)

    async with open_bench() as bench:

        def notifies(_: Cookie) -> Any:
            inside.append("it")
            for name in ("r1", "r2"):
                bench.cookie(name).notify()
            inside.pop()
            return Status.OK

        bench.engine.commands = {"r1": waiter, "r2": waiter, "r3": notifies}
        bench.feed("r1 r2 r3")
        await bench.until_idle()
        assert bench.sent == ["r3=OK", "r1=OK", "r2=OK"]


# -- cancel ----------------------------------------------------------------------------------------


@anywhere
async def test_cancelling_a_bare_wait_ends_it(where: Callable[..., None]) -> None:
    """`execute` is called again, with CANCELLED; a notify after that is ignored."""
    async with open_bench({"s1": waits}) as bench:
        bench.feed("s1 s2")
        cookie = bench.cookie("s1")
        where(cookie.cancel)
        where(cookie.notify)
        where(cookie.cancel)
        await bench.until_idle()
        assert bench.sent == ["s1=CANCELLED", "s2=OK"]
        assert bench.engine.executed == ["s1", "s1", "s2"]


@anywhere
async def test_cancelling_a_stream_closes_it_and_drops_its_chunks(where: Callable[..., None]) -> None:
    """What was not written yet is not; its producer is closed, on its worker."""
    log = Log()
    commands = {"o1": waits, "o2": streams(log.numbers, max_chunks=3)}
    async with open_bench(commands) as bench:
        bench.feed("o1 o2 o3")
        await until(lambda: bench.workers.statistics().suspended == 1)
        where(bench.cookie("o2").cancel)
        await bench.until(lambda: bench.state("o2") is State.COMPLETE)
        bench.cookie("o1").notify()
        await bench.until_idle()
        assert bench.sent == ["o1=OK", "o2=CANCELLED", "o3=OK"]
    log.assert_closed()


async def test_cancelling_a_stream_that_is_being_written_leaves_what_was_written() -> None:
    """Whole messages went out, and the end says that it was cancelled."""
    async with open_bench({"r1": streams(endless, 10, max_chunks=2)}) as bench:
        bench.feed("r1")
        await bench.until(lambda: bench.sent)
        bench.cookie("r1").cancel()
        await bench.until_idle()
        *chunks, end = bench.sent
        assert end == "r1=CANCELLED"
        assert set(chunks) == {"r1:.........."}


@anywhere
async def test_cancelling_a_call_that_runs_does_not_wait_for_it(where: Callable[..., None]) -> None:
    """A thread cannot be interrupted: its value is dropped when it comes."""
    gate = Gate()
    async with open_bench({"s1": calls(gate.wait)}) as bench:
        bench.feed("s1 s2")
        await until(gate.reached.is_set)
        where(bench.cookie("s1").cancel)
        await bench.until_idle()
        assert bench.sent == ["s1=CANCELLED", "s2=OK"]
        gate.open()
        await until(lambda: bench.workers.statistics().producers == 0)
        assert bench.engine.executed == ["s1", "s1", "s2"]


async def test_cancelling_a_call_that_is_queued_unmakes_it() -> None:
    """It is never made."""
    gate = Gate()
    made: list[int] = []
    async with open_bench({"r1": calls(gate.wait), "r2": calls(made.append, 1)}, threads=1) as bench:
        bench.feed("r1 r2")
        await until(gate.reached.is_set)
        bench.cookie("r2").cancel()
        await bench.until_sent("r2=CANCELLED")
        gate.open()
        await bench.until_idle()
    assert made == []


async def test_cancelling_what_does_not_wait_is_ignored() -> None:
    """In `execute`, ready, or complete: there is nothing to stop."""

    def cancels_itself(cookie: Cookie) -> Any:
        cookie.cancel()
        return waits(cookie)

    async with open_bench({"o1": waits, "o2": cancels_itself, "o3": waits}) as bench:
        bench.feed("o1 o2 o3 o4")
        assert bench.state("o2") is State.PARKED
        ready, complete = bench.cookie("o3"), bench.cookie("o4")
        ready.notify(Own.LOCKED)
        assert bench.state("o3") is State.READY
        ready.cancel()
        complete.cancel()
        assert bench.state("o4") is State.COMPLETE
        bench.cookie("o1").notify()
        bench.cookie("o2").notify()
        await bench.until_idle()
        assert bench.sent == ["o1=OK", "o2=OK", "o3=LOCKED", "o4=OK"]


async def test_a_cancelled_command_may_go_on() -> None:
    """What it does with CANCELLED is the engine's business: here it streams an apology."""

    def stubborn(cookie: Cookie) -> Any:
        if cookie.status is Status.CANCELLED:
            return cookie.produce(letters, "sorry")
        return cookie.status if cookie.resumed else cookie.produce(endless)

    async with open_bench({"o0": waits, "o1": stubborn}) as bench:
        bench.feed("o0 o1")
        bench.cookie("o1").cancel()
        bench.cookie("o0").notify()
        await bench.until_idle()
        assert bench.sent == ["o0=OK", *[f"o1:{letter}" for letter in "sorry"], "o1=OK"]


async def test_one_that_waits_for_its_turn_cannot_be_cancelled() -> None:
    """A hook may have it before it was executed: nothing happens, and it is executed in its turn."""
    async with open_bench({"o1": waits}) as bench:
        bench.feed("o1 s2")
        *_, waiting = bench.pipeline.commands
        assert waiting.state is State.WAITING
        waiting.cancel()
        waiting.notify(Own.LOCKED)
        bench.cookie("o1").notify()
        await bench.until_idle()
        assert bench.sent == ["o1=OK", "s2=OK"]
        assert bench.engine.executed == ["o1", "o1", "s2"]


# -- time limits -----------------------------------------------------------------------------------


async def test_one_that_takes_too_long_is_stopped_as_if_cancelled() -> None:
    """`execute` is called again, with TIMED_OUT, and its work is closed."""
    log = Log()
    async with open_bench({"o0": waits, "o1": streams(log.numbers), "o2": waits}) as bench:
        bench.read("o0 o1 o2 o3")
        await until(lambda: log.opened)
        for command in tuple(bench.pipeline.commands):
            bench.pipeline.time_out(command)
        await bench.until_idle()
        assert bench.sent == ["o0=TIMED_OUT", "o1=TIMED_OUT", "o2=TIMED_OUT", "o3=OK"]
        assert bench.counters.timed_out == 3
    log.assert_closed()


# -- misuse ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["parked", "done", "dropped"])
@pytest.mark.parametrize("ask", ["run", "produce"])
async def test_asking_outside_execute_raises_and_changes_nothing(ask: str, when: str) -> None:
    """The caller is told, and the command goes on as it was."""
    async with open_bench({"s1": waits}) as bench:
        bench.feed("s1")
        cookie = bench.cookie("s1")
        if when == "done":
            cookie.notify()
            await bench.until_idle()
        if when == "dropped":
            bench.pipeline.drop()
        with pytest.raises(RuntimeError, match=f"ask for .*letters within execute, .* {when.upper()}"):
            getattr(cookie, ask)(letters, "ab")
        assert bench.state("s1").name == when.upper()
        cookie.notify()
        await bench.until_idle()
        assert bench.sent == ([] if when == "dropped" else ["s1=OK"])
        assert bench.workers.statistics().producers == 0


async def test_asking_for_another_cookie_fails_the_one_that_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only the cookie in `execute` may ask; the other one goes on waiting."""
    async with open_bench({"r1": waits}) as bench:
        bench.engine.commands = {"r1": waits, "r2": lambda _: bench.cookie("r1").run(len, "")}
        bench.feed("r1 r2")
        assert bench.sent == ["r2=FAILED"]
        assert bench.state("r1") is State.PARKED
        bench.cookie("r1").notify()
        await bench.until_idle()
        assert bench.sent == ["r2=FAILED", "r1=OK"]
    assert len(caplog.records) == 1


async def test_an_engine_may_catch_its_own_misuse() -> None:
    """What it asked for first is still asked for."""

    def careful(cookie: Cookie) -> Any:
        if cookie.resumed:
            cookie.reply = cookie.result
            return cookie.status
        status = cookie.run(len, "four")
        with pytest.raises(RuntimeError, match="one at a time"):
            cookie.produce(letters, "ab")
        return status

    async with open_bench({"s1": careful}) as bench:
        bench.feed("s1")
        await bench.until_idle()
        assert bench.sent == ["s1=OK 4"]


# -- what is left of it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "execute",
    [
        lambda _: Status.OK,
        waits,
        calls(len, ""),
        streams(letters, "ab"),
        lambda cookie: cookie.status if cookie.resumed else cookie.run(fail, KeyError()),
    ],
    ids=["at once", "notify", "run", "produce", "run raises"],
)
async def test_an_answered_command_is_no_garbage_to_collect(execute: Any) -> None:
    """Nothing of ewb's holds it, and it is in no cycle: it goes when the engine lets go of it."""
    async with open_bench({"s1": execute}) as bench:
        gc.collect()
        gc.disable()
        try:
            bench.feed("s1")
            ref = weakref.ref(bench.cookie("s1"))
            bench.cookie("s1").notify()
            await bench.until_idle()
            await until(lambda: bench.workers.statistics().producers == 0)
            bench.engine.cookies.clear()
            await until(lambda: ref() is None)
        finally:
            gc.enable()


async def test_it_says_what_it_is() -> None:
    """Its repr has its state, and what was asked for."""
    host: Any = None
    connection = Connection(None, "a test", lambda: None, lambda: None)
    command: Command[str, Any] = Command("GET k", connection, Order.SERIAL, host)
    assert repr(command) == "<waiting Cookie of 'GET k'>"
    assert command.connection is connection


async def test_a_failed_call_ends_even_one_that_nobody_waits_for() -> None:
    """A cancelled call that raises later is nobody's business any more."""
    gate = Gate()

    def late() -> None:
        gate.wait()
        fail(KeyError("late"))

    async with open_bench({"s1": calls(late)}) as bench:
        bench.feed("s1")
        await until(gate.reached.is_set)
        bench.cookie("s1").cancel()
        await bench.until_sent("s1=CANCELLED")
        gate.open()
        await until(lambda: bench.workers.statistics().producers == 0)
        assert bench.cookie("s1").exception is None
