"""The backstop: who waits moderately is looked after when that time is over."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from ewb._backstop import Backstop, current_backstop, time_is_real
from ewb._clock import clock

GUARD = 20  # seconds: only a bug takes so long
SOON, LATER, NEVER = 0.01, 0.03, 3600.0


class Waiting:
    """Stands for a channel whose reader waits."""

    def __init__(self, log: list[str], name: str) -> None:
        self.was_overdue = trio.Event()
        self.at = 0.0
        self._log, self._name = log, name

    def overdue(self) -> None:
        """Its time is over."""
        self.at = clock()
        self._log.append(self._name)
        self.was_overdue.set()


class Bench:
    """A backstop, and channels that are told apart by their names."""

    def __init__(self) -> None:
        self.backstop = current_backstop()
        self.log: list[str] = []
        self.channels: dict[str, Waiting] = {}

    def watch(self, name: str, seconds: float) -> Any:
        """Have it watched from now on."""
        channel: Any = self.channels.setdefault(name, Waiting(self.log, name))
        self.backstop.watch(channel, clock() + seconds)
        return channel

    async def wait(self, name: str) -> None:
        """Wait until it was overdue."""
        with trio.fail_after(GUARD):
            await self.channels[name].was_overdue.wait()


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_a_run_has_one_backstop() -> None:
    """One task looks after all channels of a run."""
    assert current_backstop() is current_backstop()


def test_each_run_has_its_own() -> None:
    """A backstop is not used for another run than its own."""

    async def backstop() -> Backstop:
        return current_backstop()

    assert trio.run(backstop) is not trio.run(backstop)


async def test_looks_after_who_waits_at_the_end_of_the_interval(bench: Bench) -> None:
    """A channel is overdue at its deadline, not before, and once."""
    deadline = clock() + SOON
    bench.watch("a", SOON)
    await bench.wait("a")
    assert bench.channels["a"].at >= deadline
    bench.watch("b", SOON)
    await bench.wait("b")
    assert bench.log == ["a", "b"]


async def test_a_deadline_that_has_passed_is_due_now(bench: Bench) -> None:
    """A channel that is watched too late is looked after all the same."""
    bench.watch("late", -1.0)
    await bench.wait("late")


async def test_who_is_forgotten_is_left_alone(bench: Bench) -> None:
    """A reader that was woken before its time is not woken again."""
    channel = bench.watch("forgotten", SOON)
    bench.watch("other", LATER)
    bench.backstop.forget(channel)
    bench.backstop.forget(channel)
    await bench.wait("other")
    assert bench.log == ["other"]


async def test_each_of_many_has_its_time(bench: Bench) -> None:
    """Later deadlines are kept when an earlier one fires."""
    for n in range(5):
        bench.watch(str(n), SOON * n)
    for n in range(5):
        await bench.wait(str(n))
    assert sorted(bench.log) == ["0", "1", "2", "3", "4"]


async def test_an_earlier_deadline_goes_first(bench: Bench) -> None:
    """A channel that is watched later for a shorter time does not wait for the longer one."""
    never = bench.watch("never", NEVER)
    bench.watch("soon", SOON)
    await bench.wait("soon")
    assert bench.log == ["soon"]
    bench.backstop.forget(never)


async def test_a_later_one_is_kept_when_the_first_is_forgotten(bench: Bench) -> None:
    """The timer of a reader that is gone fires in vain, and then for who is left."""
    channel = bench.watch("first", SOON)
    bench.watch("second", LATER)
    bench.backstop.forget(channel)
    await bench.wait("second")
    assert bench.log == ["second"]


async def test_all_forgotten_it_begins_anew(bench: Bench) -> None:
    """A backstop that nobody needed for a while serves the next."""
    bench.backstop.forget(bench.watch("first", LATER))
    bench.watch("second", SOON)
    await bench.wait("second")
    bench.backstop.forget(bench.watch("third", SOON))
    bench.watch("fourth", LATER)
    await bench.wait("fourth")
    assert bench.log == ["second", "fourth"]


async def test_watched_again_while_it_is_looked_after(bench: Bench) -> None:
    """A channel that waits anew as soon as its reader was woken has a new time."""
    done = trio.Event()
    times = 0

    class Again:
        def overdue(self) -> None:
            nonlocal times
            times += 1
            if times == 3:
                done.set()
            else:
                bench.backstop.watch(again, clock() + SOON)

    again: Any = Again()
    bench.backstop.watch(again, clock() + SOON)
    with trio.fail_after(GUARD):
        await done.wait()


@pytest.mark.parametrize(
    ("test_clock", "real"),
    [
        (None, True),
        (MockClock(rate=0.0), False),
        (MockClock(rate=1.0), True),
        (MockClock(rate=10.0), False),
        (MockClock(rate=0.1), False),
        (MockClock(autojump_threshold=0), False),
        (MockClock(rate=0.0, autojump_threshold=5), False),
    ],
    ids=["trio's", "stopped", "mock at rate 1", "fast", "slow", "autojump", "slow autojump"],
)
def test_knows_a_clock_that_is_not_to_be_relied_on(test_clock: MockClock | None, *, real: bool) -> None:
    """Under a clock that stands still, jumps, or runs at another pace, no timer is relied on."""

    async def ask() -> bool:
        return time_is_real()

    assert trio.run(ask, clock=test_clock) is real
