"""`ewb._channel`: threads of the user's own feed the front end."""

from __future__ import annotations

import gc
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import ewb

if TYPE_CHECKING:
    from collections.abc import Callable

GUARD = 60  # seconds, after which a test is stuck


def channel(**settings: Any) -> tuple[ewb.ChunkSender[Any], ewb.ChunkReceiver[Any, None]]:
    """A channel of whatever a test sends."""
    return ewb.open_channel(**settings)


def send_two(sender: ewb.ChunkSender[Any], *, close: bool = False) -> None:
    """What a thread does that blocks in a channel of one chunk."""
    sender.send(b"1")
    sender.send(b"2")
    if close:
        sender.close()


class Thread:
    """A thread of the user's, and how it ended."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    async def join(self) -> None:
        """Wait for its end, in Trio."""
        await trio.to_thread.run_sync(self.thread.join, GUARD)
        assert not self.thread.is_alive()


async def until_blocked(receiver: ewb.ChunkReceiver[Any, None], times: int = 1) -> None:
    """Wait until a `send` has blocked so often."""
    with trio.fail_after(GUARD):
        while receiver.statistics().suspensions < times:
            await trio.lowlevel.checkpoint()


async def test_what_a_thread_sends_is_received_in_order() -> None:
    """All of it, and then the end."""
    sender, receiver = channel(max_chunks=7)

    def send() -> None:
        with sender:
            for number in range(1000):
                sender.send(b"%d" % number)

    thread = Thread(send)
    with trio.fail_after(GUARD):
        assert [chunk async for chunk in receiver] == [b"%d" % number for number in range(1000)]
    await thread.join()
    assert thread.error is None
    assert receiver.statistics().peak_chunks <= 7


async def test_several_threads_share_a_channel() -> None:
    """Each one's chunks stay in order; the end comes when the last one closes."""
    sender, receiver = channel(high_water=64)

    def send(mine: ewb.ChunkSender[bytes], name: bytes) -> None:
        with mine:
            for number in range(300):
                mine.send(b"%s%d" % (name, number))

    threads: list[Thread] = []
    for name in (b"a", b"b", b"c"):
        mine = sender.clone()
        threads.append(Thread(partial(send, mine, name)))
    sender.close()
    with trio.fail_after(GUARD):
        received = [chunk async for chunk in receiver]
    for name in (b"a", b"b", b"c"):
        assert [chunk for chunk in received if chunk[:1] == name] == [
            b"%s%d" % (name, number) for number in range(300)
        ]
    for thread in threads:
        await thread.join()
        assert thread.error is None


async def test_send_nowait_raises_would_block_when_full() -> None:
    """And goes on once the reader has made room; it may be called in the front end too."""
    sender, receiver = channel(max_chunks=2)
    sender.send_nowait(b"1")
    sender.send_nowait(b"2")
    with pytest.raises(trio.WouldBlock):
        sender.send_nowait(b"3")
    assert await receiver.receive_batch() == [b"1", b"2"]
    sender.send_nowait(b"3")
    sender.close()
    assert await receiver.receive_batch() == [b"3"]


async def test_a_chunk_above_the_bound_passes_when_the_channel_is_empty() -> None:
    """One chunk is always taken, whatever its size."""
    sender, receiver = channel(high_water=1)
    sender.send_nowait(bytes(1000))
    with pytest.raises(trio.WouldBlock):
        sender.send_nowait(b"")
    assert await receiver.receive() == bytes(1000)
    sender.close()


async def test_send_goes_on_when_there_is_room() -> None:
    """It blocks its thread while the channel is full, and no longer."""
    sender, receiver = channel(max_chunks=1)
    thread = Thread(partial(send_two, sender, close=True))
    await until_blocked(receiver)
    with trio.fail_after(GUARD):
        assert [chunk async for chunk in receiver] == [b"1", b"2"]
    await thread.join()
    assert thread.error is None


async def test_a_blocked_send_learns_that_the_receiver_was_closed() -> None:
    """`BrokenResourceError`, now and from now on."""
    sender, receiver = channel(max_chunks=1)
    thread = Thread(partial(send_two, sender))
    await until_blocked(receiver)
    await receiver.aclose()
    await thread.join()
    assert isinstance(thread.error, trio.BrokenResourceError)
    with pytest.raises(trio.BrokenResourceError):
        sender.send_nowait(b"3")
    sender.close()


