"""One task waits, others of the front end wake it: an event that resets itself."""

from __future__ import annotations

import trio
from trio.lowlevel import (
    Abort,
    Task,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)


class Waker:
    """A wake-up that comes while nobody waits is kept; several count as one. Thread: front end."""

    __slots__ = ("_task", "_woken")

    def __init__(self) -> None:
        self._task: Task | None = None
        self._woken = False

    def wake(self) -> None:
        """Have the task that waits, or will wait, go on."""
        self._woken = True
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)

    def clear(self) -> None:
        """Forget a wake-up that came while nobody waited."""
        self._woken = False

    @enable_ki_protection
    async def wait(self) -> None:
        """Wait until it is woken, or was since the last wait. A checkpoint."""
        if self._woken:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._woken = False
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        self._task = current_task()

        def abort(_: object) -> Abort:
            self._task = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
        self._woken = False
