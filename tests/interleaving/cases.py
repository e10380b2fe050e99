"""The small cases: a few chunks, one or two producers, a cancelled reader, a close at each point.

Checked in each run: nobody is stuck who ought to go on (a lost wake-up is that); no chunk is lost,
doubled, or out of order; bounds are kept, at each append; a doorbell is out at most once, and only
for a reader that has parked; what is guarded is touched with its lock; at the end nothing is
suspended, buffered, or reserved, and generators are closed on their worker.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal
from unittest.mock import patch

import trio

from ewb import _channel
from ewb._bell import Bell, Parked
from ewb._courtesy import Courtesy
from ewb._handoff import End, Handoff
from ewb._receiver import ChunkReceiver
from ewb._settings import Bounds, WorkerSettings
from ewb._workers import Workers

from .loop import Cancelled, Event, FrontEnd, open_front_end, without_trio
from .scheduler import Case, current_run, step
from .steps import LOCKS, StepLock, stepping

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from random import Random

    from ewb._producer import Producer

MODERATION = 0.001
Closing = Literal["", "reader leaves", "reader is dropped", "workers end", "run ends"]


class Flag:
    """Waited for by actors; set once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._set = False

    def set(self) -> None:
        """A step."""
        step(self._name, "write")
        self._set = True
        run = current_run()
        if run is not None and run.current is not None:
            run.place(self._name).released = run.current.clock.copy()

    def wait(self) -> None:
        """A step, once it is set."""
        step(self._name, "wait", lambda: self._set)


class Reading(Case):
    """What the cases have in common: a front end, and its reader."""

    name = ""
    one_by_one = False
    cancels = 0
    moderated = False
    lends = False

    def __init__(self) -> None:
        self.front_end: FrontEnd
        self.receiver: ChunkReceiver[bytes, None]
        self.got: list[bytes] = []
        self.ended = False
        self.reading = False

    def begin(self) -> FrontEnd:
        """A new front end, and nothing received."""
        LOCKS.clear()
        self.got, self.ended, self.reading = [], False, False
        _parks.clear()
        self.front_end = open_front_end(moderated=self.moderated)
        self.front_end.clock.leaps = self.moderated
        return self.front_end

    async def receive(self, receiver: ChunkReceiver[bytes, Any]) -> list[bytes]:
        """Some chunks; after a cancellation, again."""
        while True:
            self.reading = True
            try:
                if self.lends:
                    return await receiver._receive(partial(receiver._handoff.drain, lend=True))
                return [await receiver.receive()] if self.one_by_one else await receiver.receive_batch()
            except Cancelled:
                continue
            finally:
                self.reading = False
                if self.front_end.main is not None:
                    self.front_end.main.cancelled = False

    async def read(self, receiver: ChunkReceiver[bytes, Any]) -> None:
        """Receive until the end."""
        try:
            while True:
                self.got += await self.receive(receiver)
                self.received()
                if self.lends:
                    receiver._handoff.returned()
        except trio.EndOfChannel:
            self.ended = True

    def received(self) -> None:
        """Some chunks more are there."""

    def tear_down(self) -> None:
        """Leave nothing behind."""
        self.front_end.close()

    def idle(self) -> bool:
        """As time passes."""
        return self.front_end.clock.skip_to(self.front_end.timers)

    def cancel(self) -> None:
        """An actor: cancel the reader, if it is reading."""

        def strike(_: int) -> None:
            if self.reading and self.front_end.main is not None:
                self.front_end.cancel(self.front_end.main)

        for number in range(self.cancels):
            self.send(partial(strike, number))

    def send(self, call: Callable[[], object]) -> None:
        """Have the front end do this, if it is not over."""
        with suppress(trio.RunFinishedError):
            self.front_end.run_sync_soon(call)

    def check_empty(self, handoff: Handoff[bytes]) -> None:
        """It holds nothing, and counted right."""
        bell, now = handoff._bell, handoff.statistics()
        parks = _parks[id(bell)]
        assert bell.rings <= parks, f"{bell.rings} doorbells for a reader that parked {parks} times"
        assert not handoff.suspended, "it is suspended for ever"
        assert (now.buffered_chunks, now.buffered_bytes) == (0, 0), f"it holds {now}"
        if not handoff.closed:
            assert now.chunks == len(self.got)
            assert now.bytes == sum(map(len, self.got))


