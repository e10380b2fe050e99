"""Background work of one connection that nobody wants any more: closed, and what goes wrong is told.

Invariant: what went wrong with each is told once, in the log; what must never be lost is raised.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._background import Background
    from ._counters import Counters

logger: Final = logging.getLogger("ewb")


class Closing:
    """Thread: front end, for all of it."""

    __slots__ = ("_closed", "_counters", "_open", "_wake")

    def __init__(self, counters: Counters, wake: Callable[[], None]) -> None:
        """`wake` has `report` called soon."""
        self._counters = counters
        self._wake = wake
        self._open: dict[Background, None] = {}
        self._closed: list[Background] = []  # and nobody has been told yet

    def __bool__(self) -> bool:
        return bool(self._open or self._closed)

    @property
    def has_news(self) -> bool:
        """Is there something to report?"""
        return bool(self._closed)

    @property
    def backgrounds(self) -> list[Background]:
        """All that were not reported yet."""
        return [*self._closed, *self._open]

    def close(self, background: Background) -> None:
        """Have it closed, whatever it is at."""
        self.count(background)
        self._open[background] = None
        is_closed = background.finished.is_set()
        background.stop(partial(self._note, background))
        if is_closed:
            self._note(background)

    def _note(self, background: Background) -> None:
        del self._open[background]
        self._closed.append(background)
        self._wake()

    def count(self, background: Background) -> None:
        """It makes no more chunks: add up what it cost."""
        self._counters.doorbells += background.doorbells
        self._counters.suspensions += background.suspensions

    def report(self, peer: str) -> None:
        """Tell what went wrong with those that are closed by now, and forget them.

        Raises:
            BaseException: a `KeyboardInterrupt` or the like was raised there.
        """
        closed, self._closed = self._closed, []
        tell_errors(peer, (background.closing_error for background in closed))


def tell_errors(peer: str, errors: Iterable[BaseException | None]) -> None:
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
