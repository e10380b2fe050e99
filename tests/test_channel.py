"""`open_channel`: threads of the user's own send, and one front end receives."""

from __future__ import annotations

import contextlib
import gc
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import ewb
from ewb._handoff import Handoff

from .helpers import GUARD, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from ewb import ChunkReceiver, ChunkSender

Channel: TypeAlias = "tuple[ChunkSender[bytes], ChunkReceiver[bytes, None]]"


def open_channel(**settings: Any) -> Channel:
    """A channel of bytes."""
    return ewb.open_channel(**settings)


async def in_thread(call: Callable[[], object]) -> object:
    """Run a call in a thread; if it hangs, the test fails and does not."""
    with trio.fail_after(GUARD):
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True)


class Thread(threading.Thread):
    """A thread whose error is the test's."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Keep what the call raises."""
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            self.error = error

    def end(self) -> BaseException | None:
        """Wait for the end; returns what the call raised. It blocks: not for Trio's thread."""
        self.join(GUARD)
        assert not self.is_alive()
        return self.error


class Blocking:
    """Tells when threads are blocked in the `send` of a sender, or of its clones."""

    def __init__(self, sender: ChunkSender[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        self._blocked = threading.Semaphore(0)
        room = sender._shared.room
        real_wait = room.wait

        def wait() -> bool:
            # The channel's lock is held here. Whoever takes it next finds this thread waiting.
            self._blocked.release()
            return real_wait()

        monkeypatch.setattr(room, "wait", wait)

    def wait_for(self, threads: int = 1) -> None:
        """Wait until so many more sends have come to block. Thread: any; it does not take long."""
        for _ in range(threads):
            assert self._blocked.acquire(timeout=GUARD)


def fill(sender: ChunkSender[bytes]) -> int:
    """Send until there is no more room; returns how many chunks that were."""
    for n in range(10**6):
        try:
            sender.send_nowait(b"x")
        except trio.WouldBlock:
            return n
    raise AssertionError


# -- sending -----------------------------------------------------------------------------------------


async def test_what_a_thread_sends_arrives_in_order_and_then_the_end() -> None:
    """The smallest use: a thread sends, the front end receives until the sender is closed."""
    sender, receiver = open_channel()

    def send() -> None:
        with sender:
            for n in range(1000):
                sender.send(b"%d" % n)

    with trio.fail_after(GUARD):
        async with receiver, trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, send)
            got = [chunk async for chunk in receiver]
    assert got == [b"%d" % n for n in range(1000)]
    with pytest.raises(trio.ClosedResourceError):
        receiver.receive_batch_nowait()


@pytest.mark.parametrize(
    "bounds", [{"max_chunks": 5}, {"high_water": 5}, {"max_chunks": 1}, {"high_water": 1}], ids=str
)
async def test_a_small_channel_carries_much(bounds: dict[str, int]) -> None:
    """However little is buffered, everything passes, and the bound is kept."""
    sender, receiver = open_channel(**bounds)

    def send() -> None:
        with sender:
            for n in range(500):
                sender.send(b"%d" % (n % 10))

    got: list[bytes] = []
    with trio.fail_after(GUARD):
        async with receiver, trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, send)
            await until(lambda: receiver.statistics().suspensions)
            async for batch in receiver.batches():
                assert len(batch) <= 5
                got += batch
            assert receiver.statistics().peak_chunks <= 5
    assert got == [b"%d" % (n % 10) for n in range(500)]


@pytest.mark.parametrize(
    ("bounds", "room"),
    [({"max_chunks": 3}, 3), ({"high_water": 4}, 4), ({"high_water": 1}, 1)],
    ids=str,
)
async def test_a_full_channel_would_block(bounds: dict[str, int], room: int) -> None:
    """Who does not want to wait is told that there is no room; after a drain there is."""
    sender, receiver = open_channel(**bounds)
    for _ in range(3):
        assert fill(sender) == room
        assert receiver.receive_batch_nowait() == [b"x"] * room
    sender.close()