class _Computing(Courtesy):
    """Of producers that compute all the time: they give way whenever they ring."""

    def __init__(self) -> None:
        """It needs nothing."""

    def is_computing(self, started: float, cpu_started: float, now: float) -> bool:
        """They do."""
        del started, cpu_started, now
        return True


class _Waiting(_Computing):
    """Of producers that never compute."""

    def is_computing(self, started: float, cpu_started: float, now: float) -> bool:
        """They do not."""
        del started, cpu_started, now
        return False


@dataclass
class Filling(Reading):
    """The handoff between a worker and a reader, and no more: `fill`, `rest`, `finish`, the receiver.

    The worker does what a producer's slice does, in a loop. Doorbells go straight to the front end.
    """

    name: str
    chunks: int = 1
    max_chunks: int = 8
    high_water: int = 64
    sized: bool = False
    one_by_one: bool = False
    cancels: int = 0
    moderated: bool = False
    computes: bool = False
    closing: Closing = ""
    stays: bool = True
    """Before it ends, the producer blocks until all was received: nothing may be stranded."""

    def set_up(self) -> dict[str, Callable[[], object]]:
        """Front end, worker, and who interferes."""
        front_end = self.begin()
        self.all_received = Flag("all received")
        self.resumed = StepLock()
        self.resumed.acquire()
        self.handoff = Handoff[bytes](
            Bounds(self.high_water, self.max_chunks),
            size=len if self.sized else None,
            moderation=MODERATION * self.moderated,
            post=self.post,
            on_room=self.resumed.release,
        )
        receiver = ChunkReceiver[bytes, str](self.handoff)
        actors: dict[str, Callable[[], object]] = {
            "front_end": lambda: front_end.run(lambda: self.main(receiver)),
            "worker": self.work,
        }
        if self.cancels:
            actors["canceller"] = self.cancel
        if self.closing:
            actors["closer"] = self.close
        if self.moderated:
            actors["clock"] = lambda: front_end.clock.pass_time(2 * MODERATION)
        return actors

    def post(self, call: Callable[[], None]) -> bool:
        """As `Doorbell.post`."""
        try:
            self.front_end.run_sync_soon(call)
        except trio.RunFinishedError:
            return False
        return True

    def rows(self) -> Generator[bytes, None, None]:
        """The user's."""
        for number in range(self.chunks):
            yield b"%d" % number
        if self.stays and not self.closing:
            self.all_received.wait()

    def work(self) -> None:
        """As `Producer.run`, slice after slice."""
        rows, handoff = self.rows(), self.handoff
        courtesy = _Computing() if self.computes else _Waiting()
        while not handoff.stopping:
            try:
                handoff.fill(rows, inf, courtesy)
            except StopIteration:
                break
            if not handoff.rest():
                self.resumed.acquire()
        rows.close()
        handoff.finish(End("done"))

    def received(self) -> None:
        """Let the producer end, once all is there."""
        if len(self.got) == self.chunks:
            self.all_received.set()

    async def main(self, receiver: ChunkReceiver[bytes, str]) -> None:
        """The reader."""
        try:
            await self.read(receiver)
        except trio.ClosedResourceError:
            assert self.closing

    def close(self) -> None:
        """An actor: at some point the reader leaves, or the workers end."""

        def strike() -> None:
            if self.closing == "workers end":
                self.handoff.cut_short()
            else:
                self.handoff.close()
                self.handoff.answer()  # these two are what `aclose` does

        self.send(strike)

    def check(self) -> None:
        """All was received, or a beginning of it where the reader left."""
        expected = [b"%d" % number for number in range(self.chunks)]
        if self.closing:
            expected = expected[: len(self.got)]
        assert self.got == expected, f"received {self.got}, not {expected}"
        assert self.ended or self.closing, "the reader did not see the end"
        self.check_empty(self.handoff)


