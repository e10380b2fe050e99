"""The bell, step by step and without time: when a reader wants to be woken, and who rings."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest

from ewb._bell import EARLY, WORTHWHILE, Bell, Parked

if TYPE_CHECKING:
    from collections.abc import Callable

MODERATION = 0.001
SOON = MODERATION / 2  # after a wake-up: the reader keeps up
LATE = MODERATION * 2  # after a wake-up: it does not


def waker() -> None:
    """What wakes a reader: here only to be told apart from None."""


def served_bell(at: float = 0.0) -> Bell:
    bell = Bell(MODERATION)
    bell.served(at)
    return bell


def test_a_fresh_bell_is_nobodys() -> None:
    """Nobody waits, so nobody rings, and nothing is due."""
    bell = Bell(MODERATION)
    assert bell.parked is Parked.NO
    assert not bell.wants_any
    assert bell.early == inf
    assert not bell.is_due(100, 0.0, half_full=True)
    assert not bell.disarm()
    assert bell.rings == 0


def test_the_first_wait_is_armed() -> None:
    """A reader that has never been served is woken by the first chunk."""
    bell = Bell(MODERATION)
    assert bell.park(waker, 0.0, moderate=True) is Parked.ARMED
    assert bell.wants_any
    assert bell.early == inf


def test_a_reader_that_was_just_here_is_moderated() -> None:
    """Who comes back within the interval is not to be woken by each chunk."""
    bell = served_bell()
    assert bell.park(waker, SOON, moderate=True) is Parked.MODERATED
    assert not bell.wants_any
    assert bell.early == SOON + EARLY * MODERATION
    assert bell.deadline == SOON + MODERATION


def test_a_reader_that_comes_late_is_armed() -> None:
    """Who comes back after the interval has waited long enough."""
    bell = served_bell()
    assert bell.park(waker, LATE, moderate=True) is Parked.ARMED


def test_a_whole_interval_later_a_reader_is_armed() -> None:
    """At the very end of the interval a reader does not keep up any more."""
    bell = served_bell()
    assert bell.park(waker, MODERATION, moderate=True) is Parked.ARMED


def test_without_a_timer_nobody_is_moderated() -> None:
    """Where no timer would end the wait, the reader is armed however soon it comes back."""
    bell = served_bell()
    assert bell.park(waker, SOON, moderate=False) is Parked.ARMED


def test_without_moderation_everybody_is_armed() -> None:
    """An interval of nothing moderates nobody."""
    bell = Bell(0)
    bell.served(5.0)
    assert bell.park(waker, 5.0, moderate=True) is Parked.ARMED


@pytest.mark.parametrize("half_full", [True, False])
def test_one_chunk_is_enough_for_the_armed(half_full: bool) -> None:
    """The armed are woken for any chunk, and for none if there is none."""
    bell = Bell(MODERATION)
    bell.park(waker, 0.0, moderate=False)
    assert bell.is_due(1, 0.0, half_full=half_full)
    assert not bell.is_due(0, 0.0, half_full=half_full)


@pytest.mark.parametrize(
    ("count", "now", "half_full", "due"),
    [
        (1, EARLY * MODERATION / 2, False, False),
        (WORTHWHILE, EARLY * MODERATION / 2, False, False),
        (WORTHWHILE - 1, EARLY * MODERATION, False, False),
        (WORTHWHILE, EARLY * MODERATION, False, True),
        (1, 0.0, True, True),
        (0, LATE, True, False),
    ],
    ids=["few, early", "enough, early", "few, later", "enough, later", "half full", "none"],
)
def test_the_moderated_are_woken_if_it_is_worth_it(
    count: int,
    now: float,
    half_full: bool,
    due: bool,
) -> None:
    """Early for enough chunks, at once for half a buffer, and otherwise not before the deadline."""
    bell = served_bell()
    bell.park(waker, 0.0, moderate=True)
    assert bell.is_due(count, now, half_full=half_full) is due


@pytest.mark.parametrize("now", [SOON, LATE])
def test_one_doorbell_at_a_time(now: float) -> None:
    """Only the first who disarms rings, however the reader waits."""
    bell = served_bell()
    bell.park(waker, now, moderate=True)
    assert bell.disarm()
    assert not bell.disarm()
    assert not bell.wants_any
    assert bell.early == inf
    assert bell.rings == 1


def test_an_answer_wakes_and_lets_ring_again() -> None:
    """The answer gives what wakes the reader, once, and ends the doorbell."""
    bell = Bell(MODERATION)
    bell.park(waker, 0.0, moderate=False)
    bell.disarm()
    assert bell.answer() is waker
    assert bell.parked is Parked.NO
    assert bell.answer() is None
    bell.park(waker, LATE, moderate=False)
    assert bell.disarm()
    assert bell.rings == 2


def test_a_cancelled_wait_leaves_its_doorbell_out() -> None:
    """Who waits again before the answer is woken by that one: a second doorbell is not rung."""
    bell = Bell(MODERATION)
    bell.park(waker, 0.0, moderate=False)
    bell.disarm()
    assert bell.unpark() is waker
    assert bell.parked is Parked.NO
    bell.park(waker, 0.0, moderate=False)
    assert not bell.wants_any
    assert not bell.disarm()
    assert bell.answer() is waker
    assert bell.rings == 1


def test_unpark_gives_the_waker_once() -> None:
    """A waker leaves with the wait it was for."""
    wakers: list[Callable[[], None] | None] = []
    bell = Bell(MODERATION)
    bell.park(waker, 0.0, moderate=False)
    wakers += [bell.unpark(), bell.unpark(), bell.answer()]
    assert wakers == [waker, None, None]
