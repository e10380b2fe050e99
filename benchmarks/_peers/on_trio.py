"""Ways by ewb, by Trio's own means, by anyio's, and what is built on anyio. All run on Trio."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import anyio.from_thread
import anyio.to_thread
import trio
from starlette.concurrency import iterate_in_threadpool

import ewb

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .way import Bounds, Make, Stream, Take

SLICE = 64
"""Chunks that `islice` takes at once."""


@asynccontextmanager
async def by_ewb(bounds: Bounds) -> AsyncGenerator[Stream]:
    """Four threads, however many streams there are."""

    async def stream(make: Make, take: Take) -> None:
        async with workers.produce(
            make, high_water=bounds.high_water, max_chunks=bounds.max_chunks
        ) as chunks:
            async for batch in chunks.batches():
                await take(batch)

    async with ewb.open_workers(threads=min(4, bounds.streams)) as workers:
        yield stream


# -- trio ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def by_round_trip(bounds: Bounds) -> AsyncGenerator[Stream]:
    """For each chunk the thread enters the event loop, and waits there until it is taken."""
    limiter = trio.CapacityLimiter(bounds.streams)

    async def stream(make: Make, take: Take) -> None:
        def work() -> None:
            for chunk in make():
                trio.from_thread.run(take, (chunk,))

        await trio.to_thread.run_sync(work, limiter=limiter)

    yield stream


@asynccontextmanager
async def by_memory_channel(bounds: Bounds) -> AsyncGenerator[Stream]:
    """For each chunk the thread enters the event loop; it waits there only if the channel is full."""
    limiter = trio.CapacityLimiter(bounds.streams)

    async def stream(make: Make, take: Take) -> None:
        send_channel, receive_channel = trio.open_memory_channel[bytes](bounds.max_chunks)

        def work() -> None:
            for chunk in make():
                try:
                    trio.from_thread.run_sync(send_channel.send_nowait, chunk)
                except trio.WouldBlock:
                    trio.from_thread.run(send_channel.send, chunk)
            trio.from_thread.run_sync(send_channel.close)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, work, limiter=limiter))
            async for chunk in receive_channel:
                await take((chunk,))

    yield stream


@asynccontextmanager
async def by_next(_: Bounds) -> AsyncGenerator[Stream]:
    """A thread hop for each chunk; nothing is read ahead."""

    async def stream(make: Make, take: Take) -> None:
        iterator = make()
        while (chunk := await trio.to_thread.run_sync(next, iterator, None)) is not None:
            await take((chunk,))

    yield stream


@asynccontextmanager
async def by_islice(_: Bounds) -> AsyncGenerator[Stream]:
    """A thread hop for so many chunks, of which none is seen before all are made."""

    async def stream(make: Make, take: Take) -> None:
        iterator = make()
        while batch := await trio.to_thread.run_sync(list, islice(iterator, SLICE)):
            await take(batch)

    yield stream


# -- anyio --------------------------------------------------------------------------------------------


@asynccontextmanager
async def by_anyio_round_trip(bounds: Bounds) -> AsyncGenerator[Stream]:
    """As Trio's."""
    limiter = anyio.CapacityLimiter(bounds.streams)

    async def stream(make: Make, take: Take) -> None:
        def work() -> None:
            for chunk in make():
                anyio.from_thread.run(take, (chunk,))

        await anyio.to_thread.run_sync(work, limiter=limiter)

    yield stream


@asynccontextmanager
async def by_portal(bounds: Bounds) -> AsyncGenerator[Stream]:
    """As above, from any thread: each call is a task of the portal's."""
    limiter = anyio.CapacityLimiter(bounds.streams)

    async def stream(make: Make, take: Take) -> None:
        def work() -> None:
            for chunk in make():
                portal.call(take, (chunk,))

        await anyio.to_thread.run_sync(work, limiter=limiter)

    async with anyio.from_thread.BlockingPortal() as portal:
        yield stream


@asynccontextmanager
async def by_anyio_next(_: Bounds) -> AsyncGenerator[Stream]:
    """As Trio's."""

    async def stream(make: Make, take: Take) -> None:
        iterator = make()
        while (chunk := await anyio.to_thread.run_sync(next, iterator, None)) is not None:
            await take((chunk,))

    yield stream


@asynccontextmanager
async def by_starlette(_: Bounds) -> AsyncGenerator[Stream]:
    """What a `StreamingResponse` does with a plain generator."""

    async def stream(make: Make, take: Take) -> None:
        async for chunk in iterate_in_threadpool(make()):
            await take((chunk,))

    yield stream
