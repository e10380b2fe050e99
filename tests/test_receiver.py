"""The front end's side of a channel: what a reader gets, when it waits, and what a cancel takes."""

from __future__ import annotations

import inspect
import struct
import threading
import traceback
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

import ewb
from ewb._bell import Parked
from ewb._doorbell import current_doorbell
from ewb._handoff import End, Handoff
from ewb._receiver import ChunkReceiver
from ewb._settings import Bounds

from .helpers import GUARD, AtStep, Gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from typing import TypeAlias

    from ewb import ChunkSender

Channel: TypeAlias = "tuple[ChunkSender[bytes], ChunkReceiver[bytes, None]]"


def open_channel(**settings: Any) -> Channel:
    """A channel of bytes."""
    return ewb.open_channel(**settings)


async def one(receiver: ChunkReceiver[bytes, None]) -> list[bytes]:
    return [await receiver.receive()]


async def next_one(receiver: ChunkReceiver[bytes, None]) -> list[bytes]:
    return [await anext(receiver)]


async def batch(receiver: ChunkReceiver[bytes, None]) -> list[bytes]:
    return await receiver.receive_batch()


async def at_once(receiver: ChunkReceiver[bytes, None]) -> list[bytes]:
    return receiver.receive_batch_nowait()


async def next_batch(receiver: ChunkReceiver[bytes, None]) -> list[bytes]:
    return await anext(receiver.batches())


waiting_ways = pytest.mark.parametrize("way", [one, batch])
ways = pytest.mark.parametrize("way", [one, batch, at_once])


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    """A channel whose ends are closed when the test is over."""
    sender, receiver = open_channel()
    with sender:
        yield sender, receiver
        await receiver.aclose()


def of_a_producer(
    *chunks: bytes, end: End | None = None, leave: Callable[[], Awaitable[object]] | None = None
) -> ChunkReceiver[bytes, Any]:
    """What `produce` would give for a producer that yielded these and ended so."""
    handoff: Handoff[bytes] = Handoff(
        Bounds(),
        size=None,
        moderation=0.001,
        post=current_doorbell().post,
        on_room=lambda: None,
    )
    for chunk in chunks:
        assert handoff.offer(chunk, len(chunk))
    if end is not None:
        handoff.finish(end)
    return ChunkReceiver(handoff, leave)


# -- what a reader gets -----------------------------------------------------------------------------


async def test_a_batch_is_all_there_is(channel: Channel) -> None:
    """Receiving a batch gives every chunk that was buffered, in order."""
    sender, receiver = channel
    for chunk in (b"1", b"2", b"3"):
        sender.send_nowait(chunk)
    assert await receiver.receive_batch() == [b"1", b"2", b"3"]


async def test_chunk_by_chunk(channel: Channel) -> None:
    """Receiving one chunk leaves the others for later, in whatever way they are received."""
    sender, receiver = channel
    for n in range(6):
        sender.send_nowait(b"%d" % n)
    assert await receiver.receive() == b"0"
    assert await receiver.receive() == b"1"
    assert await receiver.receive_batch() == [b"2", b"3", b"4", b"5"]
    sender.send_nowait(b"6")
    assert await receiver.receive() == b"6"
    for n in range(7, 10):
        sender.send_nowait(b"%d" % n)
    assert await receiver.receive() == b"7"
    assert receiver.receive_batch_nowait() == [b"8", b"9"]


async def test_nothing_there_would_block(channel: Channel) -> None:
    """Who does not want to wait is told that it would have to."""
    sender, receiver = channel
    with pytest.raises(trio.WouldBlock):
        receiver.receive_batch_nowait()
    sender.send_nowait(b"x")
    assert receiver.receive_batch_nowait() == [b"x"]
    with pytest.raises(trio.WouldBlock):
        receiver.receive_batch_nowait()


