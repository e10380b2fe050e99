"""Which producer runs where and when: slices, suspension without a thread, and who is stuck."""

from __future__ import annotations

import threading
import time
from collections import Counter
from itertools import count, groupby
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import ewb
from ewb._threads import Threads

from .helpers import GUARD, Gate, names_of_running, nothing_runs, until

if TYPE_CHECKING:
    from collections.abc import Generator

    from ewb import ChunkReceiver, Workers


def stuck(gate: Gate) -> Generator[bytes]:
    """A producer that blocks until its gate is opened."""
    gate.wait()
    yield b""


async def hold(workers: Workers, gate: Gate) -> None:
    """A task with a stuck producer."""
    async with workers.produce(stuck, gate) as chunks:
        async for _ in chunks:
            pass


def numbers(stop: int | None = None, counter: list[int] | None = None) -> Generator[bytes]:
    """A producer of numbers that counts its yields."""
    for number in count() if stop is None else range(stop):
        if counter is not None:
            counter[0] += 1
        yield b"%d" % number


async def drain(chunks: ChunkReceiver[bytes, Any]) -> None:
    """Take all, for ever."""
    async for _ in chunks.batches():
        pass


# -- suspension ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_chunks", "high_water"), [(1, 1000), (1000, 1)], ids=["1 chunk", "1 byte"]
)
@pytest.mark.parametrize("same_thread", [True, False])
async def test_suspended_producers_hold_no_thread(
    max_chunks: int, high_water: int, *, same_thread: bool
) -> None:
    """Any number of them waits for slow readers while one thread serves others, and then them."""
    suspended = 50
    received: Counter[int] = Counter()
    begun = trio.Event()

    async def slow_reader(workers: Workers, number: int) -> None:
        async with workers.produce(
            numbers, 4, max_chunks=max_chunks, high_water=high_water, same_thread=same_thread
        ) as chunks:
            await begun.wait()
            async for chunk in chunks:
                assert chunk == b"%d" % received[number]
                received[number] += 1

    async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
        for number in range(suspended):
            nursery.start_soon(slow_reader, workers, number)
        await until(lambda: workers.statistics().suspended == suspended)
        await nothing_runs(workers)  # the last one is suspended a moment before its worker is idle
        now = workers.statistics()
        assert (now.threads, now.idle, now.running, now.producers) == (1, 1, (), suspended)
        assert now.buffered_bytes == suspended  # one chunk each, of one byte
        async with workers.produce(numbers, 10_000, same_thread=same_thread) as chunks:
            assert [chunk async for chunk in chunks] == [b"%d" % number for number in range(10_000)]
        assert workers.statistics().suspended == suspended
        begun.set()
    assert received == dict.fromkeys(range(suspended), 4)
    assert workers.statistics().suspended == 0


@pytest.mark.parametrize(
    ("high_water", "max_chunks", "size", "most_chunks"),
    [
        (1, 1000, 1, 1),
        (1, 1000, 100, 1),  # one chunk larger than the bound passes
        (10, 1000, 4, 3),
        (100, 1000, 1, 100),
        (1000, 1, 1, 1),
        (1000, 2, 1, 2),
        (1000, 3, 7, 3),
        (1000, 40, 7, 40),
        (99, 15, 7, 15),
        (50, 15, 7, 8),
    ],
)
async def test_never_more_is_made_than_may_be_buffered(
    high_water: int, max_chunks: int, size: int, most_chunks: int
) -> None:
    """Counted at the yields: what was made and not yet received is within the bounds at all times."""
    made = 0

    def blocks() -> Generator[bytes]:
        nonlocal made
        for _ in range(10 * most_chunks + 3):
            made += 1
            yield bytes(size)

    async with (
        ewb.open_workers(1) as workers,
        workers.produce(blocks, high_water=high_water, max_chunks=max_chunks) as chunks,
    ):
        await nothing_runs(workers)
        assert made == most_chunks, "it reads ahead up to the bound"
        received = resumed = 0
        while received < 10 * most_chunks + 3:
            if received % 3 == 2:
                received += len(await chunks.receive_batch())
            else:
                await chunks.receive()
                received += 1
            await nothing_runs(workers)
            assert made - received <= most_chunks
            assert chunks.statistics().buffered_chunks == made - received
            assert chunks.statistics().buffered_bytes == size * (made - received)
            resumed += chunks.statistics().suspensions > resumed
        peak = chunks.statistics()
        assert peak.peak_chunks == most_chunks <= max_chunks
        assert peak.peak_bytes == most_chunks * size < high_water + size
        assert resumed > 3, "it was resumed after having been suspended"


