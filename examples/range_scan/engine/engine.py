"""The engine: who may ask for what, and which part of it executes that.

Invariant: before a client has logged in, it gets nothing but `OPEN_TO_ALL`. Who begins to log in
anew has not logged in until that has succeeded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from examples.range_scan.wire import Opcode, Status, replies, requests

from .bootstrap import Bootstrap
from .collections import Collections
from .creating import Creating
from .lobby import Lobby
from .reading import Reading
from .refusal import RefusalError
from .registry import ScanRegistry
from .scans import Scans
from .session import Session
from .statistics import VERSION, ServerStatistics
from .writing import Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import ewb
    from examples.range_scan.auth import Authenticator
    from examples.range_scan.store import Store
    from examples.range_scan.wire import BinaryProtocol, Topology

    from .session import Answer, Cookie
    from .settings import EngineSettings
    from .timers import Timers

OPEN_TO_ALL: Final = frozenset(
    {
        Opcode.HELLO,
        Opcode.SASL_LIST_MECHS,
        Opcode.SASL_AUTH,
        Opcode.SASL_STEP,
        Opcode.GET_ERROR_MAP,
    }
)
"""What clients may ask for before they have logged in."""
WITHOUT_BUCKET: Final = OPEN_TO_ALL | {
    Opcode.SELECT_BUCKET,
    Opcode.GET_CLUSTER_CONFIG,
    Opcode.NOOP,
    Opcode.VERSION,
    Opcode.QUIT,
    Opcode.QUITQ,
    Opcode.STAT,
}
"""What clients may ask for before they have selected a bucket."""


class Engine:
    """Executes all commands: an `ewb.Engine`. Thread: front end.

    Args:
        settings: what it may do.
        store: where documents are.
        authenticator: who may log in.
        topology: what clients are told of the cluster.
        timers: for what takes too long.
        statistics: what STAT is to show besides.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        store: Store,
        authenticator: Authenticator,
        topology: Topology,
        timers: Timers,
        statistics: Callable[[], Mapping[str, object]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._lobby = Lobby(timers, settings.max_strangers, settings.login_timeout)
        self._registry = ScanRegistry(timers, settings.scan_lifetime)
        bootstrap = Bootstrap(settings, authenticator, topology, self._lobby)
        reading, writing = Reading(store), Writing(store)
        creating = Creating(store, self._registry, timers)
        scans = Scans(store, self._registry)
        collections = Collections(store)
        self._handlers: dict[type[requests.Request], Callable[[Session, Cookie], Answer]] = {
            requests.Malformed: _malformed,
            requests.Hello: bootstrap.hello,
            requests.ListMechanisms: bootstrap.list_mechanisms,
            requests.Authenticate: bootstrap.authenticate,
            requests.GetErrorMap: bootstrap.get_error_map,
            requests.SelectBucket: bootstrap.select_bucket,
            requests.GetClusterConfig: bootstrap.get_cluster_config,
            requests.Noop: _noop,
            requests.Version: _version,
            requests.Quit: _quit,
            requests.Stat: ServerStatistics(store, self._registry, statistics).stat,
            requests.GetManifest: collections.get_manifest,
            requests.GetCollectionId: collections.get_id,
            requests.Get: reading.get,
            requests.GetMeta: reading.get_meta,
            requests.GetAndTouch: writing.write,
            requests.Store: writing.write,
            requests.Concatenate: writing.write,
            requests.Count: writing.write,
            requests.Delete: writing.write,
            requests.Touch: writing.write,
            requests.Flush: writing.flush,
            requests.CreateScan: creating.create,
            requests.ContinueScan: scans.continue_,
            requests.CancelScan: scans.cancel,
        }

    def connect(self, connection: ewb.Connection) -> None:
        """A client has connected."""
        protocol = cast("BinaryProtocol", connection.protocol)
        session = connection.stash = Session(protocol, connection, self._store.vbuckets)
        if self._settings.needs_login:
            self._lobby.enter(connection)
        else:
            session.trust()

    def disconnect(self, connection: ewb.Connection) -> None:
        """A client is gone: so is what only it wanted."""
        self._lobby.leave(connection)
        self._store.withdraw(connection)
        session = cast("Session", connection.stash)
        for undo in session.if_gone.values():
            undo()

    def execute(self, cookie: Cookie) -> Answer:
        """Execute a command, or say that it would block."""
        session = cast("Session", cookie.connection.stash)
        try:
            self._check_access(session, cookie.request.head.opcode)
            return self._handlers[type(cookie.request)](session, cookie)
        except RefusalError as refusal:
            cookie.reply = refusal.context
            return refusal.status

    def close(self) -> None:
        """Close all scans; the store can be closed then."""
        self._registry.close()

    def _check_access(self, session: Session, opcode: int) -> None:
        if opcode not in OPEN_TO_ALL and not session.is_trusted:
            raise RefusalError(Status.NO_ACCESS, "log in first")
        if opcode not in WITHOUT_BUCKET and not session.has_bucket:
            raise RefusalError(Status.NO_BUCKET, "select a bucket first")


def _malformed(_: Session, cookie: Cookie) -> Answer:
    request = cast("requests.Malformed", cookie.request)
    raise RefusalError(request.status, request.context)


def _noop(_: Session, __: Cookie) -> Answer:
    return Status.SUCCESS


def _version(_: Session, cookie: Cookie) -> Answer:
    cookie.reply = replies.text(VERSION)
    return Status.SUCCESS


def _quit(_: Session, cookie: Cookie) -> Answer:
    cookie.connection.close()
    return Status.SUCCESS
