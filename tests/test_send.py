"""`send_batch`: every byte, in order, in few system calls, and the errors of `send_all`."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import subprocess
import sys
import tracemalloc
from array import array
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import ewb
from ewb import _pieces, _send
from ewb._pieces import IOV_MAX, MOST_JOINED, SMALL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

GUARD = 20  # seconds: only a bug takes so long
LARGE = SMALL + 1


class Recorder(trio.abc.SendStream):
    """A stream that keeps all it is given; `before` is awaited each time."""

    def __init__(self, before: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint) -> None:
        self.pieces: list[bytes | bytearray | memoryview] = []
        self._before = before

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        await self._before()
        self.pieces.append(data)

    async def wait_send_all_might_not_block(self) -> None:
        """It never does."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Nothing is to be closed."""
        await trio.lowlevel.checkpoint()

    @property
    def received(self) -> bytes:
        """All bytes that were sent."""
        return b"".join(self.pieces)


class Writes:
    """Stands for the calls that write vectors: as these, but for `step` bytes at most."""

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self.step = 10**9
        self.endless = False  # the kernel takes everything
        self.buffers: list[int] = []
        self.sent: list[int] = []
        self._socket = socket

    def _part(self, buffers: Sequence[Any]) -> bytes:
        """The beginning: no more than `step` bytes, and no more than a kernel would take."""
        part = bytearray()
        for buffer in buffers:
            part += memoryview(buffer).cast("B")[: self.step - len(part)]
            if len(part) >= min(self.step, 100_000):
                break
        return bytes(part)

    async def sendmsg(self, buffers: Sequence[Any]) -> int:
        """As `socket.sendmsg`."""
        self.buffers.append(len(buffers))
        if self.endless:
            await trio.lowlevel.checkpoint()
            return sum(map(len, buffers))
        self.sent.append(await self._socket.send(self._part(buffers)))
        return self.sent[-1]

    def writev(self, fd: int, buffers: Sequence[Any]) -> int:
        """As `os.writev`."""
        self.buffers.append(len(buffers))
        if self.endless:
            return sum(map(len, buffers))
        self.sent.append(os.write(fd, self._part(buffers)))
        return self.sent[-1]


@pytest.fixture
async def pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Two connected sockets whose kernel buffers are as small as can be."""
    near, far = trio.socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    async with trio.SocketStream(near) as left, trio.SocketStream(far) as right:
        yield left, right


async def read_all(stream: trio.abc.ReceiveStream, *, at_most: int = 65536) -> bytes:
    data = bytearray()
    while part := await stream.receive_some(at_most):
        data += part
    return bytes(data)


async def sent_through(
    stream: trio.SocketStream, far: trio.SocketStream, batch: Sequence[Any]
) -> bytes:
    """Send a batch to a slow reader; returns what arrives."""
    got: list[bytes] = []

    async def read() -> None:
        got.append(await read_all(far, at_most=5000))

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await ewb.send_batch(stream, batch)
            await stream.send_eof()
    return got[0]


def joined(batch: Iterable[Any]) -> bytes:
    """What should arrive."""
    return b"".join(memoryview(chunk).tobytes() for chunk in batch)


def numbered(*sizes: int) -> list[bytes]:
    """Chunks that are told apart."""
    return [(b"%d " % n * size)[:size] for n, size in enumerate(sizes)]


BATCHES = {
    "small": numbered(1, 2, 3),
    "one": numbered(5),
    "large": numbered(LARGE, 100_000, 3 * LARGE),
    "mixed": numbered(1, LARGE, 2, 3, 50_000, 4),
    "empty among small": [b"", b"a", b"", b"b", b""],
    "empty among large": [b"", bytes(LARGE), b"", b"", b"x" * LARGE, b""],
    "only empty": [b"", b"", b""],
    "many small": numbered(*[100] * 10_000),
    "just small": numbered(*[SMALL] * 70),
    "more than may be joined": numbered(*[SMALL - 1] * 100),
    "more than IOV_MAX": numbered(*[LARGE] * (IOV_MAX + 5)),
    "small between large, more than IOV_MAX": numbered(*[LARGE, 1] * (IOV_MAX // 2 + 5)),
}
batches = pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)


# -- every byte, in order ---------------------------------------------------------------------------


@batches
async def test_all_bytes_reach_a_stream(batch: list[bytes]) -> None:
    """Any stream gets all bytes of a batch, in order."""
    stream = Recorder()
    await ewb.send_batch(stream, batch)
    assert stream.received == joined(batch)


@batches
async def test_all_bytes_reach_a_slow_reader(
    pair: tuple[trio.SocketStream, trio.SocketStream], batch: list[bytes]
) -> None:
    """A socket gets all bytes too, however few its kernel takes at a time."""
    assert await sent_through(*pair, batch) == joined(batch)


@batches
async def test_all_bytes_reach_a_memory_stream(batch: list[bytes]) -> None:
    """A stream that has nothing to do with sockets gets the same."""
    near, far = trio.testing.memory_stream_one_way_pair()
    await ewb.send_batch(near, batch)
    await near.aclose()
    assert await read_all(far) == joined(batch)


async def test_all_bytes_pass_a_stream_that_takes_one_at_a_time() -> None:
    """Back-pressure of the stream is the sender's: nothing is lost when it blocks on each part."""
    near, far = trio.testing.lockstep_stream_one_way_pair()
    batch = numbered(10, LARGE, 20)
    got: list[bytes] = []

    async def read() -> None:
        got.append(await read_all(far, at_most=777))

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await ewb.send_batch(near, batch)
            await near.aclose()
    assert got == [joined(batch)]


