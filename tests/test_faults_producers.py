"""A producer that fails at any point, in any way of leaving it: the workers are as they were."""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio

import ewb

from .helpers import GUARD, Gate, fail, until

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ewb import ChunkReceiver, Workers

CHUNKS = 7
"""Of a producer; with `MAX_CHUNKS` it is suspended twice on its way."""
MAX_CHUNKS = 3
POINTS = ["function", "iter", *(f"chunk {n}" for n in range(CHUNKS + 1)), "size 0", "size 4", "close"]
WAYS = ["to the end", "one by one", "early", "aclose", "cancelled", "error"]


class Failure(Exception):  # noqa: N818 - it is one
    """What the producers here raise."""


class Failing:
    """A producer that raises at one point."""

    def __init__(self, point: str) -> None:
        self._point = point
        self.begun = self.closed = 0

    def __call__(self) -> Iterator[bytes]:
        """What is given to `produce`."""
        self._reach("function")
        return iter(Chunks(self)) if self._point == "iter" else self.chunks()

    def chunks(self) -> Generator[bytes, None, str]:
        """The generator."""
        self.begun += 1
        try:
            for number in range(CHUNKS):
                self._reach(f"chunk {number}")
                yield b"%d" % number
            self._reach(f"chunk {CHUNKS}")
        finally:
            self.closed += 1
            self._reach("close")
        return "done"

    def size(self, chunk: bytes) -> int:
        """What is given as `size=`."""
        self._reach(f"size {int(chunk)}")
        return 1

    def _reach(self, point: str) -> None:
        if point == self._point:
            raise Failure(point)


class Chunks:
    """Raises when it is iterated over."""

    def __init__(self, producer: Failing) -> None:
        self._producer = producer

    def __iter__(self) -> NoReturn:
        raise Failure


async def read(chunks: ChunkReceiver[bytes, Any], way: str) -> None:
    """Read in one of the ways that there are."""
    match way:
        case "to the end":
            async for _ in chunks.batches():
                pass
        case "one by one":
            async for _ in chunks:
                pass
        case "early":
            await chunks.receive()
        case "aclose":
            await chunks.receive()
            await chunks.aclose()
        case "cancelled":
            with trio.CancelScope() as scope:
                scope.cancel()
                await chunks.receive()
        case "error":
            await chunks.receive()
            raise ZeroDivisionError


async def at_rest(workers: Workers, tasks: int) -> None:
    """Wait until nothing is left of all producers."""

    def nothing_left() -> bool:
        now = workers.statistics()
        idle = (now.idle, now.producers, now.queued, now.suspended, now.buffered_bytes, now.running)
        living = trio.lowlevel.current_statistics().tasks_living
        # One task may have come to stay: the backstop, which all channels of a run share.
        return idle == (now.threads, 0, 0, 0, 0, ()) and living <= tasks + 1

    await until(nothing_left)


@pytest.mark.parametrize("same_thread", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
async def test_a_producer_fails_at_any_point(threads: int, *, same_thread: bool) -> None:
    """However it is read: it is closed; no memory, task or thread is lost; others are served."""
    async with ewb.open_workers(threads) as workers:
        tasks = trio.lowlevel.current_statistics().tasks_living
        for point in POINTS:
            for way in WAYS:
                producer = Failing(point)
                try:
                    async with workers.produce(
                        producer, max_chunks=MAX_CHUNKS, size=producer.size, same_thread=same_thread
                    ) as chunks:
                        await read(chunks, way)
                except (Failure, ZeroDivisionError):
                    pass
                assert producer.begun == producer.closed <= 1
                await at_rest(workers, tasks)
                assert workers.statistics().threads == threads


async def test_nothing_of_a_failed_producer_is_kept() -> None:
    """Neither the producer, nor its chunks, nor what it raised."""
    async with ewb.open_workers(1) as workers:
        kept = []
        for point in POINTS:
            producer = Failing(point)
            kept.append(weakref.ref(producer))
            with pytest.raises(Failure):
                async with workers.produce(producer, size=producer.size) as chunks:
                    await read(chunks, "to the end")
            del producer, chunks
        async with workers.produce(lambda: [b"another"]) as chunks:  # a worker may hold on to its last
            await read(chunks, "to the end")

        def gone() -> bool:
            gc.collect()
            return not any(it() for it in kept)

        await until(gone)


# -- a thread that is hit ------------------------------------------------------------------------------


def throw_into(thread: int, error: type[BaseException]) -> None:
    """Have it raised in another thread, at its next step in Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError, Failure])
async def test_what_is_thrown_into_a_worker_is_the_readers(error: type[BaseException]) -> None:
    """Thrown by another thread while a producer computes: as if that had raised it."""
    gate, closed = Gate(), threading.Event()

    def computes() -> Generator[bytes]:
        yield b"before"
        gate.reached.set()
        try:
            while True:  # until it is hit
                pass
        finally:
            closed.set()

    async with ewb.open_workers(1) as workers:
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with workers.produce(computes) as chunks:
            with trio.fail_after(GUARD):
                assert await chunks.receive() == b"before"
                await until(gate.reached.is_set)
                (thread,) = (it for it in threading.enumerate() if it.name.startswith("ewb-"))
                assert thread.ident is not None
                throw_into(thread.ident, error)
                with pytest.raises(error):
                    await chunks.receive()
        assert closed.is_set()
        await at_rest(workers, tasks)
        async with workers.produce(lambda: [b"another"]) as chunks:
            assert await chunks.receive() == b"another"


async def test_a_call_of_sys_exit_in_finally_is_raised() -> None:
    """It is not lost, though nobody reads any more."""

    def exits() -> Generator[bytes]:
        try:
            yield b"chunk"
        finally:
            fail(SystemExit("in finally"))

    async with ewb.open_workers(1) as workers:
        tasks = trio.lowlevel.current_statistics().tasks_living
        with pytest.raises(SystemExit):
            async with workers.produce(exits) as chunks:
                await chunks.receive()
        await at_rest(workers, tasks)
