"""Which errors of a worker's code may be raised in a reader, or shown to an engine, as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

_MISREAD: Final = (
    StopIteration,
    StopAsyncIteration,
    GeneratorExit,
    trio.EndOfChannel,
    trio.WouldBlock,
    trio.Cancelled,
)
"""Raised in a reader, these would say something else: that the channel has ended, that a chunk is not
there yet, that the reader was cancelled."""


def as_the_readers(error: BaseException, name: str) -> BaseException:
    """What was raised by `name` on a worker, as something that cannot be misread. Thread: any."""
    if not _is_a(error, *_MISREAD) and (rest := without_cancelled(error)) is not None:
        return rest
    readable = RuntimeError(f"producer {name} raised {type(error).__name__}")
    readable.__cause__ = error
    return readable


def without_cancelled(error: BaseException) -> BaseException | None:
    """What is left of an error but for `trio.Cancelled`, of which a nursery makes groups. Thread: any.

    Returns:
        `error` itself if there was none in it; None if there was nothing else.
    """
    if _is_a(error, trio.Cancelled):
        return None
    # To split a group runs its own code, if its class is the user's. So that is done only if it must
    # be; and what is an Exception has none in it.
    if _is_a(error, Exception) or not _is_a(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    leaves = list(_leaves_of(group))
    others = [leaf for leaf in leaves if not _is_a(leaf, trio.Cancelled)]
    if len(others) == len(leaves) or not others:
        return group if others else None
    try:
        _, rest = BaseExceptionGroup.split(group, trio.Cancelled)
    except Exception:  # noqa: BLE001 - its code fails, or it is nested too deep
        rest = BaseExceptionGroup(group.message, others).with_traceback(group.__traceback__)
    return rest


def _leaves_of(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """What is in it and in its groups, in order."""
    left: list[BaseException] = [group]
    while left:
        one = left.pop()
        if _is_a(one, BaseExceptionGroup):
            left.extend(reversed(cast("BaseExceptionGroup[BaseException]", one).exceptions))
        else:
            yield one


def _is_a(error: BaseException, *kinds: type[BaseException]) -> bool:
    """As `isinstance`, which asks for `__class__` too: that may be the user's code, and raise."""
    return issubclass(type(error), kinds)
