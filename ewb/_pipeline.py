"""The commands of one connection: which may start, which are looked after, in which order they answer.

No I/O, and no waiting: the session reads and writes. Invariants:

- `_in_flight` are all commands that were pulled and not answered. `_ordered` are those of them that are
  answered in the order of requests; of these only the first one's chunks and answer are encoded.
- While a SERIAL command is not complete (`_serial`), or waits for those before it (`_held`), no
  further request is pulled.
- A command is in `_ready` once at most (`queued`): it is READY, or parked with something to take.
- What was encoded and not sent is at most `max_unsent` bytes, and what one command added to that.
- The engine's exceptions end its command; the protocol's come out of `feed`, `advance` and `turn`.
"""

from __future__ import annotations

import contextvars
import logging
from collections import deque
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

import trio

from ._background import start
from ._call import Call
from ._checks import brief
from ._clock import clock
from ._closing import Closing, tell_errors
from ._command import Command
from ._life import State, Step
from ._outbox import Outbox
from ._protocol import ProtocolError
from ._status import Order, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._background import Background
    from ._connection import Connection
    from ._handoff import End
    from ._protocol import Protocol
    from ._shared import Shared

Req = TypeVar("Req")
S = TypeVar("S")

logger: Final = logging.getLogger("ewb")


class Pipeline(Generic[Req, S]):
    """What one connection has in flight. Thread: front end, but for `post`."""

    def __init__(
        self, protocol: Protocol[Req, S, Any, Any], shared: Shared[Req, S], wake: Callable[[], None]
    ) -> None:
        """Nothing is in flight; `wake` has `turn` called soon."""
        self.connection: Connection  # set by the session, which makes both
        self._protocol = protocol
        self._engine = shared.engine
        self._workers = shared.workers
        self._settings = shared.settings
        self._hooks = shared.hooks
        self._counters = shared.counters
        self._wake = wake
        self._context = contextvars.copy_context()  # whichever task calls `execute`
        self.post = shared.workers.post
        self._in_flight: dict[Command[Req, S], None] = {}  # in the order of requests
        self._ordered: deque[Command[Req, S]] = deque()
        self._ready: deque[Command[Req, S]] = deque()
        self._held: Command[Req, S] | None = None
        self._serial: Command[Req, S] | None = None
        self._written: list[Command[Req, S]] = []  # whose chunks are in `outbox`, or being sent
        self._closing_down = Closing(shared.counters, wake)
        self.outbox = Outbox()
        self.wants_data = True  # the protocol has no whole request
        self.pulled = 0  # requests, since the beginning
        self.completed = 0  # commands, since the beginning
        self.closing = False  # no further request is pulled
        self.half_closed = False
        self.refused = False  # what the client sent is wrong
        self._aborted = False
        self._bad_data: ProtocolError | None = None
        self._last_reply = b""

    # -- what comes in --------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """What the client sent; `b""`: it sends no more."""
        if not data:
            self.half_closed = True
        if self.closing or self._bad_data is not None:
            return
        try:
            self._protocol.receive_data(data)
        except ProtocolError as error:
            self._bad_data = error  # what came whole before it is still pulled
        self.wants_data = False

    def refuse(self, error: ProtocolError) -> None:
        """Pull no more; when all before it is answered, the error's reply is the last."""
        self._counters.protocol_errors += 1
        logger.info("%s sent what its protocol does not allow: %s", self.connection.peer, error)
        self.closing = self.refused = True
        self._last_reply = error.reply
        self._wake()

    def abort(self) -> None:
        """Nothing more is executed, whatever is in flight."""
        self.closing = self._aborted = True

    def advance(self, budget: int) -> int:
        """Start what may start, so many commands at most; returns what is left of the budget."""
        while budget and self.outbox.unsent <= self._settings.max_unsent:
            command = self._next()
            if command is None:
                break
            budget -= 1
            if self._counters.in_flight > self._settings.max_in_flight:
                self._counters.busy += 1
                self._complete(command, Status.BUSY)
            else:
                self._execute(command)
            self._answer_in_order()
        return budget

    def _next(self) -> Command[Req, S] | None:
        """The command that may start now."""
        if self._serial is not None:
            return None
        command, self._held = self._held, None
        if command is None:
            command = self._pull()
        if command is None or command.order is not Order.SERIAL:
            return command
        if len(self._in_flight) > 1:
            self._held = command
            return None
        self._serial = command
        return command

    def _pull(self) -> Command[Req, S] | None:
        if self.closing or self.wants_data or len(self._in_flight) >= self._settings.max_commands:
            return None
        try:
            request = self._protocol.next_request()
        except ProtocolError as error:
            self.refuse(error)
            return None
        if request is None:
            self.wants_data = True
            if self._bad_data is not None:
                self.refuse(self._bad_data)
            return None
        order = self._protocol.order(request)
        if type(order) is not Order:
            msg = f"order returned {brief(order)}: return an Order (SERIAL, OVERLAP or REORDER)"
            raise TypeError(msg)
        command: Command[Req, S] = Command(request, self.connection, order, self)
        self.pulled += 1
        self._in_flight[command] = None
        if order is not Order.REORDER:
            self._ordered.append(command)
        counters = self._counters
        counters.commands += 1
        counters.in_flight += 1
        if self._hooks.received:
            self._hooks.tell(self._hooks.received, command)
        return command

    # -- what is in flight ------------------------------------------------------------------------

    def turn(self) -> bool:
        """Do what can be done now, within a budget; returns if there is more to do.

        Half of it is for new commands, the rest for those in flight: neither keeps the other out.
        """
        if self._rests:
            return False
        if self._closing_down.has_news:
            self.report_closed()
        self._answer_in_order()
        per_turn = self._settings.commands_per_turn
        budget = per_turn // 2 + self.advance(max(1, per_turn - per_turn // 2))
        budget = max(1, budget)
        while budget and self._ready and not self._aborted:
            budget -= 1
            command = self._ready.popleft()
            command.queued = False
            if command.state is State.READY:
                self._execute(command)
            elif command.state is State.PARKED and command.background is not None:
                self._look_after(command, command.background)
            self._answer_in_order()
            if self.outbox.unsent > self._settings.max_unsent:
                break
        budget = self.advance(budget)
        if self._last_reply and not self._in_flight:
            self.outbox.put([self._last_reply], "ProtocolError")
            self._last_reply = b""
        return budget == 0 or bool(self._ready)

    @property
    def _rests(self) -> bool:
        """Is there surely nothing for `turn` to do? Asked often, and most often it is so."""
        if self._ready or self._closing_down.has_news or self.closing or self._held is not None:
            return False
        if self._ordered and self._ordered[0].state is State.COMPLETE:
            return False
        return self.wants_data or self._serial is not None

    def resume(self, command: Command[Req, S]) -> None:
        """It is ready: have it executed again."""
        counters = self._counters
        counters.resumes += 1
        counters.seconds_parked += clock() - command.parked_at
        if self._hooks.notified:
            self._hooks.tell(self._hooks.notified, command)
        self._queue(command)

    def stop(self, background: Background) -> None:
        """Have it closed; once it is, `turn` tells what went wrong with it."""
        self._closing_down.close(background)

    def report_closed(self) -> None:
        """Tell what went wrong in background work while it was being closed, and forget it.

        Raises:
            BaseException: a `KeyboardInterrupt` or the like was raised there.
        """
        self._closing_down.report(self.connection.peer)

    def _queue(self, command: Command[Req, S]) -> None:
        if not command.queued:
            command.queued = True
            self._ready.append(command)
            self._wake()

    def _execute(self, command: Command[Req, S]) -> None:
        command.enter()
        if self._hooks.executed:
            self._hooks.tell(self._hooks.executed, command)
        status: S | Status
        try:
            status = self._context.run(self._engine.execute, command)
            command.check(status)
        except Exception as error:  # noqa: BLE001 - it is logged in _complete
            command.exception = error
            status = Status.FAILED
        if status is Status.WOULD_BLOCK:
            self._park(command)
        else:
            self._complete(command, status)

    def _park(self, command: Command[Req, S]) -> None:
        self._counters.would_blocks += 1
        if self._settings.command_timeout < inf:
            command.progress_at = trio.current_time()
        if self._hooks.parked:
            self._hooks.tell(self._hooks.parked, command)
        work = command.block()
        if work is None:
            return
        try:
            ready = partial(self._queue, command)
            background = self._context.run(start, self._workers, work, ready)
        except trio.ClosedResourceError as error:
            command.exception = error
            command.answer(Status.FAILED)
            return
        command.background = background
        if not background.watch():
            self._queue(command)

    def _look_after(self, command: Command[Req, S], background: Background) -> None:
        """Take what its producer has made, if that may be written now; and see if it has ended."""
        end = background.end
        if background.has_chunks:
            if command.order is not Order.REORDER and command is not self._ordered[0]:
                return  # it is queued again when its turn comes
            if self._write(command, background) and end is None:
                return  # it is watched again when these are sent
            if command.background is not background:
                return  # a hook has cancelled it
        if end is not None:
            self._ended(command, background, end)
        elif not background.watch():
            self._queue(command)

    def _write(self, command: Command[Req, S], background: Background) -> bool:
        """Encode chunks; returns if there is something to send, and so a time when that is sent."""
        buffers = self._protocol.encode_batch(command.request, self.outbox.borrow(background))
        self.outbox.put(buffers, "encode_batch")
        if is_to_be_sent := bool(self.outbox.buffers):  # if not these, what was before them
            self._written.append(command)
        else:
            self.outbox.give_back()
        if not command.has_streamed:
            command.has_streamed = True
            if self._hooks.first_chunk:
                self._hooks.tell(self._hooks.first_chunk, command)
        return is_to_be_sent

    def _ended(self, command: Command[Req, S], background: Background, end: End) -> None:
        """Its background work is done, and all of its chunks were taken."""
        command.background = None
        self._closing_down.count(background)
        status: S | Status = Status.OK
        if end.error is None or isinstance(end.error, Exception):
            tell_errors(self.connection.peer, [background.closing_error])
        if end.error is not None:
            if not isinstance(end.error, Exception):
                raise end.error.with_traceback(end.traceback)  # a KeyboardInterrupt is not lost
            command.exception = end.error.with_traceback(end.traceback)
            status = Status.FAILED
        else:
            command.result = end.result
            is_call = isinstance(background, Call)
            if end.result is Status.WOULD_BLOCK and not is_call:
                command.exception = RuntimeError("a producer returned WOULD_BLOCK, which is no end")
                status = Status.FAILED
            elif end.result is not None and not is_call:
                status = cast("S | Status", end.result)
        command.answer(status)

    # -- what goes out ----------------------------------------------------------------------------

    def _complete(self, command: Command[Req, S], status: S | Status) -> None:
        counters = self._counters
        counters.completed += 1
        self.completed += 1
        if status is Status.FAILED:
            counters.failed += 1
            if command.exception is not None:
                logger.error("%s failed", brief(command.request), exc_info=command.exception)
        command.complete(status)
        if command is self._serial:
            self._serial = None
        if command.order is Order.REORDER:
            self._answer(command)

    def _answer_in_order(self) -> None:
        """Answer those that are complete, up to the first that is not; it may write now."""
        ordered = self._ordered
        answered = False
        most = self._settings.max_unsent
        while ordered and ordered[0].state is State.COMPLETE and self.outbox.unsent <= most:
            self._answer(ordered.popleft())
            answered = True
        if answered and ordered and ordered[0].background is not None:
            self._queue(ordered[0])

    def _answer(self, command: Command[Req, S]) -> None:
        buffers = self._protocol.encode_end(command.request, command.status, command.reply)
        self.outbox.put(buffers, "encode_end")
        command.take_step(Step.ANSWER)
        del self._in_flight[command]
        self._counters.in_flight -= 1
        if self._hooks.done:
            self._hooks.tell(self._hooks.done, command)

    def sent(self) -> None:
        """All that was taken of the outbox is sent: streams may go on."""
        self.outbox.sent()
        written, self._written = self._written, []
        now = trio.current_time() if written else 0.0
        for command in written:
            command.progress_at = now
            background = command.background
            if background is not None and not background.watch():
                self._queue(command)

    # -- its end ------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Nothing is in flight, and nothing will be."""
        ends = self.closing or (self.half_closed and self.wants_data)
        return ends and not self._in_flight and not self.outbox.buffers and not self._last_reply

    @property
    def has_something_to_do(self) -> bool:
        """Is there something for the writer: to look after, to send, or to end?"""
        return bool(self._ready or self.outbox.buffers) or self.is_over

    @property
    def may_start_more(self) -> bool:
        """Could a further request start, beside those in flight?"""
        busy = bool(self._in_flight) or self.closes_something
        return busy and self._serial is None and not self.closing

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight."""
        return not self._in_flight

    @property
    def closes_something(self) -> bool:
        """Is there background work that is being closed, of which somebody will have to be told?"""
        return bool(self._closing_down)

    @property
    def commands(self) -> Iterator[Command[Req, S]]:
        """Those in flight, in the order of requests."""
        return iter(self._in_flight)

    def is_writing(self, command: Command[Req, S]) -> bool:
        """Does it wait for the client to read, rather than the other way round?"""
        background = command.background
        return command in self._written or (background is not None and background.has_chunks)

    def time_out(self, command: Command[Req, S]) -> None:
        """It has made no progress for too long: have it end, if it is parked."""
        if command.state is State.PARKED:
            self._counters.timed_out += 1
            command.interrupt(Status.TIMED_OUT)

    def drop(self) -> list[Background]:
        """The connection is gone: forget all commands; returns what is not closed yet."""
        self.closing = True
        for command in tuple(self._in_flight):
            command.take_step(Step.DROP)
            self._counters.in_flight -= 1
            self._counters.dropped += 1
            if self._hooks.dropped:
                self._hooks.tell(self._hooks.dropped, command)
        self._in_flight.clear()
        self._ordered.clear()
        self._ready.clear()
        self._held = self._serial = None
        self.outbox.give_back()
        return self._closing_down.backgrounds