@pytest.fixture
def writes(
    pair: tuple[trio.SocketStream, trio.SocketStream], monkeypatch: pytest.MonkeyPatch
) -> Writes:
    """The system calls that write vectors, which can be told to take few bytes at a time."""
    spy = Writes(pair[0].socket)
    monkeypatch.setattr(os, "writev", spy.writev)
    monkeypatch.setattr(pair[0].socket, "sendmsg", spy.sendmsg)
    return spy


@pytest.mark.parametrize("step", [1, 7, SMALL, LARGE, LARGE + 1, 10**9])
async def test_partial_writes_are_continued(
    pair: tuple[trio.SocketStream, trio.SocketStream], writes: Writes, step: int
) -> None:
    """Wherever the kernel stops, within a chunk or between two, the next write goes on there."""
    batch = numbered(LARGE, LARGE, LARGE + 1) if step > 1 else numbered(LARGE, 3)
    writes.step = step
    assert await sent_through(*pair, batch) == joined(batch)
    assert sum(writes.sent) == len(joined(batch))


async def test_no_call_gets_more_buffers_than_the_system_takes(
    pair: tuple[trio.SocketStream, trio.SocketStream], writes: Writes
) -> None:
    """A batch of more large chunks than `IOV_MAX` goes out in several calls."""
    batch = [bytes(LARGE)] * (2 * IOV_MAX + 1)
    assert await sent_through(*pair, batch) == joined(batch)
    assert max(writes.buffers) <= IOV_MAX


async def test_a_large_batch_to_a_quick_peer_lets_others_run(
    pair: tuple[trio.SocketStream, trio.SocketStream], writes: Writes
) -> None:
    """Even if the kernel takes all at once, a very large batch gives others their turns."""
    writes.endless = True
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    large = [bytes(1024 * 1024)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await ewb.send_batch(pair[0], large * IOV_MAX * 20)
        nursery.cancel_scope.cancel()
    assert turns >= 10


large_or_small = st.integers(0, 300) | st.sampled_from([SMALL - 1, SMALL, LARGE, 3 * SMALL])
kinds = st.sampled_from([bytes, bytearray, memoryview])


@given(sizes=st.lists(large_or_small, max_size=40), kind=kinds, repeat=st.sampled_from([1, 1, 1, 200]))
def test_any_mix_of_chunks_is_what_joining_gives(
    sizes: list[int], kind: Callable[[bytes], Any], repeat: int
) -> None:
    """Whatever the sizes, what is sent is what `b"".join` of the batch would be."""
    stream = Recorder()
    batch = [kind(chunk) for chunk in numbered(*sizes)] * repeat
    trio.run(ewb.send_batch, stream, batch)
    assert stream.received == joined(batch)


async def test_small_chunks_are_joined() -> None:
    """Many small chunks cost one write."""
    stream = Recorder()
    await ewb.send_batch(stream, [b"x" * 60] * 1000)
    assert len(stream.pieces) == 1


async def test_large_chunks_are_not_copied() -> None:
    """A large chunk goes out as it is, or as a view of itself."""
    stream = Recorder()
    batch = [bytearray(LARGE), bytearray(50_000)]
    await ewb.send_batch(stream, batch)
    assert len(stream.pieces) == 2
    for chunk in batch:
        chunk[0] = 7
    assert [piece[0] for piece in stream.pieces] == [7, 7]


@pytest.mark.parametrize(
    "batch",
    [[b"x" * SMALL] * 200, [bytes(9_000_000), *[b"x" * SMALL] * 1000], [b"x" * 3000] * 3000],
    ids=["eight KiB", "beside a very large one", "three KB"],
)
async def test_no_more_is_copied_at_once_than_may_be(batch: list[bytes]) -> None:
    """However many small chunks there are, the copy that is being sent is bounded."""
    stream = Recorder()
    await ewb.send_batch(stream, batch)
    assert stream.received == joined(batch)
    assert max(len(piece) for piece in stream.pieces if piece is not batch[0]) <= MOST_JOINED


class Forgetful(Recorder):
    """A stream that keeps nothing."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Forget it."""
        del data
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    "batch",
    [
        [bytes(SMALL)] * 2000,
        [bytes(60)] * 100_000,
        [*[bytes(SMALL)] * 7, bytes(9 * SMALL)] * 250,
        [bytes(SMALL), bytes(LARGE)] * 1000,
    ],
    ids=["eight KiB", "tiny", "some large among small", "every other large"],
)
async def test_the_copies_of_a_batch_are_bounded(batch: list[bytes]) -> None:
    """However much is sent, only so much of it is held a second time."""
    stream = Forgetful()
    await ewb.send_batch(stream, batch)
    tracemalloc.start()
    try:
        await ewb.send_batch(stream, batch)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MOST_JOINED


