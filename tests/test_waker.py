"""The event that resets itself: no wake-up is lost, and several count as one."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from ewb._waker import Waker

from .helpers import GUARD


class Waiting:
    """A task that waits, again and again, and counts."""

    def __init__(self, waker: Waker) -> None:
        self.waker = waker
        self.woken = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.waker.wait()
            self.woken += 1


@pytest.fixture
async def waiting(nursery: trio.Nursery) -> Waiting:
    waiting = Waiting(Waker())
    nursery.start_soon(waiting.run)
    await trio.testing.wait_all_tasks_blocked()
    return waiting


async def test_each_wake_up_of_a_waiting_task_wakes_it(waiting: Waiting) -> None:
    """Once for each, when it has come back to wait."""
    for expected in range(1, 4):
        waiting.waker.wake()
        await trio.testing.wait_all_tasks_blocked()
        assert waiting.woken == expected


async def test_several_wake_ups_count_as_one(waiting: Waiting) -> None:
    """Those that come before it runs again wake it once."""
    for _ in range(3):
        waiting.waker.wake()
    await trio.testing.wait_all_tasks_blocked()
    assert waiting.woken == 1


async def test_a_wake_up_while_nobody_waits_is_kept() -> None:
    """The next wait ends at once, and the one after it does not."""
    waker = Waker()
    waker.wake()
    waker.wake()
    with trio.fail_after(GUARD):
        await waker.wait()
    with trio.move_on_after(0) as scope:
        await waker.wait()
    assert scope.cancelled_caught


async def test_a_wake_up_can_be_forgotten() -> None:
    """After `clear` the next wait waits."""
    waker = Waker()
    waker.wake()
    waker.clear()
    with trio.move_on_after(0) as scope:
        await waker.wait()
    assert scope.cancelled_caught


async def test_clearing_does_not_hold_a_task_that_was_woken(waiting: Waiting) -> None:
    """It is on its way: forgetting is only for later waits."""
    waiting.waker.wake()
    waiting.waker.clear()
    await trio.testing.wait_all_tasks_blocked()
    assert waiting.woken == 1


async def test_a_wait_is_a_checkpoint_even_if_it_was_woken_before() -> None:
    """Other tasks have their turn, and a cancellation is seen."""
    waker = Waker()
    waker.wake()
    with trio.testing.assert_checkpoints():
        await waker.wait()


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    """A wake-up after it is for the next wait, not for a task that has gone on to something else."""
    waker = Waker()
    with trio.move_on_after(0):
        await waker.wait()
    waker.wake()
    with trio.fail_after(GUARD):
        await waker.wait()


async def test_a_cancelled_wait_takes_no_wake_up() -> None:
    """What came before is still there for the next wait."""
    waker = Waker()
    waker.wake()
    with trio.CancelScope() as scope:
        scope.cancel()
        await waker.wait()
    assert scope.cancelled_caught
    with trio.fail_after(GUARD):
        await waker.wait()


async def test_a_wake_up_and_a_cancellation_at_once(nursery: trio.Nursery) -> None:
    """Whichever wins, nothing is lost: it was woken, or the next wait is."""
    waker, log = Waker(), []

    async def wait(scope: trio.CancelScope) -> None:
        with scope:
            await waker.wait()
            log.append("woken")

    for wake_first in (True, False):
        scope = trio.CancelScope()
        nursery.start_soon(wait, scope)
        await trio.testing.wait_all_tasks_blocked()
        for act in (waker.wake, scope.cancel) if wake_first else (scope.cancel, waker.wake):
            act()
        await trio.testing.wait_all_tasks_blocked()
        if scope.cancelled_caught:
            with trio.fail_after(GUARD):
                await waker.wait()
        else:
            assert log.pop() == "woken"
