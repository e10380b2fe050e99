"""The timer behind moderated waits: no chunk is stranded, whatever its producer does next.

A reader that keeps up is not woken for each chunk. Its producer rings a little later; but a producer
may block for ever instead. So the reader's channel is left with the backstop of its Trio run, which
looks after it when its interval is over.

One task does this for all channels of a run, with one cancel scope whose deadline is moved: a scope
for each wait would cost the front end several times as much as the wait itself. Everything here is of
the front end's thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ._clock import clock

if TYPE_CHECKING:
    from ._handoff import Handoff

_backstop_of_run: trio.lowlevel.RunVar[Backstop] = trio.lowlevel.RunVar("ewb backstop")


class Backstop:
    """Channels whose readers wait moderately, by the time at which that has to end."""

    def __init__(self) -> None:
        self._deadlines: dict[Handoff[Any], float] = {}
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run)

    def watch(self, handoff: Handoff[Any], deadline: float) -> None:
        """Call `handoff.overdue` at `deadline` (of `clock`), unless it is forgotten before."""
        alone = not self._deadlines
        self._deadlines[handoff] = deadline
        if alone or deadline < self._next:
            self._set_timer(deadline)

    def forget(self, handoff: Handoff[Any]) -> None:
        """The reader waits no more. The timer stays: moving it costs more than firing in vain."""
        self._deadlines.pop(handoff, None)

    def _set_timer(self, deadline: float) -> None:
        self._next = deadline
        self._scope.deadline = trio.current_time() + deadline - clock()

    async def _run(self) -> None:
        """A system task."""
        while True:
            with self._scope:
                await trio.sleep_forever()
            self._scope = trio.CancelScope()
            now = clock()
            for handoff, deadline in list(self._deadlines.items()):
                if deadline <= now:
                    del self._deadlines[handoff]
                    handoff.overdue()
            if self._deadlines:
                self._set_timer(min(self._deadlines.values()))


def current_backstop() -> Backstop:
    """The backstop of this Trio run."""
    try:
        return _backstop_of_run.get()
    except LookupError:
        backstop = Backstop()
        _backstop_of_run.set(backstop)
        return backstop


def time_is_real() -> bool:
    """Do timers fire after as long as they say? Not under a test's clock, which jumps or stands still.

    Without that nobody may wait moderately.
    """
    sleep = trio.lowlevel.current_clock().deadline_to_sleep_time(trio.current_time() + 1)
    return 0.5 < sleep <= 1  # noqa: PLR2004 - a second is a second, give or take this call
