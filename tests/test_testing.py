"""`ewb.testing`: what a user needs to test an engine."""

from __future__ import annotations

import math
import threading
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, cast

import pytest
import trio
import trio.testing

import ewb
from ewb.testing import (
    EARLY,
    NEVER,
    TWICE,
    Block,
    Gate,
    RecordingStream,
    WouldBlockEngine,
    connect,
    next_n,
    sometimes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

Cookie = ewb.Cookie[bytes, ewb.Status]


class Lines:
    """Each line is a request; those that begin with `~` may overlap."""

    def __init__(self) -> None:
        self._data = b""

    def receive_data(self, data: bytes) -> None:
        """Keep it."""
        self._data += data

    def next_request(self) -> bytes | None:
        """The next line."""
        line, end, rest = self._data.partition(b"\n")
        if not end:
            return None
        self._data = rest
        return line

    def order(self, request: bytes) -> ewb.Order:
        """By the first character."""
        return ewb.Order.OVERLAP if request.startswith(b"~") else ewb.Order.SERIAL

    def encode_batch(self, request: bytes, batch: list[bytes]) -> list[bytes]:
        """Chunks as they are."""
        del request
        return batch

    def encode_end(self, request: bytes, status: ewb.Status, reply: bytes | None) -> list[bytes]:
        """What was asked, how it ended, and the reply."""
        return [b"%s %s %s\n" % (request, status.name.encode(), reply or b"-")]


def digits(count: int) -> Generator[bytes]:
    """A stream."""
    for number in range(count):
        yield b"%d," % number


class Engine:
    """`echo` at once, `count` streams; it notes how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, bool, ewb.Status]] = []
        self.connections = 0

    def execute(self, cookie: Cookie) -> ewb.Status:
        """Answer, or stream."""
        self.calls.append((cookie.request, cookie.resumed, cookie.status))
        if cookie.resumed:
            return cookie.status
        if cookie.request.endswith(b"count"):
            return cookie.produce(digits, 3)
        cookie.reply = b"done"
        return ewb.Status.OK

    def connect(self, connection: ewb.Connection) -> None:
        """Count it."""
        del connection
        self.connections += 1

    def disconnect(self, connection: ewb.Connection) -> None:
        """Count it."""
        del connection
        self.connections -= 1


async def ask(engine: WouldBlockEngine[bytes, ewb.Status], requests: bytes) -> bytes:
    """All that a server with this engine answers."""
    async with (
        ewb.open_workers(2) as workers,
        connect(ewb.FrontEnd(Lines, engine, workers)) as client,
    ):
        await client.send(requests)
        return await client.finish()


# -- faults ----------------------------------------------------------------------------------------

BLOCKS = [
    Block(),
    EARLY,
    TWICE,
    Block(notifications=2, delay=None),
    Block(from_thread=True),
    Block(notifications=3, from_thread=True),
    Block(delay=0.001),
]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
async def test_a_command_that_is_made_to_wait_is_answered_as_if_it_had_not(block: Block) -> None:
    """Its engine sees the same calls, and its client the same bytes."""
    plain, faulty = Engine(), Engine()
    requests = b"echo\ncount\n~echo\n~count\necho\n"
    expected = await ask(WouldBlockEngine(plain), requests)
    wrapped = WouldBlockEngine(faulty, next_n(7, block))
    assert await ask(wrapped, requests) == expected
    assert Counter(faulty.calls) == Counter(plain.calls)  # those that overlap may change places
    assert len(wrapped.injected) == 7


async def test_it_is_made_to_wait_at_later_calls_too() -> None:
    """A script of None and a block hits the second call of a stream: its end."""
    engine = Engine()
    wrapped = WouldBlockEngine(engine, [None, Block()])
    assert await ask(wrapped, b"count\n") == b"0,1,2,count OK -\n"
    assert engine.calls == [(b"count", False, ewb.Status.OK), (b"count", True, ewb.Status.OK)]
    assert wrapped.injected == [(b"count", Block())]


@pytest.mark.parametrize("line", [b"works\n", b"fails\n"])
async def test_what_came_of_a_call_is_kept_while_its_command_is_made_to_wait(line: bytes) -> None:
    """The engine reads `result` and `exception` when it is resumed, however late that is."""

    class Calls:
        def execute(self, cookie: Cookie) -> ewb.Status:
            if not cookie.resumed:
                return cookie.run(int, "7" if cookie.request == b"works" else "x")
            cookie.reply = b"%r %r" % (cookie.result, type(cookie.exception).__name__)
            return ewb.Status.OK

    plain = await ask(WouldBlockEngine(Calls(), []), line)
    assert (b"7" in plain) != (b"ValueError" in plain)
    assert await ask(WouldBlockEngine(Calls(), [None, Block()]), line) == plain


async def test_one_that_is_never_notified_waits_until_its_client_leaves() -> None:
    """It is dropped then, and the engine was never asked."""
    engine = Engine()
    async with ewb.open_workers(1) as workers:
        front_end = ewb.FrontEnd(Lines, WouldBlockEngine(engine, [NEVER]), workers)
        async with connect(front_end) as client:
            await client.send(b"echo\n")
            while not front_end.statistics().parked:
                await trio.lowlevel.checkpoint()
        assert front_end.statistics().dropped == 1
    assert engine.calls == []


async def test_a_time_limit_that_ends_the_wait_is_told_to_the_engine() -> None:
    """So that the engine's own handling of it can be tested."""
    engine = Engine()
    async with ewb.open_workers(1) as workers:
        wrapped = WouldBlockEngine(engine, [NEVER])
        front_end = ewb.FrontEnd(Lines, wrapped, workers, command_timeout=0.01)
        async with connect(front_end) as client:
            await client.send(b"echo\n")
            assert await client.receive_until(b"\n") == b"echo TIMED_OUT -\n"
    assert engine.calls == [(b"echo", True, ewb.Status.TIMED_OUT)]


async def test_an_outcome_takes_the_engines_place() -> None:
    """A status is returned as it is, an exception is raised: the command has failed."""
    engine = Engine()
    script = [Block(outcome=ewb.Status.BUSY), Block(outcome=OSError("disk"))]
    assert await ask(WouldBlockEngine(engine, script), b"a\nb\nc\n") == (
        b"a BUSY -\nb FAILED -\nc OK done\n"
    )
    assert [request for request, _, _ in engine.calls] == [b"c"]


async def test_the_script_can_be_replaced() -> None:
    """Nothing waits before; all do after."""
    engine = WouldBlockEngine(Engine())
    await ask(engine, b"echo\n")
    assert engine.injected == []
    engine.script = next_n(1)
    await ask(engine, b"echo\n")
    assert engine.injected == [(b"echo", Block())]


async def test_connect_and_disconnect_are_passed_on() -> None:
    """And are not missed where the engine has none."""
    engine = Engine()
    async with ewb.open_workers(1) as workers:
        front_end = ewb.FrontEnd(Lines, WouldBlockEngine(engine), workers)
        async with connect(front_end) as client:
            await client.send(b"echo\n")
            await client.receive_until(b"\n")
            assert engine.connections == 1
    assert engine.connections == 0


def test_sometimes_is_the_same_for_each_seed() -> None:
    """And blocks about as often as it was asked to."""
    first = list(islice(sometimes(0.3, seed=1), 1000))
    assert first == list(islice(sometimes(0.3, seed=1), 1000))
    assert first != list(islice(sometimes(0.3, seed=2), 1000))
    assert 250 < sum(block is not None for block in first) < 350


WRONG: list[tuple[Callable[[], object], str]] = [
    (
        lambda: Block(delay=-0.1),
        "delay must be None, or a finite number of seconds from 0 up, not -0.1",
    ),
    (lambda: Block(delay=math.nan), "delay must be None, or .* not nan"),
    (lambda: Block(delay=math.inf), "delay must be None, or .* not inf"),
    (lambda: Block(delay=cast("float", "1")), "delay must be None, or .* not '1'"),
    (lambda: Block(notifications=-1), "notifications must be 0 or more, not -1"),
    (lambda: Block(notifications=cast("int", 0.5)), "notifications must be a whole number, not 0.5"),
    (
        lambda: Block(outcome=ewb.Status.WOULD_BLOCK),
        "outcome must be a status that ends the call, not .*WOULD_BLOCK",
    ),
    (lambda: next_n(cast("int", "x")), "count must be a whole number, not 'x'"),
    (lambda: next_n(-1), "count must be 0 or more, not -1"),
    (lambda: next_n(1, cast("Block", 2)), r"block must be a Block, such as Block\(\) or NEVER, not 2"),
    (lambda: sometimes(1.5, seed=1), "probability must be a number from 0 to 1, not 1.5"),
    (lambda: sometimes(math.nan, seed=1), "probability must be .* not nan"),
    (lambda: sometimes(0.5, seed=1, blocks=[]), "blocks must be one Block or more, not none"),
    (
        lambda: sometimes(0.5, seed=1, blocks=cast("list[Block]", ["x"])),
        "each of blocks must be a Block, .* not 'x'",
    ),
    (
        lambda: WouldBlockEngine(Engine(), cast("list[Block]", [None, "x"])),
        "each item of script that is not None must be a Block, .* not 'x'",
    ),
]


@pytest.mark.parametrize(("make", "said"), WRONG)
def test_what_cannot_be_is_refused_where_it_is_given(make: Callable[[], object], said: str) -> None:
    """And not later, when it would end the whole run, or somebody else's command."""
    with pytest.raises((TypeError, ValueError), match=said):
        make()


async def test_an_iterator_that_gives_no_block_fails_that_command_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It cannot be looked at before; the log says what was wrong."""
    script = cast("list[Block]", [0.5, None])
    assert await ask(WouldBlockEngine(Engine(), iter(script)), b"a\nb\n") == b"a FAILED -\nb OK done\n"
    assert "each item of script that is not None must be a Block" in caplog.text


# -- gates -----------------------------------------------------------------------------------------


async def test_a_gate_steps_a_producer() -> None:
    """It makes as many chunks as it has passes, and then waits."""
    gate = Gate()
    async with (
        ewb.open_workers(1) as workers,
        workers.produce(gate.through, [b"a", b"b", b"c"]) as chunks,
    ):
        await gate.reached()
        with pytest.raises(trio.WouldBlock):
            chunks.receive_batch_nowait()
        gate.step(2)
        await gate.reached()
        assert [await chunks.receive(), await chunks.receive()] == [b"a", b"b"]
        with pytest.raises(trio.WouldBlock):
            chunks.receive_batch_nowait()
        gate.open()
        assert [chunk async for chunk in chunks] == [b"c"]


async def test_a_producer_at_a_gate_ends_when_its_block_is_left() -> None:
    """Its `finally` runs."""
    gate, closed = Gate(), threading.Event()

    def guarded(chunks: Iterable[bytes]) -> Generator[bytes]:
        try:
            yield from gate.through(chunks)
        finally:
            closed.set()

    async with ewb.open_workers(1) as workers, workers.produce(guarded, [b"a"]):
        await gate.reached()
    assert closed.is_set()


async def test_a_gate_holds_several_producers() -> None:
    """And `reached` waits for as many as it is asked for."""
    gate = Gate()
    async with (
        ewb.open_workers(2) as workers,
        workers.produce(gate.through, [b"a"]) as one,
        workers.produce(gate.through, [b"b"]) as other,
    ):
        await gate.reached(2)
        gate.step(2)
        assert [await one.receive(), await other.receive()] == [b"a", b"b"]


async def test_a_producer_that_ends_at_a_gate_waits_there_no_more() -> None:
    """`reached` waits for the next one."""
    gate = Gate()
    async with ewb.open_workers(1) as workers:
        async with workers.produce(gate.through, [b"a"]):
            await gate.reached()
        assert repr(gate) == "<Gate: 0 passes left, 0 waiting>"
        gate.step()
        async with workers.produce(gate.through, [b"a", b"b"]) as chunks:
            assert await chunks.receive() == b"a"
            await gate.reached()
        assert repr(gate) == "<Gate: 0 passes left, 0 waiting>"


def test_a_gate_serves_threads_of_ones_own() -> None:
    """They have no block that could be left."""
    gate = Gate()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    gate.step()
    thread.join(10)
    assert not thread.is_alive()


def test_a_gate_opens_while_a_producer_asks_whether_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """To ask takes the front end, which may be at `open` or `step` just then: neither waits for it."""
    gate, asked, answered = Gate(), threading.Event(), threading.Event()

    def ask_the_front_end() -> None:
        asked.set()
        assert answered.wait(10)

    monkeypatch.setattr(trio.from_thread, "check_cancelled", ask_the_front_end)
    waits = threading.Thread(target=gate.wait)
    waits.start()
    assert asked.wait(10)
    opens = threading.Thread(target=gate.open)
    opens.start()
    opens.join(5)
    opened = not opens.is_alive()
    answered.set()
    waits.join(10)
    opens.join(10)
    assert opened


# -- clients and streams -----------------------------------------------------------------------------


async def test_a_memory_client_reads_what_it_needs() -> None:
    """By count, by end, and all."""
    async with (
        ewb.open_workers(1) as workers,
        connect(ewb.FrontEnd(Lines, Engine(), workers)) as client,
    ):
        await client.send(b"a\nb\nc\n")
        assert await client.receive_exactly(3) == b"a O"
        assert await client.receive_until(b"\n") == b"K done\n"
        assert await client.finish() == b"b OK done\nc OK done\n"


async def test_a_memory_client_says_what_came_before_the_end() -> None:
    """In the error of a read that cannot be had."""
    async with (
        ewb.open_workers(1) as workers,
        connect(ewb.FrontEnd(Lines, Engine(), workers)) as client,
    ):
        await client.send(b"a\n")
        await client.stream.send_eof()
        with pytest.raises(EOFError, match="a OK done"):
            await client.receive_until(b"never")


async def raise_beside(
    front_end: ewb.FrontEnd[bytes, ewb.Status], error: Exception, scope: trio.CancelScope
) -> None:
    """Be a client whose block raises, after what is around it was cancelled."""
    async with connect(front_end):
        scope.cancel()
        raise error


async def raise_on_the_way_out(
    front_end: ewb.FrontEnd[bytes, ewb.Status], error: Exception | None = None
) -> None:
    """Be a client whose server ends while it waits, and which perhaps raises then."""
    async with connect(front_end) as client:
        await client.send(b"a\n")
        try:
            await trio.sleep_forever()
        finally:
            if error is not None:
                raise error


async def test_what_the_block_of_a_client_raises_comes_out_as_it_is() -> None:
    """Not in a group: `pytest.raises` around it sees the error, and nothing else."""
    async with ewb.open_workers(1) as workers:
        front_end = ewb.FrontEnd(Lines, Engine(), workers)
        error = KeyError("of the test")
        with pytest.raises(KeyError) as caught:
            await raise_beside(front_end, error, trio.CancelScope())
        assert caught.value is error
        with trio.CancelScope() as scope, pytest.raises(KeyError):
            await raise_beside(front_end, error, scope)
        with trio.move_on_after(0) as scope:
            await raise_on_the_way_out(front_end)
        assert scope.cancelled_caught


async def test_what_ends_the_server_ends_its_client_too() -> None:
    """A `SystemExit` of the engine comes in a group, and with it what the block raises after it."""

    class Exits:
        def execute(self, cookie: Cookie) -> ewb.Status:
            raise SystemExit(cookie.request.decode())

    async with ewb.open_workers(1) as workers:
        front_end = ewb.FrontEnd(Lines, Exits(), workers)
        with pytest.RaisesGroup(SystemExit, flatten_subgroups=True):
            await raise_on_the_way_out(front_end)
        with pytest.RaisesGroup(SystemExit, KeyError, flatten_subgroups=True):
            await raise_on_the_way_out(front_end, KeyError("of the test"))


async def test_a_client_in_lockstep_holds_the_server_up() -> None:
    """What it does not read is unsent, and counted."""
    async with ewb.open_workers(1) as workers:
        front_end = ewb.FrontEnd(Lines, Engine(), workers)
        async with connect(front_end, lockstep=True) as client:
            await client.send(b"a\n")
            while not front_end.statistics().unsent_bytes:
                await trio.lowlevel.checkpoint()
            assert await client.receive_until(b"\n") == b"a OK done\n"


async def test_a_recording_stream_keeps_each_write() -> None:
    """Replies of one turn go out in one; a held one waits."""
    stream = RecordingStream()
    async with ewb.open_workers(1) as workers, trio.open_nursery() as nursery:
        nursery.start_soon(ewb.FrontEnd(Lines, Engine(), workers).serve, stream)
        await stream.feed(b"a\nb\n")
        while not stream.writes:
            await trio.lowlevel.checkpoint()
        assert stream.writes == [b"a OK done\nb OK done\n"]
        stream.hold()
        await stream.feed(b"c\n")
        await trio.testing.wait_all_tasks_blocked()
        assert len(stream.writes) == 1
        stream.release()
        await stream.feed_eof()
    assert stream.data == b"a OK done\nb OK done\nc OK done\n"
    assert stream.closed


async def test_a_stream_that_is_held_twice_is_released_once() -> None:
    """A write that waited since the first time goes on."""
    stream = RecordingStream()
    stream.hold()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"a")
            await trio.testing.wait_all_tasks_blocked()
            stream.hold()
            stream.release()
    assert stream.writes == [b"a"]
