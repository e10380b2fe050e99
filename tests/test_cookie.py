"""A cookie, as an engine sees it: what it may ask for, what it carries, and where its work runs."""

from __future__ import annotations

import contextvars
import threading
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import ewb
from ewb import Cookie, Status
from ewb._connection import Connection
from ewb._life import State

from .helpers import Gate, Log, until
from .test_pipeline import calls, letters, open_bench, streams, waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .test_pipeline import Cookie as AnyCookie

number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)


class Answer(Enum):
    """What a typed engine says."""

    FOUND = auto()
    MISSING = auto()


class TypedEngine:
    """Checked by mypy: requests and statuses are typed through, ewb's own among them."""

    def execute(self, cookie: Cookie[bytes, Answer]) -> Answer | Status:
        """Look up a key, in three ways."""
        if cookie.resumed:
            status: Answer | Status = cookie.status
            return status
        key: bytes = cookie.request
        if key == b"stream":
            return cookie.produce(self.rows, 3, key, high_water=10)
        if key == b"call":
            return cookie.run(self.look_up, key)
        cookie.notify(Answer.FOUND)
        return Status.WOULD_BLOCK

    def rows(self, count: int, key: bytes) -> Iterator[bytes]:
        """Blocking code."""
        for _ in range(count):
            yield key

    def look_up(self, key: bytes) -> int:
        """Blocking code."""
        return len(key)


def test_a_typed_engine_is_one_for_the_type_checker_too() -> None:
    """An engine's own requests and statuses need no cast."""
    engine: ewb.Engine[bytes, Answer] = TypedEngine()
    assert callable(engine.execute)


def test_only_the_front_end_makes_cookies() -> None:
    """It is what one is told, not what one makes."""
    connection = Connection(None, "a test", lambda: None, lambda: None)
    with pytest.raises(TypeError, match="abstract"):
        Cookie("request", connection)  # type: ignore[abstract]


async def test_it_comes_with_its_request_and_its_connection() -> None:
    """All cookies of a connection share that, its protocol and its stash."""
    async with open_bench() as bench:
        bench.feed("s1 s2")
        one, two = bench.cookie("s1"), bench.cookie("s2")
        assert (one.request, two.request) == ("s1", "s2")
        assert one.connection is two.connection is bench.pipeline.connection
        assert one.connection.protocol is bench.protocol


async def test_a_fresh_cookie_has_nothing_yet() -> None:
    """Neither result nor error, reply nor stash; and it was not resumed."""
    seen: list[tuple[Any, ...]] = []

    def look(cookie: AnyCookie) -> Status:
        fields = (cookie.resumed, cookie.result, cookie.exception, cookie.reply, cookie.stash)
        seen.append((*fields, cookie.status))
        return Status.OK

    async with open_bench({"s1": look}) as bench:
        bench.feed("s1")
    assert seen == [(False, None, None, None, None, Status.OK)]


async def test_what_an_engine_keeps_there_stays_until_the_answer() -> None:
    """`stash` is there when it is resumed, and `reply` is what `encode_end` gets."""

    def execute(cookie: AnyCookie) -> Any:
        if not cookie.resumed:
            cookie.stash, cookie.reply = ["kept"], "early"
            return cookie.run(len, "")
        assert cookie.stash == ["kept"]
        return cookie.status

    async with open_bench({"s1": execute}) as bench:
        bench.feed("s1")
        await bench.until_idle()
        assert bench.sent == ["s1=OK early"]


async def test_it_carries_nothing_else() -> None:
    """A misspelt attribute is an error, not a new one."""
    async with open_bench() as bench:
        bench.feed("s1")
        with pytest.raises(AttributeError):
            bench.cookie("s1").replay = "reply"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("bounds", "error", "said"),
    [
        ({"high_water": 0}, ValueError, "high_water must be 1 or more, not 0"),
        ({"high_water": 1.5}, TypeError, "high_water must be a whole number, not 1.5"),
        ({"max_chunks": -1}, ValueError, "max_chunks must be 1 or more, not -1"),
        ({"size": 5}, TypeError, "size must be a function of a chunk, as len is, not 5"),
        ({"same_thread": "no"}, TypeError, "same_thread must be True or False, not 'no'"),
        ({"max_chunks": True}, TypeError, "max_chunks must be a whole number, not True"),
    ],
)
async def test_a_wrong_bound_is_refused_where_it_is_given(
    bounds: dict[str, Any], error: type[Exception], said: str
) -> None:
    """In `execute`, which can still do something else."""

    def careful(cookie: AnyCookie) -> Any:
        if cookie.resumed:
            return cookie.status
        with pytest.raises(error, match=said):
            cookie.produce(letters, "ab", **bounds)
        return cookie.produce(letters, "ab")

    async with open_bench({"s1": careful}) as bench:
        bench.feed("s1")
        await bench.until_idle()
        assert bench.sent == ["s1:a", "s1:b", "s1=OK"]


