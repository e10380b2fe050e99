"""One producer: the life of a generator on the workers.

Invariants:

- The generator, its `finally` included, runs on workers only, one slice at a time, in the context that
  `produce` was called in. It is closed by whoever runs the slice in which it ends, or in which its
  channel is found closed.
- `finished` is set, on the front end, after the generator is closed, or will never be started. By then
  nothing of it is alive in an error's traceback.
"""

from __future__ import annotations

import contextvars
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ._errors import as_the_readers, without_cancelled
from ._frames import forget_locals, related
from ._handoff import End, Handoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._courtesy import Courtesy
    from ._from_thread import Portal


class Producer:
    """A function of the user's that yields chunks, and how far it is."""

    def __init__(
        self,
        start: Callable[[], Iterable[object]],
        *,
        name: str,
        same_thread: bool,
        channel: Callable[..., Handoff[Any]],
        portal: Portal,
        courtesy: Courtesy,
        schedule: Callable[[Producer], None],
        on_finished: Callable[[Producer], None],
    ) -> None:
        """A producer that nobody has begun.

        Args:
            start: makes the iterator, on a worker.
            name: what to call it in statistics and messages.
            same_thread: is it bound to the worker that begins it?
            channel: makes its channel; called with `on_room`.
            portal: its way into Trio.
            courtesy: its workers'.
            schedule: has a worker run another slice of it.
            on_finished: called by the front end once it is over.
        """
        self.name = name
        self.same_thread = same_thread
        self.begun = False  # one writer: the worker that runs it
        self.ended = False  # one writer, as above
        self.lost = False  # its thread has died, or is dying; guarded by the lock of `Threads`
        self.handoff = channel(on_room=self._resume)
        self.portal = portal
        self.closing_error: BaseException | None = None
        """What went wrong while the generator was being closed. One writer: the worker that runs it, or
        ends it. Read it once `finished` is set."""
        self.over = False
        """Is `finished` set, or would it be? Front end only."""
        self.when_finished: Callable[[], None] | None = None  # front end only
        self._finished: trio.Event | None = None  # front end only
        self._start: Callable[[], Iterable[object]] = start
        self._context = contextvars.copy_context()
        self._courtesy = courtesy
        self._schedule = schedule
        self._on_finished = on_finished
        self._iterator: Iterator[object] | None = None  # only the worker that runs it, or ends it

    def __repr__(self) -> str:
        return f"<Producer {self.name} of {self.handoff!r}>"

    @property
    def suspended(self) -> bool:
        """Does it wait at high water, without a thread? Thread: any."""
        return self.handoff.suspended

    @property
    def finished(self) -> trio.Event:
        """Set when it is over, and closed. Made when first asked for. Thread: front end."""
        if self._finished is None:
            self._finished = trio.Event()
            if self.over:
                self._finished.set()
        return self._finished

    def close(self) -> None:
        """Nobody will read. Thread: front end."""
        self.handoff.close()
        if not self.ended:
            self.handoff.answer()  # a task that still receives gets a ClosedResourceError

    def cut_short(self) -> None:
        """It is to end; what it has produced can still be read. Thread: front end."""
        self.handoff.cut_short()

    def run(self, until: float) -> bool:
        """Run a slice. Thread: worker.

        Returns:
            True if it wants another one; False if it has ended or, being suspended, will be resumed.
        """
        self.portal.install()
        ended = self._context.run(self._run, until)
        return not ended and self.handoff.rest()

    def abandon(self, error: BaseException, *, close: bool = False) -> None:
        """End it without running it any more: its thread is gone, or it was never started.

        Thread: any, if nothing is to be closed; else worker.
        """
        if close:
            self.portal.install()
            self._context.run(self._close, End(error=error))
        else:
            self._finish(End(error=error))

    def _resume(self) -> None:
        """There is room again, or it is to end. Thread: any."""
        self._schedule(self)

    # -- worker, in the producer's context ------------------------------------------------------

    def _run(self, until: float) -> bool:
        """Run a slice; True if the producer has ended."""
        try:
            if not self.handoff.stopping:
                if self._iterator is None:
                    self.begun = True
                    self._iterator = self._begin()
                self.handoff.fill(self._iterator, until, self._courtesy)
            if not self.handoff.stopping:
                return False
        except StopIteration as stop:
            end = End(stop.value)
        except BaseException as error:  # noqa: BLE001 - it is the reader's
            end = self._failed(error)
        else:
            end = self._gone()
        self._close(end)
        return True

    def _begin(self) -> Iterator[object]:
        try:
            start, self._start = self._start, tuple  # so its arguments are the generator's only
            made: object = start()
            if inspect.iscoroutine(made):
                made.close()
            if inspect.isawaitable(made) or hasattr(made, "__aiter__"):
                msg = f"producer {self.name} is async: it must be a plain generator, of blocking code"
                raise TypeError(msg)
            if not (hasattr(made, "__iter__") or hasattr(made, "__getitem__")):
                msg = f"producer {self.name} must return an iterator, not {made!r}"
                raise TypeError(msg)
            return iter(made)  # type: ignore[call-overload, no-any-return]  # one of both will do
        except StopIteration as error:
            msg = f"producer {self.name} raised StopIteration"
            raise RuntimeError(msg) from error

    def _failed(self, error: BaseException) -> End:
        if self.handoff.stopping:
            rest = without_cancelled(error)
            if rest is None:
                return self._gone()  # it was told to end, in a trio.from_thread call
            if self._concerns_the_block(error):
                self.closing_error = rest
                return self._gone()
        error = as_the_readers(error, self.name)
        return End(error=error, traceback=error.__traceback__)

    def _gone(self) -> End:
        return End(error=trio.BrokenResourceError(f"the workers of producer {self.name} are gone"))

    def _concerns_the_block(self, error: BaseException) -> bool:
        """The producer was told to end, and raised this on its own: is the block that is left to know?

        An error of read-ahead goes with the unread chunks. Not so what a `finally` raises, once
        `Cancelled` was raised in a `trio.from_thread` call; nor what must never be lost.
        """
        if not isinstance(error, Exception):
            return True
        return any(issubclass(type(one), trio.Cancelled) for one in related(error))

    def _close(self, end: End) -> None:
        iterator, self._iterator = self._iterator, None
        close: Callable[[], object] | None = None
        try:
            close = getattr(iterator, "close", None)  # a generator's, a file's, a cursor's
            if close is not None:
                close()
        except BaseException as error:  # noqa: BLE001 - it is the block's
            self._note_closing(error, end)
        finally:
            # A generator that yields while it is closed lives on, in its error's traceback. What it has
            # yet to run it runs when it is dropped: so here.
            del iterator, close
        for passed in (end.error, self.closing_error):
            if passed is not None:
                forget_locals(passed)  # for the same reason
        self._finish(end)

    def _note_closing(self, error: BaseException, end: End) -> None:
        rest = without_cancelled(error)
        if rest is None:
            return
        first = end.error if self.closing_error is None else self.closing_error
        if first is None or isinstance(first, Exception):
            self.closing_error = rest
        elif all(rest is not one for one in _contexts_of(first)):
            # A KeyboardInterrupt, say, is not to give way to it.
            rest.__context__ = first.__context__
            first.__context__ = rest

    def _finish(self, end: End) -> None:
        self.portal.revoke()
        self.ended = True
        self.handoff.finish(end, self._set_finished)

    def _set_finished(self) -> None:
        """Thread: front end."""
        self.portal.close()
        self._on_finished(self)
        self.over = True
        if self._finished is not None:
            self._finished.set()
        tell, self.when_finished = self.when_finished, None  # it may hold what holds this
        if tell is not None:
            tell()


def name_of(fn: Callable[..., object]) -> str:
    """What to call a user's function in statistics and messages. Thread: any."""
    while isinstance(fn, partial):
        fn = fn.func
    return getattr(fn, "__qualname__", None) or repr(fn)


def _contexts_of(error: BaseException) -> list[BaseException]:
    """The error itself, what it was raised in the handling of, and so on."""
    found: dict[int, BaseException] = {}
    one: BaseException | None = error
    while one is not None and id(one) not in found:  # not by ==, which may be the user's
        found[id(one)] = one
        one = one.__context__
    return [*found.values()]
