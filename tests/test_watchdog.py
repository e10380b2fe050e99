"""Time limits of connections, on a clock that the tests move by hand."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ewb import Status
from ewb._settings import FrontEndSettings
from ewb._watchdog import LONGEST, Watchdog

from .helpers import GUARD
from .test_session import Engine, KnownLines, Lines, everything, everything_or_reset, exactly, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from .test_session import Cookie, Server

kinds = pytest.mark.parametrize("kind", ["memory", "tcp"])
protocols = pytest.mark.parametrize("protocol", [Lines, KnownLines])


async def passes(clock: MockClock, seconds: float) -> None:
    """Let so much time pass, and everybody do what that makes them do."""
    until = trio.current_time() + seconds
    while (left := until - trio.current_time()) > 1e-9:
        clock.jump(min(left, 0.05))
        await wait_all_tasks_blocked()


async def settle(condition: Callable[[], object]) -> None:
    """Wait for what a worker does, while time stands still."""
    until = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < until
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def timed(clock: MockClock, kind: str = "memory", **settings: Any) -> AsyncGenerator[Server]:
    """A server whose time stands still until the test says otherwise."""
    async with serving(kind, **settings) as server:
        try:
            yield server
        finally:
            clock.rate = 1.0


async def is_open(server: Server) -> bool:
    """Is the one connection still served, and not about to end?"""
    await wait_all_tasks_blocked()
    return server.front_end.statistics().connections == 1 and not server.engine.disconnected


# -- idle -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "lockstep", "tls"])
async def test_a_client_that_never_says_anything_is_idle(mock_clock: MockClock, kind: str) -> None:
    """It is closed after `idle_timeout`, and not before; over TLS it has not even shaken hands."""
    async with timed(mock_clock, kind, idle_timeout=2) as server, await server.connect() as client:
        await passes(mock_clock, 1.9)
        assert await is_open(server)
        await passes(mock_clock, 0.5)
        if kind == "tls":
            await passes(mock_clock, 2)
            assert server.engine.disconnected
            await trio.aclose_forcefully(client)
        else:
            assert await everything(client) == b""


@kinds
async def test_idle_begins_with_the_last_byte(mock_clock: MockClock, kind: str) -> None:
    """Each request puts it off."""
    async with timed(mock_clock, kind, idle_timeout=2) as server, await server.connect() as client:
        for _ in range(4):
            await client.send_all(b"echo a\n")
            await exactly(client, 12)
            await passes(mock_clock, 1.5)
        assert await is_open(server)
        await passes(mock_clock, 1)
        assert await everything(client) == b""


@kinds
async def test_a_client_with_something_in_flight_is_not_idle(mock_clock: MockClock, kind: str) -> None:
    """It waits for us."""
    async with timed(mock_clock, kind, idle_timeout=1) as server, await server.connect() as client:
        await client.send_all(b"wait k\n")
        await passes(mock_clock, 5)
        assert await is_open(server)
        server.engine.waiting["k"].notify()
        assert await exactly(client, len(b"wait k OK \n")) == b"wait k OK \n"
        await passes(mock_clock, 1.5)
        assert await everything(client) == b""


# -- a frame --------------------------------------------------------------------------------------


@protocols
@pytest.mark.parametrize("before", [b"", b"echo a\n", b"-echo q\n-echo q\n"])
async def test_a_stalled_frame_closes_the_connection(
    mock_clock: MockClock, protocol: type[Lines], before: bytes
) -> None:
    """After `frame_timeout`; without `unparsed`, if a read of its own began it."""
    async with (
        timed(mock_clock, protocol=protocol, frame_timeout=2) as server,
        await server.connect() as client,
    ):
        await client.send_all(before)
        await wait_all_tasks_blocked()
        await passes(mock_clock, 5)  # a client that is idle stalls nothing
        assert await is_open(server)
        await client.send_all(b"ec")
        await passes(mock_clock, 1.9)
        assert await is_open(server)
        await passes(mock_clock, 0.5)
        assert await everything(client) == (b"echo a OK a\n" if before == b"echo a\n" else b"")
        assert server.front_end.statistics().protocol_errors == 1


@kinds
async def test_with_unparsed_a_frame_stalls_that_came_with_others(
    mock_clock: MockClock, kind: str
) -> None:
    """Its beginning came in one read with whole ones."""
    async with timed(mock_clock, kind, frame_timeout=2) as server, await server.connect() as client:
        await client.send_all(b"echo a\nec")
        await passes(mock_clock, 2.5)
        assert await everything(client) == b"echo a OK a\n"


@kinds
async def test_with_unparsed_a_frame_stalls_that_came_while_a_command_was_in_flight(
    mock_clock: MockClock, kind: str
) -> None:
    """The time begins when nothing but the frame is waited for."""
    async with timed(mock_clock, kind, frame_timeout=2) as server, await server.connect() as client:
        await client.send_all(b"wait k\nec")
        await passes(mock_clock, 10)
        assert await is_open(server)
        server.engine.waiting["k"].notify()
        await passes(mock_clock, 1.9)
        assert await is_open(server)
        await passes(mock_clock, 0.5)
        assert await everything(client) == b"wait k OK \n"


@protocols
async def test_a_frame_that_moves_survives(mock_clock: MockClock, protocol: type[Lines]) -> None:
    """64 KiB within each `frame_timeout` are enough, however long it takes."""
    async with (
        timed(mock_clock, protocol=protocol, frame_timeout=2) as server,
        await server.connect() as client,
    ):
        await client.send_all(b"-echo ")
        for _ in range(7):
            await passes(mock_clock, 1.5)
            await client.send_all(b"e" * 65_536)
            await wait_all_tasks_blocked()
        await client.send_all(b"\necho a\n")
        assert await exactly(client, 12) == b"echo a OK a\n"
        await passes(mock_clock, 5)
        assert await is_open(server)


@protocols
async def test_a_frame_that_only_drips_does_not(mock_clock: MockClock, protocol: type[Lines]) -> None:
    """A byte now and then is no progress: it would hold the connection for ever."""
    async with (
        timed(mock_clock, protocol=protocol, frame_timeout=2) as server,
        await server.connect() as client,
    ):
        for _ in range(5):
            await client.send_all(b"e")
            await passes(mock_clock, 0.5)
        assert await everything(client) == b""


@kinds
async def test_after_a_stalled_frame_what_is_in_flight_is_answered(
    mock_clock: MockClock, kind: str
) -> None:
    """Only then the connection is closed."""
    async with timed(mock_clock, kind, frame_timeout=2) as server, await server.connect() as client:
        await client.send_all(b"~wait k\nec")
        await passes(mock_clock, 5)
        assert await is_open(server)
        server.engine.waiting["k"].notify()
        assert await everything(client) == b"~wait k OK \n"


# -- a write --------------------------------------------------------------------------------------


@pytest.mark.parametrize("requests", [b"echo a\n", b"chunks 100\n", b"~wait k\n~chunks 100\n"])
async def test_a_client_that_does_not_read_is_cut_off(mock_clock: MockClock, requests: bytes) -> None:
    """After `write_timeout`; its streams are closed."""
    async with (
        timed(mock_clock, "lockstep", write_timeout=2) as server,
        await server.connect() as client,
    ):
        await client.send_all(requests)
        await settle(lambda: server.front_end.statistics().unsent_bytes)
        await passes(mock_clock, 1.9)
        assert await is_open(server)
        await passes(mock_clock, 0.5)
        await settle(lambda: server.engine.disconnected)
        assert server.front_end.statistics().timed_out == 1
        await everything_or_reset(client)


async def test_a_slow_reader_survives(mock_clock: MockClock) -> None:
    """A little within each `write_timeout` is enough."""
    async with (
        timed(mock_clock, "lockstep", write_timeout=2) as server,
        await server.connect() as client,
    ):
        await client.send_all(b"lines 100000\n")
        await settle(lambda: server.front_end.statistics().unsent_bytes)
        for _ in range(8):
            await exactly(client, 70_000)
            await passes(mock_clock, 1.5)
        rest = 800_000 + len(b"lines 100000 OK \n") - 8 * 70_000
        assert (await exactly(client, rest)).endswith(b"lines 100000 OK \n")


async def test_a_slow_reader_of_large_chunks_is_not_cut_off(mock_clock: MockClock) -> None:
    """Progress is what is read, not whole chunks."""
    async with (
        timed(mock_clock, "lockstep", write_timeout=2) as server,
        await server.connect() as client,
    ):
        await client.send_all(b"big 1000000\n")
        for _ in range(10):
            await exactly(client, 100_000)
            await passes(mock_clock, 1.5)
        assert (await exactly(client, len(b"big 1000000 OK \n"))).endswith(b"x\n")


# -- a command --------------------------------------------------------------------------------------


class SlowEngine(Engine):
    """One of whose commands waits again when its time is up."""

    def execute(self, cookie: Cookie) -> Status:
        """See `Engine`."""
        if cookie.resumed and cookie.request.startswith("again") and len(self.statuses) < 2:
            self.statuses.append(cookie.status)
            return Status.WOULD_BLOCK
        return super().execute(cookie)

    def do_again(self, cookie: Cookie, key: str) -> Status:
        """As `wait`."""
        return self.do_wait(cookie, key)


@kinds
async def test_a_command_without_progress_times_out(mock_clock: MockClock, kind: str) -> None:
    """It is executed again with `TIMED_OUT`, and the connection goes on."""
    async with timed(mock_clock, kind, command_timeout=2) as server, await server.connect() as client:
        await client.send_all(b"wait k\necho a\n")
        await passes(mock_clock, 1.9)
        assert server.engine.statuses == []
        await passes(mock_clock, 0.5)
        expected = b"wait k TIMED_OUT \necho a OK a\n"
        assert await exactly(client, len(expected)) == expected
        assert server.front_end.statistics().timed_out == 1
        server.engine.waiting["k"].notify()  # too late
        assert server.front_end.statistics().ready == 0


async def test_a_command_that_waits_again_has_its_time_again(mock_clock: MockClock) -> None:
    """The engine decides what a lack of progress means."""
    async with (
        timed(mock_clock, engine=SlowEngine(), command_timeout=2) as server,
        await server.connect() as client,
    ):
        await client.send_all(b"again k\n")
        await passes(mock_clock, 4.1)
        assert server.engine.statuses == [Status.TIMED_OUT]
        await passes(mock_clock, 3)
        assert await exactly(client, len(b"again k TIMED_OUT \n")) == b"again k TIMED_OUT \n"
        assert server.engine.statuses == [Status.TIMED_OUT] * 3


@kinds
async def test_a_command_that_waits_for_those_before_it_has_all_its_time(
    mock_clock: MockClock, kind: str
) -> None:
    """Its time begins when it is parked; and when it is complete, its answer may wait."""
    async with timed(mock_clock, kind, command_timeout=2) as server, await server.connect() as client:
        await client.send_all(b"+wait k\n+echo a\nwait l\n")
        await passes(mock_clock, 1.5)
        server.engine.waiting["k"].notify()
        await exactly(client, len(b"+wait k OK \n+echo a OK a\n"))
        await passes(mock_clock, 1.9)
        server.engine.waiting["l"].notify()
        assert await exactly(client, len(b"wait l OK \n")) == b"wait l OK \n"


async def test_waiting_for_the_client_is_no_lack_of_progress(mock_clock: MockClock) -> None:
    """A stream whose client does not read is not timed out for that."""
    async with (
        timed(mock_clock, "lockstep", command_timeout=1, write_timeout=100) as server,
        await server.connect() as client,
    ):
        await client.send_all(b"~lines 300000\n~lines 300000\n")
        await settle(lambda: server.front_end.statistics().suspended == 2)
        await passes(mock_clock, 5)
        assert server.front_end.statistics().timed_out == 0
        size = 2 * (300_000 * 8 + len(b"~lines 300000 OK \n"))
        answer = await exactly(client, size)
        assert b"TIMED_OUT" not in answer


# -- half-closed --------------------------------------------------------------------------------------


@kinds
async def test_a_half_closed_client_is_not_waited_with_for_ever(
    mock_clock: MockClock, kind: str
) -> None:
    """It may be gone: its commands have `half_close_timeout`."""
    async with (
        timed(mock_clock, kind, half_close_timeout=2) as server,
        await server.connect() as client,
    ):
        await client.send_all(b"wait k\n")
        await passes(mock_clock, 5)
        await client.send_eof()
        await passes(mock_clock, 1.9)
        assert await is_open(server)
        await passes(mock_clock, 0.5)
        assert await everything(client) == b""
        now = server.front_end.statistics()
        assert (now.timed_out, now.dropped) == (1, 1)


@kinds
async def test_a_half_closed_client_that_gets_its_answers_in_time(
    mock_clock: MockClock, kind: str
) -> None:
    """Each answer is progress."""
    async with (
        timed(mock_clock, kind, half_close_timeout=2) as server,
        await server.connect() as client,
    ):
        await client.send_all(b"wait a\nwait b\nwait c\n")
        await client.send_eof()
        for key in "abc":
            await passes(mock_clock, 1.5)
            server.engine.waiting[key].notify()
        assert await everything(client) == b"wait a OK \nwait b OK \nwait c OK \n"


@kinds
async def test_a_quiet_command_that_ends_is_progress(mock_clock: MockClock, kind: str) -> None:
    """Though its client gets no byte of it."""
    async with (
        timed(mock_clock, kind, half_close_timeout=2) as server,
        await server.connect() as client,
    ):
        await client.send_all(b"-wait a\n-wait b\n-wait c\n")
        await client.send_eof()
        for key in "abc":
            await passes(mock_clock, 1.5)
            server.engine.waiting[key].notify()
        assert await everything(client) == b""
        now = server.front_end.statistics()
        assert (now.completed, now.dropped, now.timed_out) == (3, 0, 0)


@kinds
async def test_idle_begins_when_a_quiet_command_ends(mock_clock: MockClock, kind: str) -> None:
    """And not with the last byte of its request."""
    async with timed(mock_clock, kind, idle_timeout=2) as server, await server.connect() as client:
        await client.send_all(b"-wait k\n")
        await passes(mock_clock, 5)
        server.engine.waiting["k"].notify()
        await passes(mock_clock, 1.5)
        assert await is_open(server)
        await passes(mock_clock, 1)
        assert await everything(client) == b""


@kinds
@pytest.mark.parametrize("requests", [b"wait k\n", b"~wait k\n", b"echo a\n~wait k\necho held\n"])
async def test_without_time_for_it_a_half_close_is_the_end(
    mock_clock: MockClock, kind: str, requests: bytes
) -> None:
    """With `half_close_timeout=0` commands in flight are dropped, and no time passes until then."""
    async with (
        timed(mock_clock, kind, half_close_timeout=0) as server,
        await server.connect() as client,
    ):
        await client.send_all(requests)
        await settle(lambda: server.engine.waiting)
        await client.send_eof()
        await settle(lambda: server.engine.disconnected)
        assert server.front_end.statistics().dropped >= 1
        await everything_or_reset(client)


async def test_even_then_what_was_answered_is_sent(mock_clock: MockClock) -> None:
    """The command is done: only its answer is on its way, to a client that reads slowly."""
    async with timed(mock_clock, "lockstep", half_close_timeout=0) as server:
        client = await server.connect()
        async with client:
            await client.send_all(b"echo a\nbig 500000\n")
            await wait_all_tasks_blocked()
            await client.send_eof()
            for _ in range(5):
                await exactly(client, 100_000)
                await passes(mock_clock, 1)
            assert (await everything(client)).endswith(b"x\n")


# -- the watchdog itself ----------------------------------------------------------------------------


@kinds
async def test_a_client_that_leaves_during_a_lone_command_is_noticed_soon(
    mock_clock: MockClock, kind: str
) -> None:
    """Though nobody reads meanwhile, at first."""
    async with timed(mock_clock, kind) as server, await server.connect() as client:
        await client.send_all(b"wait k\n")
        await wait_all_tasks_blocked()
        await trio.aclose_forcefully(client)  # of memory streams: that is a half-close
        await passes(mock_clock, 3 * LONGEST)
        (session,) = server.front_end._sessions
        assert session._gone.is_set()
        server.engine.waiting["k"].notify()
        await settle(lambda: server.engine.disconnected)


async def test_idle_connections_cost_nothing(mock_clock: MockClock) -> None:
    """The watchdog sleeps for good when no limit is running, whatever was before."""
    async with timed(mock_clock) as server:
        clients = [await server.connect() for _ in range(3)]
        for client in clients:
            await client.send_all(b"echo a\nadd 1\nlines 3\n")
            await exactly(client, len(b"echo a OK a\nadd 1 OK \nlines 3 OK \n") + 24)
        await passes(mock_clock, 1)
        steps = CountSteps("Watchdog")
        trio.lowlevel.add_instrument(steps)
        await passes(mock_clock, 5)
        trio.lowlevel.remove_instrument(steps)
        assert steps.count == 0
        for client in clients:
            await client.aclose()


class CountSteps(trio.abc.Instrument):
    """Counts the steps of tasks of such a name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by Trio."""
        self.count += self.name in task.name


class Patient:
    """Has a time limit so many times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.checks: list[float] = []

    def check(self, now: float) -> bool:
        """See `Watched`."""
        self.checks.append(now)
        return len(self.checks) < self.times