async def test_work_starts_when_execute_has_returned() -> None:
    """Not while it runs: what it does after asking is done before."""
    log: list[str] = []

    def asks(cookie: AnyCookie) -> Any:
        if cookie.resumed:
            return cookie.status
        status = cookie.run(log.append, "work")
        assert status is Status.WOULD_BLOCK
        threading.Event().wait(0.02)  # if it could begin, it would
        log.append("returned")
        return status

    async with open_bench({"s1": asks}) as bench:
        bench.feed("s1")
        await bench.until_idle()
    assert log == ["returned", "work"]


async def test_producers_obey_the_bounds_that_were_asked_for() -> None:
    """Of chunks, of bytes, and of what `size` says."""
    logs = {"o1": Log(), "o2": Log(), "o3": Log()}
    commands = {
        "o0": waits,
        "o1": streams(logs["o1"].numbers, max_chunks=4),
        "o2": streams(logs["o2"].numbers, high_water=7),
        "o3": streams(logs["o3"].numbers, high_water=50, size=lambda _: 10),
    }
    async with open_bench(commands) as bench:
        bench.feed("o0 o1 o2 o3")
        await until(lambda: bench.workers.statistics().suspended == 3)
        assert [log.made for log in logs.values()] == [4, 7, 5]
        assert all(chunk < 10 for chunk in (log.made for log in logs.values()))


@pytest.mark.parametrize("same_thread", [True, False])
async def test_a_producer_stays_on_its_worker_unless_it_may_not(same_thread: bool) -> None:
    """As thread-bound objects need; asked otherwise, any worker goes on with it."""
    threads: set[int] = set()

    def producer() -> Iterator[bytes]:
        for _ in range(50):
            threads.add(threading.get_ident())
            yield b"."

    async with open_bench(
        {"s1": streams(producer, max_chunks=2, same_thread=same_thread)}, threads=3
    ) as bench:
        bench.feed("s1")
        await bench.until_idle()
        assert len(bench.sent) == 51
    assert threading.get_ident() not in threads
    assert len(threads) == 1 or not same_thread


