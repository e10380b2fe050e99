"""The interpreter's switch interval, for as long as anybody wants it changed.

The interval is one for the whole process, so overlapping wishes share it: the smallest counts, and
the last to end restores what was there before. What somebody else has set meanwhile is left alone, and
later wishes go back to that.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator


class _Wish(float):
    """Told from another one by identity, not by value."""

    __slots__ = ()


_lock = threading.Lock()
_wishes: list[_Wish] = []  # guarded by _lock
_before = 0.0  # guarded by _lock: what was there before the first wish
_ours = 0.0  # guarded by _lock: what we set, as the interpreter tells it

ROUNDING: Final = 1.5e-6
"""Seconds: the interpreter loses up to one microsecond of an interval that is given back to it."""


def _set(seconds: float) -> None:
    global _ours  # noqa: PLW0603 - as global as the interval itself
    # The interpreter cuts off fractions of a microsecond, and so would lose one each time that what
    # it told is given back to it.
    sys.setswitchinterval((round(seconds * 1e6) + 0.5) / 1e6)
    _ours = sys.getswitchinterval()


def _is_ours() -> bool:
    """Has nobody else set the interval? Not who saved what we had set, and put it back."""
    return abs(sys.getswitchinterval() - _ours) < ROUNDING


@contextmanager
def switch_interval(seconds: float | None) -> Generator[None]:
    """Set the interpreter's switch interval for as long as the block lasts; None leaves it alone.

    Thread: any.
    """
    if seconds is None:
        yield
        return
    global _before  # noqa: PLW0603 - see _set
    wish = _Wish(seconds)
    with _lock:
        if not _wishes or not _is_ours():
            _before = sys.getswitchinterval()
            _wishes.clear()  # they were overruled
        _wishes.append(wish)
        _set(min(_wishes))
    try:
        yield
    finally:
        with _lock:
            _grant_others(wish)


def _grant_others(wish: _Wish) -> None:
    """One wish has ended. Holds the lock."""
    if not any(other is wish for other in _wishes):
        return  # overruled by somebody else, and since then by newer wishes
    _wishes[:] = [other for other in _wishes if other is not wish]
    if _is_ours():
        _set(min(_wishes, default=_before))