async def test_small_chunks_are_joined_whatever_came_before() -> None:
    """Middling chunks at the beginning of a batch do not make its many small ones cost more."""
    stream = Recorder()
    await ewb.send_batch(stream, [*[b"x" * SMALL] * 100, *[b"y" * 64] * 16_000])
    assert len(stream.pieces) < 60


# -- anything with bytes in it ----------------------------------------------------------------------


def many_doubles(count: int) -> memoryview:
    return memoryview(array("d", range(count)))


class Pair(ctypes.Structure):
    """What the buffers of some libraries consist of."""

    _fields_ = (("a", ctypes.c_int), ("b", ctypes.c_char))


VIEWS: dict[str, Callable[[], Any]] = {
    "doubles": lambda: many_doubles(10),
    "many doubles": lambda: many_doubles(5000),
    "gaps": lambda: memoryview(bytes(range(100)))[::3],
    "large with gaps": lambda: memoryview(bytes(range(250)) * 400)[::3],
    "backwards": lambda: memoryview(bytes(range(100)))[::-1],
    "two dimensions": lambda: memoryview(bytes(range(100))).cast("B", [4, 25]),
    "large in two dimensions": lambda: memoryview(bytes(100_000)).cast("B", [2, 50_000]),
    "large in three dimensions": lambda: memoryview(bytes(24_000)).cast("d", [1, 3, 1000]),
    "no dimension": lambda: memoryview(ctypes.c_int(7)),
    "no rows": lambda: memoryview((ctypes.c_char * 0 * 3)()),
    "no columns": lambda: memoryview((ctypes.c_char * 3 * 0)()),
    "many empty rows": lambda: memoryview((ctypes.c_char * 0 * LARGE)()),
    "no doubles": lambda: many_doubles(0),
    "structures": lambda: memoryview((Pair * 3)()),
    "many structures": lambda: memoryview((Pair * 5000)()),
    "read-only": lambda: memoryview(b"abc"),
    "array": lambda: array("i", range(10)),
    "large array": lambda: array("i", range(10_000)),
    "mapped": lambda: mmap.mmap(-1, 20_000),
}


@pytest.mark.parametrize("companion", [b"", b"small", bytes(LARGE)], ids=["alone", "small", "large"])
@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
async def test_any_buffer_is_sent_as_its_bytes(make: Callable[[], Any], companion: bytes) -> None:
    """Views of other items, with gaps or of several dimensions, count and go out as their bytes."""
    view = make()
    batch = [companion, view, companion] if companion else [view]
    stream = Recorder()
    await ewb.send_batch(stream, batch)
    assert stream.received == joined(batch)


@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
async def test_any_buffer_reaches_a_socket(
    pair: tuple[trio.SocketStream, trio.SocketStream], make: Callable[[], Any]
) -> None:
    """The same, through `sendmsg`."""
    batch = [make(), bytes(LARGE), make()]
    assert await sent_through(*pair, batch) == joined(batch)


