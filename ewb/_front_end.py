"""A server whose commands may block in the background, while the front end keeps serving."""

from __future__ import annotations

import errno
import logging
from collections import Counter
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio

from ._counters import Counters
from ._hooks import Hook, Hooks
from ._life import State
from ._protocol import check_engine, check_protocol, made_plain
from ._session import Session
from ._settings import FrontEndSettings
from ._shared import Shared
from ._statistics import FrontEndStatistics
from ._turns import Turns
from ._watchdog import Watchdog
from ._workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._protocol import Engine, Protocol

Req = TypeVar("Req")
S = TypeVar("S")
T = TypeVar("T")
P = TypeVar("P")

MAX_CONNECTIONS: Final = 10_000
MAX_COMMANDS: Final = 1024
MAX_IN_FLIGHT: Final = 100_000
COMMANDS_PER_TURN: Final = 64
MAX_UNSENT: Final = 1024 * 1024
MAX_FRAME: Final = 16 * 1024 * 1024
FRAME_TIMEOUT: Final = 60.0
WRITE_TIMEOUT: Final = 60.0
HALF_CLOSE_TIMEOUT: Final = 10.0
GRACE: Final = 10.0
NO_SLOT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Errors of `accept` that pass, when others close what they have open."""
BREATHER: Final = 0.1
"""Seconds to wait then."""

logger: Final = logging.getLogger("ewb")


class FrontEnd(Generic[Req, S]):
    """Serves clients: a protocol parses their requests, an engine executes them.

    Thread: front end, for all methods.
    """

    def __init__(
        self,
        protocol: Callable[[], Protocol[Req, S, T, P]],
        engine: Engine[Req, S],
        workers: Workers,
        *,
        max_connections: int = MAX_CONNECTIONS,
        max_commands: int = MAX_COMMANDS,
        max_in_flight: int = MAX_IN_FLIGHT,
        commands_per_turn: int = COMMANDS_PER_TURN,
        max_unsent: int = MAX_UNSENT,
        max_frame: int = MAX_FRAME,
        frame_timeout: float = FRAME_TIMEOUT,
        write_timeout: float = WRITE_TIMEOUT,
        command_timeout: float = inf,
        idle_timeout: float = inf,
        half_close_timeout: float = HALF_CLOSE_TIMEOUT,
        hooks: Sequence[Hook[Req, S]] = (),
    ) -> None:
        """Made within the block of `open_workers`.

        Args:
            protocol: makes the protocol object of a connection; often a class.
            engine: executes the commands of all connections.
            workers: where background work runs; their `memory` bounds all streams together.
            max_connections: connections at a time. `serve_listeners` then serves no more until one
                ends (each listener accepts one, which waits); `serve` closes the stream.
            max_commands: commands in flight, of one connection. No more are read then.
            max_in_flight: commands in flight, of all connections. More are answered `Status.BUSY`.
            commands_per_turn: commands after which other connections have their turn.
            max_unsent: bytes encoded and not sent, of one connection, plus what one command adds at
                a time. No commands are started, and no streams read, then.
            max_frame: bytes of a frame that is not whole yet. The connection is closed then, without
                a word: a protocol that has one for it needs a smaller bound of its own.
            frame_timeout: seconds within which a frame that has begun must be whole, or 64 KiB
                longer. The connection is closed then, after what is in flight was answered.
            write_timeout: seconds within which a client must read something of what is being sent.
                Its connection is cut off then.
            command_timeout: seconds without progress after which a parked command's background work
                is stopped, and it is executed again with `Status.TIMED_OUT`. Waiting for the client
                to read is no lack of progress.
            idle_timeout: seconds without a byte, nothing being in flight, after which a connection
                is closed.
            half_close_timeout: seconds without progress that commands have to finish once their
                client sends no more; it may have left for good, which TCP does not tell. 0: it has;
                its commands are dropped, and that it leaves is noticed at once, also during a lone
                SERIAL command (else within a quarter of a second, as that saves a change of tasks).
            hooks: are told of the life of each cookie.

        Raises:
            TypeError, ValueError: a bound is out of its range, or something is not of its kind: a hook
                is none, say, or a method async.
        """
        self._settings = FrontEndSettings(
            max_connections=max_connections,
            max_commands=max_commands,
            max_in_flight=max_in_flight,
            commands_per_turn=commands_per_turn,
            max_unsent=max_unsent,
            max_frame=max_frame,
            frame_timeout=frame_timeout,
            write_timeout=write_timeout,
            command_timeout=command_timeout,
            idle_timeout=idle_timeout,
            half_close_timeout=half_close_timeout,
        )
        check_protocol(protocol)
        check_engine(engine)
        if not isinstance(workers, Workers):
            msg = f"workers must be those of `async with open_workers() as workers`, not {workers!r}"
            raise TypeError(msg)
        self._counters = Counters()
        shared = Shared(
            engine=engine,
            workers=workers,
            settings=self._settings,
            hooks=Hooks(hooks),
            counters=self._counters,
            watchdog=Watchdog(self._settings),
            turns=Turns(),
        )
        make = protocol if isinstance(protocol, type) else partial(made_plain, protocol)
        self._new_session: Callable[[trio.abc.Stream], Session[Req, S]] = lambda stream: Session(
            stream, make(), shared
        )
        self._sessions: set[Session[Req, S]] = set()
        self._slots = trio.Semaphore(max_connections, max_value=max_connections)
        self._accepting: set[trio.CancelScope] = set()
        self._shut_down = False

    def __repr__(self) -> str:
        state = "shut down" if self._shut_down else "open"
        return f"<{state} FrontEnd: {len(self._sessions)} connections>"

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one client, until it leaves: the handler for `trio.serve_tcp`.

        What goes wrong with a client ends its connection, and is logged, but not raised. Closes the
        stream. Beyond `max_connections`, and after `shutdown`, does nothing else.

        Raises:
            BaseException: a `KeyboardInterrupt` or `SystemExit` that the engine or a producer raised.
        """
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            await self._turn_away(stream)
        else:
            await self._serve_in_slot(stream)

    async def serve_listeners(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        *,
        grace: float = GRACE,
        task_status: trio.TaskStatus[
            Sequence[trio.abc.Listener[trio.abc.Stream]]
        ] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve clients, until `shutdown`. Closes the listeners.

        Args:
            listeners: as from `trio.open_tcp_listeners`.
            grace: seconds that commands in flight have to finish, after `shutdown`.
            task_status: for `nursery.start`, which returns the listeners.

        Raises:
            OSError: a listener cannot accept any more.
            BaseException: a `KeyboardInterrupt` or `SystemExit` that the engine or a producer raised.
        """
        async with trio.open_nursery() as connections:
            with trio.CancelScope() as scope:
                self._accepting.add(scope)
                if self._shut_down:
                    scope.cancel()
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(self._accept, listener, connections)
                    task_status.started(listeners)
            self._accepting.discard(scope)
            connections.cancel_scope.deadline = trio.current_time() + grace

    def shutdown(self) -> None:
        """Accept no more clients, and read no more requests; connections end when all is answered.

        `serve_listeners` returns when they have ended, after its grace at the latest.
        """
        self._shut_down = True
        for scope in self._accepting:
            scope.cancel()
        for session in self._sessions:
            session.close()

    def statistics(self) -> FrontEndStatistics:
        """What the front end has done, and what it does now."""
        now, counters = Counter[State](), self._counters
        suspended = unsent = 0
        doorbells, suspensions = counters.doorbells, counters.suspensions
        for session in self._sessions:
            unsent += session.pipeline.outbox.unsent
            for command in session.pipeline.commands:
                now[command.state] += 1
                if (background := command.background) is not None:
                    suspended += background.suspended
                    doorbells += background.doorbells
                    suspensions += background.suspensions
        return FrontEndStatistics(
            connections=len(self._sessions),
            accepted=counters.accepted,
            refused=counters.refused,
            commands=counters.commands,
            waiting=now[State.WAITING],
            executing=now[State.EXECUTING],
            parked=now[State.PARKED],
            ready=now[State.READY],
            complete=now[State.COMPLETE],
            completed=counters.completed,
            failed=counters.failed,
            busy=counters.busy,
            dropped=counters.dropped,
            timed_out=counters.timed_out,
            would_blocks=counters.would_blocks,
            resumes=counters.resumes,
            seconds_parked=counters.seconds_parked,
            doorbells=doorbells,
            suspensions=suspensions,
            suspended=suspended,
            bytes_received=counters.bytes_received,
            bytes_sent=counters.bytes_sent,
            unsent_bytes=unsent,
            writes=counters.writes,
            protocol_errors=counters.protocol_errors,
        )

    # -- accepting --------------------------------------------------------------------------------

    async def _accept(
        self, listener: trio.abc.Listener[trio.abc.Stream], connections: trio.Nursery
    ) -> None:
        async with listener:
            while True:
                stream = await self._next_stream(listener)
                try:
                    await self._slots.acquire()
                except BaseException:
                    await self._close(stream)
                    raise
                connections.start_soon(self._serve_in_slot, stream)

    async def _next_stream(self, listener: trio.abc.Listener[trio.abc.Stream]) -> trio.abc.Stream:
        while True:
            try:
                return await listener.accept()
            except OSError as error:
                if error.errno not in NO_SLOT:
                    raise
                # No traceback: it says nothing, and this may come ten times a second.
                logger.error("cannot accept: %s; trying again in %g s", error.strerror, BREATHER)  # noqa: TRY400
                await trio.sleep(BREATHER)

    async def _serve_in_slot(self, stream: trio.abc.Stream) -> None:
        try:
            if self._shut_down:
                await self._turn_away(stream)
                return
            try:
                session = self._new_session(stream)
            except Exception:
                logger.exception("no protocol object could be made for a client, so it is closed")
                await self._turn_away(stream)
                return
            self._counters.accepted += 1
            self._sessions.add(session)
            try:
                await session.serve()
            finally:
                self._sessions.remove(session)
        finally:
            self._slots.release()

    async def _turn_away(self, stream: trio.abc.Stream) -> None:
        self._counters.refused += 1
        await self._close(stream)
        await trio.lowlevel.checkpoint()

    async def _close(self, stream: trio.abc.Stream) -> None:
        """Nobody serves it; and what goes wrong with one client ends no others."""
        try:
            await trio.aclose_forcefully(stream)
        except Exception:
            logger.exception("closing the stream of a client that was not served failed")
