"""The commands of one connection, without I/O: in which order they run and answer, and their bounds."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from contextlib import asynccontextmanager
from enum import Enum, auto
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio

import ewb
from ewb import Order, ProtocolError, Status
from ewb._connection import Connection
from ewb._counters import Counters
from ewb._hooks import Hooks
from ewb._life import State
from ewb._pipeline import Pipeline
from ewb._settings import FrontEndSettings
from ewb._shared import Shared
from ewb._turns import Turns
from ewb._watchdog import Watchdog

from .helpers import GUARD, Gate, Log, fail, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from ewb import Hook, Workers
    from ewb._background import Background

    Cookie: TypeAlias = ewb.Cookie[str, Any]
    Execute: TypeAlias = Callable[[Cookie], Any]

ORDERS = {"s": Order.SERIAL, "o": Order.OVERLAP, "r": Order.REORDER}


class Own(Enum):
    """An engine's own statuses."""

    MISSING = auto()
    LOCKED = auto()


class Words:
    """A protocol whose requests are words; the first letter says how they may run beside others."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self.batches: list[list[bytes]] = []
        self.half_closed = False

    def receive_data(self, data: bytes) -> None:
        """Take words."""
        self.half_closed = not data
        self.waiting.extend(data.decode().split())

    def next_request(self) -> str | None:
        """The next word, unless it is `bad`."""
        if self.waiting and self.waiting[0] == "bad":
            msg = "a bad word"
            raise ProtocolError(msg, b"sorry")
        return self.waiting.popleft() if self.waiting else None

    def order(self, request: str) -> Order:
        """See `ORDERS`."""
        return ORDERS[request[0]]

    def encode_batch(self, request: str, batch: list[bytes]) -> list[bytes]:
        """A message for each chunk."""
        self.batches.append(batch)
        return [request.encode() + b":" + chunk for chunk in batch]

    def encode_end(self, request: str, status: object, reply: object) -> list[bytes]:
        """The status, and the reply."""
        said = status.name if isinstance(status, Enum) else repr(status)
        return [f"{request}={said}{'' if reply is None else f' {reply}'}".encode()]


class Script:
    """An engine whose commands are functions, by their requests; what is not there is OK."""

    def __init__(self, commands: Mapping[str, Execute]) -> None:
        self.commands = commands
        self.executed: list[str] = []
        self.cookies: dict[str, Cookie] = {}

    def execute(self, cookie: Cookie) -> Any:
        """Do what the script says."""
        self.executed.append(cookie.request)
        self.cookies[cookie.request] = cookie
        command = self.commands.get(cookie.request)
        return Status.OK if command is None else command(cookie)


class Bench:
    """A pipeline, and what a session does with it. Woken only when the pipeline says so."""

    def __init__(
        self,
        workers: Workers,
        engine: Script,
        protocol: Words,
        hooks: Sequence[Hook[str, Any]] = (),
        **bounds: int,
    ) -> None:
        self.engine, self.protocol, self.counters = engine, protocol, Counters()
        settings = settings_with(**bounds)
        shared = Shared[str, Any](
            engine=engine,
            workers=workers,
            settings=settings,
            hooks=Hooks(hooks),
            counters=self.counters,
            watchdog=Watchdog(settings),
            turns=Turns(),
        )
        self.workers = workers
        self.per_turn = settings.commands_per_turn
        self.pipeline: Pipeline[str, Any] = Pipeline(protocol, shared, self._wake)
        self.pipeline.connection = Connection(protocol, "a test", self._close, lambda: None)
        self.sent: list[str] = []
        self.most_unsent = 0
        self.woken = False
        self._more = False

    def _wake(self) -> None:
        self.woken = True

    def _close(self) -> None:
        self.pipeline.closing = True
        self._wake()

    def read(self, requests: str) -> None:
        """What the reader does with what it has read."""
        self.pipeline.feed(requests.encode())
        while self.pipeline.advance(self.per_turn) == 0:
            pass
        if self.pipeline.has_something_to_do:
            self._wake()

    def feed(self, requests: str) -> None:
        """Read, and then the owner looks after it."""
        self.read(requests)
        while self.step():
            pass

    def step(self) -> bool:
        """What the owner does between two waits; False if it would wait."""
        if not (self.woken or self._more):
            return False
        self._more = self.pipeline.turn()
        self.woken = False
        self.most_unsent = max(self.most_unsent, self.pipeline.outbox.unsent)
        if out := self.pipeline.outbox.take():
            self.sent += [bytes(buffer).decode() for buffer in out]
            self.pipeline.sent()
            self._more = True
        return True

    async def step_when(self, suspended: int) -> None:
        """The client is slow: the owner's next step comes when so many producers are at high water."""
        await until(lambda: self.workers.statistics().suspended == suspended)
        await until(lambda: self.woken or self._more)
        self.step()

    async def until(self, condition: Callable[[], object]) -> None:
        """Go on until that is so."""
        with trio.fail_after(GUARD):
            while not condition():
                if self.step():
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.sleep(0.0005)

    async def until_sent(self, *messages: str) -> None:
        """Go on until these were sent, whatever else was."""
        await self.until(lambda: set(messages) <= set(self.sent))

    async def until_idle(self) -> None:
        """Go on until all is answered and sent."""
        pipeline = self.pipeline
        await self.until(
            lambda: (
                pipeline.closing
                or (
                    not list(pipeline.commands)
                    and not pipeline.has_something_to_do
                    and pipeline.wants_data
                )
            )
        )

    @property
    def answers(self) -> list[str]:
        """What was sent, without the chunks of streams."""
        return [message for message in self.sent if ":" not in message]

    def cookie(self, request: str) -> Cookie:
        """The cookie of a request that was executed."""
        return self.engine.cookies[request]

    def state(self, request: str) -> State:
        """Where it is."""
        state: State = self.engine.cookies[request].state  # type: ignore[attr-defined]
        return state

    async def leave(self) -> None:
        """The connection is gone."""
        await closed(self.pipeline.drop())


async def closed(left: list[Background]) -> None:
    """Wait until all of it is closed."""
    with trio.fail_after(GUARD):
        for background in left:
            await background.finished.wait()


def settings_with(**bounds: int) -> FrontEndSettings:
    """Bounds that nobody reaches, but for these."""
    wide = {
        "max_connections": 10,
        "max_commands": 1000,
        "max_in_flight": 1000,
        "commands_per_turn": 64,
        "max_unsent": 1 << 20,
        "max_frame": 1 << 20,
    }
    return FrontEndSettings(
        **{**wide, **bounds},
        frame_timeout=inf,
        write_timeout=inf,
        command_timeout=inf,
        idle_timeout=inf,
        half_close_timeout=inf,
    )


