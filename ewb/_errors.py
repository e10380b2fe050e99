"""Which errors of a worker's code may be raised in a reader, or shown to an engine, as they are."""

from __future__ import annotations

from typing import Final, cast

import trio

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
    if not isinstance(error, _MISREAD) and (rest := without_cancelled(error)) is not None:
        return rest
    readable = RuntimeError(f"producer {name} raised {type(error).__name__}")
    readable.__cause__ = error
    return readable


def without_cancelled(error: BaseException) -> BaseException | None:
    """What is left of an error but for `trio.Cancelled`, of which a nursery makes groups. Thread: any.

    Returns:
        `error` itself if there was none in it; None if there was nothing else.
    """
    if isinstance(error, trio.Cancelled):
        return None
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    cancelled, rest = group.split(trio.Cancelled)
    return group if cancelled is None else rest