async def test_a_send_blocks_while_full_and_goes_on_after_a_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread that sends into a full channel sleeps until its reader has made room."""
    sender, receiver = open_channel(max_chunks=2)
    blocking = Blocking(sender, monkeypatch)
    fill(sender)
    thread = Thread(partial(sender.send, b"late"))
    await in_thread(blocking.wait_for)
    assert await receiver.receive_batch() == [b"x", b"x"]
    assert await in_thread(thread.end) is None
    assert await receiver.receive_batch() == [b"late"]
    sender.close()


async def test_a_chunk_larger_than_the_bound_passes() -> None:
    """One chunk may be larger than all that may be buffered."""
    sender, receiver = open_channel(high_water=10)
    for _ in range(3):
        sender.send_nowait(bytes(1000))
        with pytest.raises(trio.WouldBlock):
            sender.send_nowait(b"")
        assert await receiver.receive() == bytes(1000)
    sender.close()


async def test_chunks_of_each_thread_stay_in_order() -> None:
    """Threads that share a sender, or have clones, mix; each one's chunks stay in order."""
    sender, receiver = open_channel(max_chunks=7)
    total, threads = 300, 4

    def send(thread: int, sender: ChunkSender[bytes]) -> None:
        for n in range(total):
            sender.send(b"%d %d" % (thread, n))

    def send_and_close(thread: int, sender: ChunkSender[bytes]) -> None:
        with sender:
            send(thread, sender)

    def send_shared() -> None:
        both = [Thread(partial(send, thread, sender)) for thread in (0, 1)]
        assert [thread.end() for thread in both] == [None, None]
        sender.close()

    got: list[bytes] = []
    with trio.fail_after(GUARD):
        async with receiver, trio.open_nursery() as nursery:
            for thread in (2, 3):
                nursery.start_soon(trio.to_thread.run_sync, send_and_close, thread, sender.clone())
            nursery.start_soon(trio.to_thread.run_sync, send_shared)
            async for batch in receiver.batches():
                got += batch
    for thread in range(threads):
        mine = [chunk for chunk in got if chunk.startswith(b"%d " % thread)]
        assert mine == [b"%d %d" % (thread, n) for n in range(total)]
    assert len(got) == total * threads


async def test_in_trios_thread_only_nowait() -> None:
    """`send` would block the front end, so there it is an error, whether there is room or not."""
    sender, receiver = open_channel(max_chunks=1)
    with sender:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="send_nowait"):
                sender.send(b"x")
            fill(sender)
        assert receiver.receive_batch_nowait() == [b"x"]
        await in_thread(partial(sender.send, b"from a thread"))
        assert receiver.receive_batch_nowait() == [b"from a thread"]


async def test_in_the_thread_of_another_run_only_nowait() -> None:
    """A second Trio run in a thread of its own must not be blocked either."""
    sender, _receiver = open_channel()

    async def send() -> None:
        sender.send(b"x")

    with pytest.raises(RuntimeError, match="send_nowait"):
        await in_thread(partial(trio.run, send))
    sender.close()


