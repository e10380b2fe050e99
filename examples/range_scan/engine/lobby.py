"""The connections that have not logged in: few, and not for long."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import ewb

    from .timers import Timers

LOG_EVERY: Final = 10.0
"""Seconds between two lines about a crowd."""

logger: Final = logging.getLogger(__name__)


class Lobby:
    """Closes connections that are too many, or there for too long. Thread: front end.

    Who comes is let in, and who has been there for longest must go: else a few who say nothing would
    keep all others from logging in.

    Args:
        timers: for the timeout.
        at_most: connections at a time.
        timeout: seconds that each has.
    """

    def __init__(self, timers: Timers, at_most: int, timeout: float) -> None:
        self._timers = timers
        self._at_most = at_most
        self._timeout = timeout
        self._waiting: dict[ewb.Connection, Callable[[], object]] = {}  # who came first is first
        self._crowded_out = 0  # since the last line about it
        self._has_logged = False  # not long ago

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, connection: ewb.Connection) -> None:
        """A stranger has connected."""
        while len(self) >= self._at_most:
            self._crowd_out(next(iter(self._waiting)))

        def show_out() -> None:
            logger.info("%s is closed: no login in %g s", connection.peer, self._timeout)
            connection.abort()

        self._waiting[connection] = self._timers.after(self._timeout, show_out)

    def leave(self, connection: ewb.Connection) -> None:
        """It has logged in, or has gone."""
        if call_off := self._waiting.pop(connection, None):
            call_off()

    def _crowd_out(self, connection: ewb.Connection) -> None:
        self.leave(connection)
        connection.abort()
        self._crowded_out += 1
        if not self._has_logged:
            self._log()

    def _log(self) -> None:
        """Say how many, once in a while: a flood of connections must not be one of lines."""
        self._has_logged = self._crowded_out > 0
        if self._has_logged:
            logger.warning(
                "connections that were closed as more than %d had not logged in: %d",
                self._at_most,
                self._crowded_out,
            )
            self._crowded_out = 0
            self._timers.after(LOG_EVERY, self._log)
