"""How a worker that computes leaves room for the front end.

Under the GIL a computing thread holds the front end up for a whole switch interval (5 ms, unless
changed) each time that one comes back from a system call. Lowering the interval helps that, but costs
throughput wherever several threads want the GIL, the front end's own included. So it is lowered only
while a producer computes: while the CPU time of its slice shows that it does not wait for something.
And it is put back a little after that, be the workers idle then or stuck: the front end sees to it.

Invariants: `_wish` is written with `_lock` held, and read without it as a hint; `_until` has no single
writer, any of the latest will do.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from time import thread_time
from typing import TYPE_CHECKING, Final

from ._clock import clock
from ._switch_interval import switch_interval

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL: Final = 20e-6
"""Seconds: the switch interval while a producer computes."""
PATIENCE: Final = 0.001
"""Seconds into a slice after which to see whether it computes."""
LINGER: Final = 0.1
"""Seconds for which the interval stays low after a producer was last seen computing."""


class Courtesy:
    """One pool's. Thread: worker, unless a method says otherwise."""

    def __init__(self, *, wanted: bool, when_lowered: Callable[[], object] = bool) -> None:
        """`when_lowered` is called each time, by that worker: to see to it that it will `relax`."""
        self._wanted = wanted
        self._when_lowered = when_lowered
        self._lock = threading.Lock()
        self._wish: ExitStack | None = None
        self._until = 0.0

    def is_computing(self, started: float, cpu_started: float, now: float) -> bool:
        """Has a slice, which began at `started` (of `clock`), used most of its time on the CPU?

        If so, the switch interval is low from now on, for a while.
        """
        if not self._wanted or thread_time() - cpu_started < (now - started) / 2:
            return False
        self._until = now + LINGER
        if self._wish is None:
            self._lower()
        return True

    def relax(self) -> float:
        """Put the interval back, if nobody has been computing for a while. Thread: any.

        Returns:
            Seconds after which to try again; 0: it is put back.
        """
        if self._wish is None:
            return 0.0
        left = self._until - clock()  # read once: a worker may compute again just now
        if left > 0:
            return left
        self.end()
        return 0.0

    def end(self) -> None:
        """Nobody computes any more. Thread: any."""
        with self._lock:
            wish, self._wish = self._wish, None
        if wish is not None:
            wish.close()

    def _lower(self) -> None:
        with self._lock:
            if self._wish is not None:
                return
            self._wish = ExitStack()
            self._wish.enter_context(switch_interval(INTERVAL))
        self._when_lowered()