async def test_a_producer_is_resumed_before_its_buffer_is_empty() -> None:
    """Read-ahead goes on once there is room enough, without waiting for the last chunk to go."""
    counter = [0]
    async with (
        ewb.open_workers(1) as workers,
        workers.produce(numbers, None, counter, max_chunks=100) as chunks,
    ):
        await nothing_runs(workers)
        for _ in range(99):
            await chunks.receive()
        await nothing_runs(workers)
        assert counter[0] > 100


async def test_draining_resumes() -> None:
    """After a batch was taken, the producer fills the buffer again by itself."""
    async with ewb.open_workers(1) as workers, workers.produce(numbers, max_chunks=10) as chunks:
        for first in range(0, 100, 10):
            await nothing_runs(workers)
            batch = chunks.receive_batch_nowait()
            assert batch == [b"%d" % number for number in range(first, first + 10)]


# -- fairness --------------------------------------------------------------------------------------


def logging(name: str, log: list[str]) -> Generator[str]:
    """An endless producer of slow chunks that logs its name at each."""
    while True:
        log.append(name)
        time.sleep(0.0002)  # so that its slices end by time
        yield name


def slices(log: list[str]) -> list[str]:
    """Who had a turn, one after the other, from a log of chunks."""
    return [name for name, _ in groupby(log)]


@pytest.mark.parametrize("same_thread", [True, False])
async def test_endless_producers_share_a_worker_fairly(*, same_thread: bool) -> None:
    """They take turns, a slice each, and nobody is left out or served twice."""
    log: list[str] = []
    async with ewb.open_workers(1, time_slice=0.001) as workers, trio.open_nursery() as nursery:

        async def read(name: str) -> None:
            async with workers.produce(
                logging, name, log, size=lambda _: 1, same_thread=same_thread
            ) as chunks:
                async for _ in chunks.batches():
                    pass

        for name in "abcd":
            nursery.start_soon(read, name)
        await until(lambda: set(log) == set("abcd"))
        begun = len(log)
        await until(lambda: len(slices(log[begun:])) > 22)
        nursery.cancel_scope.cancel()
    turns = slices(log[begun:])[1:21]  # the first and the last may be parts of one
    assert all(set(turns[first : first + 4]) == set("abcd") for first in range(0, 20, 4))


