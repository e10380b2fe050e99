"""The one way from a thread into Trio, and the sole caller of `run_sync_soon`.

A wake-up costs a system call each time, even with `idempotent=True`. So all threads of one Trio run
share a doorbell, which is rung at most once until it is answered: whoever posts a call while it is
out, only adds to the list.

Invariants: `_calls`, `_out` and `_over` are guarded by `_lock`; `_out` is True from before the call of
`run_sync_soon` until `_answer` takes the list; what is posted while the run lives is called, once.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._handoff import Handoff

_doorbell_of_run: trio.lowlevel.RunVar[Doorbell] = trio.lowlevel.RunVar("ewb doorbell")


class Doorbell:
    """What wakes the front end: one for each Trio run, see `current_doorbell`."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        # Reentrant: the collector may drop a sender, whose end is posted, in here.
        self._lock = threading.RLock()
        self._calls: list[Callable[[], object]] = []
        self._out = False
        self._over = False
        # Channels whose senders are threads of the user's: nobody else tells these that the run is
        # over. Weak, so that a dropped channel is forgotten. Front end only.
        self._channels: weakref.WeakSet[Handoff[Any]] = weakref.WeakSet()
        trio.lowlevel.spawn_system_task(self._outlive)

    def __repr__(self) -> str:
        return f"<Doorbell at {id(self):#x}, {len(self._calls)} calls waiting>"

    @enable_ki_protection  # once it says that it is out, it has to be rung
    def post(self, call: Callable[[], object]) -> bool:
        """Have the front end call `call`, which must not raise, soon. Thread: any.

        Returns:
            False if the Trio run is over: then nobody will call it. True: it will be called, unless
            the run ends just then.
        """
        with self._lock:
            if self._over:
                return False
            self._calls.append(call)
            if self._out:
                return True
            self._out = True
        try:
            self._token.run_sync_soon(self._answer)
        except trio.RunFinishedError:
            with self._lock:
                self._over = True
                self._calls.clear()
            return False
        return True

    def _answer(self) -> None:
        """Thread: front end."""
        with self._lock:
            self._out = False  # first: what the collector posts after this is rung for
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def close_with_run(self, handoff: Handoff[Any]) -> None:
        """Close this channel when the Trio run is over. Thread: front end."""
        self._channels.add(handoff)

    async def _outlive(self) -> None:
        """A system task: Trio cancels it once the main task is done."""
        try:
            await trio.sleep_forever()
        finally:
            for handoff in tuple(self._channels):
                handoff.close()


def current_doorbell() -> Doorbell:
    """The doorbell of this Trio run. Thread: front end."""
    try:
        return _doorbell_of_run.get()
    except LookupError:
        doorbell = Doorbell()
        _doorbell_of_run.set(doorbell)
        return doorbell
