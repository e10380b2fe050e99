"""A connection's commands against a simple model of them, with everything in random order.

There are no threads here: workers, the session that owns the pipeline, and threads that notify are all
played by the test, one step at a time. So requests, turns, writes that take long, doorbells, chunks,
ends, notifications, cancellations, time limits and the loss of the connection come in any order. The
owner has its turn only if it was woken, so a lost wake-up shows as a command that is never answered.
"""

from __future__ import annotations

import logging
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ewb import Order, Status
from ewb._connection import Connection
from ewb._counters import Counters
from ewb._handoff import End
from ewb._hooks import Hooks
from ewb._life import State
from ewb._pipeline import Pipeline
from ewb._shared import Shared
from ewb._turns import Turns

from .helpers import fail
from .test_background import FakeWorkers
from .test_pipeline import settings_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from ewb._background import Background
    from ewb._command import Command

MESSAGE = 10  # bytes, of all messages
MAX_CHUNKS = 3
NOBODY = -1  # no thread has this identity


class Said(Enum):
    """The engine's own statuses."""

    FIRST = auto()
    SECOND = auto()
    THE_END = auto()


class Way(Enum):
    """What a call of `execute` does."""

    WAIT = auto()
    WAIT_NOTIFIED = auto()  # it was notified before it returned
    RUN = auto()
    PRODUCE = auto()


class Plan(NamedTuple):
    """What a command does, call by call, and then: returns a status, or raises."""

    order: Order
    ways: list[Way]
    raises: bool


plans = st.builds(
    Plan,
    st.sampled_from([Order.SERIAL, Order.OVERLAP, Order.OVERLAP, Order.REORDER, Order.REORDER]),
    st.lists(st.sampled_from([*Way, Way.PRODUCE]), min_size=1, max_size=3) | st.just([]),
    st.sampled_from([False] * 5 + [True]),
)
which = st.integers(0, 100)
seldom = st.sampled_from([False] * 30 + [True])
meanwhile = st.lists(st.sampled_from(["go", "sent", "deliver"]), max_size=4)
statuses = st.sampled_from([Said.FIRST, Said.SECOND, Status.OK])


class Wire:
    """The protocol: requests are the numbers of plans; what is encoded is logged."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.next = 0
        self.log: list[tuple[int, Any]] = []

    def receive_data(self, data: bytes) -> None:
        """Requests come another way."""

    def next_request(self) -> int | None:
        """The next plan's number."""
        if self.next == len(self.plans):
            return None
        self.next += 1
        return self.next - 1

    def order(self, request: int) -> Order:
        """As it was planned."""
        return self.plans[request].order

    def encode_batch(self, request: int, batch: list[bytes]) -> list[bytes]:
        """A message for each chunk."""
        self.log += [(request, chunk) for chunk in batch]
        return [b"." * MESSAGE for _ in batch]

    def encode_end(self, request: int, status: Any, _: object) -> list[bytes]:
        """One message."""
        self.log.append((request, status))
        return [b"." * MESSAGE]


class Known:
    """What the model knows of one command that was executed."""

    def __init__(self, command: Command[int, Any]) -> None:
        self.command = command
        self.calls = 0
        self.way: Way | None = None  # it waits so
        self.expected: Any = None  # what it is to find as its status; None: what its work says
        self.outcome: Any = None  # of its work
        self.complete = False
        self.was_stopped = False
        self.chunks: list[bytes] = []  # that its producers have made

    @property
    def job(self) -> Background | None:
        """Its work."""
        return self.command.background