@pytest.mark.parametrize("same_thread", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
async def test_a_fresh_producer_soon_has_its_first_slice(threads: int, *, same_thread: bool) -> None:
    """However many endless ones hold the workers: it does not wait for all of them to have a turn."""
    endless = 20
    log: list[tuple[str, int]] = []
    going = threading.Event()  # cleared, it stops all workers, so that nobody runs ahead of the test
    going.set()

    def old(name: str) -> Generator[str]:
        while True:
            assert going.wait(GUARD)
            log.append((name, threading.get_ident()))
            time.sleep(0.0002)  # so that its slices end by time
            yield name

    def fresh() -> Generator[str]:
        log.append(("fresh", threading.get_ident()))
        yield "fresh"

    async with ewb.open_workers(threads, time_slice=0.001) as workers, trio.open_nursery() as nursery:

        async def read(name: str) -> None:
            async with workers.produce(old, name, size=lambda _: 1) as chunks:
                async for _ in chunks.batches():
                    pass

        for number in range(endless):
            nursery.start_soon(read, f"endless {number}")
        await until(lambda: len({name for name, _ in tuple(log)}) == endless)
        for _ in range(5):
            going.clear()
            async with workers.produce(fresh, size=lambda _: 1, same_thread=same_thread) as chunks:
                begun = len(log)
                going.set()
                assert await chunks.receive() == "fresh"
            names = [name for name, _ in log[begun:]]
            turns = log[begun : begun + names.index("fresh") + 1]
            _, thread = turns[-1]
            before = {name for name, its_thread in turns[:-1] if its_thread == thread}
            # On the worker that took it: the one that was running, and one more.
            assert len(before) <= 2
        nursery.cancel_scope.cancel()


async def test_many_fresh_producers_do_not_starve_the_old_ones() -> None:
    """A worker serves its own and the fresh ones in turn."""
    log: list[str] = []
    gate = Gate()

    def fresh() -> list[str]:
        log.append("fresh")
        time.sleep(0.0005)
        return []

    async def open_fresh(workers: Workers) -> None:
        async with workers.produce(fresh, size=len) as chunks:
            async for _ in chunks:
                pass

    async with ewb.open_workers(1, time_slice=0.001) as workers, trio.open_nursery() as nursery:
        async with (
            workers.produce(logging, "old", log, size=len) as chunks,
            trio.open_nursery() as others,
        ):
            await chunks.receive()
            others.start_soon(hold, workers, gate)
            await until(gate.reached.is_set)
            for _ in range(20):
                others.start_soon(open_fresh, workers)
            await until(lambda: workers.statistics().queued == 21)
            log.clear()
            gate.open()
            await until(lambda: log.count("fresh") == 20)
        nursery.cancel_scope.cancel()
    between = [len(list(group)) for name, group in groupby(log) if name == "fresh"]
    assert max(between) <= 2


# -- stuck producers ------------------------------------------------------------------------------


def who(threads: list[int]) -> Generator[bytes]:
    """Says on which thread it runs."""
    while True:
        threads.append(threading.get_ident())
        yield b"x"


async def test_fresh_producers_go_where_nobody_is_stuck() -> None:
    """One stuck producer costs one thread, and no more."""
    gate = Gate()
    async with ewb.open_workers(2) as workers, trio.open_nursery() as nursery:
        nursery.start_soon(hold, workers, gate)
        await until(gate.reached.is_set)
        for _ in range(20):
            async with workers.produce(numbers, 100) as chunks:
                assert len([chunk async for chunk in chunks]) == 100
        await until(lambda: names_of_running(workers) == ["stuck"])
        gate.open()


async def test_a_stuck_producer_delays_only_those_bound_to_its_worker() -> None:
    """They wait until it lets go; then they go on, on the thread that they were on."""
    producers = 6
    threads: list[list[int]] = [[] for _ in range(producers)]
    gate = Gate()
    async with ewb.open_workers(2) as workers, trio.open_nursery() as nursery:
        receivers: dict[int, ChunkReceiver[bytes, Any]] = {}
        closing = trio.Event()

        async def read(number: int) -> None:
            async with workers.produce(who, threads[number], max_chunks=1) as chunks:
                receivers[number] = chunks
                await closing.wait()

        for number in range(producers):  # one after the other, so that they are spread
            nursery.start_soon(read, number)
            await until(lambda: threads[number])  # noqa: B023 - it is called here only
            await nothing_runs(workers)
        nursery.start_soon(hold, workers, gate)
        await until(gate.reached.is_set)
        (running,) = workers.statistics().running
        name = f"ewb-{running.worker}"
        (held,) = (thread.ident for thread in threading.enumerate() if thread.name == name)
        bound = [number for number in range(producers) if threads[number] == [held]]
        others = [number for number in range(producers) if number not in bound]
        assert len(bound) == len(others)
        for number in range(producers):
            await receivers[number].receive()
        await until(lambda: all(len(threads[number]) == 2 for number in others))
        await until(lambda: workers.statistics().queued == len(bound))
        assert all(len(threads[number]) == 1 for number in bound)
        gate.open()
        await until(lambda: all(len(threads[number]) == 2 for number in bound))
        closing.set()
    assert all(len(set(one)) == 1 for one in threads)


async def test_leaving_the_block_of_a_stuck_producer_delays_nobody_else() -> None:
    """Its own task waits for it; all others go on."""
    gate = Gate()
    left: list[str] = []

    async def leave(workers: Workers) -> None:
        async with workers.produce(stuck, gate):
            await until(gate.reached.is_set)
        left.append("left")

    async with ewb.open_workers(2) as workers, trio.open_nursery() as nursery:
        nursery.start_soon(leave, workers)
        await until(gate.reached.is_set)
        await trio.testing.wait_all_tasks_blocked()
        async with workers.produce(numbers, 100) as chunks:
            assert len([chunk async for chunk in chunks]) == 100
        assert left == []
        await until(lambda: names_of_running(workers) == ["stuck"])
        gate.open()
    assert left == ["left"]


async def test_a_producer_goes_to_the_worker_with_the_fewest() -> None:
    """Bound producers are spread: no worker gets them all while another one idles."""
    threads: list[int] = []
    async with ewb.open_workers(4) as workers, trio.open_nursery() as nursery:

        async def read() -> None:
            async with workers.produce(who, threads, max_chunks=1):
                await trio.sleep_forever()

        while len(threads) < 40:
            before = len(threads)
            nursery.start_soon(read)
            await until(lambda: len(threads) > before)  # noqa: B023 - it is called here only
            await nothing_runs(workers)
        nursery.cancel_scope.cancel()
    assert set(Counter(threads).values()) == {10}


# -- the queues, step by step, with no thread -------------------------------------------------------


class FakeProducer:
    """What `Threads` sees of a producer."""

    def __init__(self, *, same_thread: bool = True) -> None:
        self.same_thread = same_thread
        self.begun = False
        self.ended = False
        self.lost = False
        self.abandoned: list[BaseException] = []
        self.slices = 0

    def run(self, _: float) -> bool:
        """A slice that ends at once, without wanting another one."""
        self.begun = True
        self.slices += 1
        self.ended = True
        return False

    def abandon(self, error: BaseException, *, close: bool = False) -> None:
        """Told that nobody will run it."""
        del close
        self.ended = True
        self.abandoned.append(error)


def pool(threads: int = 1) -> tuple[Threads, Any]:
    """A pool without its threads, and a way to make producers that no type checker minds."""
    return Threads(threads, 0.01), FakeProducer


def test_a_waiting_producer_can_be_withdrawn() -> None:
    """Once: after that it is in no queue, and no worker will see it."""
    threads, make = pool()
    producer = make()
    threads.schedule(producer)
    assert threads.snapshot()[2] == 1
    assert threads.withdraw(producer)
    assert not threads.withdraw(producer)
    assert threads.snapshot()[2] == 0
    threads.stop()
    threads.run(threads.workers[0])
    assert producer.slices == 0


def test_a_producer_that_was_begun_cannot_be_withdrawn() -> None:
    """Its generator has to be closed, by a worker."""
    threads, make = pool()
    producer = make(same_thread=False)
    producer.begun = True
    threads.schedule(producer)
    assert not threads.withdraw(producer)


def test_a_worker_serves_what_is_queued_before_it_ends() -> None:
    """To stop is no reason to leave a producer unclosed."""
    threads, make = pool()
    producers = [make(), make(same_thread=False)]
    for producer in producers:
        threads.schedule(producer)
    threads.stop()
    threads.run(threads.workers[0])
    assert [producer.slices for producer in producers] == [1, 1]
    assert threads.snapshot() == (0, 0, 0, ())


def test_when_all_workers_are_gone_nobody_waits_for_them() -> None:
    """A producer that comes too late, or was in the queue, is told at once."""
    threads, make = pool(2)
    waiting, late = make(), make()
    for worker in threads.workers:
        worker.dead = True
    threads._any_dead = True
    threads.schedule(waiting)
    threads.schedule(late)
    for producer in (waiting, late):
        (error,) = producer.abandoned
        assert isinstance(error, trio.BrokenResourceError)
    assert threads.snapshot() == (0, 0, 0, ())


def test_an_ended_producer_is_not_queued() -> None:
    """A late wish for a slice changes nothing."""
    threads, make = pool()
    producer = make()
    producer.ended = True
    threads.schedule(producer)
    assert threads.snapshot()[2] == 0


def test_reprs() -> None:
    """For people who debug."""
    threads, _ = pool()
    assert repr(threads.workers[0]) == "<Worker 0, 0 producers bound, running None>"


class Withdrawn:
    """A job that counts how often it is compared with another one."""

    compared = 0
    same_thread = begun = ended = lost = False

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        Withdrawn.compared += 1
        return self is other


def test_who_withdraws_many_looks_at_no_others() -> None:
    """A client that leaves may have thousands queued; to search for each would hold the loop up."""
    threads = Threads(1, 0.1)
    jobs: list[Any] = [Withdrawn() for _ in range(1000)]
    for job in jobs:
        threads.schedule(job)
    for job in reversed(jobs[1:]):
        assert threads.withdraw(job)
        assert not threads.withdraw(job)
    assert threads.snapshot()[2] == 1
    assert Withdrawn.compared == 0
