"""The server: store, engine and front end, put together.

bytes ─▶ wire.BinaryProtocol ─▶ ewb.FrontEnd ─▶ engine.Engine ─▶ store.Store
                                    ▲                               │
                                    └── chunks, from a worker ◀─────┘
"""

from __future__ import annotations

import logging
import signal
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import TYPE_CHECKING, Final, NoReturn

import attrs
import trio

import ewb

from . import wire
from .auth import Authenticator
from .engine import Engine, EngineSettings, Timers
from .settings import ServerError
from .store import Settings as StoreSettings
from .store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence

    from .settings import ServerSettings

    Listeners = Sequence[trio.abc.Listener[trio.abc.Stream]]

FRAME_TIMEOUT: Final = 30.0
"""Seconds within which a frame must make progress."""
MAX_FRAME: Final = wire.MAX_FRAME + 1024 * 1024
"""Bytes. The protocol has a smaller bound, so that it is the one that answers."""

MODERATION: Final = 0.004
"""Seconds for which a scan that is being sent may gather: half a buffer is sent at once, not less."""

KEPT: Final = 24 * 1024 * 1024
"""Bytes. Once as many were freed in one piece, glibc gives twice as many back to the system no more."""

WRITE_TIMEOUT: Final = 30.0
"""Seconds beyond a scan's lifetime within which a client must read something."""

logger: Final = logging.getLogger(__name__)


async def run(settings: ServerSettings) -> None:
    """Serve until SIGINT or SIGTERM; then let commands finish, and return. At a second one, do not.

    Thread: the main thread, which gets signals.

    Raises:
        ServerError: it cannot be done like this.
    """

    def announce(port: int) -> None:
        try:
            print(f"listening on {name_of(settings.host, port)}", flush=True)
        except OSError as error:
            msg = f"cannot write to the standard output ({error}): give it one that can be written to"
            raise ServerError(msg) from error

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        await serve(settings, stops=signals, ready=announce)


async def serve(
    settings: ServerSettings,
    *,
    stops: AsyncIterator[object] | None = None,
    ready: Callable[[int], object] = bool,
) -> None:
    """Serve until told to stop. Thread: front end.

    Args:
        settings: how.
        stops: the first item of it lets commands finish, and then serving ends; the second ends it at
            once. None: serve until cancelled.
        ready: is called with the port, once clients can connect.

    Raises:
        ServerError: it cannot be done like this.
    """
    settings.check()
    authenticator = _authenticator(settings)
    tls = _tls(settings)
    async with _open_store(settings) as store:
        listeners, port = await _listen(settings, tls)
        async with (
            _open_workers(settings) as workers,
            trio.open_nursery() as nursery,
        ):
            engine = Engine(
                _engine_settings(settings),
                store=store,
                authenticator=authenticator,
                topology=_topology(settings, store, port),
                timers=Timers(nursery),
                statistics=lambda: dict(_statistics(front_end, workers)),
            )
            front_end = ewb.FrontEnd(
                wire.BinaryProtocol,
                engine,
                workers,
                max_frame=MAX_FRAME,
                frame_timeout=FRAME_TIMEOUT,
                write_timeout=settings.scan_lifetime + WRITE_TIMEOUT,
            )
            with closing(engine):
                if stops is not None:
                    nursery.start_soon(_obey, stops, front_end, nursery.cancel_scope)
                ready(port)
                await front_end.serve_listeners(listeners, grace=settings.grace)
                nursery.cancel_scope.cancel()