@waiting_ways
async def test_waits_for_the_first_chunk(
    channel: Channel, way: Callable[[ChunkReceiver[bytes, None]], Awaitable[list[bytes]]]
) -> None:
    """A reader sleeps until there is something, and gets it."""
    sender, receiver = channel
    got: list[bytes] = []

    async def read() -> None:
        got.extend(await way(receiver))

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            sender.send_nowait(b"x")
    assert got == [b"x"]
    assert receiver.statistics().doorbells == 1


async def test_iterating_gives_chunks_until_the_end(channel: Channel) -> None:
    """`async for` over a receiver gives chunks one by one, and stops at the end."""
    sender, receiver = channel
    with sender:
        for chunk in (b"1", b"2", b"3"):
            sender.send_nowait(chunk)
    assert [chunk async for chunk in receiver] == [b"1", b"2", b"3"]
    assert [chunk async for chunk in receiver] == []


async def test_iterating_over_batches(channel: Channel) -> None:
    """`batches()` gives a batch for each wait, and stops at the end."""
    sender, receiver = channel
    got: list[list[bytes]] = []
    sender.send_nowait(b"1")
    sender.send_nowait(b"2")
    with trio.fail_after(GUARD):
        async for chunks in receiver.batches():
            got.append(chunks)
            if len(got) == 1:
                sender.send_nowait(b"3")
                sender.close()
    assert got == [[b"1", b"2"], [b"3"]]


async def test_batches_is_a_plain_iterator(channel: Channel) -> None:
    """There is nothing to close in `batches()`, and leaving it in the midst costs nothing."""
    sender, receiver = channel
    sender.send_nowait(b"1")
    iterator = receiver.batches()
    assert aiter(iterator) is iterator
    assert not inspect.isasyncgen(iterator)
    async for chunks in iterator:
        assert chunks == [b"1"]
        break
    sender.send_nowait(b"2")
    assert await anext(receiver.batches()) == [b"2"]


async def test_statistics_count_what_was_received(channel: Channel) -> None:
    """Chunks and bytes count once the reader has them."""
    sender, receiver = channel
    for _ in range(3):
        sender.send_nowait(b"abc")
    await receiver.receive()
    now = receiver.statistics()
    assert (now.chunks, now.bytes, now.buffered_chunks, now.buffered_bytes) == (1, 3, 2, 6)
    await receiver.receive_batch()
    now = receiver.statistics()
    assert (now.chunks, now.bytes, now.buffered_chunks, now.buffered_bytes) == (3, 9, 0, 0)


async def test_a_repr_says_what_it_is(channel: Channel) -> None:
    """Its repr shows the channel's state."""
    sender, receiver = channel
    sender.send_nowait(b"abc")
    assert "ChunkReceiver" in repr(receiver)
    assert "1 of" in repr(receiver)


# -- the end ----------------------------------------------------------------------------------------


@ways
async def test_the_end_stays_the_end(
    way: Callable[[ChunkReceiver[bytes, None]], Awaitable[object]],
) -> None:
    """However often and in whatever way one asks after the end, it is the end."""
    receiver = of_a_producer(b"1", end=End("result"))
    assert await way(receiver) == [b"1"]
    for _ in range(3):
        with pytest.raises(trio.EndOfChannel):
            await way(receiver)
    assert receiver.result == "result"


@ways
async def test_an_error_comes_after_all_chunks_and_stays(
    way: Callable[[ChunkReceiver[bytes, None]], Awaitable[object]],
) -> None:
    """What the producer raised is raised once all its chunks were received, again and again."""
    error = ZeroDivisionError("of the producer")
    receiver = of_a_producer(b"1", end=End(error=error))
    assert await way(receiver) == [b"1"]
    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as caught:
            await way(receiver)
        assert caught.value is error


