"""The interpreter's switch interval, for as long as anybody wants it changed.

The interval is one for the whole process, so overlapping wishes share it: the smallest counts, and
the last to end restores what was there before, unless somebody else has changed it meanwhile.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_lock = threading.Lock()
_wishes: list[float] = []  # guarded by _lock
_before = 0.0  # guarded by _lock: what was there before the first wish
_ours = 0.0  # guarded by _lock: what we set, as the interpreter rounds it


def _set(seconds: float) -> None:
    global _ours  # noqa: PLW0603 - as global as the interval itself
    sys.setswitchinterval(seconds)
    _ours = sys.getswitchinterval()


@contextmanager
def switch_interval(seconds: float | None) -> Generator[None]:
    """Set the interpreter's switch interval for as long as the block lasts; None leaves it alone.

    Thread: any.
    """
    if seconds is None:
        yield
        return
    global _before  # noqa: PLW0603 - see _set
    with _lock:
        if not _wishes:
            _before = sys.getswitchinterval()
        _wishes.append(seconds)
        _set(min(_wishes))
    try:
        yield
    finally:
        with _lock:
            _wishes.remove(seconds)
            if sys.getswitchinterval() == _ours:
                _set(min(_wishes, default=_before))