@asynccontextmanager
async def open_bench(
    commands: Mapping[str, Execute] | None = None,
    *,
    threads: int = 2,
    protocol: Words | None = None,
    hooks: Sequence[Hook[str, Any]] = (),
    **bounds: int,
) -> AsyncGenerator[Bench]:
    """A pipeline with workers. At the end its connection is gone, and nothing is left of it."""
    async with ewb.open_workers(threads) as workers:
        bench = Bench(workers, Script(commands or {}), protocol or Words(), hooks, **bounds)
        try:
            yield bench
        finally:
            await bench.leave()
        await until(lambda: workers.statistics().producers == 0)
        assert workers.statistics().buffered_bytes == 0
        assert bench.counters.in_flight == 0
        assert not list(bench.pipeline.commands)


def waits(cookie: Cookie) -> Any:
    """Wait for a notify, and answer with what it says."""
    return cookie.status if cookie.resumed else Status.WOULD_BLOCK


def calls(fn: Callable[..., object], *args: Any) -> Execute:
    """A command that makes a blocking call, and replies with its value."""

    def execute(cookie: Cookie) -> Any:
        if cookie.resumed:
            cookie.reply = cookie.result
            return cookie.status
        return cookie.run(fn, *args)

    return execute


def streams(fn: Callable[..., Any], *args: Any, **bounds: Any) -> Execute:
    """A command that streams what a generator yields."""

    def execute(cookie: Cookie) -> Any:
        return cookie.status if cookie.resumed else cookie.produce(fn, *args, **bounds)

    return execute


def letters(some: str) -> Iterator[bytes]:
    """Chunks of a letter each."""
    for letter in some:
        yield letter.encode()


def endless(size: int = 1000) -> Iterator[bytes]:
    """Chunks, for ever."""
    while True:
        yield b"." * size


# -- SERIAL: one after the other -----------------------------------------------------------------


async def test_replies_come_in_the_order_of_requests() -> None:
    """Commands that do not block are answered at once, in order, as few writes as possible."""
    async with open_bench() as bench:
        bench.feed("s1 o2 r3 s4")
        assert bench.sent == ["s1=OK", "o2=OK", "r3=OK", "s4=OK"]
        assert bench.engine.executed == ["s1", "o2", "r3", "s4"]


async def test_a_pipelined_get_sees_what_the_set_before_it_has_set() -> None:
    """`SET k`, `GET k` is right even when SET waits for its commit, whoever notifies it."""
    store: dict[str, str] = {}

    def set_k(cookie: Cookie) -> Any:
        if cookie.resumed:
            store["k"] = "new"
            return cookie.status
        return Status.WOULD_BLOCK

    def get_k(cookie: Cookie) -> Any:
        cookie.reply = store.get("k")
        return Status.OK if "k" in store else Own.MISSING

    async with open_bench({"set": set_k, "sget": get_k, "sset": set_k}) as bench:
        bench.feed("sset sget")
        assert bench.engine.executed == ["sset"]
        bench.cookie("sset").notify()
        await bench.until_sent("sget=OK new")
        assert bench.sent == ["sset=OK", "sget=OK new"]


async def test_no_request_is_pulled_while_a_serial_one_is_under_way() -> None:
    """What the command does to its protocol holds for the next frame: it is not parsed before."""
    async with open_bench({"s1": waits}) as bench:
        bench.feed("s1 s2 o3 r4")
        assert list(bench.protocol.waiting) == ["s2", "o3", "r4"]
        bench.cookie("s1").notify()
        await bench.until_idle()
        assert bench.sent == ["s1=OK", "s2=OK", "o3=OK", "r4=OK"]


@pytest.mark.parametrize("first", ["o1", "r1"])
async def test_a_serial_command_waits_for_all_before_it(first: str) -> None:
    """It starts when they are complete, and holds those behind it meanwhile, and while it runs."""
    async with open_bench({first: waits, "s2": waits}) as bench:
        bench.feed(f"{first} s2 r3")
        assert bench.engine.executed == [first]
        bench.cookie(first).notify()
        await bench.until(lambda: "s2" in bench.engine.executed)
        assert bench.engine.executed == [first, first, "s2"]
        bench.cookie("s2").notify()
        await bench.until_idle()
        assert bench.sent == [f"{first}=OK", "s2=OK", "r3=OK"]


async def test_a_command_that_waits_for_those_before_it_still_runs_when_closing() -> None:
    """It was read before: only what was not read yet is not executed."""
    async with open_bench({"o1": waits}) as bench:
        bench.feed("o1 s2 s3")
        bench.cookie("o1").connection.close()
        bench.cookie("o1").notify()
        await bench.until(lambda: bench.pipeline.is_over)
        assert bench.sent == ["o1=OK", "s2=OK"]


# -- OVERLAP: beside others, answered in order ---------------------------------------------------


async def test_overlapping_commands_run_beside_each_other_and_answer_in_order() -> None:
    """The first one's wait holds no other, but their answers."""
    async with open_bench({"o1": waits, "o2": waits}) as bench:
        bench.feed("o1 o2 o3")
        assert bench.engine.executed == ["o1", "o2", "o3"]
        bench.cookie("o2").notify(Own.LOCKED)
        await bench.until(lambda: bench.state("o2") is State.COMPLETE)
        assert bench.sent == []
        bench.cookie("o1").notify(Own.MISSING)
        await bench.until_idle()
        assert bench.sent == ["o1=MISSING", "o2=LOCKED", "o3=OK"]


async def test_streams_of_overlapping_commands_come_one_after_the_other() -> None:
    """Each one's chunks are just before its end, whoever makes them first."""
    gate = Gate()

    def late() -> Iterator[bytes]:
        gate.wait()
        yield from letters("ab")

    async with open_bench({"o1": streams(late), "o2": streams(letters, "cd")}) as bench:
        bench.feed("o1 o2 o3")
        await bench.until(lambda: gate.reached.is_set() and suspended_or_ended(bench, "o2"))
        assert bench.sent == []
        gate.open()
        await bench.until_idle()
        assert bench.sent == ["o1:a", "o1:b", "o1=OK", "o2:c", "o2:d", "o2=OK", "o3=OK"]


