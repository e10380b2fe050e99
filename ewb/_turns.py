"""Who sends much next: one connection in a round of the event loop.

While many connections stream, each round would send for all of them, before whoever asks for little is
looked after. So they take turns, and short answers wait for one of them in place of all.

Invariant: a turn is one task's at a time, until the event loop has looked after all others; then it is
given to who has waited for it longest. Who cannot use it, or not all of it, passes it on at once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from trio.lowlevel import Abort, Task


class Turns:
    """Those of all who share it. Thread: front end."""

    __slots__ = ("_taken", "_waiting")

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[Task] = deque()

    async def take(self) -> None:
        """Wait for a turn, which is then to be given on. No checkpoint, if nobody else has it."""
        if not self._taken:
            self._taken = True
            return
        task = trio.lowlevel.current_task()
        self._waiting.append(task)

        def abort(_: object) -> Abort:
            self._waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def give(self) -> None:
        """It was used: the next one has it in the next round. A checkpoint."""
        if self._waiting:
            self.pass_on()
            await trio.lowlevel.checkpoint()
            return
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self.pass_on()

    def pass_on(self) -> None:
        """It was not used, or the round is over."""
        if self._waiting:
            trio.lowlevel.reschedule(self._waiting.popleft())
        else:
            self._taken = False
