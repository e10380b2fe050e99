"""What worker threads run: a producer, slice by slice, or one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import trio

    from ._from_thread import Portal


class Job(Protocol):
    """Something for a worker to run. Each attribute's writer is named where it is made."""

    @property
    def name(self) -> str:
        """What to call it in statistics."""
        ...

    @property
    def same_thread(self) -> bool:
        """Is it bound to the worker that begins it?"""
        ...

    @property
    def suspended(self) -> bool:
        """Does it wait for room, without a thread? Thread: any."""
        ...

    @property
    def portal(self) -> Portal:
        """Its way into Trio."""
        ...

    @property
    def finished(self) -> trio.Event:
        """Set, on the front end, when it is over and closed."""
        ...

    begun: bool
    ended: bool
    lost: bool

    def run(self, until: float) -> bool:
        """Run a slice; True if it wants another one at once. Thread: worker."""
        ...

    def abandon(self, error: BaseException, *, close: bool = False) -> None:
        """End it without running it any more. Thread: any, if nothing is to be closed; else worker."""
        ...

    def close(self) -> None:
        """Nobody wants any more of it. Thread: front end."""
        ...

    def cut_short(self) -> None:
        """It is to end; what it has made so far may still be read. Thread: front end."""
        ...