async def test_the_stream_of_a_command_that_is_not_first_stays_in_its_bounded_channel() -> None:
    """Until its turn its producer runs ahead up to its bounds only, and holds no thread then."""
    log = Log()
    commands = {"o1": waits, "o2": streams(log.numbers, 100, max_chunks=3)}
    async with open_bench(commands, threads=1) as bench:
        bench.feed("o1 o2")
        await until(lambda: bench.workers.statistics().suspended == 1)
        assert log.made == 3
        await bench.until(lambda: not bench.pipeline.has_something_to_do)
        assert bench.sent == []
        bench.cookie("o1").notify()
        await bench.until_idle()
        assert bench.sent == ["o1=OK", *[f"o2:{n}" for n in range(100)], "o2='done'"]


async def test_a_call_completes_though_streams_before_it_are_not_answered() -> None:
    """A `run` of a command that is not the first one goes on as far as it can."""
    gate = Gate()

    def late() -> Iterator[bytes]:
        yield b"a"
        gate.wait()

    steps: list[str] = []

    def two_calls(cookie: Cookie) -> Any:
        steps.append(f"{cookie.result}")
        return cookie.run(len, steps) if len(steps) < 3 else Status.OK

    async with open_bench({"o1": streams(late), "o2": two_calls}) as bench:
        bench.feed("o1 o2")
        await bench.until(lambda: bench.engine.executed.count("o2") == 3)
        assert steps == ["None", "1", "2"]
        assert bench.sent == ["o1:a"]
        gate.open()
        await bench.until_idle()
        assert bench.sent == ["o1:a", "o1=OK", "o2=OK"]


async def test_a_stream_without_chunks_completes_before_its_turn() -> None:
    """With nothing to write it need not wait to be the first."""
    async with open_bench({"o1": waits, "o2": streams(letters, "")}) as bench:
        bench.feed("o1 o2")
        await bench.until(lambda: bench.state("o2") is State.COMPLETE)
        bench.cookie("o1").notify()
        await bench.until_idle()
        assert bench.sent == ["o1=OK", "o2=OK"]


async def test_a_command_can_stream_and_wait_and_stream_again_before_its_turn() -> None:
    """All three ways of a command that is not the first one: none is lost, and all come in order."""

    def long(cookie: Cookie) -> Any:
        cookie.stash = (cookie.stash or 0) + 1  # type: ignore[operator]
        if cookie.stash == 1:
            return cookie.run(len, "four")
        if cookie.stash == 2:
            return cookie.produce(letters, "ab")
        if cookie.stash == 3:
            return Status.WOULD_BLOCK
        return cookie.produce(letters, "cd") if cookie.stash == 4 else cookie.status

    async with open_bench({"o1": waits, "o2": long}) as bench:
        bench.feed("o1 o2 o3")
        await bench.until(lambda: suspended_or_ended(bench, "o2") and bench.cookie("o2").stash == 2)
        bench.cookie("o1").notify()
        await bench.until(lambda: bench.cookie("o2").stash == 3)
        assert bench.sent == ["o1=OK", "o2:a", "o2:b"]
        bench.cookie("o2").notify()
        await bench.until_idle()
        assert bench.sent == ["o1=OK", "o2:a", "o2:b", "o2:c", "o2:d", "o2=OK", "o3=OK"]


def suspended_or_ended(bench: Bench, request: str) -> bool:
    """Does its producer do no more now, with its chunks in its channel?"""
    background = bench.engine.cookies[request].background  # type: ignore[attr-defined]
    return background is not None and (background.suspended or background.end is not None)


# -- REORDER: answered when ready ----------------------------------------------------------------


async def test_reordered_commands_are_answered_when_they_are_ready() -> None:
    """Neither do they wait for others, nor others for them."""
    async with open_bench({"r1": waits, "r2": waits, "o3": waits}) as bench:
        bench.feed("r1 r2 o3 o4 r5")
        assert bench.sent == ["r5=OK"]
        bench.cookie("r2").notify()
        await bench.until_sent("r2=OK")
        bench.cookie("o3").notify()
        await bench.until_sent("o4=OK")
        bench.cookie("r1").notify()
        await bench.until_idle()
        assert bench.sent == ["r5=OK", "r2=OK", "o3=OK", "o4=OK", "r1=OK"]


async def test_streams_that_may_be_reordered_are_interleaved_at_whole_messages() -> None:
    """Each one's chunks are in order, whole, and before its end; none holds the others."""
    gates = {"r1": Gate(), "r2": Gate()}

    def stepped(name: str) -> Iterator[bytes]:
        yield b"first"
        gates[name].wait()
        yield b"second"

    async with open_bench({name: streams(stepped, name) for name in gates}) as bench:
        bench.feed("r1 r2")
        await bench.until_sent("r1:first", "r2:first")
        gates["r2"].open()
        await bench.until_sent("r2=OK")
        gates["r1"].open()
        await bench.until_idle()
        assert sorted(bench.sent[:2]) == ["r1:first", "r2:first"]
        assert bench.sent[2:] == ["r2:second", "r2=OK", "r1:second", "r1=OK"]


async def test_chunks_are_encoded_once_a_batch() -> None:
    """All that has come since the last time is encoded together."""
    log = Log()
    async with open_bench({"r1": streams(log.numbers, 1000)}) as bench:
        bench.read("r1")
        await until(lambda: suspended_or_ended(bench, "r1"))
        await bench.until_idle()
        assert sum(map(len, bench.protocol.batches)) == 1000
        assert len(bench.protocol.batches) < 100
        assert all(bench.protocol.batches)


# -- fairness --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("streaming", "per_turn"),
    [
        pytest.param(1, 64, id="batches larger than max_unsent"),
        pytest.param(3, 2, id="more streams than commands per turn"),
    ],
)
async def test_a_short_command_behind_endless_streams_is_answered_soon(
    streaming: int, per_turn: int
) -> None:
    """It waits for a few batches, not for ever, though the streams always have more to write."""
    names = [f"r{n}" for n in range(streaming)]
    commands = dict.fromkeys(names, streams(endless, 1000))
    async with open_bench(commands, threads=streaming, commands_per_turn=per_turn) as bench:
        bench.feed(" ".join(names))
        await bench.until(lambda: len(bench.protocol.batches) >= 5)
        bench.pipeline.feed(b"rshort")  # nobody but the owner has time to start it
        soon = len(bench.protocol.batches) + 50
        while "rshort=OK" not in bench.sent and len(bench.protocol.batches) < soon:
            await bench.step_when(suspended=streaming)
        assert "rshort=OK" in bench.sent