async def test_it_looks_until_no_limit_is_running(
    mock_clock: MockClock, front_end_settings: FrontEndSettings
) -> None:
    """Often enough for the shortest of the limits; and again when it is told to."""
    watchdog = Watchdog(front_end_settings)
    patient, quick = Patient(3), Patient(1)
    watchdog.watch(patient)
    watchdog.watch(quick)
    await passes(mock_clock, 5)
    assert (len(patient.checks), len(quick.checks)) == (3, 1)
    assert patient.checks[-1] <= 3 * LONGEST + 0.3
    watchdog.watch(quick)
    await passes(mock_clock, 1)
    assert len(quick.checks) == 2
    watchdog.watch(patient)
    watchdog.forget(patient)
    watchdog.forget(patient)
    await passes(mock_clock, 1)
    assert len(patient.checks) == 3


def watchdogs() -> int:
    """Their tasks in this run."""
    count, root = 0, trio.lowlevel.current_root_task()
    tasks = [] if root is None else [root]
    while tasks:
        task = tasks.pop()
        count += "Watchdog" in task.name
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return count


async def test_its_task_ends_with_the_last_it_watches_and_begins_again(
    mock_clock: MockClock, front_end_settings: FrontEndSettings
) -> None:
    """It is there once, however many are watched; who comes just as it ends is watched too."""
    watchdog = Watchdog(front_end_settings)
    assert watchdogs() == 0
    for _ in range(3):
        patient, last = Patient(2), Patient(1)
        watchdog.watch(patient)
        watchdog.watch(last)
        assert watchdogs() == 1
        await wait_all_tasks_blocked()  # it sleeps
        await passes(mock_clock, LONGEST * 1.5)
        assert watchdogs() == 1
        await passes(mock_clock, LONGEST)
        assert watchdogs() == 0
        assert (len(patient.checks), len(last.checks)) == (2, 1)


