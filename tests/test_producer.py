"""A producer's life: what it may be, what it may raise, where it runs, and how it ends."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import gc
import sqlite3
import threading
import traceback
import weakref
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn, Self

import pytest
import trio
import trio.testing

import ewb

from .helpers import GUARD, AtStep, Gate, Log, fail, nothing_runs, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from ewb import ChunkReceiver, Workers


async def collect(chunks: ChunkReceiver[Any, Any]) -> list[Any]:
    """All chunks that are still to come."""
    with trio.fail_after(GUARD):
        return [chunk async for chunk in chunks]


async def receive_into(received: list[Any], chunks: ChunkReceiver[Any, Any]) -> NoReturn:
    """Receive until that raises."""
    with trio.fail_after(GUARD):
        while True:
            received.append(await chunks.receive())


# -- the smallest use, and what may be a producer -------------------------------------------------


async def test_the_smallest_use(tmp_path: Path) -> None:
    """A blocking generator is streamed in batches, and what it returns is the result."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 10_000)

    def rows(path: Path) -> Generator[bytes, None, str]:
        with path.open("rb") as file:
            while block := file.read(16_384):
                yield block
        return "all of it"

    received = bytearray()
    async with ewb.open_workers(threads=4) as workers:
        async with workers.produce(rows, path) as chunks:
            async for batch in chunks.batches():
                received += b"".join(batch)
        assert chunks.result == "all of it"
    assert received == path.read_bytes()


async def test_chunk_by_chunk() -> None:
    """`async for chunk in chunks` gives each chunk, in order."""
    async with ewb.open_workers(1) as workers:
        async with workers.produce(Log().numbers, 1000) as chunks:
            received = [chunk async for chunk in chunks]
        assert chunks.result == "done"
    assert received == [b"%d" % number for number in range(1000)]


async def test_one_by_one_and_in_batches() -> None:
    """The ways to receive can be mixed, and each goes on where the other one was."""
    async with ewb.open_workers(1) as workers, workers.produce(Log().numbers, 100) as chunks:
        await nothing_runs(workers)
        received = [await chunks.receive(), await chunks.receive()]
        received += await chunks.receive_batch()
        with pytest.raises(trio.EndOfChannel):
            chunks.receive_batch_nowait()
    assert received == [b"%d" % number for number in range(100)]


async def test_the_result_comes_with_the_end() -> None:
    """There is no result before the end was received, even if the producer has long returned."""
    async with ewb.open_workers(1) as workers, workers.produce(Log().numbers, 3) as chunks:
        await nothing_runs(workers)
        for _ in range(3):
            await chunks.receive()
            with pytest.raises(RuntimeError, match="before its end"):
                _ = chunks.result
        with pytest.raises(trio.EndOfChannel):
            await chunks.receive()
        assert chunks.result == "done"


async def test_the_end_stays_the_end() -> None:
    """After the end, every way to receive says so again."""
    async with ewb.open_workers(1) as workers, workers.produce(Log().numbers, 0) as chunks:
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                await chunks.receive()
            with pytest.raises(trio.EndOfChannel):
                await chunks.receive_batch()
            with pytest.raises(trio.EndOfChannel):
                chunks.receive_batch_nowait()
            assert await collect(chunks) == []
            assert [batch async for batch in chunks.batches()] == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: [b"a", b"b", b"c"],
        lambda: (b"a", b"b", b"c"),
        lambda: iter((b"a", b"b", b"c")),
        lambda: map(str.encode, "abc"),
        lambda: {b"a": 1, b"b": 2, b"c": 3},
        lambda: (bytes([value]) for value in b"abc"),
    ],
    ids=["list", "tuple", "iterator", "map", "dict", "generator expression"],
)
async def test_a_function_may_return_anything_to_iterate_over(
    make: Callable[[], Iterable[bytes]],
) -> None:
    """Not only generator functions produce; the result of what returns none is None."""
    async with ewb.open_workers(1) as workers, workers.produce(make) as chunks:
        assert await collect(chunks) == [b"a", b"b", b"c"]
        assert chunks.result is None


async def test_a_function_may_return_a_file(tmp_path: Path) -> None:
    """A file is read line by line, and closed with the block."""
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\nthree\n")
    file = path.open("rb")
    async with ewb.open_workers(1) as workers:
        async with workers.produce(lambda: file) as chunks:
            assert await chunks.receive() == b"one\n"
        assert file.closed


async def test_an_iterator_of_ones_own_may_have_a_result() -> None:
    """What its StopIteration carries is the result, as with a generator."""

    class Numbers:
        def __init__(self) -> None:
            self.left = 3

        def __iter__(self) -> Numbers:
            return self

        def __next__(self) -> bytes:
            if self.left == 0:
                raise StopIteration(42)
            self.left -= 1
            return b"%d" % self.left

    async with ewb.open_workers(1) as workers, workers.produce(Numbers) as chunks:
        assert await collect(chunks) == [b"2", b"1", b"0"]
        result: object = chunks.result
        assert result == 42


async def test_arguments() -> None:
    """Positional arguments are given on; `functools.partial` takes the others."""

    def rows(first: bytes, second: bytes, *, third: bytes) -> Generator[bytes]:
        yield first
        yield second
        yield third

    async with (
        ewb.open_workers(1) as workers,
        workers.produce(functools.partial(rows, third=b"3"), b"1", b"2") as chunks,
    ):
        assert await collect(chunks) == [b"1", b"2", b"3"]


async def test_a_chunk_arrives_as_it_was_yielded() -> None:
    """Chunks are not copied, whatever their type; an empty one is a chunk too."""
    made = [b"", b"bytes", bytearray(b"bytearray"), memoryview(b"memoryview"), b""]
    async with ewb.open_workers(1) as workers, workers.produce(lambda: made) as chunks:
        received = await collect(chunks)
    assert len(received) == len(made)
    assert all(one is other for one, other in zip(received, made, strict=True))