@dataclass
class Producing(Reading):
    """Producers on workers: `Workers.begin`, `Threads.run`, `Producer`, the handoff, the receiver."""

    name: str
    chunks: int = 1
    producers: int = 1
    threads: int = 1
    max_chunks: int = 8
    high_water: int = 64
    memory: int | None = None
    one_by_one: bool = False
    cancels: int = 0
    moderated: bool = False
    lends: bool = False
    closing: Closing = ""
    fails: bool = False
    stays: bool = True
    """Before it ends, a producer blocks until all was received: nothing may be stranded."""

    def set_up(self) -> dict[str, Callable[[], object]]:
        """Front end, worker, and who interferes."""
        front_end = self.begin()
        settings = WorkerSettings(
            self.threads, self.memory, MODERATION * self.moderated, 10.0, None, courtesy=False
        )
        self.workers = Workers(settings, None)  # type: ignore[arg-type]  # its threads are the actors
        self.all_received = Flag("all received")
        self.closed_by: list[str] = []
        self.running: list[Producer] = []
        actors: dict[str, Callable[[], object]] = {"front_end": lambda: front_end.run(self.main)}
        for worker in self.workers._threads.workers:
            actors[f"worker{worker.number or ''}"] = partial(self.workers._threads.run, worker)
        if self.cancels:
            actors["canceller"] = self.cancel
        if self.closing:
            actors["closer"] = self.close
        if self.moderated:
            actors["clock"] = lambda: front_end.clock.pass_time(2 * MODERATION)
        return actors

    def rows(self, producer: int) -> Generator[bytes, None, str]:
        """The user's."""
        try:
            for number in range(self.chunks):
                yield b"%d" % (producer * self.chunks + number)
            if self.stays and not self.closing:
                self.all_received.wait()
            if self.fails:
                msg = "as it was asked to"
                raise LookupError(msg)
        finally:
            run = current_run()
            if run is not None and run.current is not None:
                self.closed_by.append(run.current.name)
        return "done"

    def received(self) -> None:
        """Let the producers end, once all is there."""
        if len(self.got) == self.chunks * self.producers:
            self.all_received.set()

    async def main(self) -> None:
        """The block of `open_workers`, and in it those of `produce`."""
        bounds = Bounds(self.high_water, self.max_chunks)
        for number in range(self.producers):
            start = partial(self.rows, number)
            producer = self.workers.begin(start, "rows", bounds, None, same_thread=True)
            self.running.append(producer)
        for producer in self.running:
            receiver = ChunkReceiver[bytes, str](producer.handoff)
            try:
                await self.read(receiver)
                assert receiver.result == "done"
            except trio.ClosedResourceError:
                assert self.closing == "reader leaves"
            except trio.BrokenResourceError:
                assert self.closing == "workers end"
            except LookupError:
                assert self.fails
                self.ended = True
            finally:
                self.workers.leave(producer)
        for producer in self.running:
            await producer.finished.wait()
        self.workers._threads.stop()

    def close(self) -> None:
        """An actor: at some point the reader leaves, or the workers end."""

        def strike() -> None:
            for producer in self.running:
                if self.closing == "workers end":
                    producer.cut_short()
                else:
                    self.workers.leave(producer)

        self.send(strike)

    def check(self) -> None:
        """All was received, or a beginning of it where the reader left."""
        for first in range(0, self.chunks * self.producers, self.chunks):
            every = [b"%d" % number for number in range(first, first + self.chunks)]
            mine = [chunk for chunk in self.got if chunk in every]
            expected = every[: len(mine)] if self.closing else every
            assert mine == expected, f"received {mine} of a producer, not {expected}"
        if not self.closing:
            assert self.ended, "the reader did not see the end"
            assert len(self.closed_by) == self.producers
        assert all(name.startswith("worker") for name in self.closed_by)
        for producer in self.running:
            self.check_empty(producer.handoff)
        assert self.workers._budget.used == 0, "the budget has bytes on account for nobody"
        assert not self.workers._jobs