def name_of(host: str, port: int) -> str:
    """HOST:PORT."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _obey(
    stops: AsyncIterator[object],
    front_end: ewb.FrontEnd[wire.requests.Request, wire.Status],
    scope: trio.CancelScope,
) -> None:
    await anext(stops)
    logger.info("asked to stop: finishing what is in flight")
    front_end.shutdown()
    await anext(stops)
    scope.cancel()


# -- the parts --------------------------------------------------------------------------------------


def _authenticator(settings: ServerSettings) -> Authenticator:
    try:
        return Authenticator(settings.user, settings.password)
    except ValueError as error:
        raise ServerError(str(error)) from error


def _tls(settings: ServerSettings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None

    def refuse() -> NoReturn:  # instead of asking at the terminal, which a service has not
        msg = f"{settings.tls_key} needs a pass phrase: give a key without one, which only you may read"
        raise ServerError(msg)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, refuse)
    except (OSError, ssl.SSLError) as error:
        msg = f"cannot use {settings.tls_cert} with {settings.tls_key} for TLS: {error}"
        raise ServerError(msg) from error
    return context


@asynccontextmanager
async def _open_store(settings: ServerSettings) -> AsyncGenerator[Store]:
    try:
        store_settings = StoreSettings(
            vbuckets=settings.vbuckets,
            collections=settings.collections,
            max_size=settings.max_size,
            max_growth=settings.max_growth,
            max_scans=settings.max_scans,
            sync=settings.sync,
            inflate=wire.snappy.inflate,
            plain_size=wire.snappy.plain_size,
        )
        store = await trio.to_thread.run_sync(Store.open, settings.data, store_settings)
    except (StoreError, ValueError) as error:
        raise ServerError(str(error)) from error
    except RuntimeError as error:
        raise ServerError(_no_thread(error)) from error
    try:
        yield store
    finally:
        # All clients are gone, and what they had queued is withdrawn: it waits for one group at most.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(store.close)


@asynccontextmanager
async def _open_workers(settings: ServerSettings) -> AsyncGenerator[ewb.Workers]:
    async with AsyncExitStack() as stack:
        bytes(KEPT)  # or each chunk might come from the system anew, and cost page faults
        pool = ewb.open_workers(threads=settings.threads, memory=settings.memory, moderation=MODERATION)
        try:
            workers = await stack.enter_async_context(pool)
        except RuntimeError as error:
            raise ServerError(_no_thread(error)) from error
        yield workers


def _no_thread(error: RuntimeError) -> str:
    return f"no thread can be started ({error}): end other programs, or allow this user more threads"


async def _listen(settings: ServerSettings, tls: ssl.SSLContext | None) -> tuple[Listeners, int]:
    """Listeners, and their port."""
    try:
        listeners = await trio.open_tcp_listeners(settings.port, host=settings.host)
    except (OSError, UnicodeError) as error:  # the latter: of a host that cannot be one
        where = name_of(settings.host, settings.port)
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot listen on {where}: {reason}; choose another --host or --port"
        raise ServerError(msg) from error
    if settings.port == 0:  # each has another port, and clients are told of one
        for other in listeners[1:]:
            await other.aclose()
        del listeners[1:]
    port = listeners[0].socket.getsockname()[1]
    if tls is None:
        return listeners, port
    return [trio.SSLListener(listener, tls) for listener in listeners], port


def _engine_settings(settings: ServerSettings) -> EngineSettings:
    return EngineSettings(
        bucket=settings.bucket,
        needs_login=not settings.no_auth,
        plain=settings.allow_plain or settings.tls_cert is not None,
        login_timeout=settings.login_timeout,
        max_strangers=settings.max_strangers,
        scan_lifetime=settings.scan_lifetime,
    )


def _topology(settings: ServerSettings, store: Store, port: int) -> wire.Topology:
    return wire.Topology(
        bucket=settings.bucket,
        uuid=f"{store.vbucket(0).uuid:032x}",
        vbuckets=store.vbuckets,
        port=port,
        tls=settings.tls_cert is not None,
    )


def _statistics(
    front_end: ewb.FrontEnd[wire.requests.Request, wire.Status], workers: ewb.Workers
) -> Iterator[tuple[str, object]]:
    for part, statistics in (
        ("front_end", front_end.statistics()),
        ("workers", workers.statistics()),
    ):
        for field in attrs.fields(type(statistics)):
            if field.name != "running":  # names producers
                yield f"{part}:{field.name}", getattr(statistics, field.name)
