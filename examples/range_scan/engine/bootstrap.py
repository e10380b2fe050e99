"""How a connection begins: HELLO, the login, the error map, the bucket, the cluster config."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, cast

from examples.range_scan.auth import PLAIN, LoginFailedError
from examples.range_scan.wire import Feature, Opcode, Status, error_map, replies

from .refusal import RefusalError

if TYPE_CHECKING:
    from examples.range_scan.auth import Authenticator
    from examples.range_scan.wire import Topology
    from examples.range_scan.wire.requests import Authenticate, GetErrorMap, Hello, SelectBucket

    from .lobby import Lobby
    from .session import Answer, Cookie, Session
    from .settings import EngineSettings

logger: Final = logging.getLogger(__name__)


class Bootstrap:
    """Executes the commands of a connection's beginning. Thread: front end."""

    def __init__(
        self,
        settings: EngineSettings,
        authenticator: Authenticator,
        topology: Topology,
        lobby: Lobby,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._topology = topology
        self._lobby = lobby

    def hello(self, session: Session, cookie: Cookie) -> Answer:
        """Agree on features."""
        request = cast("Hello", cookie.request)
        cookie.reply = replies.features(session.hello(request.agent, request.features))
        return Status.SUCCESS

    def list_mechanisms(self, _: Session, cookie: Cookie) -> Answer:
        """How to log in."""
        names = self._authenticator.mechanisms(plain=self._settings.plain)
        cookie.reply = replies.text(" ".join(names))
        return Status.SUCCESS

    def authenticate(self, session: Session, cookie: Cookie) -> Answer:
        """One step of a login."""
        request = cast("Authenticate", cookie.request)
        step = self._last if request.head.opcode == Opcode.SASL_STEP else self._first
        try:
            payload = step(session, request)
        except LoginFailedError:
            return self._failed(session)
        cookie.reply = replies.Reply(payload)
        if session.exchange is not None:
            return Status.AUTH_CONTINUE
        session.trust()
        self._lobby.leave(session.connection)
        return Status.SUCCESS

    def _first(self, session: Session, request: Authenticate) -> bytes:
        """It begins, and what was there before is over: a login, or one half done."""
        session.exchange = None
        session.attempts += 1
        if session.is_trusted and self._settings.needs_login:
            session.distrust()
            self._lobby.enter(session.connection)
        if session.attempts > self._settings.max_attempts:
            raise LoginFailedError
        if request.mechanism == PLAIN and self._settings.plain:
            self._authenticator.check_plain(request.payload)
            return b""
        exchange = self._authenticator.scram(request.mechanism)
        payload = exchange.first(request.payload)
        session.exchange = exchange
        return payload

    def _last(self, session: Session, request: Authenticate) -> bytes:
        exchange, session.exchange = session.exchange, None
        if exchange is None:
            session.attempts += 1
            raise LoginFailedError
        if exchange.mechanism != request.mechanism:
            raise LoginFailedError
        return exchange.final(request.payload)

    def _failed(self, session: Session) -> Answer:
        logger.warning("login from %s failed", session.connection.peer)
        if session.attempts >= self._settings.max_attempts:
            session.connection.close()
        raise RefusalError(Status.AUTH_ERROR, "the login failed")

    def get_error_map(self, _: Session, cookie: Cookie) -> Answer:
        """What statuses mean."""
        request = cast("GetErrorMap", cookie.request)
        cookie.reply = replies.as_json(error_map(request.version))
        return Status.SUCCESS

    def select_bucket(self, session: Session, cookie: Cookie) -> Answer:
        """Use the bucket. Whether another one exists is no concern of the client's."""
        request = cast("SelectBucket", cookie.request)
        session.has_selected = request.name == self._settings.bucket
        if not session.has_selected:
            raise RefusalError(Status.NO_ACCESS, "there is no such bucket, or not for you")
        return Status.SUCCESS

    def get_cluster_config(self, session: Session, cookie: Cookie) -> Answer:
        """Where is what."""
        if session.has_selected or not session.may_use(Feature.SELECT_BUCKET):
            cookie.reply = replies.as_json(self._topology.with_bucket())
        else:
            cookie.reply = replies.as_json(self._topology.without_bucket())
        return Status.SUCCESS
