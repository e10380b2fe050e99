"""`ewb._receiver`: how the front end waits and takes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import ewb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    Receiver = ewb.ChunkReceiver[bytes, None]

GUARD = 60
WAYS = ["receive", "receive_batch"]


def channel(**settings: Any) -> tuple[ewb.ChunkSender[Any], ewb.ChunkReceiver[Any, None]]:
    """A channel of whatever a test sends."""
    return ewb.open_channel(**settings)


def way(receiver: Receiver, name: str) -> Callable[[], Awaitable[object]]:
    """One of the methods that wait."""
    return receiver.receive if name == "receive" else receiver.receive_batch


@pytest.mark.parametrize("name", WAYS)
async def test_a_cancelled_receive_takes_nothing(name: str) -> None:
    """Neither when there is a chunk already, nor while it waits for one."""
    sender, receiver = channel()
    sender.send_nowait(b"1")
    with trio.CancelScope() as scope:
        scope.cancel()
        await way(receiver, name)()
    assert scope.cancelled_caught
    assert await receiver.receive_batch() == [b"1"]
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way(receiver, name))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            sender.send_nowait(b"2")
    assert await receiver.receive_batch() == [b"2"]
    sender.close()


@pytest.mark.parametrize("name", WAYS)
async def test_every_receive_is_a_checkpoint(name: str) -> None:
    """Others run even if there is a chunk already."""
    sender, receiver = channel()
    sender.send_nowait(b"1")
    with trio.testing.assert_checkpoints():
        await way(receiver, name)()
    sender.close()


async def test_two_readers_at_once_are_an_error() -> None:
    """For the second one; the first goes on."""
    sender, receiver = channel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiver.receive)
        await trio.testing.wait_all_tasks_blocked()
        for name in WAYS:
            with pytest.raises(trio.BusyResourceError):
                await way(receiver, name)()
        with pytest.raises(trio.BusyResourceError):
            receiver.receive_batch_nowait()
        sender.send_nowait(b"1")
    sender.close()
    with pytest.raises(trio.EndOfChannel):
        await receiver.receive()


@pytest.mark.parametrize("name", WAYS)
async def test_after_the_end_the_end_stays_the_end(name: str) -> None:
    """However often one asks."""
    sender, receiver = channel()
    sender.close()
    for _ in range(3):
        with pytest.raises(trio.EndOfChannel):
            await way(receiver, name)()
    with pytest.raises(trio.EndOfChannel):
        receiver.receive_batch_nowait()
    assert receiver.result is None


async def test_after_closing_it_is_closed() -> None:
    """Also for a task that is receiving; closing again does nothing."""
    sender, receiver = channel()
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await receiver.receive()

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        with trio.testing.assert_checkpoints():
            await receiver.aclose()
    await receiver.aclose()
    for name in WAYS:
        with pytest.raises(trio.ClosedResourceError):
            await way(receiver, name)()
    sender.close()


async def test_one_chunk_at_a_time_and_then_the_rest() -> None:
    """`receive` and `receive_batch` may take turns; what is left counts as buffered."""
    sender, receiver = channel()
    for number in range(5):
        sender.send_nowait(b"%d" % number)
    assert await receiver.receive() == b"0"
    assert receiver.statistics().buffered_chunks == 4
    assert receiver.statistics().buffered_bytes == 4
    sender.send_nowait(b"5")
    assert await receiver.receive() == b"1"
    assert receiver.receive_batch_nowait() == [b"2", b"3", b"4", b"5"]
    with pytest.raises(trio.WouldBlock):
        receiver.receive_batch_nowait()
    statistics = receiver.statistics()
    assert (statistics.chunks, statistics.bytes, statistics.buffered_bytes) == (6, 6, 0)
    sender.close()


async def test_batches_iterates_until_the_end() -> None:
    """A plain iterator, so leaving it early leaves nothing open."""
    sender, receiver = channel()
    sender.send_nowait(b"1")
    batches = receiver.batches()
    assert aiter(batches) is batches
    assert await anext(batches) == [b"1"]
    sender.send_nowait(b"2")
    sender.close()
    assert [batch async for batch in receiver.batches()] == [[b"2"]]


async def test_the_result_is_there_when_the_end_was_received() -> None:
    """And not before, although the producer has ended; nor after an error."""

    def count() -> Generator[bytes, None, int]:
        yield b"x"
        return 42

    def fail() -> Generator[bytes]:
        yield b"x"
        msg = "no"
        raise OSError(msg)

    async with ewb.open_workers(threads=1) as workers:
        async with workers.produce(count) as chunks:
            with pytest.raises(RuntimeError, match="before its end"):
                _ = chunks.result
            assert [chunk async for chunk in chunks] == [b"x"]
            assert chunks.result == 42
        async with workers.produce(fail) as failing:
            assert await failing.receive() == b"x"
            for _ in range(2):  # an error stays the end, too
                with pytest.raises(OSError, match="no"):
                    await failing.receive()
            with pytest.raises(RuntimeError, match="it raised"):
                _ = failing.result


def test_under_a_clock_that_jumps_nothing_waits_for_ever() -> None:
    """Trio's autojump clock cannot see threads, and no timer of ewb's relies on it."""

    async def main() -> list[bytes]:
        sender, receiver = channel()
        gate = threading.Event()

        def send() -> None:
            for number in range(3):
                sender.send(b"%d" % number)
            gate.wait(GUARD)
            sender.close()

        thread = threading.Thread(target=send)
        thread.start()
        received = [await receiver.receive() for _ in range(3)]
        gate.set()
        thread.join()
        return received

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(main, clock=clock) == [b"0", b"1", b"2"]


async def test_a_reader_that_waits_costs_one_doorbell() -> None:
    """None is rung for a front end that is awake."""
    sender, receiver = channel()
    sender.send_nowait(b"1")
    await receiver.receive()
    assert receiver.statistics().doorbells == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiver.receive_batch)
        await trio.testing.wait_all_tasks_blocked()
        sender.send_nowait(b"2")
        sender.send_nowait(b"3")
    assert receiver.statistics().doorbells <= 1
    sender.close()