async def test_an_errors_traceback_does_not_grow() -> None:
    """Raised again, an error shows the producer's frames and the latest reader's, each once."""

    def fails() -> None:
        raise ZeroDivisionError

    try:
        fails()
    except ZeroDivisionError as error:
        receiver = of_a_producer(end=End(error=error, traceback=error.__traceback__))
    lengths = []
    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as caught:
            await receiver.receive_batch()
        frames = traceback.extract_tb(caught.value.__traceback__)
        assert [frame.name for frame in frames].count("fails") == 1
        lengths.append(len(frames))
    assert len(set(lengths)) == 1


async def test_a_result_is_there_when_the_end_was_received() -> None:
    """What the producer returned is known when its end was received, and not before."""
    receiver = of_a_producer(b"1", end=End({"rows": 7}))
    with pytest.raises(RuntimeError, match="before its end was received"):
        receiver.result  # noqa: B018 - it raises
    await receiver.receive_batch()
    with pytest.raises(RuntimeError, match="before its end was received"):
        receiver.result  # noqa: B018 - it raises
    with pytest.raises(trio.EndOfChannel):
        await receiver.receive_batch()
    assert receiver.result == {"rows": 7}
    await receiver.aclose()
    assert receiver.result == {"rows": 7}


async def test_who_failed_has_no_result() -> None:
    """Asking for the result of a producer that failed says how it failed."""
    receiver = of_a_producer(end=End(error=ZeroDivisionError("so")))
    with pytest.raises(ZeroDivisionError):
        await receiver.receive()
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError\('so'\)"):
        receiver.result  # noqa: B018 - it raises


async def test_none_is_a_result(channel: Channel) -> None:
    """A thread of the user's returns nothing, and that is its result."""
    sender, receiver = channel
    sender.close()
    with pytest.raises(trio.EndOfChannel):
        await receiver.receive()
    assert receiver.result is None


@pytest.mark.parametrize(
    ("end", "left"),
    [
        (None, False),
        (End(), False),
        (End(error=ValueError()), False),
        (End(error=KeyboardInterrupt()), True),
        (End(error=SystemExit()), True),
    ],
    ids=str,
)
async def test_an_exit_that_nobody_received_is_known(end: End | None, *, left: bool) -> None:
    """A `KeyboardInterrupt` in a producer is not lost with the chunks, unless the reader had it."""
    receiver = of_a_producer(end=end)
    unread = receiver.unread_exit()
    assert (unread is not None) is left
    if end is not None and left:
        assert unread is end.error
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            await receiver.receive()
        assert receiver.unread_exit() is None


# -- closing ----------------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("end", [None, End(), End(error=ValueError())], ids=["open", "ended", "failed"])
async def test_a_closed_receiver_receives_no_more(
    way: Callable[[ChunkReceiver[bytes, None]], Awaitable[object]], end: End | None
) -> None:
    """After closing, every way to receive says so, whatever was there."""
    receiver = of_a_producer(b"1", end=end)
    await receiver.aclose()
    await receiver.aclose()
    for _ in range(2):
        with pytest.raises(trio.ClosedResourceError):
            await way(receiver)


async def test_iterating_over_a_closed_receiver_is_an_error(channel: Channel) -> None:
    """Iterating does not mistake a closed channel for an ended one."""
    _, receiver = channel
    await receiver.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await anext(receiver.batches())
    with pytest.raises(trio.ClosedResourceError):
        await anext(aiter(receiver))


@waiting_ways
async def test_closing_wakes_a_task_that_receives(
    channel: Channel, way: Callable[[ChunkReceiver[bytes, None]], Awaitable[object]]
) -> None:
    """A task that waits for a chunk learns that another one closed the channel."""
    _, receiver = channel
    closed = trio.Event()

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await way(receiver)
        closed.set()

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await receiver.aclose()
            await closed.wait()