async def test_the_streams_of_a_connection_take_turns() -> None:
    """Of streams that always have more, each gets about as many batches on their way as the others."""
    log: list[str] = []

    class Noting(Words):
        def encode_batch(self, request: str, batch: list[bytes]) -> list[bytes]:
            log.append(request)
            return super().encode_batch(request, batch)

    names = ["r1", "r2", "r3"]
    commands = dict.fromkeys(names, streams(endless, 1000, high_water=10_000))
    async with open_bench(commands, threads=3, protocol=Noting(), max_unsent=1) as bench:
        bench.feed(" ".join(names))
        while len(log) < 60:
            await bench.step_when(suspended=3)
    assert all(log[6:].count(name) >= 12 for name in names), log


async def test_a_turn_starts_so_many_commands_at_most() -> None:
    """After `commands_per_turn` of them, or one more, other connections have their turn."""
    async with open_bench(commands_per_turn=3) as bench:
        bench.pipeline.feed(b" ".join(b"o%d" % n for n in range(50)))
        done = [0]
        while bench.pipeline.turn():
            done.append(len(bench.engine.executed))
        assert all(1 <= after - before <= 4 for before, after in pairwise(done))
        assert len(bench.engine.executed) == 50


async def test_resumed_commands_are_part_of_a_turns_budget() -> None:
    """However many are notified at once, a turn executes so many at most, and says there are more."""
    names = [f"r{n}" for n in range(50)]
    async with open_bench(dict.fromkeys(names, waits), commands_per_turn=3) as bench:
        bench.feed(" ".join(names))
        for name in names:
            bench.cookie(name).notify()
        done = [50]
        while bench.pipeline.turn():
            done.append(len(bench.engine.executed))
        assert all(1 <= after - before <= 4 for before, after in pairwise(done))
        assert len(bench.engine.executed) == 100


@pytest.mark.parametrize("per_turn", [1, 2, 64])
async def test_commands_that_are_ready_are_not_kept_out_by_new_ones(per_turn: int) -> None:
    """However many requests wait to be started, one that was notified is executed again soon."""
    async with open_bench({"r0": waits}, commands_per_turn=per_turn) as bench:
        bench.feed("r0")
        bench.pipeline.feed(b" ".join(b"r%d" % n for n in range(1, 1000)))
        bench.cookie("r0").notify()
        bench.pipeline.turn()
        assert bench.cookie("r0").resumed
        assert len(bench.engine.executed) <= per_turn + 3


# -- bounds ----------------------------------------------------------------------------------------


async def test_no_more_commands_are_read_than_may_be_in_flight() -> None:
    """At `max_commands` the next request stays where it is until one is answered."""
    async with open_bench({"r1": waits, "r2": waits}, max_commands=2) as bench:
        bench.feed("r1 r2 r3 r4")
        assert bench.engine.executed == ["r1", "r2"]
        assert list(bench.protocol.waiting) == ["r3", "r4"]
        bench.cookie("r1").notify()
        await bench.until_sent("r4=OK")
        bench.cookie("r2").notify()
        await bench.until_idle()
        assert bench.answers == ["r1=OK", "r3=OK", "r4=OK", "r2=OK"]


async def test_what_waits_for_its_turn_to_be_answered_is_in_flight() -> None:
    """Commands that are complete, and held by a slow one before them, count for `max_commands`."""
    async with open_bench({"o1": waits}, max_commands=3) as bench:
        bench.feed("o1 o2 o3 o4")
        assert bench.engine.executed == ["o1", "o2", "o3"]
        bench.cookie("o1").notify()
        await bench.until_idle()
        assert bench.sent == ["o1=OK", "o2=OK", "o3=OK", "o4=OK"]


async def test_commands_beyond_max_in_flight_are_answered_busy() -> None:
    """The engine does not see them; their answers keep their places, and later ones run again."""
    async with open_bench({"o1": waits}, max_in_flight=1) as bench:
        bench.feed("o1 o2 r3")
        assert bench.engine.executed == ["o1"]
        assert bench.sent == ["r3=BUSY"]
        bench.cookie("o1").notify()
        await bench.until_idle()
        bench.feed("s4")
        assert bench.sent == ["r3=BUSY", "o1=OK", "o2=BUSY", "s4=OK"]
        assert bench.counters.busy == 2
        assert bench.counters.failed == 0


async def test_a_serial_command_that_is_refused_as_busy_holds_nobody() -> None:
    """Other connections fill the front end: the answer is BUSY, and the next request is read."""
    async with open_bench(max_in_flight=1) as bench:
        bench.counters.in_flight += 1  # of another connection
        bench.feed("s1 s2")
        bench.counters.in_flight -= 1
        bench.feed("s3")
        assert bench.sent == ["s1=BUSY", "s2=BUSY", "s3=OK"]


async def test_a_stream_encoded_as_nothing_waits_until_what_is_before_it_is_sent() -> None:
    """So it waits for its client as that does, and no time limit of its own ends it meanwhile."""

    class Silent(Words):
        def encode_batch(self, request: str, batch: list[bytes]) -> list[bytes]:
            del request, batch
            return []

    async with open_bench({"r1": streams(endless)}, protocol=Silent()) as bench:
        bench.read("r1")
        await until(lambda: bench.workers.statistics().suspended == 1 and bench.woken)
        bench.pipeline.feed(b"r2")
        bench.pipeline.turn()
        assert bench.pipeline.outbox.buffers == [b"r2=OK"]
        (streaming,) = bench.pipeline.commands
        assert bench.pipeline.is_writing(streaming)


async def test_nothing_is_started_while_more_than_max_unsent_waits_to_be_sent() -> None:
    """A client that asks for more than it reads has its requests held, unparsed."""

    def says_much(cookie: Cookie) -> Any:
        cookie.reply = "." * 100
        return Status.OK

    async with open_bench({f"s{n}": says_much for n in range(9)}, max_unsent=250) as bench:
        bench.pipeline.feed(b"s0 s1 s2 s3 s4 s5 s6 s7 s8")
        bench.pipeline.turn()
        assert len(bench.engine.executed) == 3
        bench.pipeline.turn()
        bench.pipeline.advance(64)
        assert len(bench.engine.executed) == 3
        assert bench.pipeline.outbox.unsent < 250 + 110
        bench.woken = True
        await bench.until_idle()
        assert len(bench.sent) == 9
        assert bench.most_unsent < 250 + 110


