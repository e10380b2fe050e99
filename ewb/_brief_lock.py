"""A lock for a few lines that many threads run through often.

With an ordinary lock, whoever waits is given it while it has yet to get the GIL. The next thread that
wants the lock meanwhile has to wait as well, and so gives up the GIL: from then on every use of the
lock is a change of threads, for as long as two want it. Here, who meets it taken looks again after an
instant, by when it is mostly free, and is taken by who has the GIL. Only then it waits: with hundreds
of threads to look again and again would cost more than the changes do.
"""

from __future__ import annotations

from _thread import RLock
from time import sleep
from typing import Final

INSTANT: Final = 50e-6
"""Seconds: as long as it takes another thread to wake, and to leave those lines."""


class BriefLock(RLock):  # type: ignore[misc]  # it says it is final, and is not
    """Reentrant: the collector may run a `__del__` within those lines. Thread: any."""

    __slots__ = ()

    def __enter__(self) -> bool:  # type: ignore[override]  # it is called by `with` only
        if not self.acquire(blocking=False):
            sleep(INSTANT)
            self.acquire()
        return True