async def test_what_has_no_size_needs_one() -> None:
    """A chunk that is not bytes-like is refused, and the channel goes on; with a `size` it passes."""
    sender, receiver = open_channel()
    with pytest.raises(TypeError, match="size="):
        sender.send_nowait("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="size="):
        await in_thread(partial(sender.send, 7))  # type: ignore[arg-type]
    sender.send_nowait(b"bytes")
    assert receiver.receive_batch_nowait() == [b"bytes"]
    sender.close()

    rows: tuple[ChunkSender[list[int]], ChunkReceiver[list[int], None]]
    rows = ewb.open_channel(size=len, high_water=3)
    rows[0].send_nowait([1, 2])
    rows[0].send_nowait([3, 4])
    with pytest.raises(trio.WouldBlock):
        rows[0].send_nowait([5])
    assert await rows[1].receive_batch() == [[1, 2], [3, 4]]
    rows[0].close()


async def test_the_users_size_counts_for_bytes_too() -> None:
    """With `size=` given, it alone says how much a chunk takes."""
    sender, receiver = open_channel(size=lambda _: 1, high_water=3)
    with sender:
        assert fill(sender) == 3
        sender_bytes = receiver.statistics().buffered_bytes
    assert sender_bytes == 3


# -- nobody will read ---------------------------------------------------------------------------------


class Cycle:
    """Something that only the collector frees."""

    def __init__(self, holds: object) -> None:
        self.myself, self.holds = self, holds


class ReaderGone:
    """The ways in which a reader goes."""

    @staticmethod
    async def closed(receivers: list[ChunkReceiver[bytes, None]]) -> None:
        """It is closed."""
        await receivers[0].aclose()

    @staticmethod
    async def dropped(receivers: list[ChunkReceiver[bytes, None]]) -> None:
        """Nobody refers to it any more."""
        receivers.clear()
        await trio.lowlevel.checkpoint()

    @staticmethod
    async def collected(receivers: list[ChunkReceiver[bytes, None]]) -> None:
        """It is garbage in a cycle, and is collected, here in another thread."""
        Cycle(receivers.pop())
        await trio.to_thread.run_sync(gc.collect)


async def test_who_drops_the_reader_is_told_at_once() -> None:
    """Though it is closed only when the front end has its turn."""
    sender, receiver = open_channel()
    sender.send_nowait(b"x")
    del receiver
    with pytest.raises(trio.BrokenResourceError, match="nobody will read"):
        sender.send_nowait(b"y")
    sender.close()


async def test_a_reader_is_collected_in_the_midst_of_a_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the thread holds just then, it is told, and does not wait for ever."""
    suspend = Handoff._suspend

    def collected(handoff: Handoff[bytes]) -> None:
        gc.collect()
        suspend(handoff)

    sender, receiver = open_channel(max_chunks=1)
    fill(sender)
    Cycle(receiver)
    del receiver
    monkeypatch.setattr(Handoff, "_suspend", collected)
    with pytest.raises(trio.BrokenResourceError, match="nobody will read"):
        await in_thread(partial(sender.send, b"late"))
    sender.close()


gone = pytest.mark.parametrize("go", [ReaderGone.closed, ReaderGone.dropped, ReaderGone.collected])


@gone
async def test_who_sends_to_nobody_is_told(go: Callable[..., Any]) -> None:
    """Once the reader has gone, sending is an error, in either way, whether there was room or not."""
    for full in (False, True):
        sender, receiver = open_channel(max_chunks=2)
        receivers = [receiver]
        del receiver
        if full:
            fill(sender)
        await go(receivers)
        with pytest.raises(trio.BrokenResourceError, match="nobody will read"):
            sender.send_nowait(b"x")
        with pytest.raises(trio.BrokenResourceError, match="nobody will read"):
            await in_thread(partial(sender.send, b"x"))
        assert sender.statistics().buffered_chunks == 0
        sender.close()


@gone
async def test_who_is_blocked_is_told(go: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that are blocked when the reader goes are told too, all of them."""
    sender, receiver = open_channel(max_chunks=1)
    receivers = [receiver]
    del receiver
    blocking = Blocking(sender, monkeypatch)
    fill(sender)
    clone = sender.clone()
    threads = [Thread(partial(each.send, b"late")) for each in (sender, sender, clone)]
    await in_thread(partial(blocking.wait_for, 3))
    await go(receivers)
    for thread in threads:
        assert isinstance(await in_thread(thread.end), trio.BrokenResourceError)
    sender.close()
    clone.close()


@pytest.mark.parametrize("full", [False, True])
def test_a_run_that_is_over_reads_no_more(*, full: bool) -> None:
    """When the Trio run is over, though the receiver still exists, sending is an error."""

    async def main() -> Channel:
        channel = open_channel(max_chunks=1)
        if full:
            fill(channel[0])
        return channel

    sender, receiver = trio.run(main)
    with pytest.raises(trio.BrokenResourceError, match="run is over"):
        sender.send_nowait(b"x")
    with pytest.raises(trio.BrokenResourceError, match="run is over"):
        sender.send(b"x")
    with pytest.raises(trio.ClosedResourceError):
        receiver.receive_batch_nowait()
    sender.close()


@pytest.mark.parametrize("failing", [False, True])
def test_who_is_blocked_when_the_run_ends_is_told(
    monkeypatch: pytest.MonkeyPatch, *, failing: bool
) -> None:
    """A thread that outlives the Trio run does not stay blocked, however that run has ended."""
    threads: list[Thread] = []
    channels: list[Channel] = []

    async def main() -> None:
        channels.append(open_channel(max_chunks=1))
        sender, _ = channels[0]
        blocking = Blocking(sender, monkeypatch)
        fill(sender)
        threads.append(Thread(partial(sender.send, b"late")))
        await in_thread(blocking.wait_for)
        if failing:
            raise ZeroDivisionError

    if failing:
        with pytest.raises(ZeroDivisionError):
            trio.run(main)
    else:
        trio.run(main)
    assert isinstance(threads[0].end(), trio.BrokenResourceError)
    channels[0][0].close()


async def test_the_reader_goes_between_refusal_and_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that is closed just when a thread is about to sleep does not let it sleep."""
    sender, receiver = open_channel(max_chunks=1)
    fill(sender)
    handoff = sender._shared.handoff
    real_offer = handoff.offer
    refused, closed = threading.Event(), threading.Event()

    def offer(*args: Any, **kwargs: Any) -> bool:
        taken = real_offer(*args, **kwargs)
        refused.set()
        assert closed.wait(GUARD)
        return taken

    monkeypatch.setattr(handoff, "offer", offer)
    thread = Thread(partial(sender.send, b"late"))
    await in_thread(partial(refused.wait, GUARD))
    await receiver.aclose()
    closed.set()
    assert isinstance(await in_thread(thread.end), trio.BrokenResourceError)
    sender.close()


async def test_room_comes_between_refusal_and_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that drains just when a thread is about to sleep does not leave it asleep."""
    sender, receiver = open_channel(max_chunks=1)
    fill(sender)
    handoff = sender._shared.handoff
    real_offer = handoff.offer
    refused, drained = threading.Event(), threading.Event()

    def offer(*args: Any, **kwargs: Any) -> bool:
        taken = real_offer(*args, **kwargs)
        refused.set()
        assert drained.wait(GUARD)
        return taken

    monkeypatch.setattr(handoff, "offer", offer)
    thread = Thread(partial(sender.send, b"late"))
    await in_thread(partial(refused.wait, GUARD))
    assert await receiver.receive_batch() == [b"x"]
    drained.set()
    assert await in_thread(thread.end) is None
    assert await receiver.receive_batch() == [b"late"]
    sender.close()


# -- closed and dropped senders ---------------------------------------------------------------------


async def test_a_closed_sender_sends_no_more() -> None:
    """After closing, each way to send says so; closing again does nothing."""
    sender, receiver = open_channel()
    with sender:
        sender.send_nowait(b"x")
    sender.close()
    with pytest.raises(trio.ClosedResourceError):
        sender.send_nowait(b"y")
    with pytest.raises(trio.ClosedResourceError):
        await in_thread(partial(sender.send, b"y"))
    with pytest.raises(trio.ClosedResourceError):
        sender.clone()
    assert [chunk async for chunk in receiver] == [b"x"]


async def test_closing_a_sender_that_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is blocked in a sender that another one closes is told; other clones' are not."""
    sender, receiver = open_channel(max_chunks=1)
    blocking = Blocking(sender, monkeypatch)
    fill(sender)
    clone = sender.clone()
    thread, other = Thread(partial(sender.send, b"late")), Thread(partial(clone.send, b"other"))
    await in_thread(partial(blocking.wait_for, 2))
    sender.close()
    assert isinstance(await in_thread(thread.end), trio.ClosedResourceError)
    assert other.is_alive()
    assert await receiver.receive_batch() == [b"x"]
    assert await in_thread(other.end) is None
    clone.close()
    assert [chunk async for chunk in receiver] == [b"other"]


async def test_the_end_comes_with_the_last_of_all_clones() -> None:
    """A reader sees the end when every clone is closed, and not before."""
    sender, receiver = open_channel()
    clones = [sender.clone()]
    clones.append(clones[0].clone())
    for open_sender in (sender, *clones):
        with pytest.raises(trio.WouldBlock):
            receiver.receive_batch_nowait()
        open_sender.close()
        open_sender.close()
    with pytest.raises(trio.EndOfChannel):
        receiver.receive_batch_nowait()


async def test_closing_the_last_wakes_the_reader() -> None:
    """A reader that waits learns of the end, even if a thread brings it and no chunk."""
    sender, receiver = open_channel()
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def read() -> None:
                with pytest.raises(trio.EndOfChannel):
                    await receiver.receive()

            await trio.testing.wait_all_tasks_blocked()
            await in_thread(sender.close)


@pytest.mark.parametrize("cycle", [False, True])
async def test_a_dropped_sender_breaks_the_channel(*, cycle: bool) -> None:
    """A thread that forgets its sender, or died with it, is no orderly end: the reader is told."""
    sender, receiver = open_channel()
    sender.send_nowait(b"x")
    if cycle:
        Cycle(sender)
    del sender
    gc.collect()
    assert await receiver.receive() == b"x"
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="dropped without being closed"):
            await receiver.receive()