async def test_the_size_of_a_memoryview_is_its_bytes() -> None:
    """A memoryview counts `nbytes`, not its items."""
    view = memoryview(bytes(80)).cast("d")
    async with ewb.open_workers(1) as workers, workers.produce(lambda: [view]) as chunks:
        await nothing_runs(workers)
        assert chunks.statistics().buffered_bytes == 80


async def no_generator() -> bytes:
    """An async function."""
    return b""


async def async_generator() -> AsyncGenerator[bytes]:
    """An async generator function."""
    yield b""


@pytest.mark.parametrize("fn", [no_generator, async_generator, trio.lowlevel.checkpoint])
async def test_async_functions_are_refused(fn: Callable[[], Iterable[bytes]]) -> None:
    """Async code is no blocking code: the error says so, and no "never awaited" follows."""
    async with ewb.open_workers(1) as workers, workers.produce(fn) as chunks:
        with pytest.raises(TypeError, match=r"is async: it must be a plain generator"):
            await chunks.receive()
    gc.collect()


@pytest.mark.parametrize("kind", ["generator", "map"])
async def test_what_an_error_leaves_in_its_midst_ends_on_its_worker(kind: str) -> None:
    """Before the block is left, though whoever keeps the error keeps its traceback."""
    ended: list[int] = []

    def lines() -> Iterator[bytes]:
        try:
            yield from (b"good", b"bad", b"good")
        finally:
            ended.append(threading.get_ident())

    def checked(line: bytes) -> bytes:
        if line == b"bad":
            raise ValueError(line)
        return line

    def rows() -> Iterator[bytes]:
        source = lines()
        for line in source:
            yield checked(line)

    make = rows if kind == "generator" else lambda: map(checked, lines())
    async with ewb.open_workers(1) as workers, workers.produce(make) as chunks:
        assert await chunks.receive() == b"good"
        with pytest.raises(ValueError, match="bad") as info:
            await chunks.receive()
    assert [entry.name for entry in info.traceback][-1] == "checked"
    assert len(ended) == 1
    assert ended != [threading.get_ident()]


async def test_what_cannot_be_iterated_is_refused() -> None:
    """The error names the producer and what it returned."""

    def forty_two() -> int:
        return 42

    fn: Any = forty_two
    async with ewb.open_workers(1) as workers, workers.produce(fn) as chunks:
        with pytest.raises(TypeError, match=r"forty_two must return an iterator, not 42"):
            await chunks.receive()


async def test_a_chunk_without_a_size_is_refused() -> None:
    """What is not bytes-like needs `size`: the error says so, after all earlier chunks."""
    closed = threading.Event()

    def mixed() -> Generator[object]:
        try:
            yield b"one"
            yield b"two"
            yield "three"
            yield b"four"
        finally:
            closed.set()

    async with (
        ewb.open_workers(1) as workers,
        workers.produce(mixed) as chunks,
    ):
        assert await chunks.receive() == b"one"
        assert await chunks.receive() == b"two"
        with pytest.raises(TypeError, match=r"type 'str' is not bytes-like: .* give size="):
            await chunks.receive()
        await until(closed.is_set)


async def test_chunks_of_any_type_with_a_size() -> None:
    """With `size`, anything may be a chunk."""
    made = [{"a": 1}, None, "text", 5]
    async with (
        ewb.open_workers(1) as workers,
        workers.produce(lambda: made, size=lambda _: 7) as chunks,
    ):
        await nothing_runs(workers)
        assert chunks.statistics().buffered_bytes == 28
        assert await collect(chunks) == made


@pytest.mark.parametrize(
    "chunk", [b"x" * 100, bytearray(100), "x" * 100], ids=["bytes", "bytearray", "str"]
)
async def test_size_counts_whatever_the_chunks_are(chunk: object) -> None:
    """What `size` says counts against `high_water` and in the statistics, for bytes as for others."""
    async with (
        ewb.open_workers(1) as workers,
        workers.produce(lambda: [chunk] * 5, size=lambda _: 1, high_water=50) as chunks,
    ):
        await nothing_runs(workers)
        assert chunks.statistics().buffered_bytes == 5
        await chunks.receive()
        assert chunks.statistics().buffered_bytes == 4
        assert chunks.statistics().bytes == 1
        await chunks.receive_batch()
        assert chunks.statistics().bytes == 5
        assert chunks.statistics().peak_bytes == 5


async def test_size_is_asked_once_for_each_chunk_on_a_worker() -> None:
    """`size` is the user's blocking code, like the producer: it is called where that is."""
    asked: list[tuple[int, int]] = []

    def size(chunk: int) -> int:
        asked.append((chunk, threading.get_ident()))
        return 1

    async with ewb.open_workers(1) as workers, workers.produce(range, 5, size=size) as chunks:
        assert await chunks.receive() == 0
        assert await collect(chunks) == [1, 2, 3, 4]
    assert [chunk for chunk, _ in asked] == [0, 1, 2, 3, 4]
    assert threading.get_ident() not in {thread for _, thread in asked}


