"""What a way to stream chunks from a blocking generator is, to all that measures it.

A way has `make` called, runs the generator it returns on threads, and awaits `take` for what comes, in
order: with a batch, if it has one, else with one chunk at a time. When `take` is slow the generator
has to wait; how much may be read ahead until then, `Bounds` says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import anyio

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

R = TypeVar("R")

Make: TypeAlias = Callable[[], Iterator[bytes]]
Take: TypeAlias = Callable[[Sequence[bytes]], Coroutine[Any, Any, None]]
Stream: TypeAlias = Callable[[Make, Take], Awaitable[None]]

TRIO = "trio"
ASYNCIO = "asyncio"


@dataclass(frozen=True)
class Bounds:
    """How much a stream may read ahead, and how many streams there will be."""

    max_chunks: int
    high_water: int = 2**20
    """In bytes, for ways that know such a bound."""
    streams: int = 1
    """At once: ways that hold a thread for each get so many."""


@dataclass(frozen=True)
class Way:
    """One way, and the event loop it is measured on."""

    name: str
    loop: str
    """Trio where it can."""
    open: Callable[[Bounds], AbstractAsyncContextManager[Stream]]
    """What an application does once. Gives what it does for each stream."""
    reads_ahead: bool = False
    """Is there a buffer?"""

    @property
    def note(self) -> str | None:
        """What a table should say of it."""
        return None if self.loop == TRIO else f"on {self.loop}"

    def run(self, main: Callable[[Stream], Awaitable[R]], bounds: Bounds) -> R:
        """Run this on the way's event loop, with a way to stream. Blocks this thread."""

        async def whole() -> R:
            async with self.open(bounds) as stream:
                return await main(stream)

        return anyio.run(whole, backend=self.loop)
