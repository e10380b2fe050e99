"""What a worker's code has raised, as its readers may see it."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeVar

import pytest
import trio

import ewb
from ewb._errors import as_the_readers, without_cancelled

from .test_producer import real_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence

E = TypeVar("E", bound=BaseException)


class RowsError(ExceptionGroup[Exception]):
    """A user's own kind of group."""

    def derive(self, excs: Sequence[Exception]) -> RowsError:  # type: ignore[override]
        """A part of it is of its kind."""
        return RowsError(self.message, excs)


def raised(error: E, while_handling: BaseException | None = None) -> E:
    """The error as it is once it was raised, and caught."""
    with suppress(BaseException):
        try:
            if while_handling is not None:
                raise while_handling
        finally:
            raise error
    return error


# -- what is left but for Cancelled ----------------------------------------------------------------


def not_cancelled() -> list[BaseException]:
    """Errors of which nothing is to be taken out."""
    return [
        OSError("disk"),
        KeyboardInterrupt(),
        StopIteration(),
        ExceptionGroup("two", [OSError("disk"), ValueError("row")]),
        BaseExceptionGroup("grave", [KeyboardInterrupt(), ValueError("row")]),
        ExceptionGroup("outer", [ExceptionGroup("inner", [OSError("disk")])]),
        RowsError("rows", [ValueError("row")]),
    ]


@pytest.mark.parametrize("error", not_cancelled(), ids=repr)
def test_an_error_without_a_cancelled_stays_itself(error: BaseException) -> None:
    """Not a copy: who raised it knows it again by identity."""
    assert without_cancelled(error) is error
    assert without_cancelled(raised(error)) is error


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("many", [1, 2])
async def test_nothing_is_left_of_what_is_all_cancelled(depth: int, many: int) -> None:
    """However deep nurseries were within each other, a cancellation is only that."""
    error: BaseException = await real_cancelled()
    for level in range(depth):
        others = [await real_cancelled() for _ in range(many - 1)]
        error = BaseExceptionGroup(f"level {level}", [error, *others])
    assert without_cancelled(error) is None


async def test_what_is_in_a_group_beside_is_left_in_its_order() -> None:
    """The very errors, in a group that says what the first one said."""
    errors = [OSError("disk"), ValueError("row"), LookupError("table")]
    mixed = BaseExceptionGroup(
        "of a nursery",
        [await real_cancelled(), errors[0], errors[1], await real_cancelled(), errors[2]],
    )
    rest = without_cancelled(mixed)
    assert isinstance(rest, BaseExceptionGroup)
    assert rest.message == "of a nursery"
    assert list(rest.exceptions) == errors
    assert len(mixed.exceptions) == 5, "what was raised is not changed"


async def test_a_group_keeps_its_shape_without_its_cancelled() -> None:
    """Groups within it that were nothing but a cancellation are gone; others stay where they were."""
    row, disk = ValueError("row"), OSError("disk")
    inner = ExceptionGroup("untouched", [disk])
    rest = without_cancelled(
        BaseExceptionGroup(
            "outer",
            [
                BaseExceptionGroup("only cancelled", [await real_cancelled()]),
                BaseExceptionGroup("mixed", [row, await real_cancelled()]),
                inner,
            ],
        )
    )
    assert isinstance(rest, BaseExceptionGroup)
    assert [part.message for part in rest.exceptions] == ["mixed", "untouched"]
    mixed, untouched = rest.exceptions
    assert mixed.exceptions == (row,)
    assert untouched.exceptions == (disk,)


async def test_what_is_left_of_a_group_is_no_graver_than_what_is_in_it() -> None:
    """Only errors: so `except Exception` has it. A `KeyboardInterrupt` beside: so it has not."""
    harmless = without_cancelled(BaseExceptionGroup("", [await real_cancelled(), OSError("disk")]))
    grave = without_cancelled(BaseExceptionGroup("", [await real_cancelled(), KeyboardInterrupt()]))
    assert isinstance(harmless, ExceptionGroup)
    assert isinstance(grave, BaseExceptionGroup)
    assert not isinstance(grave, Exception)


async def test_what_is_left_of_a_group_says_where_it_came_from() -> None:
    """Its traceback, cause, context and notes are those of the whole."""
    before, reason = LookupError("before"), OSError("reason")
    mixed = raised(
        BaseExceptionGroup("of a nursery", [await real_cancelled(), raised(ValueError("row"))]),
        while_handling=before,
    )
    mixed.__cause__ = reason
    mixed.add_note("in chapter 3")
    rest = without_cancelled(mixed)
    assert isinstance(rest, BaseExceptionGroup)
    assert rest.__context__ is before
    assert rest.__cause__ is reason
    assert rest.__notes__ == ["in chapter 3"]
    assert rest.__traceback__ is not None
    assert rest.__traceback__ is mixed.__traceback__
    assert [frame.name for frame in traceback.extract_tb(rest.exceptions[0].__traceback__)] == [
        "raised"
    ]


