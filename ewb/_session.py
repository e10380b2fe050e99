"""One connection's life: the task that owns it, and another that reads while the owner has to wait.

    the client ──▶ reader: feed, start commands ──▶ ┌──────────┐ ──▶ owner: look after what is ready,
                                                    │ pipeline │      encode, send all of it at once
          workers, notifications: wake the owner ──▶└──────────┘

While nothing is in flight the owner reads itself, and the reader rests; as it does while a command that
lets no others start is under way, but for no longer than `UNNOTICED`: a client may leave meanwhile.

Invariants: only the owner writes to the stream. One of the two reads at a time, and neither while more
than `READ_AHEAD` bytes wait to be parsed. Whatever ends the session, every
producer of its commands is closed, and then the engine is told, before `serve` returns.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from ._connection import Connection, peer_of
from ._frame_meter import FrameMeter
from ._pipeline import Pipeline
from ._protocol import ProtocolError
from ._send import send_at_once, send_in_turn
from ._waiting import wait_whatever_comes
from ._waker import Waker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ._protocol import Buffer, Protocol
    from ._shared import Shared

Req = TypeVar("Req")
S = TypeVar("S")

READ_AT_ONCE: Final = 64 * 1024
"""Bytes asked of a stream at a time."""
READ_AHEAD: Final = 64 * 1024
"""Bytes that may wait to be parsed while commands are held; reading on notices a client that leaves."""
SENDS_AT_ONCE: Final = 4
"""Times that the owner sends, none of which had to wait, before it gives way to others."""
UNNOTICED: Final = 0.25
"""Seconds after which somebody has to read, so that a client that leaves is noticed."""
LINGER: Final = 1.0
"""Seconds that a client is given to read the last answer: closing with unread data would destroy it."""

logger: Final = logging.getLogger("ewb")


class ClientGoneError(Exception):
    """The stream is broken or closed; so said the stream, and not a protocol that raised the same."""


class _AtTheStream:
    """Around what is done with a stream. A class, as it is entered for each command."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Nothing is to be done yet."""

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        if kind is not None and issubclass(kind, (trio.BrokenResourceError, trio.ClosedResourceError)):
            raise ClientGoneError


at_the_stream: Final = _AtTheStream()