@pytest.mark.parametrize("first", ["ring", "close"])
async def test_closing_while_a_doorbell_is_out(channel: Channel, first: str) -> None:
    """A reader that is rung for and closed at the same time gets the error, in either order."""
    sender, receiver = channel
    acts: list[Callable[[], object]] = [lambda: sender.send_nowait(b"x"), receiver._handoff.close]
    if first == "close":
        acts.reverse()

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await receiver.receive_batch()

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            for act in acts:
                try:
                    act()
                except trio.BrokenResourceError:
                    assert first == "close"
            await receiver.aclose()


async def test_leaving_its_block_closes_it() -> None:
    """A receiver is an async context manager, as all of Trio's are."""
    sender, receiver = open_channel()
    async with receiver:
        sender.send_nowait(b"x")
    with pytest.raises(trio.BrokenResourceError):
        sender.send_nowait(b"y")
    sender.close()


async def test_closing_is_a_checkpoint_and_cannot_be_prevented(channel: Channel) -> None:
    """A cancelled `aclose` has closed all the same."""
    sender, receiver = channel
    with trio.CancelScope() as scope:
        scope.cancel()
        await receiver.aclose()
    assert scope.cancelled_caught
    with pytest.raises(trio.BrokenResourceError):
        sender.send_nowait(b"x")
    with trio.testing.assert_checkpoints():
        await receiver.aclose()


async def test_closing_waits_for_the_producer() -> None:
    """`aclose` returns when the generator was closed; cancelled, it does not wait any longer."""
    gone = trio.Event()
    receiver = of_a_producer(leave=gone.wait)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receiver.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert receiver._handoff.closed
            scope.cancel()
    gone.set()
    await receiver.aclose()


# -- one reader at a time ---------------------------------------------------------------------------


@waiting_ways
@pytest.mark.parametrize("second", [one, batch, at_once, next_batch])
async def test_two_readers_are_one_too_many(
    channel: Channel,
    way: Callable[[ChunkReceiver[bytes, None]], Awaitable[list[bytes]]],
    second: Callable[[ChunkReceiver[bytes, None]], Awaitable[object]],
) -> None:
    """The second reader is told, and the first one goes on waiting as if nothing had happened."""
    sender, receiver = channel
    got: list[bytes] = []

    async def read() -> None:
        got.extend(await way(receiver))

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await second(receiver)
            sender.send_nowait(b"x")
    assert got == [b"x"]
    sender.send_nowait(b"y")
    assert await way(receiver) == [b"y"]


async def test_a_reader_that_has_its_chunk_already_is_a_reader(channel: Channel) -> None:
    """Also while a receive only lets others run, nobody else may receive."""
    sender, receiver = channel
    sender.send_nowait(b"x")
    refused = 0

    async def read() -> None:
        nonlocal refused
        try:
            assert await receiver.receive_batch() == [b"x"]
        except trio.BusyResourceError:
            refused += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
    assert refused == 1


@waiting_ways
async def test_after_a_cancelled_reader_comes_the_next(
    channel: Channel, way: Callable[[ChunkReceiver[bytes, None]], Awaitable[list[bytes]]]
) -> None:
    """A reader that was cancelled, or that failed, does not keep the channel busy."""
    sender, receiver = channel
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way, receiver)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    sender.send_nowait(b"x")
    assert await way(receiver) == [b"x"]


# -- checkpoints ------------------------------------------------------------------------------------


@waiting_ways
async def test_receiving_what_is_there_is_a_checkpoint(
    channel: Channel, way: Callable[[ChunkReceiver[bytes, None]], Awaitable[list[bytes]]]
) -> None:
    """A reader that always finds something lets others run all the same."""
    sender, receiver = channel
    for _ in range(3):
        sender.send_nowait(b"x")
        with trio.testing.assert_checkpoints():
            assert await way(receiver) == [b"x"]


