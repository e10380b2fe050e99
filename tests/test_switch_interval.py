"""The switch interval: changed while somebody wants it, and put back, once, by the last."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from ewb._switch_interval import switch_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

BEFORE = 0.004
SHORT, MIDDLE, LONG = 0.0001, 0.0002, 0.0003
ELSES = 0.008


@pytest.fixture(autouse=True)
def _known_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(BEFORE)
    yield
    sys.setswitchinterval(before)


def interval() -> float:
    """The interval, without the noise of its rounding to microseconds."""
    return round(sys.getswitchinterval(), 6)


def test_changes_it_and_puts_it_back() -> None:
    """The interval is as wished within the block, and as before after it."""
    with switch_interval(SHORT):
        assert interval() == SHORT
    assert interval() == BEFORE


@pytest.mark.parametrize("before", [0.000_025, 0.004_5, 0.005, 0.007, 0.017])
def test_puts_back_what_the_interpreter_said_before(before: float) -> None:
    """Whatever the interval was, it is exactly that again, and does not shrink from use to use."""
    sys.setswitchinterval(before)
    said = sys.getswitchinterval()
    with switch_interval(SHORT):
        pass
    assert sys.getswitchinterval() == said


def test_none_leaves_it_alone() -> None:
    """Who wishes for nothing changes nothing, before, within and after."""
    with switch_interval(None):
        assert interval() == BEFORE
        sys.setswitchinterval(ELSES)
    assert interval() == ELSES


def test_an_error_puts_it_back_too() -> None:
    """A block that fails leaves the interval as it was."""
    with pytest.raises(ZeroDivisionError), switch_interval(SHORT):
        raise ZeroDivisionError
    assert interval() == BEFORE


@pytest.mark.parametrize(("outer", "inner"), [(SHORT, LONG), (LONG, SHORT), (MIDDLE, MIDDLE)])
def test_the_smallest_of_nested_wishes_counts(outer: float, inner: float) -> None:
    """With two wishes the smaller holds; each end gives way to what is still wished for."""
    with switch_interval(outer):
        with switch_interval(inner):
            assert interval() == min(outer, inner)
        assert interval() == outer
    assert interval() == BEFORE


@pytest.mark.parametrize(("first", "second"), [(SHORT, LONG), (LONG, SHORT), (MIDDLE, MIDDLE)])
def test_the_last_of_overlapping_wishes_restores(first: float, second: float) -> None:
    """Wishes that end in the order in which they began restore it only with the last one's end."""
    one, two = switch_interval(first), switch_interval(second)
    one.__enter__()
    two.__enter__()
    assert interval() == min(first, second)
    one.__exit__(None, None, None)
    assert interval() == second
    two.__exit__(None, None, None)
    assert interval() == BEFORE


def test_begins_anew_after_all_have_ended() -> None:
    """What counts as "before" is what is there when the first wish of a row begins."""
    with switch_interval(SHORT):
        pass
    sys.setswitchinterval(ELSES)
    with switch_interval(SHORT):
        assert interval() == SHORT
    assert interval() == ELSES


def test_somebody_elses_change_is_left_alone() -> None:
    """If others have set the interval meanwhile, the end of the block does not undo that."""
    with switch_interval(SHORT):
        sys.setswitchinterval(ELSES)
    assert interval() == ELSES


def test_who_saves_the_interval_and_puts_it_back_has_not_changed_it() -> None:
    """Though the interpreter loses a microsecond of it: what was there before the wish comes back."""
    with switch_interval(100e-6):
        seen = sys.getswitchinterval()
        sys.setswitchinterval(ELSES)
        sys.setswitchinterval(seen)
    assert interval() == BEFORE


def test_somebody_elses_change_is_left_alone_by_each_of_two() -> None:
    """Neither the first nor the last of two overlapping wishes undoes what others have set."""
    with switch_interval(LONG):
        with switch_interval(SHORT):
            sys.setswitchinterval(ELSES)
        assert interval() == ELSES
    assert interval() == ELSES


def test_somebody_elses_change_is_what_a_later_wish_goes_back_to() -> None:
    """A change of others between two wishes is what is there again when the last has ended."""
    with switch_interval(LONG):
        sys.setswitchinterval(ELSES)
        with switch_interval(SHORT):
            assert interval() == SHORT
    assert interval() == ELSES


@pytest.mark.parametrize("wish", [1e-6, 3.3333333e-5, 0.1 + 0.2, 1])
def test_a_wish_that_the_interpreter_rounds_is_put_back_too(wish: float) -> None:
    """The interpreter keeps whole microseconds, and that does not look like another's change."""
    with switch_interval(wish):
        assert abs(sys.getswitchinterval() - wish) <= 1e-6
    assert interval() == BEFORE


def test_threads_that_wish_at_once_lose_nothing() -> None:
    """However threads begin and end their wishes, the interval is what it was when all are done."""
    start = threading.Barrier(4)

    def wish(seconds: float) -> None:
        start.wait()
        for _ in range(200):
            with switch_interval(seconds):
                assert interval() <= seconds

    threads = [threading.Thread(target=wish, args=[SHORT * (n + 1)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert interval() == BEFORE