async def test_streams_stop_at_max_unsent() -> None:
    """What is encoded and not sent is `max_unsent` and one batch at most; the rest is in channels."""
    names = ["r1", "r2", "r3"]
    commands = dict.fromkeys(names, streams(endless, 1000, high_water=10_000))
    async with open_bench(commands, threads=3, max_unsent=15_000) as bench:
        bench.feed(" ".join(names))
        while len(bench.protocol.batches) < 20:
            await bench.step_when(suspended=3)
        assert 15_000 < bench.most_unsent < 15_000 + 11_100


async def test_answers_that_had_to_wait_are_encoded_no_faster_than_they_are_sent() -> None:
    """When a slow command before them is answered at last, `max_unsent` holds for theirs too."""

    def says_much(cookie: Cookie) -> Any:
        cookie.reply = "." * 100
        return Status.OK

    commands: dict[str, Execute] = {f"o{n}": says_much for n in range(1, 50)}
    async with open_bench({"o0": waits, **commands}, max_unsent=250) as bench:
        bench.feed(" ".join(f"o{n}" for n in range(50)))
        bench.cookie("o0").notify()
        await bench.until_idle()
        assert len(bench.sent) == 50
        assert bench.most_unsent < 250 + 110


async def test_a_stream_is_read_again_only_when_its_last_batch_was_sent() -> None:
    """While the client does not read, one batch is on its way and one fills: no more."""
    log = Log()
    async with open_bench({"s1": streams(log.numbers, max_chunks=5)}) as bench:
        bench.read("s1")
        await until(lambda: bench.woken and bench.workers.statistics().suspended == 1)
        bench.pipeline.turn()
        batch = bench.pipeline.outbox.take()
        assert len(batch) == 5
        await until(lambda: bench.workers.statistics().suspended == 1 and log.made == 10)
        bench.pipeline.turn()
        assert bench.pipeline.outbox.take() == []
        bench.pipeline.sent()
        bench.pipeline.turn()
        assert len(bench.pipeline.outbox.take()) == 5
        assert bench.pipeline.outbox.unsent > 0
        bench.pipeline.sent()
        assert bench.pipeline.outbox.unsent == 0
    log.assert_closed()


async def test_a_batch_that_is_encoded_to_nothing_does_not_stop_its_stream() -> None:
    """A quiet command's, or what a compressor keeps for later: the stream goes on, to its end."""

    class Quiet(Words):
        def encode_batch(self, request: str, batch: list[bytes]) -> list[bytes]:
            super().encode_batch(request, batch)
            return []

    async with open_bench({"s1": streams(Log().numbers, 50, max_chunks=5)}, protocol=Quiet()) as bench:
        bench.feed("s1")
        await bench.until_idle()
        assert sum(map(len, bench.protocol.batches)) == 50
        assert bench.sent == ["s1='done'"]


async def test_a_quiet_command_is_answered_with_nothing() -> None:
    """`encode_end` may say nothing: the command is done all the same, and those behind it go on."""

    class Quiet(Words):
        def encode_end(self, request: str, status: object, reply: object) -> list[bytes]:
            return [] if request.endswith("q") else super().encode_end(request, status, reply)

    async with open_bench({"owaitq": waits}, protocol=Quiet()) as bench:
        bench.feed("sq owaitq o2 rq")
        bench.cookie("owaitq").notify()
        await bench.until_idle()
        assert bench.sent == ["o2=OK"]
        assert bench.counters.completed == 4


# -- errors of the protocol ------------------------------------------------------------------------


async def test_bad_bytes_end_it_when_all_before_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    """Earlier commands are completed and answered, then comes the error's reply, then the end."""
    caplog.set_level(logging.INFO, "ewb")
    async with open_bench({"o1": waits}) as bench:
        bench.feed("o1 r2 bad s3")
        bench.feed("s4")
        assert bench.sent == ["r2=OK"]
        assert not bench.pipeline.is_over
        bench.cookie("o1").notify()
        await bench.until(lambda: bench.pipeline.is_over)
        assert bench.sent == ["r2=OK", "o1=OK", "sorry"]
        assert bench.counters.protocol_errors == 1
        assert "a bad word" in caplog.text


async def test_bad_bytes_found_on_arrival_do_not_cost_the_requests_before_them() -> None:
    """A `ProtocolError` of `receive_data` too lets earlier commands be completed and answered."""

    class Eager(Words):
        def receive_data(self, data: bytes) -> None:
            for word in data.decode().split():
                if word == "bad":
                    msg = "a bad word"
                    raise ProtocolError(msg, b"sorry")
                self.waiting.append(word)

    async with open_bench({"s1": waits}, protocol=Eager()) as bench:
        bench.feed("s1 s2")
        bench.feed("s3 bad")
        bench.cookie("s1").notify()
        await bench.until(lambda: bench.pipeline.is_over)
        assert bench.sent == ["s1=OK", "s2=OK", "s3=OK", "sorry"]


async def test_an_error_without_a_reply_ends_it_too() -> None:
    """A protocol that has no words for it just closes."""
    silent = ProtocolError("nonsense")
    async with open_bench() as bench:
        bench.pipeline.refuse(silent)
        assert bench.pipeline.is_over
        assert bench.woken


@pytest.mark.parametrize(
    "method", ["receive_data", "next_request", "order", "encode_batch", "encode_end"]
)
async def test_a_broken_protocol_is_the_sessions_business(method: str) -> None:
    """Its exceptions come out, and what was in flight can be dropped."""
    protocol = Words()
    setattr(protocol, method, lambda *_: fail(KeyError(method)))
    async with open_bench({"r1": streams(letters, "ab")}, protocol=protocol) as bench:

        async def serve() -> None:
            bench.feed("r1 s3")
            await bench.until(lambda: False)

        with pytest.raises(KeyError, match=method):
            await serve()


@pytest.mark.parametrize("method", ["encode_batch", "encode_end"])
async def test_a_protocol_that_gives_one_buffer_for_a_list_is_told_so(method: str) -> None:
    """A likely slip, which would otherwise be an error about numbers."""
    protocol = Words()
    setattr(protocol, method, lambda *_: b"one buffer")
    async with open_bench({"r1": streams(letters, "ab")}, protocol=protocol) as bench:
        said = f"{method} returned b'one buffer': return a list of buffers"
        with pytest.raises(TypeError, match=said):  # noqa: PT012 - in either
            bench.feed("r1")
            await bench.until(lambda: False)


