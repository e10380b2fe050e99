"""Background work of one connection that nobody wants any more: closed, and what goes wrong is told.

Invariant: what an error of closing concerns is told once, in the log, or, if it must never be lost, by
raising it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._background import Background
    from ._counters import Counters

logger: Final = logging.getLogger("ewb")


class Closing:
    """Thread: front end, for all of it."""

    __slots__ = ("_counters", "_wake", "backgrounds")

    def __init__(self, counters: Counters, wake: Callable[[], None]) -> None:
        """`wake` has `report` called soon."""
        self._counters = counters
        self._wake = wake
        self.backgrounds: list[Background] = []
        """Those that are being closed, and those of which nobody has been told yet."""

    def close(self, background: Background) -> None:
        """Have it closed, whatever it is at."""
        self.count(background)
        background.stop(self._wake)
        self.backgrounds.append(background)

    def count(self, background: Background) -> None:
        """It makes no more chunks: add up what it cost."""
        self._counters.doorbells += background.doorbells
        self._counters.suspensions += background.suspensions

    def report(self, peer: str) -> None:
        """Tell what went wrong with those that are closed by now, and forget them.

        Raises:
            BaseException: a `KeyboardInterrupt` or the like was raised there.
        """
        closed = [background for background in self.backgrounds if background.finished.is_set()]
        self.backgrounds = [background for background in self.backgrounds if background not in closed]
        tell(peer, (background.closing_error for background in closed))


def tell(peer: str, errors: Iterable[BaseException | None]) -> None:
    """Log these errors of closing, and raise those that must not be lost. Thread: front end."""
    fatal: list[BaseException] = []
    for error in errors:
        if isinstance(error, Exception):
            logger.error("closing a producer of %s failed", peer, exc_info=error)
        elif error is not None:
            fatal.append(error)
    if len(fatal) == 1:
        raise fatal[0]
    if fatal:
        msg = "several producers raised while they were being closed"
        raise BaseExceptionGroup(msg, fatal)