@waiting_ways
async def test_receiving_what_was_just_missed_is_a_checkpoint(
    channel: Channel,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[ChunkReceiver[bytes, None]], Awaitable[list[bytes]]],
) -> None:
    """Also a chunk that comes between the first look and the wait is not received without one."""
    sender, receiver = channel
    park = receiver._handoff.park

    def late(*args: Any, **kwargs: Any) -> Any:
        sender.send_nowait(b"x")
        return park(*args, **kwargs)

    monkeypatch.setattr(receiver._handoff, "park", late)
    with trio.testing.assert_checkpoints():
        assert await way(receiver) == [b"x"]


@waiting_ways
async def test_a_cancelled_task_receives_nothing(
    channel: Channel, way: Callable[[ChunkReceiver[bytes, None]], Awaitable[object]]
) -> None:
    """Who is cancelled already leaves what is there for the next."""
    sender, receiver = channel
    sender.send_nowait(b"x")
    with trio.CancelScope() as scope:
        scope.cancel()
        await way(receiver)
    assert scope.cancelled_caught
    assert receiver.statistics().buffered_chunks == 1
    assert receiver.receive_batch_nowait() == [b"x"]


# -- what a cancel takes: nothing -------------------------------------------------------------------


@pytest.mark.parametrize("there", [0, 1, 3])
@pytest.mark.parametrize("step", range(5))
@waiting_ways
async def test_cancelled_at_any_step_nothing_is_lost(
    way: Callable[[ChunkReceiver[bytes, None]], Awaitable[list[bytes]]], step: int, there: int
) -> None:
    """Wherever a receive is cancelled, each chunk is either returned by it or left for the next."""
    sender, receiver = open_channel()
    sent = [b"%d" % n for n in range(3)]
    for chunk in sent[:there]:
        sender.send_nowait(chunk)
    got: list[bytes] = []

    async def read() -> None:
        scope = trio.CancelScope()
        instrument = AtStep(scope.cancel, step, parked=False)
        trio.lowlevel.add_instrument(instrument)
        try:
            with scope:
                got.extend(await way(receiver))
        finally:
            trio.lowlevel.remove_instrument(instrument)

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            for chunk in sent[there:]:
                sender.send_nowait(chunk)
        sender.close()
        async for chunks in receiver.batches():
            got += chunks
    assert got == sent
    await receiver.aclose()


@pytest.mark.parametrize("what", ["chunk", "end", "error"])
@pytest.mark.parametrize("order", ["cancel, ring", "ring, cancel", "answer, cancel"])
async def test_a_cancel_against_what_is_waited_for(what: str, order: str) -> None:
    """A chunk, the end or an error is received by this wait or by the next, in each order of events."""
    receiver = of_a_producer()
    handoff = receiver._handoff
    scope = trio.CancelScope()
    seen: list[object] = []

    def come() -> None:
        if what == "chunk":
            handoff.offer(b"x", 1)
        else:
            handoff.finish(End(error=ZeroDivisionError() if what == "error" else None))

    async def read() -> None:
        try:
            seen.append(await receiver.receive_batch())
        except (trio.EndOfChannel, ZeroDivisionError) as error:
            seen.append(type(error))

    async def cancelled_read() -> None:
        with scope:
            await read()

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancelled_read)
            await trio.testing.wait_all_tasks_blocked()
            if order == "cancel, ring":
                scope.cancel()
                come()
            elif order == "ring, cancel":
                come()
                scope.cancel()
            else:
                come()
                current_doorbell().post(scope.cancel)  # is called after the answer
        in_time = order == "answer, cancel"
        assert scope.cancelled_caught is not in_time
        assert len(seen) == (1 if in_time else 0)
        if what != "chunk" or not in_time:
            await read()
    expected: object = {"chunk": [b"x"], "end": trio.EndOfChannel, "error": ZeroDivisionError}[what]
    assert all(item == expected for item in seen)
    assert seen


