"""What stands for locks, lists and fields in the real code: each touch of something shared is a step.

A lock's `acquire` is a step. So is each access to a field that anybody touches without the field's
lock. What is only ever touched with its lock held (that is checked, each time) needs no step of its
own: then the order in which the lock is taken says all.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, SupportsIndex
from unittest.mock import patch

from ewb import _budget, _channel, _courtesy, _doorbell, _handoff, _threads
from ewb._handoff import Handoff

from .fields import Access, Locks, Rule, is_held, watching
from .scheduler import Abort, Op, Run, current_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .scheduler import Actor


def _now() -> tuple[Run, Actor] | None:
    """The run, and the actor in which this is; None: nothing runs, or it is over."""
    run = current_run()
    return None if run is None or run.current is None else (run, run.current)


class StepRLock:
    """In the place of `threading.RLock`, and of a `BriefLock`."""

    def __init__(self) -> None:
        self.owner: Actor | None = None
        self.count = 0

    def acquire(self) -> bool:
        """A step, unless this thread has it already."""
        now = _now()
        if now is None:
            return True
        run, me = now
        if self.owner is not me:
            run.step(Op(run.label(self, "lock"), "acquire"), lambda: self.owner is None)
            self.owner = me
        self.count += 1
        return True

    def release(self) -> None:
        """No step: what comes before and after it says all."""
        now = _now()
        if now is None:
            return
        run, me = now
        assert self.owner is me, "released by one who does not hold it"
        self.count -= 1
        if self.count == 0:
            self.owner = None
            run.place(run.label(self)).released = me.clock.copy()

    def _is_owned(self) -> bool:
        now = _now()
        return now is None or self.owner is now[1]

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class StepLock:
    """In the place of `threading.Lock`, which one thread may take and another release."""

    def __init__(self) -> None:
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT002 - as the real one
        """A step. With a time limit, the time may be over at once."""
        now = _now()
        if now is None:
            taken, self._held = not self._held, True
            if not taken and blocking and timeout < 0:
                raise Abort
            return taken
        run, _ = now
        place = run.label(self, "latch")
        if blocking and timeout < 0:
            run.step(Op(place, "acquire"), lambda: not self._held)
        else:
            run.step(Op(place, "write"))
        taken, self._held = not self._held, True
        return taken

    def release(self) -> None:
        """A step: somebody may look without waiting."""
        now = _now()
        if now is not None:
            run, me = now
            place = run.label(self, "latch")
            run.step(Op(place, "write"))
            assert self._held, "released though nobody holds it"
            run.place(place).released = me.clock.copy()
        self._held = False

    def locked(self) -> bool:
        """Does anybody hold it?"""
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class StepCondition:
    """In the place of `threading.Condition`."""

    def __init__(self, lock: StepRLock) -> None:
        self._lock = lock
        self._waiters: list[list[bool]] = []

    def wait(self) -> None:
        """Give the lock back, wait to be notified, and take the lock again."""
        now = _now()
        if now is None:
            raise Abort
        run, me = now
        assert self._lock.owner is me, "waits without the lock"
        waiter = [False]
        self._waiters.append(waiter)
        count, self._lock.count = self._lock.count, 1
        self._lock.release()
        run.step(Op(run.label(waiter, "waiter"), "wait"), lambda: waiter[0])
        self._lock.acquire()
        self._lock.count = count

    def notify(self, n: int = 1) -> None:
        """Wake the first of those that wait."""
        now = _now()
        if now is None:
            return
        run, me = now
        assert self._lock.owner is me, "notifies without the lock"
        for waiter in self._waiters[:n]:
            waiter[0] = True
            run.place(run.label(waiter, "waiter")).released = me.clock.copy()
        del self._waiters[:n]

    def notify_all(self) -> None:
        """Wake all that wait."""
        self.notify(len(self._waiters))

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class StepList(list[Any]):
    """In the place of a list that two threads change: each of these is atomic in CPython."""

    def __init__(self, handoff: Handoff[Any], name: str) -> None:
        super().__init__()
        self._handoff = handoff
        self._name = name

    def _step(self, kind: str) -> None:
        now = _now()
        if now is not None:
            run, _ = now
            run.step(Op(run.label(self, self._name), "write" if kind == "write" else "read"))

    def append(self, item: Any) -> None:
        """A step; and for chunks there has to be room."""
        self._step("write")
        if self._name == "chunks":
            self._check_bounds()
        super().append(item)

    def _check_bounds(self) -> None:
        handoff, run = self._handoff, current_run()
        held: Any = handoff.buffer.held
        there = [*self.peek(), *held.peek()]
        bounds = handoff.buffer.ledger.bounds
        full = len(there) >= bounds.max_chunks or sum(map(len, there)) >= bounds.high_water
        if full and run is not None and not handoff.__dict__["closed"]:
            run.fail(f"a chunk too many: there are {there} within {bounds}")

    def peek(self) -> list[Any]:
        """What there is, without a step."""
        return list(super().__iter__())

    def __len__(self) -> int:
        self._step("read")
        return super().__len__()

    def __bool__(self) -> bool:
        return len(self) > 0

    def __getitem__(self, index: Any) -> Any:
        self._step("read")
        return super().__getitem__(index)

    def __delitem__(self, index: Any) -> None:
        self._step("write")
        super().__delitem__(index)

    def clear(self) -> None:
        """A step."""
        self._step("write")
        super().clear()


class StepHeld(list[Any]):
    """In the place of one that is changed with the lock held, and looked at without it too."""

    def __init__(self, handoff: Handoff[Any]) -> None:
        super().__init__()
        self._handoff = handoff

    def _step(self, *, writes: bool) -> None:
        now = _now()
        if now is None:
            return
        run, _ = now
        held = is_held(self._handoff.lock)
        if writes and not held:
            run.fail("chunks that are held were changed without the lock")
        if writes or not held:
            run.step(Op(run.label(self, "held"), "write" if writes else "read"))

    def extend(self, items: Iterable[Any]) -> None:
        """A step."""
        self._step(writes=True)
        super().extend(items)

    def pop(self, index: SupportsIndex = -1) -> Any:
        """A step."""
        self._step(writes=True)
        return super().pop(index)

    def clear(self) -> None:
        """A step."""
        self._step(writes=True)
        super().clear()

    def peek(self) -> list[Any]:
        """What there is, without a step."""
        return list(super().__iter__())

    def __len__(self) -> int:
        self._step(writes=False)
        return super().__len__()

    def __bool__(self) -> bool:
        return len(self) > 0


class _Threading:
    """In the place of `threading`."""

    Lock = StepLock
    RLock = StepRLock
    Condition = StepCondition


LOCKS = Locks()


def _watch(access: Access) -> None:
    now = _now()
    if now is None:
        return
    run, _ = now
    thing, name, rule, writes = access
    if rule in (Rule.GUARDED, Rule.HINT):
        held = is_held(LOCKS.of(thing))
        if not held and (writes or rule is Rule.GUARDED):
            run.fail(f"{type(thing).__name__}.{name} is touched without its lock")
        if held and not (writes and rule is Rule.HINT):
            return
    elif rule is Rule.FRONT_END:
        if run.current is not None and run.current.name != "front_end":
            run.fail(f"{type(thing).__name__}.{name} is touched by {run.current.name}")
        return
    place = f"{run.label(thing)}.{name}"
    run.step(Op(place, "write" if writes else "read"))


def _made(thing: object) -> None:
    if isinstance(thing, Handoff):
        buffer = thing.buffer
        buffer.chunks = StepList(thing, "chunks")
        buffer.held = StepHeld(thing)
        if buffer._sizes is not None:
            buffer._sizes = StepList(thing, "sizes")


@contextmanager
def stepping() -> Iterator[None]:
    """Within this, what ewb makes steps as it is said above."""
    with ExitStack() as stack:
        for module in (_channel, _courtesy, _doorbell, _handoff, _threads):
            stack.enter_context(patch.object(module, "threading", _Threading))
        for module in (_budget, _threads):
            stack.enter_context(patch.object(module, "BriefLock", StepRLock))
        stack.enter_context(watching(_watch, LOCKS, made=_made))
        yield
