"""Everything at once, on real threads that are switched as often as can be.

Each round is made by a seed: producers and senders of all kinds, with random sizes and bounds, against
readers of all kinds. Whatever they do to each other, order, completeness and bounds hold, and nothing
is left behind. A failure names the seed of its round; the threads' order is not in its power.
"""

from __future__ import annotations

import gc
import random
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import attrs
import pytest
import trio

import ewb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator

    from ewb import ChunkReceiver, ChunkSender, Workers

GUARD = 60.0  # seconds: only a bug takes so long
LARGEST = 2000  # bytes of a chunk
SHORT, LONG = 1.0, 10.0  # seconds, for each of two kinds of rounds

Reading = Literal[
    "receive", "batches", "mixed", "polling", "slow", "impatient", "abandoning", "closing"
]
READINGS: tuple[Reading, ...] = (
    "receive",
    "batches",
    "mixed",
    "polling",
    "slow",
    "impatient",
    "abandoning",
    "closing",
)
Ending = Literal["result", "error", "endless"]


class MineError(Exception):
    """What producers raise, and tasks that are to fail."""


@attrs.define
class Stream:
    """One producer with its reader: what is planned, and what came of it."""

    choice: random.Random
    chunks: int
    ending: Ending
    reading: Reading
    high_water: int
    max_chunks: int
    same_thread: bool
    calls: bool
    begun_on: int | None = None
    closed_on: list[int] = attrs.Factory(list)
    yielded: int = 0
    received: int = 0
    ended: str = ""

    @classmethod
    def planned(cls, seed: int) -> Stream:
        """A plan by a seed."""
        choice = random.Random(seed)  # noqa: S311 - not a secret
        narrow = choice.random() < 0.5  # and so a round trip for each chunk, or nearly
        return cls(
            choice=choice,
            chunks=choice.choice([0, 1, 2, 10, 100] if narrow else [10, 100, 1000]),
            ending=choice.choice(["result", "result", "error", "endless"]),
            reading=choice.choice(READINGS),
            high_water=choice.choice([1, 100, 5000] if narrow else [10_000, 1_000_000]),
            max_chunks=choice.choice([1, 2, 3, 100_000] if narrow else [10, 100, 100_000]),
            same_thread=choice.random() < 0.7,
            calls=choice.random() < 0.3,
        )

    # -- worker -----------------------------------------------------------------------------------

    def produce(self) -> Generator[bytes, None, int]:
        """Yield chunks that begin with their number."""
        self.begun_on = threading.get_ident()
        lock = threading.RLock()
        lock.acquire()
        choice = random.Random(self.chunks)  # noqa: S311 - not a secret
        largest = choice.choice([10, 100, LARGEST])
        try:
            while self.ending == "endless" or self.yielded < self.chunks:
                chance = choice.random()
                if self.calls and chance < 0.1:
                    trio.from_thread.run_sync(len, b"")
                elif self.calls and chance < 0.2:
                    trio.from_thread.run(trio.lowlevel.checkpoint)
                elif chance > 0.99:
                    time.sleep(0.0005)
                number = self.yielded
                self.yielded += 1
                yield b"%d:" % number + bytes(choice.randrange(largest - 9))
                if self.same_thread:
                    assert threading.get_ident() == self.begun_on
        finally:
            if self.same_thread:
                lock.release()
            self.closed_on.append(threading.get_ident())
        if self.ending == "error":
            raise MineError
        return self.yielded

    # -- front end --------------------------------------------------------------------------------

    def take(self, batch: list[bytes]) -> None:
        """Check that these are the next chunks."""
        for chunk in batch:
            assert chunk.startswith(b"%d:" % self.received), (chunk[:10], self.received)
            self.received += 1
        assert self.received <= self.yielded

    async def use(self, workers: Workers) -> None:
        """Open the block, read in this reader's way, and see that the end is as it should be."""
        async with workers.produce(
            self.produce,
            high_water=self.high_water,
            max_chunks=self.max_chunks,
            same_thread=self.same_thread,
        ) as chunks:
            try:
                await self.read(chunks)
            except trio.EndOfChannel:
                self.ended = "result"
                assert chunks.result == self.chunks == self.received
            except MineError:
                self.ended = "error"
                assert self.chunks == self.received
            except trio.BrokenResourceError:
                self.ended = "broken"
            finally:
                self.check_bounds(chunks)
        if self.begun_on is None:
            assert self.closed_on == []
        elif self.same_thread:
            assert self.closed_on == [self.begun_on]
        else:
            assert len(self.closed_on) == 1
        if self.ended in ("result", "error"):
            assert self.ended == self.ending

    def check_bounds(self, chunks: ChunkReceiver[bytes, int]) -> None:
        """Never was more buffered than may be."""
        statistics = chunks.statistics()
        assert statistics.chunks == self.received
        assert statistics.peak_chunks <= self.max_chunks
        assert statistics.peak_bytes < self.high_water + LARGEST

    async def read(self, chunks: ChunkReceiver[bytes, int]) -> None:
        """Read until that raises, or for as long as this reader does."""
        enough = 2 * self.chunks if self.ending == "endless" else 10**9
        if self.reading in ("abandoning", "closing"):
            enough = self.choice.randrange(1, 50)
        while self.received < enough:
            match self.reading:
                case "receive" | "abandoning":
                    self.take([await chunks.receive()])
                case "batches" | "closing":
                    self.take(await chunks.receive_batch())
                case "mixed":
                    self.take([await chunks.receive()])
                    self.take(await chunks.receive_batch())
                case "polling":
                    await self.poll(chunks)
                case "slow":
                    self.take(await chunks.receive_batch())
                    await trio.sleep(0.001)
                case "impatient":
                    await self.try_to_receive(chunks)
        if self.reading == "closing":
            await chunks.aclose()

    async def poll(self, chunks: ChunkReceiver[bytes, int]) -> None:
        """Take what is there, without waiting."""
        try:
            self.take(chunks.receive_batch_nowait())
        except trio.WouldBlock:
            await trio.lowlevel.checkpoint()

    async def try_to_receive(self, chunks: ChunkReceiver[bytes, int]) -> None:
        """Receive with hardly any patience. What is cut short must have taken nothing."""
        with trio.move_on_after(self.choice.choice([0, 1e-5, 1e-4, 1e-3])):
            if self.choice.random() < 0.5:
                self.take([await chunks.receive()])
            else:
                self.take(await chunks.receive_batch())


