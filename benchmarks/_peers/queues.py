"""Ways by a queue between a thread and an event loop: culsans and aiologic on Trio, others on asyncio.

Each stream holds a thread. Readers of culsans and aiologic take all that is there at each wake-up: that
is quicker than one chunk at a time. Of janus it is not, so there they take one. A producer ends its
stream by `None`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, cast

import aiologic
import culsans
import janus
import trio
from aiothreads import threaded_iterable_separate
from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator

    from .way import Bounds, Make, Stream, Take

AT_ONCE = 256
"""Chunks that a reader takes at each wake-up, at the most."""


@dataclass(frozen=True)
class Queue:
    """Both ends of one."""

    put: Callable[[bytes | None], None]
    get: Callable[[], Awaitable[bytes | None]]
    get_now: Callable[[], bytes | None]
    shut_down: Callable[[], None] | None = None
    """To be called when nobody will read: it makes a `put` raise."""


def _fill(make: Make, queue: Queue) -> None:
    """What the thread does."""
    with suppress(culsans.SyncQueueShutDown, janus.SyncQueueShutDown):
        try:
            for chunk in make():
                queue.put(chunk)
        finally:
            queue.put(None)


async def _drain(queue: Queue, empty: type[Exception], take: Take) -> None:
    """What the event loop does."""
    while (chunk := await queue.get()) is not None:
        batch = [chunk]
        with suppress(empty):
            for _ in repeat(None, AT_ONCE):
                if (chunk := queue.get_now()) is None:
                    await take(batch)
                    return
                batch.append(chunk)
        await take(batch)


# -- on trio ------------------------------------------------------------------------------------------


def _in_a_nursery(bounds: Bounds, open_queue: Callable[[], Queue], empty: type[Exception]) -> Stream:
    limiter = trio.CapacityLimiter(bounds.streams)

    async def stream(make: Make, take: Take) -> None:
        queue = open_queue()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, _fill, make, queue, limiter=limiter))
            try:
                await _drain(queue, empty, take)
            finally:
                if queue.shut_down is not None:
                    queue.shut_down()

    return stream


@asynccontextmanager
async def by_culsans(
    bounds: Bounds, *, sized: bool = False, careful: bool = False
) -> AsyncGenerator[Stream]:
    """A queue for threads and Trio: bounded in bytes if `sized`, shut down at the end if `careful`."""

    def open_queue() -> Queue:
        queue = (
            culsans.Queue[bytes | None](bounds.high_water, sizer=_size)
            if sized
            else culsans.Queue[bytes | None](bounds.max_chunks)
        )
        reader = queue.async_q
        shut_down = partial(queue.shutdown, immediate=True) if careful else None
        return Queue(queue.sync_q.put, reader.get, reader.get_nowait, shut_down)

    yield _in_a_nursery(bounds, open_queue, culsans.QueueEmpty)


def _size(chunk: bytes | None) -> int:
    return len(chunk) if chunk else 1


@asynccontextmanager
async def by_aiologic(bounds: Bounds) -> AsyncGenerator[Stream]:
    """What culsans is built upon, and its own queue."""

    def open_queue() -> Queue:
        queue = aiologic.Queue[bytes | None](bounds.max_chunks)
        return Queue(queue.green_put, queue.async_get, partial(queue.green_get, blocking=False))

    yield _in_a_nursery(bounds, open_queue, aiologic.QueueEmpty)


# -- on asyncio ---------------------------------------------------------------------------------------


@asynccontextmanager
async def by_janus(bounds: Bounds, *, careful: bool = False) -> AsyncGenerator[Stream]:
    """A queue for threads and asyncio: shut down at the end if `careful`."""

    async def stream(make: Make, take: Take) -> None:
        opened = janus.Queue[bytes | None](bounds.max_chunks)
        queue = Queue(opened.sync_q.put, opened.async_q.get, opened.async_q.get_nowait)
        thread = asyncio.get_running_loop().run_in_executor(executor, _fill, make, queue)
        try:
            while (chunk := await queue.get()) is not None:
                await take((chunk,))
        finally:
            if careful:
                opened.shutdown(immediate=True)
        await thread
        await opened.aclose()

    with ThreadPoolExecutor(bounds.streams) as executor:
        yield stream


@asynccontextmanager
async def by_aiothreads(bounds: Bounds) -> AsyncGenerator[Stream]:
    """Made for this: it runs generators. With a thread for each, not one of a shared pool of a few."""

    async def stream(make: Make, take: Take) -> None:
        generator = cast("Callable[[], Generator[bytes, None, None]]", make)  # any iterator will do
        threaded = threaded_iterable_separate(generator, max_size=bounds.max_chunks)
        async with threaded() as chunks:
            async for chunk in chunks:
                await take((chunk,))

    yield stream


@asynccontextmanager
async def by_asgiref(_: Bounds) -> AsyncGenerator[Stream]:
    """A thread hop for each chunk; nothing is read ahead."""

    def next_of(iterator: Iterator[bytes]) -> bytes | None:
        return next(iterator, None)

    in_thread = sync_to_async(next_of, thread_sensitive=False)

    async def stream(make: Make, take: Take) -> None:
        iterator = make()
        while (chunk := await in_thread(iterator)) is not None:
            await take((chunk,))

    yield stream