async def test_what_is_copied_is_counted_in_bytes() -> None:
    """A view whose `len` is small is not copied if its bytes are many."""
    stream = Recorder()
    data = bytearray(4 * MOST_JOINED)
    await ewb.send_batch(stream, [memoryview(data).cast("B", [2, 2 * MOST_JOINED])])
    data[0] = 7
    assert stream.pieces[0][0] == 7


async def test_a_buffer_is_free_again_when_it_was_sent(
    pair: tuple[trio.SocketStream, trio.SocketStream],
) -> None:
    """Nothing keeps hold of a chunk once it is sent: a bytearray can grow again."""
    chunk = bytearray(LARGE)
    assert await sent_through(*pair, [chunk, chunk]) == bytes(2 * LARGE)
    chunk.append(1)  # raises BufferError if a view of it were left


async def test_a_batch_may_be_any_sequence() -> None:
    """A batch need not be a list."""
    stream = Recorder()
    batch = (b"a", bytes(LARGE))
    await ewb.send_batch(stream, batch)
    assert stream.received == joined(batch)


@pytest.mark.parametrize("sizes", [[1, 2], [LARGE, 1]], ids=["small", "large"])
async def test_a_batch_may_come_from_an_iterator(sizes: list[int]) -> None:
    """It is not meant to be one, but nothing of it is lost."""
    stream = Recorder()
    once: Any = map(bytes, sizes)
    await ewb.send_batch(stream, once)
    assert stream.received == bytes(sum(sizes))