async def test_the_group_of_a_cancelled_nursery_is_understood() -> None:
    """As Trio makes it, with an error that came up while a task was cancelled."""

    async def fails_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    async def nurseries(*tasks: Callable[[], Awaitable[object]]) -> BaseException:
        try:
            async with trio.open_nursery() as outer, trio.open_nursery() as inner:
                for task in tasks:
                    outer.start_soon(task)
                    inner.start_soon(trio.sleep_forever)
        except BaseException as caught:  # noqa: BLE001 - it is looked at
            return caught
        raise AssertionError

    error = OSError("disk")
    with trio.CancelScope() as scope:
        scope.cancel()
        only_cancelled = await nurseries(trio.sleep_forever, trio.sleep_forever)
        mixed = await nurseries(trio.sleep_forever, fails_when_cancelled)
    assert without_cancelled(only_cancelled) is None
    assert isinstance(rest := without_cancelled(mixed), ExceptionGroup)
    assert rest.exceptions == (error,)


class HostileError(Exception):
    """Who asks for its class gets an error."""

    @property  # type: ignore[misc]  # of an odd error
    def __class__(self) -> type:
        """Not to be had."""
        raise LookupError


def test_an_error_whose_class_cannot_be_asked_for_is_one_as_any_other() -> None:
    """A mock, or a proxy that is not set up: it must not end the worker that it is raised on."""
    error = HostileError()
    assert without_cancelled(error) is error
    assert as_the_readers(error, "rows") is error


async def test_an_error_whose_class_cannot_be_asked_for_does_not_end_the_pool() -> None:
    """It is the reader's; and the next producer runs."""

    def broken() -> Generator[bytes]:
        yield b"1"
        raise HostileError

    async with ewb.open_workers(1) as workers:
        for _ in range(2):
            async with workers.produce(broken) as chunks:
                assert await chunks.receive() == b"1"
                with pytest.raises(HostileError):
                    await chunks.receive()


# -- what a reader is shown ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [OSError("disk"), KeyboardInterrupt(), ExceptionGroup("two", [OSError("disk")])], ids=repr
)
def test_an_error_is_the_readers_as_it_was_raised(error: BaseException) -> None:
    """A reader may well expect it, and handles it by its kind."""
    before = raised(error).__traceback__
    assert as_the_readers(error, "rows") is error
    assert error.__cause__ is None
    assert error.__traceback__ is before


@pytest.mark.parametrize(
    "kind",
    [
        StopIteration,
        StopAsyncIteration,
        GeneratorExit,
        trio.EndOfChannel,
        trio.WouldBlock,
        trio.Cancelled,
    ],
)
async def test_what_a_reader_would_misread_is_the_cause_of_what_it_gets(
    kind: type[BaseException],
) -> None:
    """It says who raised what."""
    error = await real_cancelled() if kind is trio.Cancelled else kind("stray")
    readable = as_the_readers(error, "export.rows")
    assert type(readable) is RuntimeError
    assert str(readable) == f"producer export.rows raised {kind.__name__}"
    assert readable.__cause__ is error


def test_what_is_derived_from_such_an_error_would_be_misread_too() -> None:
    """The reader's `except` goes by classes."""

    class EndOfRowsError(trio.EndOfChannel):
        pass

    error = EndOfRowsError("stray")
    readable = as_the_readers(error, "rows")
    assert str(readable) == "producer rows raised EndOfRowsError"
    assert readable.__cause__ is error


async def test_a_group_of_cancelled_does_not_cancel_its_reader() -> None:
    """A cancellation of somebody else's, raised in the reader's task, would end it in silence."""
    error = BaseExceptionGroup(
        "outer", [await real_cancelled(), BaseExceptionGroup("inner", [await real_cancelled()])]
    )
    readable = as_the_readers(error, "rows")
    assert type(readable) is RuntimeError
    assert str(readable) == "producer rows raised BaseExceptionGroup"
    assert readable.__cause__ is error


async def test_a_reader_gets_what_is_beside_the_cancelled_of_a_group() -> None:
    """And none of these, which are of no scope of its own."""
    disk = OSError("disk")
    shown = as_the_readers(BaseExceptionGroup("of a nursery", [await real_cancelled(), disk]), "rows")
    assert isinstance(shown, ExceptionGroup)
    assert shown.exceptions == (disk,)


class Underivable(BaseExceptionGroup[BaseException]):
    """A group of a user's, whose own code fails."""

    def derive(self, excs: Sequence[BaseException], /) -> NoReturn:
        raise LookupError(excs)


async def test_a_group_whose_own_code_fails_is_taken_apart_all_the_same() -> None:
    """What is left of it is a plain group."""
    cancelled, other = await real_cancelled(), OSError("other")
    assert without_cancelled(Underivable("whole", [other])) is not None
    assert without_cancelled(Underivable("nothing", [cancelled])) is None
    rest = without_cancelled(Underivable("both", [cancelled, other]))
    assert isinstance(rest, BaseExceptionGroup)
    assert (rest.message, rest.exceptions) == ("both", (other,))