@pytest.mark.parametrize("fn", [None, 1, letters("ab")])
async def test_what_is_no_function_fails_the_command(fn: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A generator instead of its function, say: the error names what is wrong."""
    async with open_bench({"r1": streams(fn), "r2": calls(fn)}) as bench:
        bench.feed("r1 r2 r3")
        await bench.until_idle()
        assert sorted(bench.sent) == ["r1=FAILED", "r2=FAILED", "r3=OK"]
        for name, asked_by in ("r1", "produce"), ("r2", "run"):
            assert f"{asked_by} needs a function, not" in str(bench.cookie(name).exception)
    assert len(caplog.records) == 2


async def test_an_async_function_fails_the_command(caplog: pytest.LogCaptureFixture) -> None:
    """Workers run blocking code: anything else is refused with a message that says so."""

    async def one() -> int:
        return 1

    async def several() -> Any:
        yield b"."

    async with open_bench({"r1": streams(several), "r2": calls(one), "r3": streams(one)}) as bench:
        bench.feed("r1 r2 r3")
        await bench.until_idle()
        assert sorted(bench.sent) == ["r1=FAILED", "r2=FAILED", "r3=FAILED"]
        for name in ("r1", "r2", "r3"):
            assert "is async" in str(bench.cookie(name).exception)
    assert len(caplog.records) == 3


async def test_keyword_arguments_come_by_partial() -> None:
    """As for Trio's own `to_thread.run_sync`; the name is the function's."""
    gate = Gate()

    def gated(*, word: str) -> str:
        gate.wait()
        return word

    async with open_bench({"s1": calls(partial(gated, word="said"))}) as bench:
        bench.feed("s1")
        await until(gate.reached.is_set)
        [running] = bench.workers.statistics().running
        assert running.name.endswith("gated")
        gate.open()
        await bench.until_idle()
        assert bench.sent == ["s1=OK said"]


# -- contexts and trio.from_thread -----------------------------------------------------------------


def from_a_stream(fn: Callable[[], object], kept: list[Any]) -> Callable[[], Iterator[bytes]]:
    """A producer that calls this between two chunks."""

    def producer() -> Iterator[bytes]:
        yield b"a"
        kept.append(fn())
        yield b"b"

    return producer


@pytest.mark.parametrize("way", ["run", "produce"])
async def test_work_runs_in_a_copy_of_the_context_it_was_asked_in(way: str) -> None:
    """It sees what `execute` has set, and what it sets itself is seen by nobody else."""
    seen: list[int] = []

    def work() -> int:
        seen.append(number.get())
        number.set(99)
        return number.get()

    def execute(cookie: AnyCookie) -> Any:
        if cookie.resumed:
            seen.append(number.get())
            return cookie.status
        number.set(7)
        return cookie.run(work) if way == "run" else cookie.produce(from_a_stream(work, []))

    async with open_bench({"s1": execute}) as bench:
        bench.feed("s1")
        await bench.until_idle()
    assert seen == [7, 7]
    assert number.get() == 0


@pytest.mark.parametrize("way", ["run", "produce"])
async def test_what_execute_sets_is_its_connections(way: str) -> None:
    """Later commands of a connection see it, whichever task runs them; another connection does not."""
    seen: list[int] = []

    def first(cookie: AnyCookie) -> Any:
        if not cookie.resumed:
            return cookie.run(len, "") if way == "run" else cookie.produce(letters, "a")
        number.set(5)
        return cookie.status

    def second(_: AnyCookie) -> Status:
        seen.append(number.get())
        return Status.OK

    async with open_bench({"s1": first, "s2": second}) as bench, open_bench({"s3": second}) as other:
        bench.feed("s1")
        await bench.until_idle()

        async def feed() -> None:
            bench.feed("s2")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
        other.feed("s3")
    assert seen == [5, 0]


@pytest.mark.parametrize("way", ["run", "produce"])
async def test_trio_can_be_called_from_work(way: str) -> None:
    """`trio.from_thread` works in it, and what runs there is on the front end."""
    kept: list[Any] = []

    async def on_the_front_end() -> int:
        await trio.lowlevel.checkpoint()
        return threading.get_ident()

    def work() -> int:
        trio.from_thread.check_cancelled()
        assert trio.from_thread.run_sync(threading.get_ident) == trio.from_thread.run(on_the_front_end)
        return trio.from_thread.run(on_the_front_end)

    command = calls(work) if way == "run" else streams(from_a_stream(work, kept))
    async with open_bench({"s1": command}) as bench:
        bench.feed("s1")
        await bench.until_idle()
        result = bench.cookie("s1").result if way == "run" else kept[0]
        assert result == threading.get_ident()
        assert bench.cookie("s1").status is Status.OK


@pytest.mark.parametrize("way", ["run", "produce"])
@pytest.mark.parametrize("how", ["cancel", "drop"])
async def test_cancelling_reaches_what_work_does_in_trio(way: str, how: str) -> None:
    """A `trio.from_thread` call of a cancelled command raises `Cancelled`; others' go on."""
    log: list[str] = []
    held, others = trio.Event(), Gate()

    async def sleep() -> None:
        held.set()
        try:
            await trio.sleep_forever()
        finally:
            log.append("cancelled")

    def work() -> None:
        trio.from_thread.run(sleep)

    def other() -> str:
        others.wait()
        return trio.from_thread.run_sync(lambda: "untouched")

    command = calls(work) if way == "run" else streams(from_a_stream(work, []))
    async with open_bench({"r1": command, "r2": calls(other)}) as bench:
        bench.feed("r1 r2")
        await bench.until(held.is_set)
        if how == "cancel":
            bench.cookie("r1").cancel()
            await bench.until_sent("r1=CANCELLED")
            others.open()
            await bench.until_sent("r2=OK untouched")
        else:
            bench.pipeline.drop()
            others.open()
        await until(lambda: log == ["cancelled"])
        await until(lambda: bench.workers.statistics().producers == 0)


async def test_a_call_may_ask_if_it_is_still_wanted() -> None:
    """`trio.from_thread.check_cancelled` ends a long call soon after its command was cancelled."""
    gate, log = Gate(), []

    def long() -> None:
        gate.wait()
        try:
            trio.from_thread.check_cancelled()
        except trio.Cancelled:
            log.append("not wanted")
            raise

    async with open_bench({"s1": calls(long)}) as bench:
        bench.feed("s1")
        await until(gate.reached.is_set)
        bench.cookie("s1").cancel()
        await bench.until_sent("s1=CANCELLED")
        gate.open()
        await until(lambda: bench.workers.statistics().producers == 0)
    assert log == ["not wanted"]


async def test_execute_is_never_called_for_a_cookie_that_is_in_it() -> None:
    """Whatever it does meanwhile: notify and cancel itself, and others, end others' waits."""
    inside: list[str] = []

    def wild(cookie: AnyCookie) -> Any:
        assert cookie.request not in inside
        inside.append(cookie.request)
        for other in tuple(bench.engine.cookies.values()):
            other.notify()
            other.cancel()
        cookie.stash = (cookie.stash or 0) + 1  # type: ignore[operator]
        inside.remove(cookie.request)
        return Status.WOULD_BLOCK if cookie.stash < 10 else Status.OK

    async with open_bench({f"r{n}": wild for n in range(10)}) as bench:
        bench.feed(" ".join(bench.engine.commands))
        await bench.until_idle()
        assert sorted(bench.sent) == sorted(f"r{n}=OK" for n in range(10))
        assert all(bench.state(f"r{n}") is State.DONE for n in range(10))