async def test_a_blocked_send_learns_that_the_receiver_was_collected() -> None:
    """Also when it was in a cycle that only the collector can break."""
    sender, receiver = channel(max_chunks=1)
    thread = Thread(partial(send_two, sender))
    await until_blocked(receiver)
    cycle: list[object] = [receiver]
    cycle.append(cycle)
    del cycle, receiver
    gc.collect()
    await thread.join()
    assert isinstance(thread.error, trio.BrokenResourceError)
    sender.close()


def test_a_blocked_send_learns_that_the_run_is_over() -> None:
    """Even if somebody still holds the receiver."""

    async def main() -> tuple[ewb.ChunkReceiver[bytes, None], Thread]:
        sender, receiver = channel(max_chunks=1)

        def send() -> None:
            with sender:
                sender.send(b"1")
                sender.send(b"2")

        thread = Thread(send)
        await until_blocked(receiver)
        return receiver, thread

    receiver, thread = trio.run(main)
    thread.thread.join(GUARD)
    assert isinstance(thread.error, trio.BrokenResourceError)
    assert receiver.statistics().suspensions == 1


def test_sending_after_the_run_is_over_is_an_error() -> None:
    """Nobody will read."""

    async def main() -> tuple[ewb.ChunkSender[bytes], ewb.ChunkReceiver[bytes, None]]:
        return channel()

    sender, receiver = trio.run(main)
    with pytest.raises(trio.BrokenResourceError):
        sender.send(b"x")
    sender.close()
    del receiver


async def test_a_blocked_send_learns_that_its_sender_was_closed() -> None:
    """By another thread."""
    sender, receiver = channel(max_chunks=1)
    thread = Thread(partial(send_two, sender))
    await until_blocked(receiver)
    sender.close()
    await thread.join()
    assert isinstance(thread.error, trio.ClosedResourceError)
    assert [chunk async for chunk in receiver] == [b"1"]


async def test_a_closed_sender_sends_nothing() -> None:
    """Nor is it cloned; closing it again does nothing."""
    sender, receiver = channel()
    sender.close()
    sender.close()
    with pytest.raises(trio.ClosedResourceError):
        sender.send_nowait(b"x")
    with pytest.raises(trio.ClosedResourceError):
        sender.clone()
    with pytest.raises(trio.EndOfChannel):
        await receiver.receive()


async def test_a_dropped_sender_breaks_the_channel() -> None:
    """Its chunks are delivered, and then the reader learns that the end was no good one."""
    sender, receiver = channel()
    sender.send_nowait(b"x")
    del sender
    gc.collect()
    assert await receiver.receive() == b"x"
    with pytest.raises(trio.BrokenResourceError):
        await receiver.receive()


async def test_send_in_trios_thread_is_an_error() -> None:
    """It would block the event loop."""
    sender, receiver = channel()
    with pytest.raises(RuntimeError, match="send_nowait"):
        sender.send(b"x")
    sender.close()
    await receiver.aclose()


async def test_a_size_of_the_users_counts() -> None:
    """For chunks that are no bytes; without it they are a TypeError that says so."""
    sender, receiver = channel(high_water=3, size=lambda chunk: chunk)
    sender.send_nowait(2)
    sender.send_nowait(2)
    with pytest.raises(trio.WouldBlock):
        sender.send_nowait(0)
    assert receiver.statistics().buffered_bytes == 4
    assert await receiver.receive_batch() == [2, 2]
    sender.close()
    plain, other = channel()
    with pytest.raises(TypeError, match="size="):
        plain.send_nowait(object())
    plain.close()
    await other.aclose()


async def test_three_quick_chunks_and_then_nothing() -> None:
    """They reach a waiting front end, although their thread then blocks for ever."""
    sender, receiver = channel()
    gate = threading.Event()

    def send() -> None:
        for number in range(3):
            sender.send(b"%d" % number)
        gate.wait(GUARD)
        sender.close()

    thread = Thread(send)
    with trio.fail_after(GUARD / 2):
        assert [await receiver.receive() for _ in range(3)] == [b"0", b"1", b"2"]
    gate.set()
    await thread.join()
    await receiver.aclose()
