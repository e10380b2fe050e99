"""`ewb._courtesy`: a producer that computes makes room, one that waits does not."""

from __future__ import annotations

import gc
import sys
import threading
from itertools import repeat
from typing import TYPE_CHECKING

import pytest
import trio

import ewb
from ewb._courtesy import INTERVAL, LINGER, Courtesy

from .helpers import Gate, until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _interval() -> Iterator[None]:
    """Each test begins with an interval that is not ewb's, and must leave it as it was."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    gc.disable()  # collecting the garbage of all tests is computing too, and may strike any thread
    yield
    gc.enable()
    after = sys.getswitchinterval()
    sys.setswitchinterval(before)
    assert after == pytest.approx(0.004)


def compute_until_the_interval_is(expected: float) -> Iterator[bytes]:
    """Compute, a little for each chunk, until the switch interval has been changed."""
    while sys.getswitchinterval() != pytest.approx(expected):
        sum(range(2000))
        yield b"x"


async def test_the_interval_is_low_while_a_producer_computes() -> None:
    """A producer that computes sees the interval lowered, and it is restored with the workers."""
    with trio.fail_after(60):
        async with (
            ewb.open_workers(threads=1) as workers,
            workers.produce(compute_until_the_interval_is, INTERVAL) as chunks,
        ):
            async for _ in chunks.batches():
                pass


@pytest.mark.parametrize("then", ["it ends", "it is suspended", "it blocks"])
async def test_the_interval_is_put_back_though_no_worker_runs_another_slice(then: str) -> None:
    """A producer computed a moment ago; whatever it does now, its process does not pay for ever."""
    gate, lowered = Gate(), threading.Event()

    def compute() -> Iterator[bytes]:
        yield from compute_until_the_interval_is(INTERVAL)
        lowered.set()
        if then == "it blocks":
            gate.wait()
        elif then == "it is suspended":
            yield from repeat(b"x")

    async with ewb.open_workers(threads=1) as workers, workers.produce(compute) as chunks:
        async with trio.open_nursery() as reading:
            reading.start_soon(read_all, chunks)
            await until(lowered.is_set)
            reading.cancel_scope.cancel()
        await until(lambda: sys.getswitchinterval() == pytest.approx(0.004))
        gate.open()


async def read_all(chunks: ewb.ChunkReceiver[bytes, None]) -> None:
    async for _ in chunks.batches():
        pass


async def test_a_producer_that_waits_leaves_the_interval_alone() -> None:
    """Waiting is not computing, however long it takes."""
    seen: list[float] = []
    gate = threading.Event()

    def wait() -> Iterator[bytes]:
        for _ in range(5):
            gate.wait(0.005)
            yield b"x"
            seen.append(sys.getswitchinterval())

    async with ewb.open_workers(threads=1) as workers, workers.produce(wait) as chunks:
        async for _ in chunks.batches():
            pass
    assert seen == [pytest.approx(0.004)] * 5


async def test_without_courtesy_the_interval_is_left_alone() -> None:
    """`courtesy=False` means it."""
    seen: set[float] = set()

    def compute() -> Iterator[bytes]:
        for _ in range(200):
            sum(range(2000))
            seen.add(round(sys.getswitchinterval(), 6))
            yield b"x"

    async with (
        ewb.open_workers(threads=1, courtesy=False) as workers,
        workers.produce(compute) as chunks,
    ):
        async for _ in chunks.batches():
            pass
    assert seen == {0.004}


async def test_an_interval_of_the_users_holds_as_long_as_the_workers_live() -> None:
    """`switch_interval=` is in force from the beginning of the block to its end."""
    async with ewb.open_workers(threads=1, switch_interval=0.002):
        assert sys.getswitchinterval() == pytest.approx(0.002)
        async with ewb.open_workers(threads=1, switch_interval=0.001):
            assert sys.getswitchinterval() == pytest.approx(0.001)
        assert sys.getswitchinterval() == pytest.approx(0.002)


def test_it_relaxes_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """One computing slice keeps the interval low for the next ones, but not for ever."""
    now = 100.0
    monkeypatch.setattr("ewb._courtesy.clock", lambda: now)
    monkeypatch.setattr("ewb._courtesy.thread_time", lambda: 10.0)
    lowered: list[bool] = []
    courtesy = Courtesy(wanted=True, when_lowered=lambda: lowered.append(True))
    assert not courtesy.is_computing(started=99.9, cpu_started=9.99, now=now)
    assert courtesy.is_computing(started=99.9, cpu_started=9.91, now=now)
    assert sys.getswitchinterval() == pytest.approx(INTERVAL)
    assert courtesy.relax() == pytest.approx(LINGER)
    assert sys.getswitchinterval() == pytest.approx(INTERVAL)
    assert courtesy.is_computing(started=99.9, cpu_started=9.91, now=now)
    now = 101.0
    assert courtesy.relax() == 0
    assert sys.getswitchinterval() == pytest.approx(0.004)
    courtesy.end()
    assert lowered == [True]
