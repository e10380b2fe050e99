"""What the engine knows of one connection: `Connection.stash`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import ewb
from examples.range_scan.wire import BinaryProtocol, Feature, Status, vbucket_of
from examples.range_scan.wire.requests import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.range_scan.auth import ScramExchange
    from examples.range_scan.wire.requests import DocumentRequest

Cookie: TypeAlias = ewb.Cookie[Request, Status]
Answer: TypeAlias = Status | ewb.Status


class Session:
    """One client's connection. Thread: front end.

    Args:
        protocol: the wire of this connection.
        connection: the front end's own.
        vbuckets: how many there are.
    """

    def __init__(self, protocol: BinaryProtocol, connection: ewb.Connection, vbuckets: int) -> None:
        self.protocol = protocol
        self.connection = connection
        self.agent = ""
        """What the client says it is."""
        self.is_trusted = False
        """It has logged in, or need not."""
        self.attempts = 0
        """Logins that it has begun since one succeeded, whatever came of them."""
        self.exchange: ScramExchange | None = None
        """A login that has begun."""
        self.has_selected = False
        """It has selected the bucket."""
        self.if_gone: dict[Cookie, Callable[[], object]] = {}
        """What is to be undone for a parked command if the client leaves."""
        self.said_hello = False
        """If not, it is a plain memcached client."""
        self._vbuckets = vbuckets

    def __repr__(self) -> str:
        return f"<Session of {self.agent or 'a client'} at {self.connection.peer}>"

    def trust(self) -> None:
        """It has logged in."""
        self.is_trusted = True
        self.attempts = 0
        self.protocol.trust()

    def distrust(self) -> None:
        """It begins to log in anew: until it has, it is a stranger again."""
        self.is_trusted = self.has_selected = False
        self.protocol.distrust()

    def hello(self, agent: str, features: tuple[int, ...]) -> list[int]:
        """It has said what it is and can; returns what it may use."""
        self.agent = agent
        self.said_hello = True
        return self.protocol.negotiate(features)

    def may_use(self, feature: Feature) -> bool:
        """Whether that was negotiated."""
        return feature in self.protocol.features

    @property
    def has_bucket(self) -> bool:
        """Whether it may use documents: who cannot select a bucket has the one there is."""
        return self.is_trusted and (self.has_selected or not self.may_use(Feature.SELECT_BUCKET))

    def vbucket_of(self, request: DocumentRequest) -> int:
        """The vBucket of a document: plain memcached clients know of none, and say 0."""
        if self.said_hello:
            return request.head.vbucket
        return vbucket_of(request.key, self._vbuckets)