@pytest.mark.parametrize(
    ("size", "error", "match"),
    [
        (lambda _: -1, ValueError, "must not be negative"),
        (lambda _: 1.5, TypeError, "must return an int, not 1.5"),
        (lambda chunk: 1 // (3 - chunk), ZeroDivisionError, "by zero"),
        (lambda chunk: next(iter(())) if chunk == 3 else 1, RuntimeError, "raised StopIteration"),
    ],
    ids=["negative", "float", "error", "StopIteration"],
)
async def test_mistakes_of_size(size: Callable[[int], int], error: type[Exception], match: str) -> None:
    """A `size` that fails is an error of the producer: its generator is closed, the reader told."""
    log: list[str] = []

    def three() -> Generator[int]:
        try:
            yield from (0, 1, 2, 3, 4)
        finally:
            log.append("closed")

    async with ewb.open_workers(1) as workers, workers.produce(three, size=size) as chunks:
        received: list[Any] = []
        with pytest.raises(error, match=match):
            await receive_into(received, chunks)
        assert received == list(range(len(received)))
        await until(lambda: log)


# -- errors ---------------------------------------------------------------------------------------


def failing_deeper(chunks: int, error: BaseException) -> Generator[bytes]:
    """A producer whose error comes from a function that it calls."""

    def deep_down() -> None:
        raise error

    for number in range(chunks):
        yield b"%d" % number
    deep_down()


@pytest.mark.parametrize("before", [0, 1, 1000])
async def test_an_error_comes_after_all_earlier_chunks(before: int) -> None:
    """What a producer raises is raised in the reader, with the frames in which it happened."""
    mine = ValueError("mine")
    async with ewb.open_workers(1) as workers, workers.produce(failing_deeper, before, mine) as chunks:
        await nothing_runs(workers)
        received: list[Any] = []
        with pytest.raises(ValueError, match="mine") as caught:
            await receive_into(received, chunks)
        assert received == [b"%d" % number for number in range(before)]
    assert caught.value is mine
    frames = [frame.name for frame in traceback.extract_tb(mine.__traceback__)]
    assert frames[-2:] == ["failing_deeper", "deep_down"]


async def test_a_batch_comes_before_the_error() -> None:
    """An error does not cut a batch short: it waits for the next call."""
    async with (
        ewb.open_workers(1) as workers,
        workers.produce(failing_deeper, 3, OSError("disk")) as chunks,
    ):
        await nothing_runs(workers)
        assert await chunks.receive_batch() == [b"0", b"1", b"2"]
        with pytest.raises(OSError, match="disk"):
            await chunks.receive_batch()


async def test_an_error_stays_the_end() -> None:
    """Received again, an error is the same one, and its traceback has not grown."""
    async with (
        ewb.open_workers(1) as workers,
        workers.produce(failing_deeper, 0, OSError("disk")) as chunks,
    ):
        seen = []
        for _ in range(3):
            with pytest.raises(OSError, match="disk") as caught:
                await chunks.receive()
            seen.append((caught.value, len(traceback.extract_tb(caught.value.__traceback__))))
        assert seen[0] == seen[1] == seen[2]
        with pytest.raises(RuntimeError, match="it raised OSError"):
            _ = chunks.result


async def test_the_function_itself_fails() -> None:
    """An error of a function that should have returned an iterator is raised as it is."""

    def refuses() -> list[bytes]:
        fail(PermissionError("no"))

    async with ewb.open_workers(1) as workers, workers.produce(refuses) as chunks:
        with pytest.raises(PermissionError, match="no") as caught:
            await chunks.receive()
    assert traceback.extract_tb(caught.value.__traceback__)[-2].name == "refuses"


async def test_an_error_within_iter_is_told_as_it_is() -> None:
    """A TypeError in the user's `__iter__` is not taken for "this is no iterator"."""

    class Rows:
        def __iter__(self) -> Iterator[bytes]:
            mistake: Any = 5
            return iter([b"x"] * len(mistake))

    async with ewb.open_workers(1) as workers, workers.produce(Rows) as chunks:
        with pytest.raises(TypeError) as caught:
            await chunks.receive()
    frames = [
        frame.name
        for error in (caught.value, caught.value.__cause__, caught.value.__context__)
        if error is not None
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    assert "__iter__" in frames


def stop_in_generator() -> Generator[bytes]:
    """A stray StopIteration: the classic mistake."""
    yield b"0"
    yield next(iter([]))


def stop_in_function() -> list[bytes]:
    """A stray StopIteration before there is an iterator."""
    return [next(iter([]))]


class StopInIter:
    """A stray StopIteration while an iterator is made."""

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over nothing."""
        return iter([next(iter([]))])


class StopInAttribute:
    """A stray StopIteration from whatever ewb asks it."""

    def __getattr__(self, name: str) -> object:
        raise StopIteration(name)

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over nothing."""
        return iter([])


@pytest.mark.parametrize("fn", [stop_in_generator, stop_in_function, StopInIter, StopInAttribute])
async def test_a_stray_stop_iteration_is_an_error(fn: Callable[[], Iterable[bytes]]) -> None:
    """A StopIteration that is not the end of the producer must not look like it."""
    async with ewb.open_workers(1) as workers, workers.produce(fn) as chunks:
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await collect(chunks)
    assert isinstance(caught.value.__cause__, StopIteration)


async def real_cancelled() -> trio.Cancelled:
    """A Cancelled as Trio makes it."""
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            return error.with_traceback(None)
    raise AssertionError


@pytest.mark.parametrize(
    "kind", [trio.EndOfChannel, trio.WouldBlock, StopAsyncIteration, GeneratorExit, trio.Cancelled]
)
async def test_what_would_mean_something_else_to_the_reader(kind: type[BaseException]) -> None:
    """Exceptions by which the reader's own side speaks come as the cause of a RuntimeError."""
    error = await real_cancelled() if kind is trio.Cancelled else kind("stray")
    async with ewb.open_workers(1) as workers, workers.produce(failing_deeper, 2, error) as chunks:
        received: list[Any] = []
        with pytest.raises(RuntimeError, match=f"raised {kind.__name__}") as caught:
            await receive_into(received, chunks)
        assert received == [b"0", b"1"]
        with pytest.raises(RuntimeError, match=f"raised {kind.__name__}"):
            await chunks.receive_batch()
        with pytest.raises(RuntimeError, match=f"raised {kind.__name__}"):
            await anext(chunks.batches())
    assert caught.value.__cause__ is error
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert frames[-2:] == ["failing_deeper", "deep_down"]


class Unusual(BaseException):
    """Neither an Exception, nor known to anybody."""


GRAVE = [KeyboardInterrupt, SystemExit, Unusual]


@pytest.mark.parametrize("kind", GRAVE)
async def test_a_grave_error_is_read(kind: type[BaseException]) -> None:
    """Who reads to the end gets it there, and once: leaving the block does not raise it again."""
    async with (
        ewb.open_workers(1) as workers,
        workers.produce(failing_deeper, 1, kind("grave")) as chunks,
    ):
        assert await chunks.receive() == b"0"
        with pytest.raises(kind, match="grave"):
            await chunks.receive()


@pytest.mark.parametrize("kind", GRAVE)
@pytest.mark.parametrize("way", ["unread", "closed", "error in the body"])
async def test_a_grave_error_of_read_ahead_is_not_lost(kind: type[BaseException], way: str) -> None:
    """If nobody has read it, leaving the block raises it."""
    grave = kind("grave")
    async with ewb.open_workers(1) as workers:
        with pytest.raises(kind, match="grave") as caught:  # noqa: PT012 - the block is meant
            async with workers.produce(failing_deeper, 5, grave) as chunks:
                await nothing_runs(workers)
                if way == "closed":
                    await chunks.aclose()
                if way == "error in the body":
                    fail(OSError("disk"))
    assert caught.value is grave
    assert isinstance(grave.__context__, OSError) == (way == "error in the body")


@pytest.mark.parametrize("kind", GRAVE)
@pytest.mark.parametrize("where", ["running", "finally"])
async def test_a_grave_error_while_closing_is_not_lost(kind: type[BaseException], where: str) -> None:
    """Neither what the generator was at when its block was left, nor its `finally`, can lose it."""
    gate = Gate()

    def grave() -> Generator[bytes]:
        try:
            yield b"0"
            gate.wait()
            if where == "running":
                fail(kind("grave"))
            yield b"1"
        finally:
            if where == "finally":
                fail(kind("grave"))

    async with ewb.open_workers(1) as workers:
        with pytest.raises(kind, match="grave"):  # noqa: PT012 - the block is meant
            async with workers.produce(grave) as chunks, trio.open_nursery() as nursery:
                await until(gate.reached.is_set)
                nursery.start_soon(chunks.aclose)
                await trio.testing.wait_all_tasks_blocked()
                gate.open()


async def two_sleep_for_ever(and_raise: BaseException | None = None) -> None:
    """In a nursery: cancelled, it raises a group."""

    async def sleep() -> None:
        try:
            await trio.sleep_forever()
        finally:
            if and_raise is not None:
                raise and_raise

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(sleep)


@pytest.mark.parametrize("where", ["running", "finally"])
async def test_a_group_of_cancelled_is_no_error_of_the_blocks(where: str) -> None:
    """It is how a nursery in a `trio.from_thread` call is cancelled when the block is left."""
    reached = threading.Event()

    def sleeper() -> Iterator[bytes]:
        try:
            yield b"0"
            if where == "running":
                reached.set()
                trio.from_thread.run(two_sleep_for_ever)
            yield b"1"
        finally:
            if where == "finally":
                trio.from_thread.run(two_sleep_for_ever)

    left = False
    async with ewb.open_workers(1) as workers:
        async with workers.produce(sleeper, max_chunks=1) as chunks:
            await chunks.receive()
            await until(lambda: where == "finally" or reached.is_set())
        left = True
    assert left, "not ended in silence, as by a cancellation"


@pytest.mark.parametrize("error", [OSError("own"), KeyboardInterrupt("own")])
@pytest.mark.parametrize("where", ["running", "finally"])
async def test_what_is_in_such_a_group_beside_is_not_lost(where: str, error: BaseException) -> None:
    """It was raised because the block was left, or while it was."""
    reached = threading.Event()

    def sleeper() -> Iterator[bytes]:
        try:
            yield b"0"
            if where == "running":
                reached.set()
                trio.from_thread.run(two_sleep_for_ever, error)
            yield b"1"
        finally:
            if where == "finally":
                trio.from_thread.run(two_sleep_for_ever, error)

    async with ewb.open_workers(1) as workers:
        with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012 - the block is meant
            async with workers.produce(sleeper, max_chunks=1) as chunks:
                await chunks.receive()
                await until(lambda: where == "finally" or reached.is_set())
        assert caught.value.exceptions == (error,)


class Rows(ExceptionGroup[Exception]):
    """A group of a user's, who has not thought of `derive`."""

    def __new__(cls, message: str, errors: list[Exception], row: int) -> Self:
        group = super().__new__(cls, message, errors)
        group.row = row
        return group

    row: int


async def test_a_group_of_the_users_own_is_raised_as_it_is() -> None:
    """Nothing of its code is run by a worker, whatever it would do."""
    error = Rows("bad rows", [ValueError("one")], 7)
    deep: Exception = ValueError("deep down")
    for _ in range(5000):
        deep = ExceptionGroup("deeper", [deep])
    async with ewb.open_workers(1) as workers:
        for one in (error, deep):
            async with workers.produce(failing_deeper, 0, one) as chunks:
                with pytest.raises(ExceptionGroup) as caught:
                    await chunks.receive()
                assert caught.value is one


@pytest.mark.parametrize("of_close", [ValueError("of close"), None])
async def test_a_grave_error_of_one_told_to_end_does_not_give_way_either(
    of_close: Exception | None,
) -> None:
    """It was raised while the block was being left, and so is the block's."""
    gate = Gate()

    class Grave:
        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            gate.wait()
            raise SystemExit(3)

        def close(self) -> None:
            if of_close is not None:
                raise of_close

    async with ewb.open_workers(1) as workers:
        with pytest.raises(SystemExit) as caught:  # noqa: PT012 - the block is meant
            async with workers.produce(Grave) as chunks, trio.open_nursery() as nursery:
                await until(gate.reached.is_set)
                nursery.start_soon(chunks.aclose)
                await trio.testing.wait_all_tasks_blocked()
                gate.open()
    context, seen = caught.value.__context__, []
    while context is not None:
        assert context not in seen, "no end to it"
        seen.append(context)
        context = context.__context__
    assert of_close is None or of_close in seen


async def test_an_iterator_that_raises_one_error_again_and_again() -> None:
    """Its context does not become itself."""
    kept = SystemExit(3)

    class Keeps:
        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            raise kept

        def close(self) -> None:
            raise kept

    async with ewb.open_workers(1) as workers:
        with pytest.raises(SystemExit):
            async with workers.produce(Keeps):
                await nothing_runs(workers)
    assert kept.__context__ is not kept


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_a_grave_error_does_not_give_way_to_one_of_closing(kind: type[BaseException]) -> None:
    """That one is its context."""

    class Grave:
        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            raise kind

        def close(self) -> None:
            fail(ValueError("while closing"))

    async with ewb.open_workers(1) as workers:
        with pytest.raises(kind) as caught:
            async with workers.produce(Grave):
                await nothing_runs(workers)
        assert str(caught.value.__context__) == "while closing"


async def test_an_error_of_unread_read_ahead_goes_with_the_unread_chunks() -> None:
    """Nobody asked for what lies ahead, so nobody is told that it could not be had."""
    async with (
        ewb.open_workers(1) as workers,
        workers.produce(failing_deeper, 5, OSError("ahead")) as chunks,
    ):
        await nothing_runs(workers)
        assert await chunks.receive() == b"0"


async def test_an_error_of_running_read_ahead_goes_silently_too() -> None:
    """The same if the producer raises just when its block is being left."""
    gate = Gate()

    def ahead() -> Generator[bytes]:
        yield b"0"
        gate.wait()
        fail(OSError("ahead"))

    async with (
        ewb.open_workers(1) as workers,
        workers.produce(ahead) as chunks,
        trio.open_nursery() as nursery,
    ):
        assert await chunks.receive() == b"0"
        await until(gate.reached.is_set)
        nursery.start_soon(chunks.aclose)
        await trio.testing.wait_all_tasks_blocked()
        gate.open()


def failing_to_close() -> Generator[bytes]:
    """A producer with an error in its `finally`."""
    try:
        while True:
            yield b"chunk"
    finally:
        fail(OSError("cannot close"))


async def test_an_error_while_closing_is_raised_from_the_block() -> None:
    """As from a `finally` there; and with the frames in which it happened."""
    async with ewb.open_workers(1) as workers:
        with pytest.raises(OSError, match="cannot close") as caught:
            async with workers.produce(failing_to_close) as chunks:
                await chunks.receive()
        assert "failing_to_close" in [
            frame.name for frame in traceback.extract_tb(caught.value.__traceback__)
        ]


async def test_an_error_that_is_false_is_an_error() -> None:
    """Some exceptions have a length, and so may be false."""

    class Errors(Exception):  # noqa: N818 - it is a list of them
        def __len__(self) -> int:
            return 0

    def failing() -> Generator[bytes]:
        try:
            while True:
                yield b"chunk"
        finally:
            raise Errors

    async with ewb.open_workers(1) as workers:
        with pytest.raises(Errors):
            async with workers.produce(failing) as chunks:
                await chunks.receive()


async def test_an_error_while_closing_has_the_bodys_as_its_context() -> None:
    """Both errors are told, as those of a `finally` are."""
    mine = KeyError("mine")
    async with ewb.open_workers(1) as workers:
        with pytest.raises(OSError, match="cannot close") as caught:  # noqa: PT012 - the block is meant
            async with workers.produce(failing_to_close) as chunks:
                await chunks.receive()
                raise mine
    assert caught.value.__context__ is mine


async def test_an_error_while_closing_after_a_cancellation() -> None:
    """It takes the place of the Cancelled, as an error in a `finally` does."""
    async with ewb.open_workers(1) as workers:
        with pytest.raises(OSError, match="cannot close") as caught, trio.CancelScope() as scope:  # noqa: PT012 - the block is meant
            async with workers.produce(failing_to_close) as chunks:
                await chunks.receive()
                scope.cancel()
                await trio.lowlevel.checkpoint()
    assert isinstance(caught.value.__context__, trio.Cancelled)


async def test_an_error_in_finally_at_the_producers_own_end_is_the_readers() -> None:
    """Nothing is being closed there: it comes after the chunks, and not again from the block."""

    def fails_at_the_end() -> Generator[bytes]:
        try:
            yield b"only"
        finally:
            fail(OSError("at the end"))

    async with ewb.open_workers(1) as workers, workers.produce(fails_at_the_end) as chunks:
        assert await chunks.receive() == b"only"
        with pytest.raises(OSError, match="at the end"):
            await chunks.receive()


async def test_what_a_generator_has_left_to_run_it_runs_on_its_worker() -> None:
    """Though its error, which the reader has, came from it while it could still go on."""
    threads: list[str] = []

    def yields_while_it_is_closed() -> Iterator[bytes]:
        try:
            yield b"chunk"
            yield b"another"
        finally:
            try:
                yield b"one more"
            finally:
                threads.append(threading.current_thread().name)

    async with ewb.open_workers(threads=1) as workers:
        with pytest.raises(RuntimeError, match="ignored GeneratorExit") as caught:
            async with workers.produce(yields_while_it_is_closed, max_chunks=1) as chunks:
                await chunks.receive()
        assert threads == ["ewb-0"]
        assert caught.value.__traceback__ is not None


async def test_a_generator_that_refuses_to_close() -> None:
    """One that yields in its `finally` is reported, in Python's own words."""

    def stubborn() -> Generator[bytes]:
        try:
            while True:
                yield b"chunk"
        finally:
            yield b"one more"

    async with ewb.open_workers(1) as workers:
        with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
            async with workers.produce(stubborn) as chunks:
                await chunks.receive()
        gc.collect()


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
async def test_a_stop_while_closing_is_reported(kind: type[Exception]) -> None:
    """Even an exception that could be mistaken for an end is not lost in the block's own."""

    class Odd:
        def __iter__(self) -> Odd:
            return self

        def __next__(self) -> bytes:
            return b"chunk"

        def close(self) -> None:
            fail(kind("while closing"))

    async with ewb.open_workers(1) as workers:
        with pytest.raises((RuntimeError, StopAsyncIteration, StopIteration)) as caught:
            async with workers.produce(Odd) as chunks:
                await chunks.receive()
    assert "while closing" in str(caught.value) or "while closing" in str(caught.value.__cause__)


# -- plain iterators are closed too -----------------------------------------------------------------


class Cursor:
    """An iterator that is no generator, and has something to close."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed_on: list[int] = []

    def __iter__(self) -> Cursor:
        """Itself."""
        return self

    def __next__(self) -> bytes:
        return b"row"

    def close(self) -> None:
        """Fails if it was told to."""
        self.closed_on.append(threading.get_ident())
        if self.error is not None:
            raise self.error


async def test_an_iterator_is_closed_on_its_worker() -> None:
    """Whatever has a `close` is closed like a generator."""
    cursor = Cursor()
    async with ewb.open_workers(1) as workers:
        async with workers.produce(lambda: cursor) as chunks:
            await chunks.receive()
        assert len(cursor.closed_on) == 1
        assert cursor.closed_on[0] != threading.get_ident()


async def test_an_iterators_error_while_closing() -> None:
    """It is raised from the block like a generator's."""
    async with ewb.open_workers(1) as workers:
        with pytest.raises(OSError, match="lost"):
            async with workers.produce(Cursor, OSError("lost")) as chunks:
                await chunks.receive()


async def test_an_iterator_with_nothing_to_close() -> None:
    """Most iterators have no `close`, and need none."""
    async with ewb.open_workers(1) as workers, workers.produce(lambda: iter([b"x"] * 99)) as chunks:
        await chunks.receive()


async def test_an_iterator_whose_close_cannot_even_be_looked_up() -> None:
    """An attribute that raises is an error while closing, and no more: the workers live on."""

    class Hostile:
        def __iter__(self) -> Hostile:
            return self

        def __next__(self) -> bytes:
            return b"row"

        @property
        def close(self) -> Callable[[], None]:
            fail(OSError("hostile"))

    async with ewb.open_workers(1) as workers:
        with pytest.raises(OSError, match="hostile"):
            async with workers.produce(Hostile) as chunks:
                await chunks.receive()
        async with workers.produce(Log().numbers, 2) as more:
            assert await collect(more) == [b"0", b"1"]


# -- ending ---------------------------------------------------------------------------------------


class MineError(Exception):
    """What the body raises."""


async def leave(way: str, chunks: ChunkReceiver[bytes, str]) -> None:
    """Leave the block, by raising or otherwise."""
    if way == "raise":
        raise MineError
    if way == "cancel":
        with trio.CancelScope() as scope:
            scope.cancel()
            await chunks.receive()
    if way == "break":
        async for _ in chunks:
            break
    if way == "aclose":
        await chunks.aclose()
    if way == "drain":
        await nothing_to_come(chunks)


async def nothing_to_come(chunks: ChunkReceiver[bytes, str]) -> None:
    """Read to the end, or a good part of the endless."""
    received = 0
    async for batch in chunks.batches():
        received += len(batch)
        if received > 2_000:
            break


@pytest.mark.parametrize("way", ["pass", "break", "raise", "cancel", "aclose", "drain"])
@pytest.mark.parametrize("stop", [None, 1, 5, 100], ids=["endless", "1", "5", "100"])
@pytest.mark.parametrize("bound", [1, 4, 1000])
async def test_the_generator_is_closed_before_the_block_is_left(
    way: str, stop: int | None, bound: int
) -> None:
    """However the block is left, the `finally` has run by then, on the worker the generator ran on."""
    log = Log()
    async with ewb.open_workers(2) as workers:
        try:
            async with workers.produce(log.numbers, stop, max_chunks=bound) as chunks:
                await chunks.receive()
                await leave(way, chunks)
        except MineError:
            assert way == "raise"
        log.assert_closed()
        now = workers.statistics()
        assert now.producers == now.queued == now.suspended == now.buffered_bytes == 0
        with pytest.raises(trio.ClosedResourceError):
            await chunks.receive()


async def test_nothing_of_a_generator_is_left() -> None:
    """After the block nothing holds the generator: it and its locals can go."""

    class Something:
        pass

    seen: list[weakref.ref[Something]] = []

    def holding() -> Generator[bytes]:
        something = Something()
        seen.append(weakref.ref(something))
        while True:
            yield b"chunk"

    async with ewb.open_workers(1) as workers:
        async with workers.produce(holding, max_chunks=2) as chunks:
            await chunks.receive()
        assert seen[0]() is None, "a closed generator's locals are gone at once"


async def scenario(workers: Workers, log: Log, received: list[bytes]) -> None:
    """Receives in all ways, until the end."""
    async with workers.produce(log.numbers, 9, max_chunks=2) as chunks:
        try:
            received.append(await chunks.receive())
            received += await chunks.receive_batch()
            received.append(await chunks.receive())
            async for batch in chunks.batches():
                received += batch
            assert chunks.result == "done"
        finally:
            with trio.CancelScope(shield=True):
                received += [chunk async for chunk in chunks]
            await chunks.aclose()


@pytest.mark.parametrize("parked", [False, True], ids=["running", "parked"])
async def test_cancelled_at_every_await(*, parked: bool) -> None:
    """Wherever it strikes, a cancellation takes no chunk, and the generator is closed in time."""
    async with ewb.open_workers(2) as workers:
        cancelled = 0
        for step in count():
            log, received = Log(), list[bytes]()
            with trio.fail_after(GUARD), trio.CancelScope() as scope:
                instrument = AtStep(scope.cancel, step, parked=parked)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await scenario(workers, log, received)
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            assert received == [b"%d" % number for number in range(9)]
            log.assert_closed()
            assert workers.statistics().producers == 0
            if not scope.cancel_called:
                break
            cancelled += scope.cancelled_caught
        assert cancelled > 3, "the test should have struck at several awaits"


@pytest.mark.parametrize("at", ["before the first chunk", "before the second chunk", "in finally"])
async def test_cancelled_while_the_producer_is_somewhere(at: str) -> None:
    """A block that is cancelled waits for a producer at work, and for its `finally`."""
    gates = {
        name: Gate() for name in ("before the first chunk", "before the second chunk", "in finally")
    }
    log: list[str] = []
    before = "before the second chunk" if at == "in finally" else at
    for name, gate in gates.items():
        if name != at:
            gate.open()

    def rows() -> Generator[bytes]:
        try:
            gates["before the first chunk"].wait()
            yield b"0"
            gates["before the second chunk"].wait()
            yield b"1"
        finally:
            gates["in finally"].wait()
            log.append("closed")

    async def cancel(scope: trio.CancelScope) -> None:
        await until(gates[before].reached.is_set)
        scope.cancel()
        await until(gates[at].reached.is_set)
        await trio.testing.wait_all_tasks_blocked()
        assert log == []
        gates[at].open()

    async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel, scope)
            async with workers.produce(rows, max_chunks=1) as chunks:
                await chunks.receive()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert log == ["closed"]


async def test_another_task_that_still_receives_is_told() -> None:
    """Leaving the block wakes whoever waits for a chunk."""
    gate = Gate()
    told: list[str] = []

    def silent() -> Generator[bytes]:
        gate.wait()
        yield b"late"

    async def reader(chunks: ChunkReceiver[bytes, None]) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await chunks.receive()
        told.append("closed")
        gate.open()

    async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
        async with workers.produce(silent) as chunks:
            nursery.start_soon(reader, chunks)
            await until(gate.reached.is_set)
            await trio.testing.wait_all_tasks_blocked()
        assert told == ["closed"], "the block waited for the producer, which waits for the reader"


async def test_a_producer_that_was_never_started_is_dropped() -> None:
    """Leaving the block of a producer that still waits for a worker does not run it, nor wait."""
    gate = Gate()
    started: list[str] = []

    def stuck() -> Generator[bytes]:
        gate.wait()
        yield b""

    def fresh() -> list[bytes]:
        started.append("fresh")
        return []

    async with ewb.open_workers(1) as workers, workers.produce(stuck):
        await until(gate.reached.is_set)
        with trio.fail_after(GUARD):
            async with workers.produce(fresh) as chunks:
                assert workers.statistics().queued == 1
            assert workers.statistics().queued == 0
            with pytest.raises(trio.ClosedResourceError):
                await chunks.receive()
        gate.open()
    assert started == []


async def test_aclose_closes_the_generator() -> None:
    """It need not be the end of the block; and closing twice is no error."""
    log = Log()
    async with ewb.open_workers(1) as workers, workers.produce(log.numbers) as chunks:
        await chunks.receive()
        await chunks.aclose()
        log.assert_closed()
        await chunks.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await chunks.receive()


async def test_a_receiver_is_an_async_context_manager_as_all_channels_are() -> None:
    """`async with chunks` closes it, and so the generator."""
    log = Log()
    async with ewb.open_workers(1) as workers, workers.produce(log.numbers) as chunks:
        async with chunks:
            await chunks.receive()
        log.assert_closed()


async def test_aclose_of_a_producer_that_was_never_started_waits_for_nobody() -> None:
    """What is dropped without running need not wait for a worker."""
    gate = Gate()

    def stuck() -> Generator[bytes]:
        gate.wait()
        yield b""

    async with ewb.open_workers(1) as workers, workers.produce(stuck):
        await until(gate.reached.is_set)
        try:
            async with workers.produce(Log().numbers) as chunks:
                with trio.fail_after(GUARD / 2):  # before the gate loses its patience
                    await chunks.aclose()
        finally:
            gate.open()


async def test_aclose_that_is_cancelled_closes_all_the_same() -> None:
    """The block then waits for the generator."""
    gate, log = Gate(), list[str]()

    def slow_to_close() -> Generator[bytes]:
        try:
            while True:
                yield b"chunk"
        finally:
            gate.wait()
            log.append("closed")

    async with ewb.open_workers(1) as workers:
        async with workers.produce(slow_to_close, max_chunks=1) as chunks:
            await chunks.receive()
            with trio.CancelScope() as scope:
                scope.cancel()
                await chunks.aclose()
            assert scope.cancelled_caught
            assert log == []
            gate.open()
        assert log == ["closed"]


@pytest.mark.parametrize("clock", ["frozen", "autojump"])
async def test_a_clock_of_a_test_changes_nothing(
    clock: str, mock_clock: trio.testing.MockClock
) -> None:
    """Producers do not care about Trio's time, whether it stands still or jumps."""
    if clock == "autojump":
        mock_clock.autojump_threshold = 0
    log = Log()
    async with ewb.open_workers(1) as workers:
        async with workers.produce(log.numbers, 100, max_chunks=2) as chunks:
            received = [chunk async for chunk in chunks]
            assert received == [b"%d" % number for number in range(100)]
        async with workers.produce(log.numbers) as chunks:
            assert (await chunks.receive_batch())[0] == b"0"
    log.assert_closed()


async def test_a_receiver_goes_with_its_block() -> None:
    """Once nobody holds it, it is gone, without the help of the garbage collector."""
    gc.disable()
    try:
        async with ewb.open_workers(1) as workers:
            async with workers.produce(Log().numbers, max_chunks=2) as chunks:
                await chunks.receive()
                gone = weakref.ref(chunks)
            del chunks
            await trio.lowlevel.checkpoint()
            assert gone() is None
    finally:
        gc.enable()


# -- thread and context -----------------------------------------------------------------------------


async def test_thread_bound_objects_work() -> None:
    """A sqlite3 connection, a lock and thread-locals can be held across yields, under all loads."""
    local = threading.local()

    def bound(number: int) -> Generator[tuple[int, int], None, bool]:
        lock = threading.RLock()
        local.number = number
        with contextlib.closing(sqlite3.connect(":memory:")) as connection, lock:
            connection.execute("create table t (value integer)")
            connection.executemany("insert into t values (?)", [(value,) for value in range(50)])
            for (value,) in connection.execute("select value from t order by value"):
                local.number = number
                yield number, value
                assert lock._is_owned()  # type: ignore[attr-defined]  # all its tests use it
                assert hasattr(local, "number")
        return True

    async def read(workers: Workers, number: int) -> None:
        async with workers.produce(bound, number, max_chunks=3, size=lambda _: 1) as chunks:
            assert await collect(chunks) == [(number, value) for value in range(50)]
            assert chunks.result is True
        async with workers.produce(bound, number, max_chunks=3, size=lambda _: 1) as chunks:
            await chunks.receive()  # and close it in the midst

    async with ewb.open_workers(3) as workers, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(read, workers, number)


class Busy:
    """Holds one worker: `async with Busy(workers, number)`, until the end or `release`."""

    def __init__(self, workers: Workers, number: int) -> None:
        self._workers = workers
        self._number = number
        self._gates: dict[int, Gate] = {}
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> None:
        nursery = await self._manager.__aenter__()
        while self._number not in self._held():
            before, gate = self._held(), Gate()
            nursery.start_soon(self._hold, gate)
            await until(gate.reached.is_set)
            (number,) = self._held() - before
            self._gates[number] = gate
        for number, gate in self._gates.items():
            if number != self._number:
                gate.open()
        await until(lambda: self._held() == {self._number})

    async def __aexit__(self, *_: object) -> None:
        self._gates[self._number].open()
        await self._manager.__aexit__(None, None, None)

    def _held(self) -> set[int]:
        return {producer.worker for producer in self._workers.statistics().running}

    async def _hold(self, gate: Gate) -> None:
        def stuck() -> Generator[bytes]:
            gate.wait()
            yield b""

        async with self._workers.produce(stuck) as chunks:
            await collect(chunks)


def where(threads: list[int]) -> Generator[bytes]:
    """Says on which thread each chunk is made."""
    while True:
        threads.append(threading.get_ident())
        yield b"chunk"


def number_of(thread: int) -> int:
    """The number of the worker that is this thread."""
    name = next(one.name for one in threading.enumerate() if one.ident == thread)
    return int(name.removeprefix("ewb-"))


async def test_a_producer_is_resumed_where_it_began() -> None:
    """Its worker is busy and another one is free: it waits for its own."""
    threads: list[int] = []
    async with ewb.open_workers(2) as workers, workers.produce(where, threads, max_chunks=1) as chunks:
        await nothing_runs(workers)
        async with Busy(workers, number_of(threads[0])):
            await chunks.receive()
            await until(lambda: workers.statistics().queued)
            async with workers.produce(Log().numbers, 3) as others:
                assert len(await collect(others)) == 3
            assert workers.statistics().queued == 1
            assert len(threads) == 1
        await chunks.receive()
        await until(lambda: len(threads) == 3)
    assert len(set(threads)) == 1


async def test_with_same_thread_off_any_worker_resumes() -> None:
    """Its worker is busy and another one is free: that one goes on with it."""
    threads: list[int] = []
    async with (
        ewb.open_workers(2) as workers,
        workers.produce(where, threads, max_chunks=1, same_thread=False) as chunks,
    ):
        await nothing_runs(workers)
        async with Busy(workers, number_of(threads[0])):
            await chunks.receive()
            await chunks.receive()
            await until(lambda: len(threads) == 3)
        assert threads[1] == threads[2] != threads[0]


async def test_with_same_thread_off_any_worker_closes() -> None:
    """Leaving the block need not wait for the worker that the producer ran on."""
    log = Log()
    async with (
        ewb.open_workers(2) as workers,
        workers.produce(log.numbers, max_chunks=1, same_thread=False) as chunks,
    ):
        await nothing_runs(workers)
        async with Busy(workers, number_of(log.opened[0])):
            with trio.fail_after(GUARD):
                await chunks.aclose()
            assert len(log.closed) == 1
            assert log.closed != log.opened


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_context_variables_reach_the_producer() -> None:
    """The producer runs in a copy of the context that its block was opened in, for all of its life."""
    seen: list[str] = []

    def rows() -> Generator[str]:
        try:
            while True:
                yield variable.get()
        finally:
            seen.append(variable.get())

    async with ewb.open_workers(2) as workers:
        variable.set("opened")
        async with workers.produce(rows, size=len, max_chunks=1) as chunks:
            variable.set("changed")
            assert [await chunks.receive() for _ in range(5)] == ["opened"] * 5
        assert seen == ["opened"]


async def test_context_variables_of_a_producer_do_not_leak() -> None:
    """What a producer sets lasts from slice to slice, and is seen by no other and not by the caller."""

    def rows(name: str) -> Generator[str]:
        assert variable.get() == "callers"
        variable.set(name)
        for _ in range(20):
            yield variable.get()

    variable.set("callers")
    async with ewb.open_workers(1) as workers:
        async with (
            workers.produce(rows, "one", size=len, max_chunks=1) as ones,
            workers.produce(rows, "two", size=len, max_chunks=1) as twos,
        ):
            for _ in range(20):
                assert await ones.receive() == "one"
                assert await twos.receive() == "two"
        async with workers.produce(lambda: [variable.get()], size=len) as chunks:
            assert await collect(chunks) == ["callers"]
    assert variable.get() == "callers"