@pytest.mark.parametrize("wrong", [None, "SERIAL", 1, Status.OK])
async def test_an_order_that_is_none_is_told_so(wrong: Any) -> None:
    """It would be taken for SERIAL, which is slow, and seems to work."""
    protocol = Words()
    protocol.order = lambda *_: wrong  # type: ignore[method-assign]  # a mistake
    async with open_bench(protocol=protocol) as bench:
        with pytest.raises(TypeError) as caught:
            bench.feed("r1")
        assert str(caught.value).startswith(f"order returned {wrong!r}: return an Order (")
        assert bench.counters.commands == 0


async def test_an_encode_end_without_its_return_is_told_so() -> None:
    """Else its client would wait for ever, and nobody would know why. It is dropped, not done."""
    protocol = Words()
    protocol.encode_end = lambda *_: None  # type: ignore[assignment, method-assign]  # a mistake
    async with open_bench(protocol=protocol) as bench:
        with pytest.raises(TypeError, match=r"encode_end returned None: .*, \[\] for no answer"):
            bench.feed("r1")
        bench.pipeline.drop()
        assert bench.counters.dropped == 1


# -- errors of the engine --------------------------------------------------------------------------


async def test_an_engine_that_raises_ends_its_command_only(caplog: pytest.LogCaptureFixture) -> None:
    """It fails, the error is logged once with its traceback, and the next command runs."""

    def broken(_: Cookie) -> NoReturn:
        fail(KeyError("a slip"))

    async with open_bench({"s1": broken}) as bench:
        bench.feed("s1 s2")
        assert bench.sent == ["s1=FAILED", "s2=OK"]
        assert bench.counters.failed == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "'s1' failed" in caplog.text
    assert "in broken" in caplog.text
    assert "KeyError: 'a slip'" in caplog.text


async def test_a_request_that_cannot_be_shown_fails_as_any_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its repr raises, when its failure is to be logged: the log names its type."""

    class Word(str):
        __slots__ = ()

        def __repr__(self) -> str:
            return fail(KeyError("half made"))

    def broken(_: Cookie) -> NoReturn:
        fail(KeyError("a slip"))

    protocol = Words()
    async with open_bench({"s1": broken}, protocol=protocol) as bench:
        protocol.waiting.append(Word("s1"))
        bench.feed("s2")
        assert bench.sent == ["s1=FAILED", "s2=OK"]
    assert "<Word, whose repr fails> failed" in caplog.text
    assert "KeyError: 'a slip'" in caplog.text


async def test_an_engine_that_raises_when_resumed_ends_its_command(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As the first time; and what it raised is not its background work's."""

    def broken(cookie: Cookie) -> Any:
        return fail(KeyError("late")) if cookie.resumed else cookie.run(len, "")

    async with open_bench({"s1": broken}) as bench:
        bench.feed("s1 s2")
        await bench.until_idle()
        assert bench.sent == ["s1=FAILED", "s2=OK"]
    assert len(caplog.records) == 1
    assert "in broken" in caplog.text


def plain_coroutine() -> Any:
    """What an `async def execute` returns."""

    async def answer() -> Status:
        return Status.OK

    return answer()


def ask_twice(cookie: Cookie) -> Any:
    """Two at once."""
    cookie.run(len, "")
    return cookie.produce(letters, "ab")


def ask_and_complete(cookie: Cookie) -> Any:
    """Work, and a status."""
    cookie.produce(letters, "ab")
    return Status.OK


def ask_and_return_nothing(cookie: Cookie) -> Any:
    """A `return` is missing."""
    cookie.run(len, "")


def bad_bound(cookie: Cookie) -> Any:
    """No buffer at all."""
    return cookie.produce(letters, "ab", max_chunks=0)


