"""Stands for Trio in a run: one actor, whose tasks are the real coroutines of the real receiver.

It keeps what ewb relies on: a task that waits is rescheduled once or cancelled, not both; calls that
threads send run between the steps of tasks, in order; when the main task is done, system tasks are
cancelled, what was sent before is still called, and what is sent later raises `RunFinishedError`. Of
time there is only what `Clock.pass_time` makes of it.
"""

from __future__ import annotations

import types
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import trio
from trio.lowlevel import Abort as AbortResult

from ewb import _channel, _doorbell, _handoff, _producer, _receiver, _threads, _workers
from ewb._doorbell import Doorbell

from .scheduler import current_run, step

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator

    from ewb._handoff import Handoff

QUEUE: Final = "front_end.queue"


class Cancelled(BaseException):
    """In the place of `trio.Cancelled`, which only Trio can make."""


class Task:
    """A coroutine, and how far it is."""

    def __init__(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self.coroutine = coroutine
        self.abort: Callable[[object], object] | None = None  # as long as it waits
        self.error: BaseException | None = None  # what it goes on with
        self.cancelled = False
        self.done = False


class FrontEnd:
    """Trio's thread."""

    def __init__(self) -> None:
        self.queue: list[Callable[[], object]] = []
        self.runnable: list[Task] = []
        self.system: list[Task] = []
        self.tasks: list[Task] = []
        self.running: Task | None = None
        self.over = False
        self.main: Task | None = None
        self.timers: dict[Any, float] = {}
        self.clock = Clock()
        self.doorbell: Doorbell

    # -- what ewb calls -----------------------------------------------------------------------------

    def run_sync_soon(self, call: Callable[[], object]) -> None:
        """As a `TrioToken`. Thread: any."""
        step(QUEUE, "write")
        if self.over:
            raise trio.RunFinishedError
        assert call not in self.queue, "a doorbell is rung that is out"
        self.queue.append(call)
        if len(self.queue) == 1 and not self.clock.is_over(self.timers):
            self.note_wake()

    def note_wake(self) -> None:
        """The step that is made now is what the front end, if it waits, goes on for."""
        run = current_run()
        if run is not None and run.current is not None:
            run.place(QUEUE).released = run.current.clock.copy()

    def spawn(self, coroutine: Coroutine[Any, Any, object]) -> Task:
        """Start a task."""
        task = Task(coroutine)
        self.tasks.append(task)
        self.runnable.append(task)
        return task

    def reschedule(self, task: Task) -> None:
        """Have a task that waits go on."""
        assert task.abort is not None, "a task is woken that does not wait"
        task.abort = None
        self.runnable.append(task)

    def watch(self, handoff: Handoff[Any], deadline: float) -> None:
        """As a `Backstop`."""
        self.timers[handoff] = deadline

    def forget(self, handoff: Handoff[Any]) -> None:
        """As a `Backstop`."""
        self.timers.pop(handoff, None)

    def cancel(self, task: Task) -> None:
        """Cancel what it waits for, now or next; once."""
        if task.done:
            return
        if task.abort is None:
            task.cancelled = True
            return
        assert task.abort(None) is AbortResult.SUCCEEDED
        task.error = Cancelled()
        self.reschedule(task)

    # -- its life -------------------------------------------------------------------------------------

    def run(self, main: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """As `trio.run`."""
        self.main = self.spawn(main())
        while True:
            self._step_tasks()
            if self.main.done:
                break
            step(QUEUE, "wait", lambda: bool(self.queue) or self.clock.is_over(self.timers))
            self._run_calls()
            self._fire()
        for task in self.system:
            self.cancel(task)
        self._step_tasks()
        step(QUEUE, "write")
        self.over = True
        while self.queue:
            self.queue.pop(0)()

    def close(self) -> None:
        """Leave no coroutine behind, however a run went."""
        for task in self.tasks:
            task.coroutine.close()

    def _step_tasks(self) -> None:
        while self.runnable:
            task = self.runnable.pop(0)
            self.running, error = task, task.error
            task.error = None
            try:
                if error is None:
                    task.abort = task.coroutine.send(None)
                else:
                    task.abort = task.coroutine.throw(error)
            except StopIteration:
                task.done = True
            except Cancelled:
                task.done = True
            finally:
                self.running = None
            if task.abort is not None and task.cancelled:
                task.cancelled = False
                self.cancel(task)

    def _run_calls(self) -> None:
        step(QUEUE, "write")
        calls, self.queue = self.queue, []
        for call in calls:
            call()

    def _fire(self) -> None:
        for handoff, deadline in list(self.timers.items()):
            if deadline <= self.clock():
                del self.timers[handoff]
                handoff.overdue()


class Clock:
    """Time stands still, but for one leap, which is an actor's step."""

    def __init__(self) -> None:
        self.now = 0.0
        self.leaps = False

    def __call__(self) -> float:
        """As ewb's clock."""
        if self.leaps:
            step("clock", "read")
        return self.now

    def pass_time(self, seconds: float) -> None:
        """The actor that does it."""
        step("clock", "write")
        self.now += seconds
        if not _front_end().queue:
            _front_end().note_wake()

    def skip_to(self, timers: dict[Any, float]) -> bool:
        """Nobody can go on: then time passes until the first of these is due, if there is one."""
        self.now = max(self.now, min(timers.values(), default=self.now))
        return bool(timers)

    def is_over(self, timers: dict[Any, float]) -> bool:
        """Is any of these due?"""
        return any(deadline <= self.now for deadline in timers.values())


class Event:
    """In the place of `trio.Event`."""

    def __init__(self) -> None:
        self._set = False
        self._tasks: list[Task] = []

    def set(self) -> None:
        """Wake who waits."""
        self._set = True
        for task in self._tasks:
            _front_end().reschedule(task)
        self._tasks.clear()

    def is_set(self) -> bool:
        """Was it set?"""
        return self._set

    async def wait(self) -> None:
        """Wait for it. It cannot be cancelled: this stands for `wait_whatever_comes`."""
        if not self._set:
            self._tasks.append(current_task())
            await _park(lambda _: AbortResult.FAILED)


@types.coroutine
def _park(abort: Callable[[object], object]) -> Generator[Callable[[object], object], None, None]:
    yield abort


_now: list[FrontEnd] = []


def _front_end() -> FrontEnd:
    return _now[-1]


def current_task() -> Task:
    """As Trio's."""
    task = _front_end().running
    assert task is not None, "no task runs"
    return task


async def checkpoint_if_cancelled() -> None:
    """As Trio's."""
    task = current_task()
    if task.cancelled:
        task.cancelled = False
        raise Cancelled


async def checkpoint() -> None:
    """As Trio's, but that no other task has its turn."""
    await checkpoint_if_cancelled()


async def cancel_shielded_checkpoint() -> None:
    """As Trio's, but that no other task has its turn."""


async def sleep_forever() -> None:
    """As Trio's."""
    await _park(lambda _: AbortResult.SUCCEEDED)


class _LowLevel:
    checkpoint = staticmethod(checkpoint)
    in_trio_run = staticmethod(lambda: False)

    @staticmethod
    def current_trio_token() -> FrontEnd:
        return _front_end()

    @staticmethod
    def spawn_system_task(start: Callable[[], Coroutine[Any, Any, object]]) -> None:
        _front_end().system.append(_front_end().spawn(start()))


class _Trio:
    """In the place of `trio`: all else is as it is there."""

    lowlevel = _LowLevel
    Event = Event
    sleep_forever = staticmethod(sleep_forever)

    def __getattr__(self, name: str) -> object:
        return getattr(trio, name)


def open_front_end(*, moderated: bool) -> FrontEnd:
    """A new one, for a new run."""
    front_end = FrontEnd()
    _now[:] = [front_end]
    _moderated[:] = [moderated]
    front_end.doorbell = Doorbell()
    return front_end


_moderated: list[bool] = [False]


@contextmanager
def without_trio() -> Iterator[None]:
    """Within this, ewb's modules find the front end of the run where they look for Trio."""
    fake = _Trio()
    with ExitStack() as stack:

        def put(module: object, name: str, value: object) -> None:
            stack.enter_context(patch.object(module, name, value))

        for module in (_channel, _doorbell, _producer, _receiver):
            put(module, "trio", fake)
        for module in (_channel, _workers):
            put(module, "current_doorbell", lambda: _front_end().doorbell)
        put(_receiver, "current_task", current_task)
        put(_receiver, "reschedule", lambda task: _front_end().reschedule(task))
        put(_receiver, "wait_task_rescheduled", _park)
        put(_receiver, "checkpoint_if_cancelled", checkpoint_if_cancelled)
        put(_receiver, "cancel_shielded_checkpoint", cancel_shielded_checkpoint)
        put(_receiver, "time_is_real", lambda: _moderated[-1])
        put(_receiver, "current_backstop", _front_end)
        for module in (_handoff, _threads):
            put(module, "clock", lambda: _front_end().clock())
        yield