async def test_who_is_to_be_watched_at_the_last_look_is(
    mock_clock: MockClock, front_end_settings: FrontEndSettings
) -> None:
    """The one that was the last has another one watched, as it is left alone itself."""
    watchdog, heir = Watchdog(front_end_settings), Patient(1)

    class Last:
        def check(self, now: float) -> bool:
            watchdog.watch(heir)
            return False

    watchdog.watch(Last())
    await passes(mock_clock, 3 * LONGEST)
    assert len(heir.checks) == 1
    assert watchdogs() == 0


async def test_front_ends_that_are_over_leave_no_task(mock_clock: MockClock) -> None:
    """A program may make thousands of them in one run: for each connection, say, or each test."""
    for _ in range(3):
        async with timed(mock_clock) as server, await server.connect() as client:
            await client.send_all(b"echo a\n")
            await exactly(client, 12)
        mock_clock.rate = 0.0
    await passes(mock_clock, 2 * LONGEST)
    assert watchdogs() == 0


@pytest.fixture
def front_end_settings() -> FrontEndSettings:
    """All bounds, large."""
    numbers = dict.fromkeys(
        ["max_connections", "max_commands", "max_in_flight", "commands_per_turn"], 1000
    )
    times: dict[str, Any] = dict.fromkeys(
        ["frame_timeout", "write_timeout", "command_timeout", "idle_timeout", "half_close_timeout"],
        60.0,
    )
    return FrontEndSettings(**numbers, max_unsent=1000, max_frame=1000, **times)