class Engine:
    """Follows the plans, and checks the rules when it is called."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.known: dict[int, Known] = {}
        self.inside: int | None = None

    def execute(self, cookie: Any) -> Any:
        """A call."""
        number = cookie.request
        assert self.inside is None
        self.inside = number
        try:
            return self._execute(number, cookie)
        finally:
            self.inside = None

    def _execute(self, number: int, cookie: Any) -> Any:
        if number not in self.known:
            self._begin(number, cookie)
        known, plan = self.known[number], self.wire.plans[number]
        assert known.command is cookie
        assert not known.complete
        assert cookie.resumed is (known.calls > 0)
        if cookie.resumed:
            self._check_outcome(known)
        known.calls += 1
        known.expected = known.outcome = known.way = None
        if known.calls <= len(plan.ways):
            return self._block(known, plan.ways[known.calls - 1])
        known.complete = True
        return fail(KeyError(number)) if plan.raises else Said.THE_END

    def _begin(self, number: int, cookie: Any) -> None:
        for earlier, plan in enumerate(self.wire.plans[:number]):
            known = self.known.get(earlier)  # None: the front end was busy
            complete = known is None or known.complete
            assert complete or Order.SERIAL not in {plan.order, self.wire.plans[number].order}
        assert all(later < number for later in self.known)
        self.known[number] = Known(cookie)

    def _check_outcome(self, known: Known) -> None:
        cookie = known.command
        expected = known.outcome if known.expected is None else known.expected
        assert expected is not None, "nothing has happened that it waited for"
        if isinstance(expected, KeyError):
            assert (cookie.status, cookie.exception) == (Status.FAILED, expected)
        else:
            assert cookie.status is expected
            assert cookie.exception is None

    def _block(self, known: Known, way: Way) -> Any:
        known.way = way
        if way is Way.RUN:
            return known.command.run(self._call, known)
        if way is Way.PRODUCE:
            return known.command.produce(list, max_chunks=MAX_CHUNKS)
        if way is Way.WAIT_NOTIFIED:
            known.expected = Said.FIRST
            known.command.notify(Said.FIRST)
            known.command.notify(Said.SECOND)
        return Status.WOULD_BLOCK

    def _call(self, known: Known) -> None:
        if isinstance(known.outcome, KeyError):
            raise known.outcome


class Workers(FakeWorkers):
    """Workers that also tell the model when a post of its own is delivered."""

    def __init__(self) -> None:
        super().__init__()
        self.effect: Callable[[], None] | None = None

    def post(self, call: Callable[[], object]) -> bool:
        """Keep it, and what the model knows of it."""
        effect, self.effect = self.effect, None

        def both() -> None:
            if effect is not None:
                effect()
            call()

        return super().post(both)


class PipelineMachine(RuleBasedStateMachine):
    """A pipeline, its session, its workers, and its model."""

    @initialize(
        commands=st.sampled_from([2, 4, 1000]),
        in_flight=st.sampled_from([3, 1000, 1000]),
        per_turn=st.sampled_from([1, 2, 64]),
        unsent=st.sampled_from([1, 25, 1000]),
        serial=st.sampled_from([True, False, False]),
        first=st.lists(plans, min_size=3, max_size=8),
    )
    def begin(
        self,
        commands: int,
        in_flight: int,
        per_turn: int,
        unsent: int,
        first: list[Plan],
        *,
        serial: bool,
    ) -> None:
        """Some have narrow bounds."""
        self.settings = settings_with(
            max_commands=commands,
            max_in_flight=in_flight,
            commands_per_turn=per_turn,
            max_unsent=unsent,
        )
        self.wire, self.workers, self.counters = Wire(), Workers(), Counters()
        self.engine = Engine(self.wire)
        shared: Any = Shared[int, Any](
            engine=self.engine,
            workers=self.workers,  # type: ignore[arg-type]
            settings=self.settings,
            hooks=Hooks(()),
            counters=self.counters,
            watchdog=None,  # type: ignore[arg-type]
            turns=Turns(),
        )
        self.pipeline: Pipeline[int, Any] = Pipeline(self.wire, shared, self.wake)
        self.pipeline.connection = Connection(self.wire, "a test", lambda: None, lambda: None)
        self.woken = self.more = self.sending = self.lost = False
        self.serial = serial  # else none is, so that more go on beside each other
        self.ask(first, at_once=True)

    def wake(self) -> None:
        """The owner has something to do."""
        self.woken = True

    # -- the session -------------------------------------------------------------------------------

    @precondition(lambda self: not self.pipeline.closing and not self.pipeline.half_closed)
    @rule(some=st.lists(plans, min_size=1, max_size=6), at_once=st.booleans())
    def ask(self, some: list[Plan], *, at_once: bool) -> None:
        """The reader has read; it starts what may start, or leaves that to the owner."""
        if not self.serial:
            some = [p._replace(order=Order.OVERLAP) if p.order is Order.SERIAL else p for p in some]
        self.wire.plans += some
        self.pipeline.feed(b"some")
        if at_once:
            while self.pipeline.advance(self.settings.commands_per_turn) == 0:
                pass
        if not at_once or self.pipeline.has_something_to_do:
            self.wake()

    @rule(acts=meanwhile)
    def bustle(self, acts: list[str]) -> None:
        """The front end goes on."""
        for act in acts:
            if act == "deliver":
                self.deliver(3)
            elif act == "go":
                self.go()
            else:
                self.sent()

    def go(self) -> None:
        """The owner has its turn, if it was woken and is not sending."""
        if self.sending or self.lost or not (self.woken or self.more):
            return
        self.more = self.pipeline.turn()
        self.woken = False
        self.sending = bool(self.pipeline.outbox.take())

    def sent(self) -> None:
        """All of it is sent."""
        if self.sending and not self.lost:
            self.sending = False
            self.pipeline.sent()
            self.more = True

    @rule(really=seldom, half=st.booleans())
    def end(self, *, really: bool, half: bool) -> None:
        """The client sends no more, or no more is wanted."""
        if not really:
            return
        if half:
            self.pipeline.feed(b"")
            self.pipeline.advance(self.settings.commands_per_turn)
        else:
            self.pipeline.closing = True
        self.wake()

    @rule(really=seldom)
    def lose(self, *, really: bool) -> None:
        """The connection is gone."""
        if really and not self.lost:
            self.lost = True
            self.pipeline.drop()

    # -- workers, and doorbells ----------------------------------------------------------------------

    def pick(self, number: int, *ways: Way) -> Known | None:
        """One of those that were executed; or one of those that wait so, and whose work goes on."""
        known = list(self.engine.known.values())
        if ways:
            known = [one for one in known if one.job and one.way in ways and one.outcome is None]
        return known[number % len(known)] if known else None

    @rule(number=which, error=st.booleans(), then=statuses, acts=meanwhile)
    def work(self, number: int, then: Said | Status, acts: list[str], *, error: bool) -> None:
        """A worker makes a call, or ends a producer."""
        if known := self.pick(number, Way.RUN, Way.PRODUCE):
            self.end_work(known, KeyError("work") if error else then)
        self.bustle(acts)

    @rule(some=st.lists(st.tuples(which, st.integers(1, MAX_CHUNKS + 1)), min_size=1), acts=meanwhile)
    def produce(self, some: list[tuple[int, int]], acts: list[str]) -> None:
        """Workers run producers for a while."""
        for number, chunks in some:
            known = self.pick(number, Way.PRODUCE)
            if known is None:
                return
            producer: Any = known.job._producer  # type: ignore[union-attr]
            for _ in range(chunks):
                chunk = b"%d" % len(known.chunks)
                if producer.add(chunk):
                    known.chunks.append(chunk)
        self.bustle(acts)

    def end_work(self, known: Known, outcome: Any) -> None:
        """A call is made; or a producer ends, having returned a status or raised an error."""
        if known.outcome is not None:
            return
        job: Any = known.job
        failed = isinstance(outcome, KeyError)
        if known.way is Way.RUN:
            known.outcome = outcome if failed else Status.OK
            job.run(0)
        else:
            known.outcome = outcome
            job._producer.end(End(error=outcome) if failed else End(outcome))

    def deliver(self, posts: int) -> None:
        """The front end does what was posted."""
        for _ in range(min(posts, len(self.workers.posted))):
            self.workers.posted.popleft()()

    # -- who has the cookie --------------------------------------------------------------------------

    @rule(number=which, status=statuses, thread=st.booleans())
    def notify(self, number: int, status: Said | Status, *, thread: bool) -> None:
        """Somebody notifies it: the first one of a wait counts, if it is a bare one."""
        known = self.pick(number)
        if known is None:
            return
        of_call = known.calls

        def effect() -> None:
            waits = known.way in {Way.WAIT, Way.WAIT_NOTIFIED} and known.calls == of_call
            if waits and known.expected is None:
                known.expected = status

        self.tell(known.command, lambda: known.command.notify(status), effect, thread=thread)

    @rule(number=which, thread=st.booleans(), timed_out=st.booleans())
    def stop(self, number: int, *, thread: bool, timed_out: bool) -> None:
        """Somebody cancels it, or it takes too long."""
        known = self.pick(number)
        if known is None:
            return

        def effect() -> None:
            if known.command.state is State.PARKED:
                known.expected = Status.TIMED_OUT if timed_out else Status.CANCELLED
                known.was_stopped = True

        if timed_out:
            effect()
            self.pipeline.time_out(known.command)
        else:
            self.tell(known.command, known.command.cancel, effect, thread=thread)

    def tell(
        self, command: Any, what: Callable[[], None], effect: Callable[[], None], *, thread: bool
    ) -> None:
        """On the front end, at once; or in a thread, whose post is delivered later."""
        if not thread:
            effect()
            what()
            return
        here, command._front_end_thread = command._front_end_thread, NOBODY
        self.workers.effect = effect
        what()
        command._front_end_thread = here

    # -- what is always so ---------------------------------------------------------------------------

    @invariant()
    def bounds_hold(self) -> None:
        """Commands in flight, bytes that wait, and chunks."""
        if not hasattr(self, "pipeline"):
            return
        pipeline = self.pipeline
        assert self.counters.in_flight == len(pipeline._in_flight) <= self.settings.max_commands
        most = self.settings.max_unsent + (MAX_CHUNKS + 2) * MESSAGE
        assert pipeline.outbox.unsent <= most
        assert all(command.queued for command in pipeline._ready)
        assert len(set(pipeline._ready)) == len(pipeline._ready)
        for producer in self.workers.producers:
            assert len(producer.handoff.buffer.chunks) <= MAX_CHUNKS

    @invariant()
    def answers_are_in_order(self) -> None:
        """Each command is answered once, after its chunks; those of one order, in that order."""
        if not hasattr(self, "pipeline"):
            return
        answered: list[int] = []
        ordered = [n for n, plan in enumerate(self.wire.plans) if plan.order is not Order.REORDER]
        turn = deque(ordered)
        for number, what in self.wire.log:
            assert number not in answered
            if self.wire.plans[number].order is not Order.REORDER:
                assert number == turn[0]
            if not isinstance(what, bytes):
                answered.append(number)
                if self.wire.plans[number].order is not Order.REORDER:
                    turn.popleft()
            self.check_end(number, what)

    def check_end(self, number: int, what: Any) -> None:
        """A command that was executed ends as planned; one that was not, was refused."""
        if isinstance(what, bytes):
            return
        plan = self.wire.plans[number]
        if number in self.engine.known:
            assert what is (Status.FAILED if plan.raises else Said.THE_END)
        else:
            assert what is Status.BUSY

    # -- the end -------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Whatever has happened, all can be answered, and then nothing is left."""
        if not hasattr(self, "pipeline"):
            return
        if self.lost:
            self.check_lost()
        else:
            self.finish()
            self.check_answered()
        self.close_what_was_left()
        assert self.counters.in_flight == 0
        assert not self.pipeline._in_flight
        assert not self.pipeline._ready
        assert not self.pipeline._ordered

    def finish(self) -> None:
        """All that is waited for comes; the owner still goes on only if it was woken."""
        for _ in range(100_000):
            if self.woken or self.more or self.sending:
                self.sent()
                self.go()
            elif self.workers.posted:
                self.deliver(1)
            elif not self.something_comes():
                break
        else:
            pytest.fail("it never comes to rest")

    def something_comes(self) -> bool:
        """End one thing that is waited for."""
        for known in self.engine.known.values():
            if known.command.state is not State.PARKED:
                continue
            if known.job is not None and known.outcome is None:
                self.end_work(known, Said.SECOND)
                return True
            if known.job is None:
                self.notify_now(known)
                return True
        return False

    def notify_now(self, known: Known) -> None:
        """It gets what it waits for."""
        known.expected = Said.SECOND
        known.command.notify(Said.SECOND)

    def check_answered(self) -> None:
        """Each command that was read was answered; chunks are lost only by being stopped."""
        answered = [number for number, what in self.wire.log if not isinstance(what, bytes)]
        assert sorted(answered) == list(range(self.wire.next))
        assert self.pipeline.closing or self.wire.next == len(self.wire.plans)
        for number, known in self.engine.known.items():
            chunks = [what for n, what in self.wire.log if n == number and isinstance(what, bytes)]
            if known.was_stopped:
                assert chunks == sorted(set(chunks), key=int)
            else:
                assert chunks == known.chunks
        counters = self.counters
        assert counters.completed == counters.commands == self.wire.next
        assert counters.busy == self.wire.next - len(self.engine.known)
        assert counters.would_blocks == counters.resumes
        assert not self.pipeline.has_something_to_do or self.pipeline.is_over
        assert self.pipeline.outbox.unsent == 0

    def check_lost(self) -> None:
        """Nothing comes after it, whatever is still posted."""
        said, calls = len(self.wire.log), [known.calls for known in self.engine.known.values()]
        for known in self.engine.known.values():
            known.command.notify()
            known.command.cancel()
        while self.workers.posted:
            self.deliver(1)
        assert len(self.wire.log) == said
        assert [known.calls for known in self.engine.known.values()] == calls
        assert all(
            known.command.state in {State.DONE, State.DROPPED} for known in self.engine.known.values()
        )
        counters = self.counters
        assert counters.dropped + len(
            {n for n, what in self.wire.log if not isinstance(what, bytes)}
        ) == (counters.commands)

    def close_what_was_left(self) -> None:
        """Producers and calls: each has ended, or was told to; then they are closed, and forgotten."""
        for producer in self.workers.producers:
            assert producer.over or producer.left
            if not producer.over:
                producer.end(End())
        for call in self.workers.calls:
            if not call.ended:
                assert call in self.workers.left
                call.abandon(KeyError("withdrawn"))
        while self.workers.posted:
            self.deliver(1)
        assert all(background.finished.is_set() for background in self.pipeline.drop())
        assert not any(producer.handoff.buffer.ledger.lent for producer in self.workers.producers)
        assert not any(producer.handoff.buffer.chunks for producer in self.workers.producers)


async def test_pipeline_against_its_model(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the order of things, each command is answered once, in its turn, and none hangs."""
    caplog.set_level(logging.CRITICAL, "ewb")
    run_state_machine_as_test(
        PipelineMachine, settings=settings(max_examples=300, stateful_step_count=40)
    )


@pytest.mark.slow
async def test_pipeline_against_its_model_for_long(caplog: pytest.LogCaptureFixture) -> None:
    """The same, with longer stories."""
    caplog.set_level(logging.CRITICAL, "ewb")
    run_state_machine_as_test(
        PipelineMachine, settings=settings(max_examples=300, stateful_step_count=80)
    )
