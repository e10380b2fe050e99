"""The pairs of programs, before and after: they yield the same, and what the guide says is so."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import culsans
import janus
import pytest
import trio

import ewb
from examples.migrate.source import COUNT

from .helpers import GUARD, Log, until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PAIRS = ("janus", "culsans", "from_thread", "iterate")
ON_TRIO = ("janus_after", "culsans_after", "from_thread_before", "from_thread_after", "iterate_after")


def run(name: str) -> tuple[bytes, bytes]:
    """Run a program; returns what it printed, and what it said on standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"examples.migrate.{name}"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
        timeout=3 * GUARD,
    )
    return done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_before_and_after_yield_the_same(pair: str) -> None:
    """All lines, in order, to the byte; and the generator is closed on a worker at its end."""
    before, after = run(f"{pair}_before"), run(f"{pair}_after")
    assert before == after
    assert after == (
        b"".join(b"line %d\n" % number for number in range(COUNT)),
        b"closed on the worker\n",
    )


def program(
    name: str, monkeypatch: pytest.MonkeyPatch, log: Log, write: Callable[[bytes], object]
) -> Any:
    """One of the programs, with a generator that has no end, and this in place of `write`."""
    module = importlib.import_module(f"examples.migrate.{name}")
    monkeypatch.setattr(module, "lines", log.numbers)
    monkeypatch.setattr(module, "write", write)
    return module


def three_times(put: Callable[[int], None]) -> threading.Thread:
    """A thread that puts 0, 1 and 2."""

    def feed() -> None:
        for number in range(3):
            put(number)

    thread = threading.Thread(target=feed)
    thread.start()
    return thread


@pytest.mark.parametrize("name", ON_TRIO)
async def test_when_the_reader_is_cancelled_the_generator_is_closed_on_its_thread(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the program ends. The round trip does so too: its thread is told at its next line."""
    log = Log()
    with trio.fail_after(GUARD), trio.CancelScope() as scope:
        await program(name, monkeypatch, log, lambda _: scope.cancel()).main()
    assert scope.cancelled_caught
    log.assert_closed()


@pytest.mark.filterwarnings("ignore:Async generator .*iterate_in_threadpool:ResourceWarning")
async def test_iterate_in_threadpool_closes_it_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the reader leaves between two lines."""
    log = Log()

    class LeftError(Exception):
        pass

    def leave(_: bytes) -> None:
        raise LeftError

    module = program("iterate_before", monkeypatch, log, leave)
    with pytest.raises(LeftError):
        await module.main()
    await until(lambda: log.closed == [threading.get_ident()])


async def test_culsans_leaves_a_producer_blocked_when_its_reader_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the program before does not end: its nursery waits for a thread that nobody frees."""
    log, ended = Log(), trio.Event()
    queue: culsans.Queue[bytes | None] = culsans.Queue(maxsize=1)
    scope = trio.CancelScope()
    module = program("culsans_before", monkeypatch, log, lambda _: scope.cancel())
    monkeypatch.setattr(module, "lines", lambda: log.numbers(300))
    monkeypatch.setattr(culsans, "Queue", lambda maxsize: queue)  # noqa: ARG005 - its name

    async def run_it() -> None:
        with scope:
            await module.main()
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_it)
        await until(lambda: scope.cancel_called and queue.waiting)  # in `put`
        assert not ended.is_set()
        assert log.closed == []
        await until(lambda: not queue.sync_q.empty() and queue.sync_q.get() is None)  # we read on
        await ended.wait()
    log.assert_closed()


def test_janus_leaves_a_producer_blocked_when_its_reader_is_cancelled() -> None:
    """The same on asyncio: who reads on frees it, and nobody else does."""

    async def main() -> None:
        queue: janus.Queue[int] = janus.Queue(maxsize=1)
        got = asyncio.Event()

        async def read() -> None:
            await queue.async_q.get()
            got.set()
            await asyncio.sleep(GUARD)  # it does something with it, and is cancelled there

        reading = asyncio.create_task(read())
        thread = three_times(queue.sync_q.put)
        await got.wait()
        reading.cancel()
        await asyncio.wait([reading])
        while not queue.sync_q.full():  # noqa: ASYNC110 - a thread makes it so
            await asyncio.sleep(0.001)
        assert thread.is_alive()  # it has one more, and no room for it
        assert [await queue.async_q.get() for _ in range(2)] == [1, 2]
        await asyncio.to_thread(thread.join)
        await queue.aclose()

    asyncio.run(main())


async def test_a_channel_frees_a_sender_when_its_reader_is_gone() -> None:
    """What the guide sets against both."""
    channel: tuple[ewb.ChunkSender[int], ewb.ChunkReceiver[int, None]]
    channel = ewb.open_channel(max_chunks=1, size=lambda _: 1)
    sender, receiver = channel
    raised: list[Exception] = []

    def put(number: int) -> None:
        try:
            sender.send(number)
        except trio.BrokenResourceError as error:
            raised.append(error)

    thread = three_times(put)
    with trio.CancelScope() as scope:
        async with receiver:
            await receiver.receive()
            scope.cancel()
            await trio.lowlevel.checkpoint()
    await trio.to_thread.run_sync(thread.join)
    assert raised
    sender.close()


async def test_the_bound_is_in_bytes_and_in_chunks() -> None:
    """Large lines count for what they are, where a queue counts them as one each."""

    def lines(size: int) -> list[bytes]:
        return [bytes(size)] * 1000

    peaks = {}
    async with ewb.open_workers(threads=1) as workers:
        for size in (10, 10_000):
            async with workers.produce(lines, size, high_water=50_000, max_chunks=100) as chunks:
                await until(lambda: workers.statistics().suspended == 1)
                peaks[size] = chunks.statistics().peak_chunks
    assert peaks == {10: 100, 10_000: 5}