async def test_a_doorbell_for_a_cancelled_wait_does_not_confuse_the_next(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second reader that is woken by the first one's doorbell goes on waiting for its own chunk."""
    sender, receiver = channel
    handoff = receiver._handoff
    out: list[Callable[[], None]] = []
    got: list[list[bytes]] = []

    def post(call: Callable[[], None]) -> bool:
        out.append(call)
        return True

    async def read() -> None:
        got.append(await receiver.receive_batch())

    with trio.fail_after(GUARD):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                with monkeypatch.context() as patch:
                    patch.setattr(handoff, "_post", post)
                    sender.send_nowait(b"1")
                scope.cancel()
        assert receiver.receive_batch_nowait() == [b"1"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            for call in out:
                call()
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            sender.send_nowait(b"2")
    assert got == [[b"2"]]
    assert len(out) == 1


# -- moderation: nobody is stranded -----------------------------------------------------------------

SOON = 0.1
"""Seconds: far more than moderation takes, and far less than for ever."""


async def best_of_rounds(one_round: Callable[[], Awaitable[list[float]]]) -> float:
    """The longest delay of the quickest round.

    Of five; or of more, for a busy machine may hold up any of them, but not all for so long.
    """
    longest: list[float] = []
    with trio.move_on_after(GUARD):
        while len(longest) < 5 or min(longest) > SOON:
            delays = await one_round()
            assert len(delays) == 3
            longest.append(max(delays))
    return min(longest)


def delays_of(chunks: list[bytes]) -> list[float]:
    """How long ago these were sent."""
    now = perf_counter()
    return [now - struct.unpack("d", chunk)[0] for chunk in chunks]


class Stamped:
    """A thread that says when it sent each chunk, and then blocks."""

    def __init__(self, sender: ChunkSender[bytes]) -> None:
        self.go = threading.Event()
        self.end = threading.Event()
        self.warm = False  # the first chunk has arrived
        self._sender = sender

    def run(self) -> None:
        """A chunk; and when told to, three quick ones; then nothing until the end of the test."""
        with self._sender as sender:
            sender.send(struct.pack("d", perf_counter()))
            assert self.go.wait(GUARD)
            for _ in range(3):
                sender.send(struct.pack("d", perf_counter()))
            assert self.end.wait(GUARD)


@pytest.mark.parametrize(
    ("parked", "moderation"),
    [
        (Parked.NO, 0),
        (Parked.NO, 0.001),
        (Parked.NO, 0.02),
        (Parked.MODERATED, 0.001),
        (Parked.MODERATED, 0.02),
        (Parked.ARMED, 0),
        (Parked.ARMED, 0.001),
        (Parked.ARMED, 0.02),
    ],
)
async def test_three_quick_chunks_and_then_nothing(
    monkeypatch: pytest.MonkeyPatch, parked: Parked, moderation: float
) -> None:
    """However the reader waits, all three reach it soon though their thread then blocks for ever."""
    rounds_as_meant = 0

    async def one_round() -> list[float]:
        nonlocal rounds_as_meant
        sender, receiver = open_channel(moderation=moderation)
        thread = Stamped(sender)
        park = receiver._handoff.park
        ways: list[Parked] = []

        def spy(*args: Any, **kwargs: Any) -> tuple[Parked, float]:
            how, deadline = park(*args, **kwargs)
            if thread.warm and how is not Parked.NO:
                ways.append(how)
                # A reader that came back too late to be moderated is armed, and stays so.
                if how in (parked, Parked.ARMED):
                    thread.go.set()
            return how, deadline

        monkeypatch.setattr(receiver._handoff, "park", spy)
        delays: list[float] = []
        with trio.fail_after(GUARD):
            async with receiver, trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, thread.run)
                try:
                    await receiver.receive_batch()
                    thread.warm = True
                    if parked is Parked.NO:
                        thread.go.set()
                    while len(delays) < 3:
                        delays += delays_of(await receiver.receive_batch())
                finally:
                    thread.go.set()
                    thread.end.set()
        rounds_as_meant += parked is Parked.NO or parked in ways
        return delays

    with trio.fail_after(2 * GUARD):
        while rounds_as_meant < 5:
            assert await best_of_rounds(one_round) < SOON


async def test_three_quick_chunks_of_a_producer() -> None:
    """The same for a generator on a worker."""

    async def one_round() -> list[float]:
        gate = Gate()

        def quick() -> Iterator[bytes]:
            for _ in range(3):
                yield struct.pack("d", perf_counter())
            gate.wait()

        delays: list[float] = []
        with trio.fail_after(GUARD):
            async with workers.produce(quick) as chunks:
                try:
                    while len(delays) < 3:
                        delays += delays_of(await chunks.receive_batch())
                finally:
                    gate.open()
        return delays

    async with ewb.open_workers(1) as workers:
        assert await best_of_rounds(one_round) < SOON


@pytest.mark.parametrize("moderation", [0, 0.001, 1])
@waiting_ways
async def test_under_a_jumping_clock_nothing_hangs(
    autojump_clock: MockClock,
    way: Callable[[ChunkReceiver[bytes, None]], Awaitable[list[bytes]]],
    moderation: float,
) -> None:
    """Under a test's clock a reader that keeps up is woken all the same, without a timer."""
    sender, receiver = open_channel(moderation=moderation)
    got: list[bytes] = []

    async def send() -> None:
        with sender:
            for n in range(20):
                if n % 3 == 0:
                    await trio.sleep(100)
                sender.send_nowait(b"%d" % n)
                await trio.lowlevel.checkpoint()

    async with receiver, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while len(got) < 20:
            got += await way(receiver)
        with pytest.raises(trio.EndOfChannel):
            await way(receiver)
    assert got == [b"%d" % n for n in range(20)]
    assert autojump_clock.current_time() < 1000


@pytest.mark.parametrize("rate", [0.0, 1.0, 100.0])
def test_under_a_clock_of_a_test_threads_are_heard(rate: float) -> None:
    """Under a clock that stands still, or races, a thread's chunks arrive all the same."""

    def send(sender: ChunkSender[bytes]) -> None:
        with sender:
            for n in range(200):
                sender.send(b"%d" % n)

    async def main() -> None:
        sender, receiver = open_channel(max_chunks=5, moderation=1)
        async with receiver, trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, send, sender)
            got = [chunk async for chunk in receiver]
        assert got == [b"%d" % n for n in range(200)]

    trio.run(main, clock=MockClock(rate=rate))