@contextmanager
def tiny_switch_interval() -> Iterator[None]:
    """Threads are switched all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


async def run_streams(seed: int) -> None:
    """A pool of workers with many streams, which ends in one of many ways."""
    choice = random.Random(seed)  # noqa: S311 - not a secret
    streams = [Stream.planned(choice.randrange(10**9)) for _ in range(choice.choice([1, 5, 40]))]
    end = choice.choice(["in time", "in time", "workers first", "cancelled", "error"])
    after = choice.random() * 0.05
    memory = choice.choice([None, 1, 10_000, 64 * 1024 * 1024])
    moderation = choice.choice([0, 0.0001, 0.001])
    time_slice = choice.choice([0.0001, 0.01])

    async def fail_later() -> None:
        await trio.sleep(after)
        raise MineError

    async with trio.open_nursery() as outer:
        with trio.move_on_after(after) if end == "cancelled" else trio.CancelScope():
            async with ewb.open_workers(
                choice.choice([1, 2, 5]), memory=memory, moderation=moderation, time_slice=time_slice
            ) as workers:
                if end == "workers first":
                    for stream in streams:
                        outer.start_soon(stream.use, workers)
                    await trio.sleep(after)
                elif end == "error":
                    with pytest.RaisesGroup(MineError):
                        await use_all(streams, workers, fail_later)
                else:
                    await use_all(streams, workers)
                if end != "workers first":
                    now = workers.statistics()
                    assert (now.producers, now.queued, now.suspended, now.buffered_bytes) == (
                        0,
                        0,
                        0,
                        0,
                    )
    assert all(len(stream.closed_on) == (stream.begun_on is not None) for stream in streams)
    if end == "in time":
        for stream in streams:
            if stream.reading not in ("abandoning", "closing") and stream.ending != "endless":
                assert stream.ended == stream.ending


async def use_all(
    streams: list[Stream], workers: Workers, *others: Callable[[], Awaitable[None]]
) -> None:
    """All streams at once."""
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(stream.use, workers)
        for other in others:
            nursery.start_soon(other)


@attrs.define
class Sending:
    """A thread of the user's that sends through a channel."""

    number: int
    chunks: int
    sent: int = 0
    ended: str = ""

    def run(self, sender: ChunkSender[tuple[int, int]]) -> None:
        """The thread's life."""
        choice = random.Random(self.number)  # noqa: S311 - not a secret
        with sender:
            try:
                while self.sent < self.chunks:
                    if choice.random() < 0.3:
                        self.try_to_send(sender)
                    else:
                        sender.send((self.number, self.sent))
                        self.sent += 1
            except trio.BrokenResourceError:
                self.ended = "broken"
            else:
                self.ended = "all sent"

    def try_to_send(self, sender: ChunkSender[tuple[int, int]]) -> None:
        """Send if there is room."""
        try:
            sender.send_nowait((self.number, self.sent))
        except trio.WouldBlock:
            time.sleep(0)
        else:
            self.sent += 1


