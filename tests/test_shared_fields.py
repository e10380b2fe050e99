"""Each field that threads share has one lock or one writer, as `interleaving/fields.py` has it."""

from __future__ import annotations

import dis
import threading
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import ewb
from ewb._call import Call
from ewb._channel import _Shared
from ewb._handoff import Handoff
from ewb._ledger import Ledger
from ewb._producer import Producer
from ewb._settings import Bounds
from ewb._waker import Waker

from .helpers import until
from .interleaving.fields import TABLES, Access, Locks, Rule, is_held, watching

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator

CHUNKS = 200
SET_LATER = {("_Shared", "handoff"), ("_Shared", "room")}
"""Set by `open_channel`, which has yet to give the object to anybody."""


class Watcher:
    """Compares each access with the tables, in whatever thread it comes."""

    def __init__(self) -> None:
        self.front_end = threading.get_ident()
        self.locks = Locks()
        self.wrong: set[str] = set()
        self.seen: set[tuple[type, str]] = set()
        self._writers: dict[tuple[int, str], set[int]] = defaultdict(set)
        self._alive: list[object] = []

    def __call__(self, access: Access) -> None:
        """Called before each access."""
        thing, name, rule, writes = access
        self.seen.add((type(thing), name))
        if not self._is_right(thing, name, rule, writes=writes):
            does = "writes" if writes else "reads"
            self.wrong.add(f"{threading.current_thread().name} {does} {type(thing).__name__}.{name}")

    def _is_right(self, thing: Any, name: str, rule: Rule, *, writes: bool) -> bool:
        match rule:
            case Rule.CONSTANT:
                return not writes or (type(thing).__name__, name) in SET_LATER
            case Rule.GUARDED:
                return is_held(self.locks.of(thing))
            case Rule.HINT:
                return not writes or is_held(self.locks.of(thing))
            case Rule.FRONT_END:
                return threading.get_ident() == self.front_end
            case Rule.ONE_WRITER if writes:
                return self._is_the_writer(thing, name)
            case _:
                return True

    def _is_the_writer(self, thing: Any, name: str) -> bool:
        if isinstance(thing, Ledger) and is_held(self.locks.of(thing)):
            return True  # threads of the user's take turns, by the lock
        writers = self._writers[id(thing), name]
        writers.add(threading.get_ident())
        self._alive.append(thing)
        return len(writers) == 1


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    watcher = Watcher()
    with watching(watcher, watcher.locks, constants=True):
        yield watcher


@pytest.mark.parametrize("owner", TABLES, ids=lambda owner: owner.__name__)
def test_every_field_is_in_the_tables(owner: type) -> None:
    """A new field has to be thought about: who may touch it?"""
    named = TABLES[owner].keys()
    slots = {name for name in owner.__dict__.get("__slots__", ()) if not name.startswith("__")}
    fields = slots or set(_set_on_self(vars(owner)["__init__"].__code__))
    if owner is _Shared:
        fields |= {"handoff", "room"}
    assert fields == named


def _set_on_self(code: types.CodeType) -> Iterator[str]:
    instructions = list(dis.get_instructions(code))
    for before, instruction in pairwise(instructions):
        if instruction.opname == "STORE_ATTR" and "self" in str(before.argval):
            yield str(instruction.argval)


async def test_workers_and_their_readers_keep_to_the_tables(watcher: Watcher) -> None:
    """Producers that are read, cancelled, left, that fail, and calls; on real threads."""

    def rows(size: int) -> Iterator[bytes]:
        for _ in range(CHUNKS):
            yield b"x" * size
        if size == 3:
            raise LookupError

    async def read(workers: ewb.Workers, size: int) -> None:
        bound = {"size": len} if size == 2 else {}
        async with workers.produce(rows, size, high_water=20, max_chunks=7, **bound) as chunks:  # type: ignore[call-overload]
            received = 0
            while received < CHUNKS - 50 * (size == 4):
                with trio.move_on_after(0 if received % 3 else 1000):
                    received += len(await chunks.receive_batch())
                with trio.move_on_after(1000):
                    received += bool(await chunks.receive()) if received < CHUNKS else 0
                chunks.statistics()

    async with ewb.open_workers(threads=3, memory=100) as workers, trio.open_nursery() as nursery:
        for size in (1, 2, 3, 4, 5):
            nursery.start_soon(read, workers, size)
        ended: list[bool] = []
        call = Call(workers, lambda: 1, "call", lambda: ended.append(True))
        await until(lambda: ended and call.ended)
        workers.statistics()
    assert not watcher.wrong
    assert {(Handoff, "suspended"), (Ledger, "produced"), (Producer, "ended")} <= watcher.seen


async def test_senders_keep_to_the_tables(watcher: Watcher) -> None:
    """Threads of the user's, three clones, one of them dropped unclosed, and a reader that goes."""
    sender: ewb.ChunkSender[bytes]
    sender, receiver = ewb.open_channel(max_chunks=3)

    def send(one: ewb.ChunkSender[bytes]) -> None:
        with one:
            for _ in range(CHUNKS):
                one.send(b"x")

    async with trio.open_nursery() as nursery:
        for one in (sender, sender.clone(), sender.clone()):
            nursery.start_soon(trio.to_thread.run_sync, send, one)
        received = 0
        async for batch in receiver.batches():
            received += len(batch)
    assert received == 3 * CHUNKS
    assert not watcher.wrong


async def test_a_waker_is_the_front_ends(watcher: Watcher) -> None:
    """As all that has no lock and no thread's name."""
    waker = Waker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waker.wait)
        await trio.testing.wait_all_tasks_blocked()
        waker.wake()
    await trio.to_thread.run_sync(waker.clear)
    assert len(watcher.wrong) == 1
    assert "writes Waker._woken" in watcher.wrong.pop()


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda handoff: setattr(handoff, "suspended", True), "writes Handoff.suspended"),
        (lambda handoff: handoff.buffer._received, "reads Buffer._received"),
        (lambda handoff: setattr(handoff.buffer, "chunks", []), "writes Buffer.chunks"),
        (lambda handoff: setattr(handoff.buffer.ledger, "limit", 1), "writes Ledger.limit"),
    ],
)
async def test_what_breaks_a_rule_is_seen(
    watcher: Watcher, break_it: Callable[[Handoff[bytes]], object], said: str
) -> None:
    """The tests above can fail."""
    handoff = Handoff[bytes](
        Bounds(1, 1), size=None, moderation=0.0, post=lambda _: True, on_room=lambda: None
    )
    assert not watcher.wrong
    break_it(handoff)
    assert [wrong for wrong in watcher.wrong if said in wrong]


async def test_a_second_writer_is_seen(watcher: Watcher) -> None:
    """What the producer counts without a lock, nobody else may write."""
    handoff = Handoff[bytes](
        Bounds(1, 1), size=None, moderation=0.0, post=lambda _: True, on_room=lambda: None
    )
    handoff.buffer.ledger.produced = 1
    assert not watcher.wrong
    await trio.to_thread.run_sync(setattr, handoff.buffer.ledger, "produced", 2)
    assert "writes Ledger.produced" in watcher.wrong.pop()