class Session(Generic[Req, S]):
    """Serves one stream. Thread: front end."""

    def __init__(
        self, stream: trio.abc.Stream, protocol: Protocol[Req, S, Any, Any], shared: Shared[Req, S]
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._engine = shared.engine
        self._settings = shared.settings
        self._counters = shared.counters
        self._watchdog = shared.watchdog
        self._turns = shared.turns
        self._scope = trio.CancelScope()
        self._to_do = Waker()  # for the owner
        self._room = Waker()  # for the reader: more may be parsed
        self._reader_wanted = Waker()
        self._reader_rests = False
        self._interrupted = trio.CancelScope()  # of an owner that reads itself
        self._reads_alone = False
        self._late: bytes | bytearray | None = None  # what it had read when it was interrupted
        self._gone = trio.Event()  # the client sends no more
        self._frame = FrameMeter(protocol)
        self._sending_since = inf  # of Trio's clock
        self._sent_at_once = 0  # times, since the owner last gave way
        self._lingers = False  # the client has time to read the last of it
        self._active_at = trio.current_time()
        self._completed = 0  # commands, when we looked last
        self.pipeline = Pipeline(protocol, shared, self._to_do.wake)
        self.connection = Connection(protocol, peer_of(stream), self.close, self.abort)
        self.pipeline.connection = self.connection

    # -- its end, as others wish it -------------------------------------------------------------

    def close(self) -> None:
        """Pull no more requests; end when what is in flight is answered."""
        self.pipeline.closing = True
        self._to_do.wake()
        if self._reads_alone:
            self._interrupted.cancel()

    def abort(self) -> None:
        """End at once: nothing more is executed, or sent."""
        self.pipeline.abort()
        self._scope.cancel()

    # -- its life ---------------------------------------------------------------------------------

    @enable_ki_protection
    async def serve(self) -> None:
        """Serve until the client leaves, or `close` or `abort`."""
        self._watchdog.watch(self)
        try:
            with self._scope:
                self._connect()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guarded, self._read)
                    await self._guarded(self._own)
                    nursery.cancel_scope.cancel()
        finally:
            await self._leave()

    def _connect(self) -> None:
        if connect := getattr(self._engine, "connect", None):
            try:
                connect(self.connection)
            except Exception:
                logger.exception("connect of the engine failed for %s", self.connection.peer)
                self.abort()

    async def _guarded(self, task: Callable[[], Awaitable[None]]) -> None:
        """An error ends this session, and nothing else."""
        try:
            await task()
        except ClientGoneError:
            self.abort()
        except Exception:
            logger.exception("serving %s failed, so it is closed", self.connection.peer)
            self.abort()

    async def _leave(self) -> None:
        self._watchdog.forget(self)
        try:
            with trio.CancelScope(shield=True):
                closing = self.pipeline.drop()
                await self._close_stream()
                await wait_whatever_comes(*(background.finished for background in closing))
                self.pipeline.report_closed()
        finally:
            if disconnect := getattr(self._engine, "disconnect", None):
                try:
                    disconnect(self.connection)
                except Exception:
                    logger.exception("disconnect of the engine failed for %s", self.connection.peer)

    async def _close_stream(self) -> None:
        try:
            await trio.aclose_forcefully(self._stream)
        except Exception:
            logger.exception("closing the stream of %s failed", self.connection.peer)

    # -- reading ----------------------------------------------------------------------------------

    @enable_ki_protection
    async def _read(self) -> None:
        """The reader's task."""
        pipeline = self.pipeline
        while not self._gone.is_set():
            if not self._reader_has_to_read:
                self._reader_rests = True
                self._to_do.wake()  # the owner may read
                await self._reader_wanted.wait()
            while self._frame.unparsed > READ_AHEAD and not (pipeline.wants_data or pipeline.closing):
                await self._room.wait()
                await self._start_commands()
            with at_the_stream:
                data = await self._stream.receive_some(READ_AT_ONCE)
            await self._take_in(data)
            if pipeline.has_something_to_do:
                self._to_do.wake()

    @property
    def _reader_has_to_read(self) -> bool:
        """Because the owner cannot: it waits for the client, or for what is in flight."""
        pipeline = self.pipeline
        eager = self._settings.half_close_timeout == 0 and not pipeline.is_idle
        return self._lingers or self._sending_since < inf or pipeline.may_start_more or eager

    def _want_reader(self) -> None:
        """The owner cannot read itself now."""
        if self._reader_rests and not self._gone.is_set():
            self._reader_rests = False
            self._reader_wanted.wake()

    async def _take_in(self, data: bytes | bytearray) -> None:
        """Data has come: start the commands in it."""
        self._counters.bytes_received += len(data)
        self._active_at = trio.current_time()
        self._frame.feed(len(data))
        if not data:
            self._gone.set()
        self.pipeline.feed(bytes(data))
        await self._start_commands()
        if not data and self._settings.half_close_timeout == 0 and not self.pipeline.is_idle:
            self.abort()
        self._watchdog.watch(self)

    async def _start_commands(self) -> None:
        """Start what may start; after a turn's worth, others have theirs."""
        per_turn = self._settings.commands_per_turn
        while self.pipeline.advance(per_turn) == 0:
            self._to_do.wake()
            await trio.lowlevel.checkpoint()
        self._look_at_frame()

    def _look_at_frame(self) -> None:
        pipeline, frame = self.pipeline, self._frame
        frame.look(pipeline.pulled, wants_data=pipeline.wants_data)
        if frame.stalled_since < inf:
            self._watchdog.watch(self)
        if pipeline.wants_data and frame.unparsed > self._settings.max_frame:
            self._refuse(f"a frame of more than {self._settings.max_frame} bytes (max_frame)")

    def _refuse(self, why: str) -> None:
        if not self.pipeline.closing:
            self.pipeline.refuse(ProtocolError(why))
            self.close()

    # -- writing ----------------------------------------------------------------------------------

    @enable_ki_protection
    async def _own(self) -> None:
        """The owner's task."""
        while not self.pipeline.is_over:
            with trio.CancelScope() as self._interrupted:  # one for all reads: each costs 8 µs
                await self._look_after_all()
            late, self._late = self._late, None
            if late is not None:
                await self._take_in(late)
        await self._end()

    async def _look_after_all(self) -> None:
        """Do what there is to do, until all is over, or a read is interrupted."""
        pipeline = self.pipeline
        while not pipeline.is_over:
            more = pipeline.turn()
            self._to_do.clear()  # whoever rang for something has it done by now, or `more` says so
            self._look_at_frame()
            self._room.wake()
            if out := pipeline.outbox.take():
                await self._send(out)
                if self._sent_at_once >= SENDS_AT_ONCE:
                    self._sent_at_once = 0
                    await trio.lowlevel.checkpoint()
            elif more:
                await trio.lowlevel.checkpoint()
            elif self._may_read_alone:
                await self._read_alone()
                if self._late is not None:
                    return
            elif not pipeline.is_over:
                if pipeline.may_start_more or self._settings.half_close_timeout == 0:
                    self._want_reader()
                self._sent_at_once = 0
                await self._to_do.wait()

    @property
    def _may_read_alone(self) -> bool:
        pipeline = self.pipeline
        idle = pipeline.is_idle and pipeline.wants_data and not pipeline.has_something_to_do
        over = pipeline.closing or self._gone.is_set()
        return idle and self._reader_rests and not (over or pipeline.closes_something)

    async def _read_alone(self) -> None:
        """Nothing is in flight, so do without the reader: one change of tasks a command is enough."""
        while self._may_read_alone:
            self._reads_alone = True
            try:
                with at_the_stream:
                    data = await self._stream.receive_some(READ_AT_ONCE)
            finally:
                self._reads_alone = False
            if self._interrupted.cancel_called:
                self._late = data  # nothing may wait in this scope any more
                return
            await self._take_in(data)
            if out := self.pipeline.outbox.take():
                await self._send(out)
                # Others have their turn; and then the next request is often there, unwaited for.
                await trio.lowlevel.checkpoint()

    async def _send(self, out: Sequence[Buffer]) -> None:
        """Send all of it. If that has to wait for the client, the reader takes over meanwhile."""
        if self._scope.cancel_called:
            await trio.lowlevel.checkpoint_if_cancelled()
        rest = send_at_once(self._stream, out, self._progress)
        if rest:
            self._sent_at_once = 0
            self._sending_since = trio.current_time()
            self._watchdog.watch(self)
            self._want_reader()
            with at_the_stream:
                await send_in_turn(self._stream, rest, self._progress, self._turns)
            self._sending_since = inf
        else:
            self._sent_at_once += 1
        self.pipeline.sent()

    async def _linger(self) -> None:
        """Throw away what still comes: closing with it unread would destroy our last words."""
        self._lingers = True
        self._room.wake()
        self._want_reader()
        with trio.move_on_after(LINGER):
            await self._gone.wait()

    def _progress(self, sent: int) -> None:
        self._counters.bytes_sent += sent
        self._counters.writes += 1
        self._active_at = trio.current_time()
        if self._sending_since < inf:
            self._sending_since = self._active_at

    async def _end(self) -> None:
        """All is answered and sent: leave in a way that lets the client read it."""
        if not self._gone.is_set():
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                with at_the_stream:
                    await self._stream.send_eof()
                await self._linger()
            elif self.pipeline.refused:
                await self._linger()
        with trio.move_on_after(LINGER), at_the_stream:
            await self._stream.aclose()

    # -- its time limits --------------------------------------------------------------------------

    def check(self, now: float) -> bool:
        """See `Watched`."""
        settings, pipeline = self._settings, self.pipeline
        if pipeline.completed > self._completed:  # progress, though a quiet command sends nothing
            self._completed, self._active_at = pipeline.completed, now
        if now > self._sending_since + settings.write_timeout:
            self._time_out("it has not read anything", "write_timeout", settings.write_timeout)
        elif self._gone.is_set() and now > self._active_at + (settings.half_close_timeout or inf):
            self._time_out(
                "its commands made no progress since it half-closed",
                "half_close_timeout",
                settings.half_close_timeout,
            )
        elif pipeline.wants_data and now > self._frame.stalled_since + settings.frame_timeout:
            self._refuse(f"a frame that stalled for {settings.frame_timeout:g} seconds (frame_timeout)")
        elif pipeline.is_idle and now > self._active_at + settings.idle_timeout:
            self.close()
        if self._reader_rests and not pipeline.is_idle and now > self._active_at + UNNOTICED:
            self._want_reader()
        if settings.command_timeout < inf:
            self._check_commands(now - settings.command_timeout)
        return (
            self._sending_since < inf
            or self._gone.is_set()
            or self._frame.stalled_since < inf
            or settings.idle_timeout < inf
            or (not pipeline.is_idle and (self._reader_rests or settings.command_timeout < inf))
        )

    def _check_commands(self, since: float) -> None:
        for command in tuple(self.pipeline.commands):
            if command.progress_at < since and not self.pipeline.is_writing(command):
                self.pipeline.time_out(command)

    def _time_out(self, what: str, setting: str, seconds: float) -> None:
        logger.info(
            "%s is cut off: %s for %g seconds (%s)", self.connection.peer, what, seconds, setting
        )
        self._counters.timed_out += 1
        self.abort()