async def test_without_a_descriptor_to_spare_it_sends_all_the_same(
    pair: tuple[trio.SocketStream, trio.SocketStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To find out what a real socket is takes one, the first time."""

    def none_left() -> NoReturn:
        raise OSError(errno.EMFILE, "no descriptor")

    monkeypatch.setattr(_send, "_real_socket", none_left)
    assert await sent_through(*pair, [b"x", bytes(LARGE)]) == b"x" + bytes(LARGE)


@pytest.mark.parametrize("bad", ["text", "", None, 0, 7, [1, 2], {"a": 1}, object()], ids=repr)
@pytest.mark.parametrize(
    "others", [[], [b""], [b"x"] * 3, [bytes(LARGE)] * 3], ids=["alone", "empty", "small", "large"]
)
async def test_what_is_not_bytes_is_an_error_and_nothing_is_sent(bad: Any, others: list[bytes]) -> None:
    """One chunk that is not bytes-like stops a batch before its first byte."""
    stream = Recorder()
    with pytest.raises(TypeError):
        await ewb.send_batch(stream, [*others, bad])
    assert stream.received == b""


@pytest.mark.parametrize("bad", ["text", None, [1, 2]], ids=repr)
@pytest.mark.parametrize("chunk", [b"x", bytes(SMALL), bytes(LARGE)], ids=len)
async def test_what_is_not_bytes_is_an_error_after_long(bad: Any, chunk: bytes) -> None:
    """At the end of a very long batch, what was sent before the error is whole chunks."""
    stream = Recorder()
    with pytest.raises(TypeError):
        await ewb.send_batch(stream, [*[chunk] * 5000, bad])
    assert len(stream.received) % len(chunk) == 0
    assert len(stream.received) <= 5000 * len(chunk)


async def test_after_an_error_the_stream_can_be_sent_to() -> None:
    """A batch that failed does not leave the stream busy."""
    stream = Recorder()
    with pytest.raises(TypeError):
        await ewb.send_batch(stream, ["text"])  # type: ignore[list-item]
    await ewb.send_batch(stream, [b"fine"])
    assert stream.received == b"fine"


# -- as `send_all` -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "batch",
    [[], [b""], [b"a"], [bytes(LARGE)], [b"a", bytes(LARGE)]],
    ids=lambda batch: [*map(len, batch)],
)
@pytest.mark.parametrize("kind", ["memory", "socket"])
async def test_sending_is_a_checkpoint(batch: list[bytes], kind: str) -> None:
    """Every batch, the empty one too, lets others run, and can be cancelled before its first byte."""
    near: trio.abc.SendStream
    far: trio.abc.ReceiveStream
    if kind == "memory":
        near, far = trio.testing.memory_stream_one_way_pair()
    else:
        near, far = map(trio.SocketStream, trio.socket.socketpair())
    async with near, far:
        with trio.testing.assert_checkpoints():
            await ewb.send_batch(near, batch)
        with trio.CancelScope() as scope:
            scope.cancel()
            await ewb.send_batch(near, batch)
        assert scope.cancelled_caught
        await near.aclose()
        assert await read_all(far) == joined(batch)


async def no_change(stream: trio.SocketStream, far: trio.SocketStream) -> None:
    await stream.aclose()
    del far


async def close_near(stream: trio.SocketStream, far: trio.SocketStream) -> None:
    await stream.aclose()
    del far


async def close_far(stream: trio.SocketStream, far: trio.SocketStream) -> None:
    await far.aclose()
    del stream


async def send_eof(stream: trio.SocketStream, far: trio.SocketStream) -> None:
    await stream.send_eof()
    del far


STATES: dict[str, tuple[Callable[..., Awaitable[None]], type[Exception]]] = {
    "closed": (close_near, trio.ClosedResourceError),
    "peer gone": (close_far, trio.BrokenResourceError),
    "after eof": (send_eof, trio.ClosedResourceError),
}


@pytest.mark.parametrize("batch", [[b"a"], [bytes(LARGE)] * 20], ids=["small", "large"])
@pytest.mark.parametrize(("spoil", "error"), STATES.values(), ids=STATES)
async def test_a_spoilt_socket_raises_what_send_all_does(
    pair: tuple[trio.SocketStream, trio.SocketStream],
    batch: list[bytes],
    spoil: Callable[[trio.SocketStream, trio.SocketStream], Awaitable[None]],
    error: type[Exception],
) -> None:
    """A stream that is closed, ended or without its peer fails in the same way, with the same words."""
    stream, far = pair
    await spoil(stream, far)
    with pytest.raises(error) as of_send_all:
        await stream.send_all(joined(batch))
    with pytest.raises(error) as of_send_batch:
        await ewb.send_batch(stream, batch)
    assert str(of_send_batch.value) == str(of_send_all.value)
    assert type(of_send_batch.value.__cause__) is type(of_send_all.value.__cause__)


@pytest.mark.parametrize(
    "batch", [[], [b""], [b"a"], [bytes(LARGE)]], ids=["none", "empty", "small", "large"]
)
async def test_a_closed_memory_stream(batch: list[bytes]) -> None:
    """A closed stream of another kind raises its own error, for an empty batch too."""
    near, _ = trio.testing.memory_stream_one_way_pair()
    await near.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ewb.send_batch(near, batch)


@pytest.mark.parametrize("spoiler", ["near", "far"])
async def test_a_socket_that_is_closed_while_it_is_being_sent_to(
    pair: tuple[trio.SocketStream, trio.SocketStream], spoiler: str
) -> None:
    """A sender that is blocked learns that its stream was closed, or that its peer went away."""
    stream, far = pair
    expected = trio.ClosedResourceError if spoiler == "near" else trio.BrokenResourceError
    raised: list[Exception] = []

    async def send() -> None:
        try:
            await ewb.send_batch(stream, [bytes(200_000)] * 5)
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            raised.append(error)

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            await (stream if spoiler == "near" else far).aclose()
    assert [type(error) for error in raised] == [expected]


# -- one at a time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [[], [b"a"], [bytes(LARGE)]], ids=["none", "small", "large"])
async def test_two_batches_at_once_are_refused(second: list[bytes]) -> None:
    """A second batch to a stream that is being sent to is an error, and sends nothing."""
    gate = trio.Event()
    stream = Recorder(gate.wait)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ewb.send_batch, stream, [b"first"])
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await ewb.send_batch(stream, second)
        await ewb.send_batch(Recorder(), [b"another stream is free"])
        gate.set()
    assert stream.received == b"first"
    await ewb.send_batch(stream, [b" second"])
    assert stream.received == b"first second"


@pytest.mark.parametrize("size", [10, 400_000], ids=["small chunks", "large chunks"])
async def test_send_all_cannot_come_in_between(
    pair: tuple[trio.SocketStream, trio.SocketStream], size: int
) -> None:
    """While a batch is being sent to a socket, `send_all` there is refused, and the other way round."""
    stream, far = pair
    batch = [b"x" * size] * (1_000_000 // size)
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ewb.send_batch, stream, batch)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.send_all(b"y")
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(1_000_000))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await ewb.send_batch(stream, batch)
            nursery.cancel_scope.cancel()
    await far.aclose()


@pytest.mark.parametrize("size", [10, 100_000], ids=["small chunks", "large chunks"])
async def test_a_cancelled_batch_leaves_the_stream_usable(
    pair: tuple[trio.SocketStream, trio.SocketStream], size: int
) -> None:
    """Cancelled in its midst, a batch has sent a part from its beginning, and frees the stream."""
    stream, far = pair
    whole = numbered(*[size] * (2_000_000 // size))
    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ewb.send_batch, stream, whole)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        after = await sent_through(stream, far, [b"after", b"after" * LARGE])
    assert after.endswith(b"after" * (LARGE + 1))
    before = after.removesuffix(b"after" * (LARGE + 1))
    assert 0 < len(before) < 2_000_000
    assert joined(whole).startswith(before)


async def test_cancelled_at_each_await_a_prefix_was_sent() -> None:
    """Wherever a batch is cancelled, what was sent is a beginning of it, in whole pieces."""
    batch = numbered(5, 9 * LARGE, 6, 9 * LARGE, 7)
    for steps in range(8):
        stream = Recorder()
        scope = trio.CancelScope()
        waits = iter(range(steps))

        async def cancel_later(scope: trio.CancelScope = scope, waits: Iterable[int] = waits) -> None:
            if next(iter(waits), None) is None:
                scope.cancel()
            await trio.lowlevel.checkpoint()

        stream._before = cancel_later
        with scope:
            await ewb.send_batch(stream, batch)
        assert joined(batch).startswith(stream.received)
        assert len(stream.pieces) == min(steps, 5)
        stream._before = trio.lowlevel.checkpoint
        await ewb.send_batch(stream, [b"end"])


async def test_without_vectors_a_socket_is_a_stream_like_others(
    pair: tuple[trio.SocketStream, trio.SocketStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system cannot write vectors, as on Windows, large chunks go out one by one."""
    monkeypatch.delattr(os, "writev")
    monkeypatch.delattr(type(pair[0].socket), "sendmsg")
    monkeypatch.delattr(trio.socket.SocketType, "sendmsg")
    batch = numbered(3, LARGE, 3, 50_000)
    assert await sent_through(*pair, batch) == joined(batch)


class VirtualSocket(trio.socket.SocketType):
    """As a custom socket factory of Trio's makes them: it sends, and no file is behind it."""

    def __init__(self) -> None:
        self.sent = bytearray()

    @property
    def type(self) -> socket.SocketKind:
        """A stream."""
        return socket.SOCK_STREAM

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802 - Trio's name
        """It can be sent to."""
        return False

    def setsockopt(self, *_: object) -> None:
        """Ignored."""

    def fileno(self) -> int:
        """A number that is no file's."""
        return 2**30

    async def send(self, data: Any, flags: int = 0, /) -> int:
        """Keep at most 1000 bytes."""
        del flags
        await trio.lowlevel.checkpoint()
        self.sent += bytes(data)[:1000]
        return min(len(data), 1000)


@pytest.mark.parametrize("size", [100, LARGE])
async def test_a_socket_without_a_file_is_a_stream_like_others(size: int) -> None:
    """A virtual network's sockets get their bytes by `send`."""
    virtual = VirtualSocket()
    batch = numbered(*[size] * 3)
    await ewb.send_batch(trio.SocketStream(virtual), batch)
    assert virtual.sent == joined(batch)


async def test_without_trios_detector_it_is_sent_all_the_same(
    pair: tuple[trio.SocketStream, trio.SocketStream],
) -> None:
    """The detector that is private to Trio is not relied on."""
    stream, far = pair
    assert isinstance(stream._send_conflict_detector, object)
    with _send._conflicts_of(stream):
        pass
    assert await sent_through(stream, far, [bytes(LARGE)]) == bytes(LARGE)


@pytest.mark.parametrize("answer", [0, -1, 1024, OSError(), ValueError(), AttributeError()], ids=repr)
def test_the_number_of_buffers_is_the_systems(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    """What the system says counts; if it has no limit, or cannot tell, a number that will do."""

    def sysconf(_: str) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(os, "sysconf", sysconf)
    assert _pieces._iov_max() == (16 if isinstance(answer, Exception) else 1024)


def test_importing_opens_no_socket() -> None:
    """Where sockets cannot be opened, as under many test runners, ewb can be imported all the same."""
    program = """if True:
        import socket, trio
        def refuse(*args, **kwargs):
            raise PermissionError("no sockets here")
        socket.socket.__init__ = refuse
        import ewb
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=GUARD)