async def test_many_readers_wait_moderately_at_once() -> None:
    """The one timer of a run serves all its readers."""
    channels = [open_channel(moderation=0.01) for _ in range(50)]
    got: dict[int, list[bytes]] = {n: [] for n in range(50)}

    async def read(n: int, receiver: ChunkReceiver[bytes, None]) -> None:
        async for chunks in receiver.batches():
            got[n] += chunks

    def send() -> None:
        for k in range(20):
            for sender, _ in channels:
                sender.send(b"%d" % k)
        for sender, _ in channels:
            sender.close()

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            for n, (_, receiver) in enumerate(channels):
                nursery.start_soon(read, n, receiver)
            nursery.start_soon(trio.to_thread.run_sync, send)
    assert all(chunks == [b"%d" % k for k in range(20)] for chunks in got.values())


@pytest.mark.parametrize("way", [one, next_one, batch])
async def test_what_is_there_is_taken_however_little_time_is_left(
    way: Callable[[ChunkReceiver[bytes, None]], Awaitable[list[bytes]]],
) -> None:
    """Else who looks again and again, each time for but an instant, would never get anything."""
    sender, receiver = open_channel()
    sender.send_nowait(b"x")
    got: list[bytes] = []
    with trio.CancelScope(deadline=trio.current_time() + 0.001) as scope:
        while trio.current_time() < scope.deadline:
            pass  # Trio sees that it is over once others may run
        got = await way(receiver)
    assert got == [b"x"]
    sender.close()