async def run_channel(seed: int) -> None:
    """A channel, many threads that send, and a reader who may go before they have all sent."""
    choice = random.Random(seed)  # noqa: S311 - not a secret
    max_chunks = choice.choice([1, 2, 10, 1000])
    sender: ChunkSender[tuple[int, int]]
    receiver: ChunkReceiver[tuple[int, int], None]
    sender, receiver = ewb.open_channel(
        max_chunks=max_chunks,
        high_water=choice.choice([1, 10, 1000]),
        size=lambda _: 1,
        moderation=choice.choice([0, 0.0001, 0.001]),
    )
    sendings = [
        Sending(number, choice.choice([0, 1, 50, 300])) for number in range(choice.choice([1, 4]))
    ]
    threads = [threading.Thread(target=one.run, args=(sender.clone(),)) for one in sendings]
    total = sum(one.chunks for one in sendings)
    enough = choice.choice([0, 20, 10**9, 10**9])
    patience = choice.choice([1e-5, 1e-3, GUARD])
    received = [0] * len(sendings)
    for thread in threads:
        thread.start()
    sender.close()
    ended = False
    while sum(received) < enough and not ended:
        with trio.move_on_after(patience):
            try:
                batch = (
                    [await receiver.receive()]
                    if choice.random() < 0.2
                    else await receiver.receive_batch()
                )
            except trio.EndOfChannel:
                ended = True
            else:
                for number, chunk in batch:
                    assert chunk == received[number]
                    received[number] += 1
    assert receiver.statistics().peak_chunks <= max_chunks
    if choice.random() < 0.5:
        await receiver.aclose()
    del receiver
    with trio.fail_after(GUARD):
        while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110 - threads tell nobody
            await trio.sleep(0.0005)
    if ended:
        assert sum(received) == total
        assert all(one.ended == "all sent" for one in sendings)


async def stress(rounds: Callable[[int], Awaitable[Any]], seconds: float, first_seed: int) -> int:
    """As many rounds as there is time for."""
    began = time.monotonic()
    seed = first_seed
    with tiny_switch_interval():
        while time.monotonic() - began < seconds:
            try:
                with trio.fail_after(GUARD):
                    await rounds(seed)
            except BaseException as error:
                error.add_note(f"in the round of seed {seed}")
                raise
            seed += 1
    gc.collect()
    return seed - first_seed


async def test_streams() -> None:
    """Producers and readers of all kinds, for a moment."""
    assert await stress(run_streams, SHORT, 0) >= 1


async def test_channels() -> None:
    """Senders and readers of all kinds, for a moment."""
    assert await stress(run_channel, SHORT, 0) >= 1


@pytest.mark.slow
async def test_streams_for_long() -> None:
    """The same, with other seeds."""
    assert await stress(run_streams, LONG, 100_000) >= 1


@pytest.mark.slow
async def test_channels_for_long() -> None:
    """The same, with other seeds."""
    assert await stress(run_channel, LONG, 100_000) >= 1


async def test_many_pools_one_after_the_other() -> None:
    """To open and to leave workers is itself a race of threads: it is won each time."""
    with tiny_switch_interval():
        for number in range(100):
            with trio.fail_after(GUARD):
                async with ewb.open_workers(number % 4 + 1) as workers:
                    stream = Stream.planned(number)
                    async with workers.produce(stream.produce) as chunks:
                        if number % 3 == 0:
                            stream.take(await chunks.receive_batch() if stream.chunks else [])
            assert len(stream.closed_on) == (stream.begun_on is not None)
