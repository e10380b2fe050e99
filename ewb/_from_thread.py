"""`trio.from_thread` for producers: their calls run in Trio, and obey their own block.

`trio.from_thread` finds its way to Trio through thread-local data that `trio.to_thread.run_sync` sets
up for the whole life of a thread. Our threads run many producers in turn, and each of these belongs
to another block; so for the time of a slice, this module puts the running producer's data there.

That data is private to Trio (`trio._threads.PARENT_TASK_DATA`): there is no public way to say "this
thread now works for that task". What is relied on is all in this module, and pinned by
`tests/test_from_thread.py`: four attributes, `token` (of which only `run_sync_soon(call)` is used),
`abandon_on_cancel`, `cancel_register[0]` and `task_register[0]`, and the two messages that the task is
rescheduled with, `Run` (`await run()`) and `RunSync` (`run_sync()`).

    worker                                  front end
    trio.from_thread.run(f) ── a call ────▶ a task, started by the first call, in the workers'
          ▲                                 nursery, in a shielded scope of its producer's: runs f
          └───────────── outcome ────────── there. Leaving the producer's block cancels the scope.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import trio
from trio._threads import PARENT_TASK_DATA, Run, RunSync
from trio.lowlevel import (
    Abort,
    Task,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ._doorbell import Doorbell


class Portal:
    """One producer's way into Trio, and the cancel scope that its calls run in."""

    def __init__(self, doorbell: Doorbell, nursery: trio.Nursery) -> None:
        self._doorbell = doorbell
        self._nursery = nursery
        self._scope: trio.CancelScope | None = None  # as long as nobody calls, there is none
        self._task: Task | None = None  # front end only
        self._started = False  # front end only
        self._leaving = False  # one writer: the front end; read by the worker, as a hint
        self._over = False  # one writer: whoever ends the producer

    def leave(self) -> None:
        """The producer's block is being left: cancel its calls, now and from now on.

        Thread: front end.
        """
        self._leaving = True
        if self._scope is not None:
            self._scope.cancel()

    def close(self) -> None:
        """The producer has ended: there will be no more calls. Thread: front end."""
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)

    def revoke(self) -> None:
        """The producer has ended: what else this thread runs, until the next one, is not its.

        Thread: any.
        """
        self._over = True

    def install(self) -> None:
        """From now on `trio.from_thread` works for this producer. Thread: worker, within `portals`."""
        PARENT_TASK_DATA.token = self  # type: ignore[assignment]  # as much as is asked of it
        PARENT_TASK_DATA.task_register = self  # type: ignore[assignment]  # as above

    # -- what trio.from_thread finds, in the worker's thread ------------------------------------

    def run_sync_soon(self, call: Callable[[], object]) -> None:
        """As a `TrioToken`: `call` reschedules the task with a message."""
        if self._over or not self._doorbell.post(lambda: self._deliver(call)):
            raise trio.RunFinishedError

    def __getitem__(self, _: int) -> Task | None:
        """As a task register: the task that serves. Thread: front end."""
        return self._task

    @property
    def leaving(self) -> bool:
        """Are its calls cancelled? Thread: any, as a hint."""
        return self._leaving

    # -- front end ------------------------------------------------------------------------------

    def _deliver(self, call: Callable[[], object]) -> None:
        if self._started:
            call()
        else:
            self._started = True
            self._nursery.start_soon(self._serve, call)

    @enable_ki_protection  # a lost message would leave the thread waiting; what is run is not protected
    async def _serve(self, call: Callable[[], object]) -> None:
        """Run what the producer's thread sends, one message at a time, until `close`."""
        self._task = current_task()
        # The first message comes by a call like all others: once this task waits for it.
        self._doorbell.post(call)
        with trio.CancelScope(shield=True) as self._scope:
            if self._leaving:
                self._scope.cancel()
            while True:
                # As in to_thread.run_sync, cancellation reaches what runs here, not the wait.
                message = await wait_task_rescheduled(lambda _: Abort.FAILED)
                if message is None:
                    return
                if isinstance(message, Run):
                    await message.run()
                else:
                    cast("RunSync[object]", message).run_sync()


class _CancelRegister:
    """As a cancel register, that of the portal that is installed in the thread that asks."""

    def __getitem__(self, _: int) -> Callable[[], object] | None:
        """What raises `Cancelled`, if it is time to."""
        portal = cast("Portal", PARENT_TASK_DATA.token)
        return _raise_cancelled if portal.leaving else None


@contextmanager
def portals() -> Generator[None]:
    """Within this, a thread of `trio.to_thread` may `install` portals. Thread: worker."""
    data = PARENT_TASK_DATA.__dict__
    before = dict(data)
    PARENT_TASK_DATA.abandon_on_cancel = False
    PARENT_TASK_DATA.cancel_register = _CancelRegister()  # type: ignore[assignment]  # see there
    try:
        yield
    finally:
        data.clear()
        data.update(before)


def _raise_cancelled() -> None:
    trio.from_thread.run(trio.lowlevel.checkpoint)