@pytest.mark.parametrize(
    ("misuse", "error", "said"),
    [
        (ask_twice, RuntimeError, "execute asked for letters, and before for len: one at a time"),
        (ask_and_complete, RuntimeError, "execute asked for letters, and returned <Status.OK: 1>"),
        (ask_and_return_nothing, RuntimeError, "execute asked for len, and returned None"),
        (lambda _: None, TypeError, "execute returned None: return a status, or WOULD_BLOCK"),
        (lambda _: plain_coroutine(), TypeError, "execute"),
        (bad_bound, ValueError, "max_chunks must be 1 or more, not 0"),
    ],
    ids=["twice", "and a status", "and nothing", "nothing", "async", "bound"],
)
async def test_misuse_ends_the_command_with_failed_and_nothing_else(
    misuse: Execute, error: type[Exception], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No work is started, the message says what to do instead, and the connection goes on."""
    async with open_bench({"s1": misuse}) as bench:
        bench.feed("s1 s2")
        assert bench.sent == ["s1=FAILED", "s2=OK"]
        raised = bench.cookie("s1").exception
        assert isinstance(raised, error)
        assert said in str(raised)
        assert bench.workers.statistics().producers == 0
        assert bench.protocol.batches == []
    assert len(caplog.records) == 1


async def test_misuse_when_resumed_ends_the_command(caplog: pytest.LogCaptureFixture) -> None:
    """The rules are the same each time that `execute` is called."""

    def forgetful(cookie: Cookie) -> Any:
        return ask_and_complete(cookie) if cookie.resumed else Status.WOULD_BLOCK

    async with open_bench({"s1": forgetful}) as bench:
        bench.feed("s1 s2")
        bench.cookie("s1").notify()
        await bench.until_idle()
        assert bench.sent == ["s1=FAILED", "s2=OK"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_must_not_be_lost_comes_out_of_the_engine(error: type[BaseException]) -> None:
    """A `KeyboardInterrupt` or `SystemExit` of `execute` is not made a status."""
    async with open_bench({"r1": waits, "s2": lambda _: fail(error())}) as bench:
        bench.feed("r1 s2")
        bench.cookie("r1").notify()
        with pytest.raises(error):
            await bench.until(lambda: False)
        assert bench.sent == ["r1=OK"] or not bench.sent


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("way", ["run", "produce"])
async def test_what_must_not_be_lost_comes_out_of_background_work(
    way: str, error: type[BaseException]
) -> None:
    """A `KeyboardInterrupt` or `SystemExit` on a worker is raised in the front end."""

    def interrupted() -> Iterator[bytes]:
        yield b"a"
        raise error

    command = streams(interrupted) if way == "produce" else calls(fail, error())
    async with open_bench({"s1": command}) as bench:
        bench.read("s1")
        with pytest.raises(error):
            await bench.until(lambda: False)
        assert bench.sent == (["s1:a"] if way == "produce" and bench.sent else [])


# -- errors of background work ---------------------------------------------------------------------


def breaks() -> Iterator[bytes]:
    """Two chunks, and an error."""
    yield b"a"
    yield b"b"
    fail(KeyError("worn out"))


async def test_chunks_before_an_error_are_delivered_before_it(caplog: pytest.LogCaptureFixture) -> None:
    """Then `execute` is called with FAILED and the exception; logged once, with its traceback."""
    seen: list[tuple[Any, Any]] = []

    def execute(cookie: Cookie) -> Any:
        if cookie.resumed:
            seen.append((cookie.status, cookie.exception))
            return cookie.status
        return cookie.produce(breaks)

    async with open_bench({"s1": execute}) as bench:
        bench.feed("s1 s2")
        await bench.until_idle()
        assert bench.sent == ["s1:a", "s1:b", "s1=FAILED", "s2=OK"]
    [(status, exception)] = seen
    assert status is Status.FAILED
    assert isinstance(exception, KeyError)
    assert len(caplog.records) == 1
    assert "in breaks" in caplog.text


async def test_a_call_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """`execute` finds FAILED and the exception, and may say so."""
    async with open_bench({"s1": calls(fail, KeyError("worn out"))}) as bench:
        bench.feed("s1 s2")
        await bench.until_idle()
        assert bench.sent == ["s1=FAILED", "s2=OK"]
        assert isinstance(bench.cookie("s1").exception, KeyError)
    assert len(caplog.records) == 1
    assert "in fail" in caplog.text


@pytest.mark.parametrize("work", [streams(breaks), calls(fail, KeyError("worn out"))])
async def test_an_error_that_the_engine_handles_is_not_logged(
    work: Execute, caplog: pytest.LogCaptureFixture
) -> None:
    """It returned another status, so it knows."""

    def handles(cookie: Cookie) -> Any:
        return Own.MISSING if cookie.resumed else work(cookie)

    async with open_bench({"s1": handles}) as bench:
        bench.feed("s1")
        await bench.until_sent("s1=MISSING")
        assert bench.counters.failed == 0
    assert not caplog.records


async def test_a_second_try_that_works_knows_nothing_of_the_first_ones_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a cookie says of its background work is said of the last one."""
    seen: list[tuple[Any, Any, Any]] = []

    def retries(cookie: Cookie) -> Any:
        if not cookie.resumed:
            return cookie.run(fail, KeyError("worn out"))
        seen.append((cookie.status, cookie.exception and type(cookie.exception), cookie.result))
        if len(seen) == 1:
            return cookie.run(len, "four")
        if len(seen) == 2:
            return Status.WOULD_BLOCK
        return Status.FAILED

    async with open_bench({"s1": retries}) as bench:
        bench.feed("s1")
        await bench.until(lambda: len(seen) == 2 and bench.state("s1") is State.PARKED)
        bench.cookie("s1").notify()
        await bench.until_sent("s1=FAILED")
    assert seen[:2] == [(Status.FAILED, KeyError, None), (Status.OK, None, 4)]
    assert seen[2][:2] == (Status.OK, None)
    assert not caplog.records


async def test_workers_that_are_gone_are_a_failure_that_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A command that asks for work after the workers' block was left fails like one whose work did."""
    async with ewb.open_workers(1) as workers:
        commands = {"s1": calls(len, ""), "s2": streams(letters, "ab")}
        bench = Bench(workers, Script(commands), Words(), ())
    bench.feed("s1 s2 s3")
    await bench.until_idle()
    assert bench.sent == ["s1=FAILED", "s2=FAILED", "s3=OK"]
    assert isinstance(bench.cookie("s1").exception, trio.ClosedResourceError)
    assert len(caplog.records) == 2


async def test_workers_that_end_meanwhile_are_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Work that has begun, and work that is queued: what was made is delivered, then both fail."""
    gate = Gate()

    def gated() -> Iterator[bytes]:
        yield b"a"
        gate.wait()
        yield b"b"

    commands = {"r1": streams(gated), "r2": calls(len, ""), "r3": streams(letters, "ab")}
    async with ewb.open_workers(1) as workers:
        bench = Bench(workers, Script(commands), Words(), ())
        bench.feed("r1 r2 r3")
        await until(gate.reached.is_set)
        trio.lowlevel.current_trio_token().run_sync_soon(gate.open)
    await bench.until_idle()
    assert "r1:a" in bench.sent
    assert {"r1=FAILED", "r2=FAILED", "r3=FAILED"} <= set(bench.sent)
    for name in commands:
        assert isinstance(bench.cookie(name).exception, trio.BrokenResourceError)
    assert len(caplog.records) == 3


# -- errors while background work is being closed --------------------------------------------------


class Cursor:
    """An iterator that is no generator, and whose `close` fails."""

    def __init__(self, error: BaseException, rows: int) -> None:
        self._error, self._rows = error, rows

    def __iter__(self) -> Iterator[bytes]:
        """Itself."""
        return self

    def __next__(self) -> bytes:
        """A row."""
        self._rows -= 1
        if self._rows < 0:
            raise StopIteration
        return b"row"

    def close(self) -> NoReturn:
        """As a cursor's whose database is gone."""
        fail(self._error)


async def test_an_error_while_a_cancelled_stream_is_closed_is_logged_soon(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is no longer the command's, but must not be lost: once, with its traceback."""
    async with open_bench(
        {"s1": streams(Cursor, KeyError("no database"), 10**9, max_chunks=2)}
    ) as bench:
        bench.feed("s1")
        await bench.until(lambda: bench.sent)
        bench.cookie("s1").cancel()
        await bench.until_sent("s1=CANCELLED")
        await bench.until(lambda: caplog.records)
    assert len(caplog.records) == 1
    assert "in close" in caplog.text
    assert "no database" in caplog.text


async def test_an_error_while_a_stream_that_has_ended_is_closed_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All of it was delivered, so the command is answered; but somebody has to know."""
    async with open_bench({"s1": streams(Cursor, KeyError("no database"), 3)}) as bench:
        bench.feed("s1")
        await bench.until(lambda: bench.answers)
        assert bench.sent[:3] == ["s1:row"] * 3
        await bench.until(lambda: caplog.records)
    assert len(caplog.records) == 1
    assert "no database" in caplog.text


async def test_what_must_not_be_lost_while_a_stream_is_closed_does_not_hinder_the_end() -> None:
    """A `SystemExit` of a `finally` comes out, but not before all else is dropped, or of a notify."""
    commands = {
        "r1": streams(Cursor, SystemExit(3), 10**9, max_chunks=2),
        "r2": streams(Log().numbers, max_chunks=1),
        "r3": waits,
        "r4": waits,
    }
    async with open_bench(commands) as bench:
        bench.feed("r1 r2 r3 r4")
        await bench.until(lambda: "r1:row" in bench.sent and "r2:0" in bench.sent)
        bench.cookie("r1").cancel()
        await until(lambda: bench.workers.statistics().producers == 1)
        bench.cookie("r2").cancel()
        bench.cookie("r3").cancel()
        bench.cookie("r4").notify()
        with pytest.raises(SystemExit):
            await bench.until(lambda: False)
        left = bench.pipeline.drop()
        assert bench.counters.in_flight == 0
        await closed(left)


# -- its end ---------------------------------------------------------------------------------------


async def test_a_half_closed_connection_answers_all_it_was_asked() -> None:
    """It is over when the last answer is sent, not when the client says it is done."""
    async with open_bench({"o1": waits}) as bench:
        bench.feed("o1 s2 o3")
        bench.feed("")
        assert bench.protocol.half_closed
        assert not bench.pipeline.is_over
        bench.cookie("o1").notify()
        await bench.until(lambda: bench.pipeline.is_over)
        assert bench.sent == ["o1=OK", "s2=OK", "o3=OK"]


async def test_a_closed_connection_reads_no_more_and_answers_what_was_read() -> None:
    """`connection.close()` in `execute`, as QUIT does it: the next request is not executed."""

    def quits(cookie: Cookie) -> Any:
        cookie.connection.close()
        return Status.OK

    async with open_bench({"o1": waits, "o2": quits}) as bench:
        bench.feed("o1 o2 o3")
        bench.feed("o4")
        bench.cookie("o1").notify()
        await bench.until(lambda: bench.pipeline.is_over)
        assert bench.sent == ["o1=OK", "o2=OK"]
        assert bench.engine.executed == ["o1", "o2", "o1"]


async def test_a_lost_connection_drops_its_commands_and_closes_their_work() -> None:
    """Whatever state they are in; and what comes late is ignored."""
    log, gate = Log(), Gate()
    commands = {
        "r1": streams(log.numbers, max_chunks=3),
        "r2": calls(gate.wait),
        "r3": waits,
        "r4": waits,
        "o5": waits,
    }
    async with open_bench(commands, threads=2) as bench:
        bench.read("r1 r2 r3 r4 o5 o6 s7")
        await until(lambda: gate.reached.is_set() and bench.workers.statistics().suspended == 1)
        bench.cookie("r4").notify()
        cookies = list(bench.pipeline.commands)
        states = {cookie.request: cookie.state for cookie in cookies}
        assert states == {
            "r1": State.PARKED,
            "r2": State.PARKED,
            "r3": State.PARKED,
            "r4": State.READY,
            "o5": State.PARKED,
            "o6": State.COMPLETE,
            "s7": State.WAITING,
        }
        left = bench.pipeline.drop()
        for cookie in cookies:
            assert cookie.state is State.DROPPED
            cookie.notify()
            cookie.cancel()
            await trio.to_thread.run_sync(cookie.notify)
            await trio.to_thread.run_sync(cookie.cancel)
        gate.open()
        await closed(left)
        executed = list(bench.engine.executed)
        bench.woken = True
        while bench.step():
            pass
        assert bench.engine.executed == executed
        assert bench.sent == []
        assert bench.counters.dropped == 7
    log.assert_closed()


async def test_a_hook_may_cancel_the_command_whose_first_chunk_it_sees() -> None:
    """Also if its producer has ended by then; it is answered once."""

    class Impatient(ewb.Hook[str, Any]):
        def first_chunk(self, cookie: ewb.Cookie[Any, Any], at: float) -> None:
            cookie.cancel()

    async with open_bench({"s1": streams(lambda: [b"1"])}, hooks=[Impatient()]) as bench:
        bench.feed("s1")
        await bench.until_sent("s1=CANCELLED")
        assert [sent for sent in bench.sent if "=" in sent] == ["s1=CANCELLED"]


async def test_no_producer_of_a_lost_connection_is_still_open_when_all_is_closed() -> None:
    """What was cancelled before, and is still being closed, is waited for as well."""
    gate = Gate()

    def closes_slowly() -> Iterator[bytes]:
        try:
            while True:
                yield b"."
        finally:
            gate.wait()

    async with open_bench({"s1": streams(closes_slowly, max_chunks=1)}) as bench:
        bench.feed("s1")
        await bench.until(lambda: "s1:." in bench.sent)
        bench.cookie("s1").cancel()
        await bench.until_sent("s1=CANCELLED")
        [background] = bench.pipeline.drop()
        await until(gate.reached.is_set)
        assert not background.finished.is_set()
        gate.open()
        await closed([background])


# -- threads ---------------------------------------------------------------------------------------


@pytest.fixture
def _tiny_switch_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_tiny_switch_interval")
async def test_each_command_is_answered_once_however_many_threads_notify_it() -> None:
    """Threads race each other, `execute` and cancellations: nothing is lost, and nothing is double."""
    rounds, names = 20, [f"{order}{n}" for n in range(60) for order in "or"]
    posted: deque[Cookie] = deque()
    stop = threading.Event()
    wrong: list[str] = []
    inside: set[str] = set()

    def busy(cookie: Cookie) -> Any:
        if cookie.request in inside:
            wrong.append(f"{cookie.request} was re-entered")
        inside.add(cookie.request)
        cookie.stash = (cookie.stash or 0) + 1  # type: ignore[operator]
        posted.append(cookie)
        posted.append(cookie)
        inside.remove(cookie.request)
        if cookie.stash < rounds:
            return cookie.run(len, "") if cookie.stash % 5 == 4 else Status.WOULD_BLOCK
        return Status.OK

    def notify() -> None:
        while not stop.is_set():
            try:
                cookie = posted.popleft()
            except IndexError:
                time.sleep(0)
                continue
            cookie.notify()
            if len(cookie.request) % 2:
                cookie.cancel()
            cookie.notify(Own.LOCKED)

    async with open_bench(dict.fromkeys(names, busy), threads=2) as bench:
        threads = [threading.Thread(target=notify) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            bench.feed(" ".join(names))
            await bench.until_idle()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert wrong == []
        assert sorted(bench.sent) == sorted(f"{name}=OK" for name in names)
        in_order = [name for name in names if name[0] == "o"]
        assert [answer[:-3] for answer in bench.sent if answer[0] == "o"] == in_order
        assert bench.counters.resumes == bench.counters.would_blocks == len(names) * (rounds - 1)
