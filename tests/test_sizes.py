"""How large a chunk is, by itself or as the user says."""

from __future__ import annotations

import mmap
from array import array
from typing import TYPE_CHECKING, Any

import pytest

from ewb._sizes import checked_size, size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

DOUBLES = array("d", [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("chunk", "size"),
    [
        (b"", 0),
        (b"abc", 3),
        (bytearray(b"abcd"), 4),
        (memoryview(b"abcde"), 5),
        (memoryview(DOUBLES), 24),
        (memoryview(DOUBLES)[::2], 16),
        (memoryview(bytes(12)).cast("B", [3, 4]), 12),
        (DOUBLES, 24),
    ],
    ids=["empty", "bytes", "bytearray", "memoryview", "doubles", "gaps", "two dimensions", "array"],
)
def test_bytes_are_counted_whatever_their_container(chunk: object, size: int) -> None:
    """The size is the number of bytes, where `len` counts items of whatever width."""
    assert size_in_bytes(chunk) == size


def test_a_mapped_file_is_bytes_too() -> None:
    """Anything with a buffer has a size, and measuring does not keep its buffer locked."""
    mapped = mmap.mmap(-1, 4096)
    assert size_in_bytes(mapped) == 4096
    mapped.close()  # would raise BufferError if a view of it were left


@pytest.mark.parametrize("chunk", ["text", None, 7, [b"x"], ("a", 1)])
def test_what_is_not_bytes_needs_a_size(chunk: object) -> None:
    """A chunk that has no bytes is refused with a message that says what to do."""
    with pytest.raises(TypeError, match=rf"'{type(chunk).__name__}'.*size="):
        size_in_bytes(chunk)


def test_text_for_a_socket_is_told_how_to_become_bytes() -> None:
    """The remedy that is right most often comes first; with others than text, it is not known."""
    with pytest.raises(TypeError, match=r"not bytes-like: yield bytes \(text\.encode\(\)\); or, if"):
        size_in_bytes("text")
    with pytest.raises(TypeError, match=r"not bytes-like: yield bytes; or, if"):
        size_in_bytes(7)


def test_a_users_size_is_asked() -> None:
    """What `size` says is what counts."""
    rows: list[Iterable[int]] = [[1, 2], (3,), []]
    assert [checked_size(len)(row) for row in rows] == [2, 1, 0]


@pytest.mark.parametrize("wrong", [5, "len", 1.0])
def test_a_size_that_cannot_be_asked_is_refused(wrong: Any) -> None:
    """It would be an error of the producer, or of the whole connection; so it is one of who gave it."""
    with pytest.raises(
        TypeError, match=f"^size must be a function of a chunk, as len is, not {wrong!r}$"
    ):
        checked_size(wrong)


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (-1, ValueError, "must not be negative, as -1 is"),
        (1.5, TypeError, "must return an int, not 1.5"),
        (None, TypeError, "must return an int, not None"),
        ("3", TypeError, "must return an int, not '3'"),
    ],
)
def test_a_size_that_would_undo_the_bound_is_an_error(
    answer: object, error: type[Exception], says: str
) -> None:
    """A negative size, or one that is no number, is refused and named."""

    def my_size(_: object) -> int:
        return answer  # type: ignore[return-value]  # that is the mistake

    with pytest.raises(error, match="my_size") as caught:
        checked_size(my_size)("chunk")
    assert says in str(caught.value)


def test_stop_iteration_from_a_size_is_not_the_end() -> None:
    """A `StopIteration` that leaks from `size` becomes an error, with its cause."""

    def my_size(_: object) -> int:
        return next(iter(()))

    with pytest.raises(RuntimeError, match=r"my_size.*StopIteration") as caught:
        checked_size(my_size)("chunk")
    assert isinstance(caught.value.__cause__, StopIteration)


def test_another_error_of_a_size_is_left_as_it_is() -> None:
    """What a `size` raises otherwise is the user's own, and goes through."""
    with pytest.raises(ZeroDivisionError):
        checked_size(lambda chunk: 1 // len(chunk))([])
