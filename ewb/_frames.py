"""The frames that an error has passed, which its traceback keeps alive, with all that is in them.

What is in them may be a generator of the producer's, whose `finally` has yet to run: if that is left to
whoever drops the error last, it runs on the event loop.
"""

from __future__ import annotations

from contextlib import suppress
from dis import opmap
from traceback import walk_tb
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_YIELD: Final = opmap["YIELD_VALUE"]


def forget_locals(error: BaseException) -> None:
    """Drop the local variables of all frames that an error has passed, and that are over.

    Thread: worker.
    """
    with suppress(Exception):  # its class may be the user's, and so may what it says of itself
        for one in related(error):
            for frame, _ in walk_tb(one.__traceback__):
                if not _is_suspended(frame):
                    with suppress(RuntimeError):  # it is running
                        frame.clear()


def related(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from or in the handling of, what is in a group, and so on."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:  # not by ==, which may be the user's
            continue
        seen.add(id(one))
        yield one
        left += (one.__cause__, one.__context__)
        if issubclass(type(one), BaseExceptionGroup):  # its `__class__` may be the user's code
            left += cast("BaseExceptionGroup[BaseException]", one).exceptions


def _is_suspended(frame: FrameType) -> bool:
    """Is it of a generator, or a coroutine, that has caught the error, and goes on?

    Before Python 3.13 clearing it would close that.
    """
    return frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == _YIELD
