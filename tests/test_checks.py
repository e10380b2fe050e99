"""What is named in messages, and what is refused because it is of the wrong kind."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from ewb._checks import brief, check_function

if TYPE_CHECKING:
    from collections.abc import Generator


def test_a_message_holds_no_more_than_the_beginning_of_a_thing() -> None:
    """What a client sends may be large, and is not for the log."""
    assert brief("short") == "'short'"
    assert len(brief("x" * 1_000_000)) < 300
    assert "1000002" in brief("x" * 1_000_000)


@pytest.mark.parametrize("error", [KeyError("id"), RecursionError(), AttributeError("half made")])
def test_a_thing_whose_repr_fails_has_a_name_all_the_same(error: Exception) -> None:
    """What is to be logged about it is worth more than how it looks."""

    class Request:
        def __repr__(self) -> str:
            raise error

    assert brief(Request()) == "<Request, whose repr fails>"


def rows() -> Generator[bytes]:
    """A producer."""
    yield b"row"


async def job() -> None:
    """What no worker can run."""


@pytest.mark.parametrize("fn", [rows, len, bytes, "".join, lambda: None])
def test_whatever_can_be_called_is_a_function(fn: Any) -> None:
    """A class, a method, an object: what comes of it is seen when it is called."""
    check_function("produce", fn)


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (rows(), "give rows, and not rows()"),
        ((row for row in b"rows"), "give lambda: (...)"),
        (["a", "b"], "give the function, and its arguments after it"),
        ("rows", "give the function, and its arguments after it"),
        (None, "give the function, and its arguments after it"),
    ],
)
def test_what_a_function_has_returned_is_none(wrong: Any, remedy: str) -> None:
    """The message says what was given, and what would do."""
    with pytest.raises(TypeError) as caught:
        check_function("produce", wrong)
    assert str(caught.value) == f"produce needs a function, not {wrong!r}: {remedy}"


def test_a_coroutine_that_is_no_function_is_closed() -> None:
    """The error says it all: no warning about it comes when it is collected."""
    coroutine = job()
    with pytest.raises(TypeError, match=r"^run needs a function, .*: give job, and not job\(\)$"):
        check_function("run", coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
