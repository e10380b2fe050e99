"""The connections that have not logged in: few, and not for long."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import ewb

    from .timers import Timers

logger: Final = logging.getLogger(__name__)


class Lobby:
    """Closes connections that are too many, or there for too long. Thread: front end.

    Args:
        timers: for the timeout.
        at_most: connections at a time.
        timeout: seconds that each has.
    """

    def __init__(self, timers: Timers, at_most: int, timeout: float) -> None:
        self._timers = timers
        self._at_most = at_most
        self._timeout = timeout
        self._waiting: dict[ewb.Connection, Callable[[], object]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, connection: ewb.Connection) -> None:
        """A stranger has connected."""
        if len(self) >= self._at_most:
            logger.warning("%s is closed: %d others have not logged in", connection.peer, len(self))
            connection.abort()
            return

        def show_out() -> None:
            logger.info("%s is closed: no login in %g s", connection.peer, self._timeout)
            connection.abort()

        self._waiting[connection] = self._timers.after(self._timeout, show_out)

    def leave(self, connection: ewb.Connection) -> None:
        """It has logged in, or has gone."""
        if call_off := self._waiting.pop(connection, None):
            call_off()