async def test_a_reader_that_waits_learns_of_a_dropped_sender() -> None:
    """The same, when the reader waits already and the collector runs in another thread."""
    sender, receiver = open_channel()
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def read() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await receiver.receive()

            await trio.testing.wait_all_tasks_blocked()
            Cycle(sender)
            del sender
            await in_thread(gc.collect)


async def test_one_dropped_clone_is_told_at_the_end() -> None:
    """The others go on; when they are closed, the end is not an orderly one."""
    sender, receiver = open_channel()
    clone = sender.clone()
    clone.send_nowait(b"1")
    del clone
    sender.send_nowait(b"2")
    sender.close()
    assert await receiver.receive_batch() == [b"1", b"2"]
    with pytest.raises(trio.BrokenResourceError, match="dropped"):
        await receiver.receive_batch()


async def test_a_sender_and_its_receiver_may_go_together() -> None:
    """A channel that is dropped whole leaves nothing behind: no thread, no warning."""
    Cycle(open_channel())
    gc.collect()
    await trio.lowlevel.checkpoint()


async def test_nothing_comes_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is being sent while another thread closes the sender is received or refused, never late."""
    sender, receiver = open_channel()
    handoff = sender._shared.handoff
    real_offer = handoff.offer
    offering, go_on = threading.Event(), threading.Event()

    def offer(*args: Any, **kwargs: Any) -> bool:
        offering.set()
        go_on.wait(0.5)  # in vain, if closing waits for this
        return real_offer(*args, **kwargs)

    monkeypatch.setattr(handoff, "offer", offer)
    sending = Thread(partial(sender.send, b"x"))
    await in_thread(partial(offering.wait, GUARD))
    closing = Thread(sender.close)
    assert await in_thread(closing.end) is None
    try:
        got = receiver.receive_batch_nowait()
    except trio.EndOfChannel:
        got = []
    go_on.set()
    error = await in_thread(sending.end)
    with pytest.raises(trio.EndOfChannel):
        receiver.receive_batch_nowait()
    assert got == ([b"x"] if error is None else [])


# -- fairness, and what it says of itself ------------------------------------------------------------


async def test_who_is_blocked_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits for room gets some, though others keep the channel nearly full."""
    sender, receiver = open_channel(max_chunks=4)
    blocking = Blocking(sender, monkeypatch)
    fill(sender)
    thread = Thread(partial(sender.send, b"blocked"))
    await in_thread(blocking.wait_for)
    with sender.clone() as busy:
        with trio.move_on_after(GUARD):
            while thread.is_alive():
                await receiver.receive()
                await in_thread(lambda: None)  # now it may run, and mostly does
                with contextlib.suppress(trio.WouldBlock):
                    busy.send_nowait(b"x")
        starved = thread.is_alive()
        await receiver.aclose()
    await in_thread(thread.end)
    sender.close()
    assert not starved


