"""Frames that an error has passed: what is in them is dropped, unless they go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ewb._frames import forget_locals, related

if TYPE_CHECKING:
    from collections.abc import Iterator


class Left:
    """Something whose end is noted."""

    def __init__(self) -> None:
        self.over = False

    def numbers(self) -> Iterator[int]:
        """A generator that is left in its midst."""
        try:
            yield 1
            yield 2
        finally:
            self.over = True

    def fail(self) -> None:
        """Leave the generator alone, in a local variable."""
        numbers = self.numbers()
        msg = f"after {next(numbers)}"
        raise ValueError(msg)


def raised_from(left: Left) -> None:
    """The error that matters is the cause."""
    try:
        left.fail()
    except ValueError as error:
        raise KeyError from error


def raised_in_its_handling(left: Left) -> None:
    """The error that matters is the context."""
    try:
        left.fail()
    except ValueError:
        raise KeyError  # noqa: B904 - on purpose


def raised_in_a_group(left: Left) -> None:
    """The error that matters is one of several."""
    try:
        left.fail()
    except ValueError as error:
        group = ExceptionGroup("two", [KeyError(), error])
    raise group


@pytest.mark.parametrize("fail", [Left.fail, raised_from, raised_in_its_handling, raised_in_a_group])
def test_what_is_in_them_is_dropped(fail: object) -> None:
    """At once, though somebody keeps the error; its traceback is as it was."""
    left = Left()
    assert callable(fail)
    with pytest.raises((ValueError, KeyError, ExceptionGroup)) as info:
        fail(left)
    lines = [entry.lineno for entry in info.traceback]
    assert not left.over
    forget_locals(info.value)
    assert left.over
    assert [entry.lineno for entry in info.traceback] == lines


def test_a_generator_that_has_caught_it_goes_on() -> None:
    """It is suspended, and not over, though the error's traceback has its frame."""
    caught: list[ValueError] = []

    def goes_on() -> Iterator[int]:
        try:
            Left().fail()
        except ValueError as error:
            caught.append(error)
        yield 1
        yield 2

    generator = goes_on()
    assert next(generator) == 1
    with pytest.raises(ValueError, match="after 1") as info:
        raise caught[0]
    forget_locals(info.value)
    assert list(generator) == [2]


def test_a_frame_that_runs_keeps_its_variables() -> None:
    """Nothing is taken from code that is at work."""
    left = Left()
    try:
        left.fail()
    except ValueError as error:
        mine = "here"
        forget_locals(error)
    assert left.over
    assert mine == "here"


def test_errors_of_the_users_own_may_be_odd() -> None:
    """What goes wrong while they are looked at is nobody's business."""

    class OddError(Exception):
        @property
        def __cause__(self) -> BaseException | None:  # type: ignore[override]  # odd
            raise KeyError

    forget_locals(OddError())


def test_each_related_error_comes_once() -> None:
    """However they refer to each other."""
    first, second = ValueError(), KeyError()
    first.__context__, second.__cause__ = second, first
    assert {id(one) for one in related(first)} == {id(first), id(second)}
    assert len(list(related(first))) == 2