@dataclass
class Sending(Reading):
    """Threads of the user's: `open_channel`, `ChunkSender`, `Handoff.offer`."""

    name: str
    senders: int = 1
    chunks: int = 1
    max_chunks: int = 8
    one_by_one: bool = False
    cancels: int = 0
    moderated: bool = False
    closing: Closing = ""
    stays: bool = True

    def set_up(self) -> dict[str, Callable[[], object]]:
        """Front end, senders, and who interferes."""
        front_end = self.begin()
        sender: _channel.ChunkSender[bytes]
        sender, self.receiver = _channel.open_channel(
            max_chunks=self.max_chunks, moderation=MODERATION * self.moderated
        )
        self.handoff = self.receiver._handoff
        self.all_received = Flag("all received")
        self.dropped = Event()
        actors: dict[str, Callable[[], object]] = {"front_end": lambda: front_end.run(self.main)}
        senders = [sender, *(sender.clone() for _ in range(1, self.senders))]
        for number, one in enumerate(senders):
            name = f"sender{number or ''}"
            actors[name] = partial(self.feed, one, number)
        if self.cancels:
            actors["canceller"] = self.cancel
        if self.closing in ("reader leaves", "reader is dropped"):
            actors["closer"] = self.close
        if self.moderated:
            actors["clock"] = lambda: front_end.clock.pass_time(2 * MODERATION)
        return actors

    def feed(self, sender: _channel.ChunkSender[bytes], number: int) -> None:
        """A thread of the user's."""
        try:
            with sender:
                for chunk in range(self.chunks):
                    sender.send(b"%d%d" % (number, chunk))
                if self.stays and not self.closing:
                    self.all_received.wait()
        except trio.BrokenResourceError:
            assert self.closing

    def received(self) -> None:
        """Let the senders end, once all is there."""
        if len(self.got) == self.chunks * self.senders:
            self.all_received.set()

    async def main(self) -> None:
        """The reader; or nobody, in a run that ends, or where the receiver is dropped."""
        if self.closing == "run ends":
            return
        if self.closing == "reader is dropped":
            await self.dropped.wait()
            return
        try:
            await self.read(self.receiver)
        except trio.ClosedResourceError:
            assert self.closing

    def close(self) -> None:
        """An actor: at some point nobody will read any more."""
        if self.closing == "reader is dropped":
            self.handoff.close()  # as the collector does, in whatever thread
            self.send(self.dropped.set)
            return

        def strike() -> None:
            self.handoff.close()
            self.handoff.answer()  # these two are what `aclose` does

        self.send(strike)

    def check(self) -> None:
        """All was received, each sender's in order; or a beginning of each."""
        for number in range(self.senders):
            mine = [chunk for chunk in self.got if chunk.startswith(b"%d" % number)]
            expected = [b"%d%d" % (number, chunk) for chunk in range(self.chunks)]
            if self.closing:
                expected = expected[: len(mine)]
            assert mine == expected, f"received {mine} of a sender, not {expected}"
        if not self.closing:
            assert self.ended, "the reader did not see the end"
        self.check_empty(self.handoff)


@dataclass
class Posting(Reading):
    """The doorbell, without a channel: each call is made once, those of one thread in order."""

    name: str
    posters: int = 2
    calls: int = 1
    run_ends: bool = False

    def set_up(self) -> dict[str, Callable[[], object]]:
        """Front end, and who posts."""
        front_end = self.begin()
        self.called: list[tuple[int, int]] = []
        self.refused: list[tuple[int, int]] = []
        self.all_called = Event()
        actors: dict[str, Callable[[], object]] = {"front_end": lambda: front_end.run(self.main)}
        for number in range(self.posters):
            actors[f"poster{number or ''}"] = partial(self.post, number)
        return actors

    def post(self, number: int) -> None:
        """A thread."""
        for call in range(self.calls):
            if not self.front_end.doorbell.post(partial(self.call, number, call)):
                self.refused.append((number, call))

    def call(self, number: int, call: int) -> None:
        """Thread: front end."""
        self.called.append((number, call))
        if len(self.called) == self.posters * self.calls:
            self.all_called.set()

    async def main(self) -> None:
        """Until all were called, or at once."""
        if not self.run_ends:
            await self.all_called.wait()

    def check(self) -> None:
        """Each was called once; in a run that ends, unless it was refused, or came when it was over."""
        every = [(number, call) for number in range(self.posters) for call in range(self.calls)]
        assert len(self.called) == len(set(self.called)), "a call was made twice"
        assert not set(self.called) & set(self.refused), "a call was refused, and made"
        assert self.run_ends or sorted(self.called) == every, "a call was lost"
        for number in range(self.posters):
            mine = [call for call in self.called if call[0] == number]
            assert mine == sorted(mine), "calls were made out of order"


_parks = Counter[int]()


@contextmanager
def ready() -> Iterator[None]:
    """Within this, cases can be explored."""
    real_park = Bell.park

    def park(bell: Bell, waker: Callable[[], None], now: float, *, moderate: bool) -> Parked:
        _parks[id(bell)] += 1
        return real_park(bell, waker, now, moderate=moderate)

    with ExitStack() as stack:
        stack.enter_context(stepping())
        stack.enter_context(without_trio())
        stack.enter_context(patch.object(Bell, "park", park))
        yield


