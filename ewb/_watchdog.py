"""Time limits of connections, looked after by one task for a whole front end.

A limit is a matter of seconds, so it is enough to look now and then; a cancel scope around each read
and each write would cost more than these do. Invariants: a connection is watched only while one of
its limits is running, and with nobody to watch there is no task: idle connections cost nothing, nor
does a front end that is over. All of it is the front end's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from ._settings import FrontEndSettings

OFTEN: Final = 4
"""Looks within the shortest time limit: it is overrun by a quarter at most …"""
LONGEST: Final = 0.25
"""… and by so many seconds."""


class Watched(Protocol):
    """What has time limits."""

    def check(self, now: float) -> bool:
        """Act on what is overdue at `now` (of Trio's clock); False if no limit is running."""
        ...


class Watchdog:
    """Looks after the connections of one front end."""

    def __init__(self, settings: FrontEndSettings) -> None:
        """Nobody is watched yet."""
        self._interval = min(LONGEST, settings.shortest_timeout / OFTEN)
        self._watched: dict[Watched, None] = {}
        self._runs = False  # there is a task, which will look at `_watched` again

    def watch(self, one: Watched) -> None:
        """Look after it, from now on until its `check` says False."""
        self._watched[one] = None
        if not self._runs:
            self._runs = True
            trio.lowlevel.spawn_system_task(self._run)

    def forget(self, one: Watched) -> None:
        """It is gone."""
        self._watched.pop(one, None)

    async def _run(self) -> None:
        """A system task, until there is nobody to watch."""
        try:
            while self._watched:
                await trio.sleep(self._interval)
                now = trio.current_time()
                for one in tuple(self._watched):
                    if not one.check(now):
                        self.forget(one)
        finally:
            self._runs = False  # nobody else runs between the last look and this