async def test_both_ends_have_the_same_statistics() -> None:
    """A sender knows what its reader knows."""
    sender, receiver = open_channel(max_chunks=3)
    sender.send_nowait(b"abc")
    assert sender.statistics() == receiver.statistics()
    assert sender.statistics().buffered_bytes == 3
    assert sender.statistics().max_chunks == 3
    sender.close()


async def test_a_blocked_send_is_a_suspension(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics count a send that blocked, and for how long."""
    sender, receiver = open_channel(max_chunks=1)
    blocking = Blocking(sender, monkeypatch)
    sender.send_nowait(b"x")
    assert sender.statistics().suspensions == 0
    thread = Thread(partial(sender.send, b"late"))
    await in_thread(blocking.wait_for)
    assert sender.statistics().suspensions == 1
    receiver.receive_batch_nowait()
    await in_thread(thread.end)
    assert sender.statistics().suspensions == 1
    assert sender.statistics().seconds_suspended > 0
    sender.close()


async def test_who_does_not_block_is_not_suspended() -> None:
    """A `send_nowait` that found no room has not blocked, and is not counted as if it had."""
    sender, _receiver = open_channel(max_chunks=1)
    fill(sender)
    assert sender.statistics().suspensions == 0
    assert sender.statistics().seconds_suspended == 0
    sender.close()


async def test_a_repr_says_if_it_is_open() -> None:
    """A sender's repr shows its own state and the channel's."""
    sender, _receiver = open_channel()
    clone = sender.clone()
    sender.close()
    assert repr(sender).startswith("<closed ChunkSender to <open channel")
    assert repr(clone).startswith("<open ChunkSender to <open channel")
    clone.close()
    assert repr(clone).startswith("<closed ChunkSender to <ended channel")


@pytest.mark.parametrize(
    ("settings", "error", "name"),
    [
        ({"high_water": 0}, ValueError, "high_water"),
        ({"high_water": 1.5}, TypeError, "high_water"),
        ({"max_chunks": -1}, ValueError, "max_chunks"),
        ({"max_chunks": None}, TypeError, "max_chunks"),
        ({"moderation": -0.001}, ValueError, "moderation"),
        ({"moderation": 1000}, ValueError, "moderation"),
        ({"moderation": float("nan")}, ValueError, "moderation"),
        ({"moderation": "soon"}, TypeError, "moderation"),
    ],
    ids=str,
)
async def test_settings_are_checked(
    settings: dict[str, Any], error: type[Exception], name: str
) -> None:
    """A setting that is out of its range is refused, by name, when the channel is opened."""
    with pytest.raises(error, match=name):
        open_channel(**settings)


def test_a_channel_belongs_to_a_run() -> None:
    """Outside of Trio no channel can be opened."""
    with pytest.raises(RuntimeError):
        open_channel()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
async def test_a_sender_whose_block_fails_tells_its_reader(error: type[BaseException]) -> None:
    """Not all may have been sent, so the end is no good one; what was sent comes first."""
    sender, receiver = open_channel()
    sender.send_nowait(b"x")
    with pytest.raises(error), sender:
        raise error
    assert await receiver.receive() == b"x"
    with pytest.raises(trio.BrokenResourceError, match=f"left by {error.__name__}"):
        await receiver.receive()


async def test_a_sender_whose_block_is_left_by_its_own_error_is_just_closed() -> None:
    """The reader is gone, or the sender was closed: nobody is left to be told."""
    sender, receiver = open_channel()
    clone = sender.clone()
    clone.close()
    with pytest.raises(trio.ClosedResourceError), sender:
        clone.send_nowait(b"x")
    with pytest.raises(trio.EndOfChannel):
        await receiver.receive()