SMALL: Final[list[Reading]] = [
    Filling("one chunk, then silence"),
    Filling("one chunk, its size the user's", sized=True),
    Filling("one chunk of one that computes", computes=True),
    Filling("one chunk, a cancelled reader", cancels=1),
    Filling("one chunk, and the workers end", closing="workers end"),
    Producing("one chunk, with workers and doorbell"),
    Sending("one sender, one chunk"),
    Sending("one sender, full after one chunk", chunks=2, max_chunks=1),
    Sending("one sender, a cancelled reader", cancels=1),
    Sending("one sender, a reader that leaves", closing="reader leaves"),
    Sending(
        "one sender, a receiver that is dropped", closing="reader is dropped", chunks=2, max_chunks=1
    ),
    Sending("one sender, and the run ends", closing="run ends", chunks=2, max_chunks=1),
    Sending("two senders", senders=2),
    Posting("two post to the doorbell"),
    Posting("two post to the doorbell, and the run ends", run_ends=True),
]
"""Each is explored to the end in a second or a few."""

LARGER: Final[list[Reading]] = [
    Filling("two chunks, a moderated reader", chunks=2, moderated=True),
    Filling("one chunk, and the reader leaves", closing="reader leaves"),
    Filling("two chunks", chunks=2),
    Filling("two chunks, one at a time", chunks=2, one_by_one=True),
    Filling("two chunks, full after one", chunks=2, max_chunks=1),
    Filling("two chunks, a cancelled reader", chunks=2, cancels=1),
    Filling("two chunks, full, the reader leaves", chunks=2, max_chunks=1, closing="reader leaves"),
    Producing("two chunks, with workers", chunks=2),
    Producing("full, with workers", chunks=2, max_chunks=1),
    Producing("a cancelled reader, with workers", cancels=1),
    Producing("a reader that leaves, with workers", closing="reader leaves"),
    Producing("workers that end", closing="workers end"),
    Producing("a producer that fails", fails=True),
    Producing("two producers, little memory", producers=2, memory=1, stays=False),
    Producing(
        "two producers, little memory, lent", chunks=2, producers=2, memory=1, lends=True, stays=False
    ),
    Sending("two senders, full after one chunk", senders=2, max_chunks=1),
    Sending("two senders, a reader that leaves", senders=2, max_chunks=1, closing="reader leaves"),
    Sending("two senders, a cancelled reader", senders=2, cancels=1),
    Sending("one sender, a moderated reader", moderated=True, chunks=2),
    Sending("one sender, moderated, cancelled", moderated=True, chunks=2, cancels=1),
]
"""These have tens of thousands of orders and more."""


def case_by_chance(chance: Random) -> Reading:
    """Any case: more chunks, any bounds, and whatever may interfere together."""
    few = partial(chance.randint, 0)

    def seldom() -> bool:
        return chance.random() < 0.3

    match few(2):
        case 0:
            return Filling(
                "by chance",
                chunks=1 + few(5),
                max_chunks=chance.choice([1, 2, 3, 8]),
                high_water=chance.choice([1, 2, 4, 64]),
                sized=seldom(),
                one_by_one=seldom(),
                cancels=few(2),
                moderated=seldom(),
                computes=seldom(),
                closing=chance.choice(("", "", "reader leaves", "workers end")),
            )
        case 1:
            return Producing(
                "by chance",
                chunks=1 + few(4),
                producers=1 + few(2),
                max_chunks=chance.choice([1, 2, 8]),
                high_water=chance.choice([1, 2, 64]),
                memory=chance.choice([None, 1, 3]),
                one_by_one=seldom(),
                cancels=few(2),
                moderated=seldom(),
                lends=seldom(),
                closing=chance.choice(("", "", "reader leaves", "workers end")),
                stays=False,
            )
        case _:
            return Sending(
                "by chance",
                senders=1 + few(2),
                chunks=1 + few(3),
                max_chunks=chance.choice([1, 2, 8]),
                one_by_one=seldom(),
                cancels=few(2),
                moderated=seldom(),
                closing=chance.choice(("", "", "reader leaves", "reader is dropped", "run ends")),
            )
