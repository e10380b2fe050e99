"""A raw client: blocking sockets, and nothing between the caller and the wire.

It shows what a client has to do, and it measures the server: the stock SDK takes far longer for a row
than the server does.
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from examples.range_scan import wire
from examples.range_scan.wire import Datatype, Frame, Opcode, Status

from .connection import Connection
from .errors import ClientError, RefusedError
from .picks import NO_LIMITS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    from .connection import Login
    from .picks import Limits, Range, Sample

_SENT_TOGETHER = 64
_CONTINUE = struct.Struct(">16sIII")


class Client:
    """A client of one bucket. Made by `connect`; a context manager. Thread: any, one at a time.

    Each method raises RefusedError if the server refuses, and ClientError if it is gone.
    """

    def __init__(self, connection: Connection, vbuckets: int) -> None:
        self._connection = connection
        self.vbuckets = vbuckets
        """How many the server has."""

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        login: Login | None,
        *,
        bucket: str = "default",
        tls: ssl.SSLContext | None = None,
        timeout: float = 60,
    ) -> Self:
        """Connect, log in (None: the server lets anyone in), select the bucket, ask for its vBuckets.

        `timeout` in seconds is for each step of the network, then and later.

        Raises:
            LoginError: the server does not know this user, or has no such bucket for it.
            ClientError: it cannot be reached.
        """
        connection = Connection(host, port, tls=tls, timeout=timeout)
        try:
            return cls(connection, connection.begin(login, bucket))
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the connection; the server cancels a scan that it is reading."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- documents ------------------------------------------------------------------------------------

    def get(self, key: bytes, collection: int = 0) -> bytes | None:
        """The value of a document, if it is there; not compressed."""
        try:
            reply = self._connection.ask(self._about(Opcode.GET, key, collection))
        except RefusedError as error:
            if error.status == Status.NOT_FOUND:
                return None
            raise
        return plain(reply.value, reply.datatype)

    def store(
        self,
        documents: Iterable[tuple[bytes, bytes]],
        *,
        collection: int = 0,
        datatype: int = Datatype.JSON,
        window: int = 2048,
    ) -> Iterator[int]:
        """Set documents, `window` on the way at a time. Yields how many were acknowledged since.

        If one is refused, or the iterator is closed, those that are on the way may be stored or not.
        """
        source, waiting = iter(documents), 0
        try:
            while True:
                requests = [
                    self._set(key, value, collection, datatype)
                    for key, value in islice(source, _SENT_TOGETHER)
                ]
                self._connection.send(requests)
                waiting += len(requests)
                acknowledged = 0
                while waiting > (window if requests else 0):
                    waiting -= 1
                    self._connection.receive()
                    acknowledged += 1
                if acknowledged:
                    yield acknowledged
                if not requests:
                    return
        finally:
            self._skip(waiting)

    def collection_id(self, name: str) -> int:
        """The id of a collection by its name "scope.collection"."""
        reply = self._connection.ask(Frame(Opcode.GET_COLLECTION_ID, value=os.fsencode(name)))
        return int.from_bytes(reply.extras[8:12], "big")

    def statistics(self, group: str = "") -> dict[str, str]:
        """What the server says of itself; groups are "", "range-scans" and "vbucket"."""
        self._connection.send([Frame(Opcode.STAT, key=group.encode())])
        found: dict[str, str] = {}
        while (reply := self._connection.receive()).key:
            found[reply.key.decode()] = reply.value.decode()
        return found

    # -- scans ----------------------------------------------------------------------------------------

    def scan(
        self,
        vbucket: int,
        pick: Range | Sample,
        *,
        collection: int = 0,
        keys_only: bool = False,
        limits: Limits = NO_LIMITS,
        name: str = "",
    ) -> Iterator[bytes]:
        """Scan one vBucket. Yields what each packet has: see `wire.documents_in` and `wire.keys_in`.

        Values are as they were stored, so some may be compressed: see `plain`.
        An iterator that is closed before its end cancels the scan.
        """
        uuid = self._create(vbucket, pick, collection, keys_only=keys_only, name=name)
        if uuid is None:
            return
        extras = _CONTINUE.pack(uuid, limits.items, limits.milliseconds, limits.bytes)
        status, reading = Status.SCAN_MORE, False
        try:
            while status == Status.SCAN_MORE:
                self._connection.send([Frame(Opcode.RANGE_SCAN_CONTINUE, code=vbucket, extras=extras)])
                status, reading = Status.SUCCESS, True
                while status == Status.SUCCESS:
                    reply = self._connection.receive()
                    status, reading = Status(reply.code), reply.code == Status.SUCCESS
                    yield reply.value
        except GeneratorExit:
            self._leave(vbucket, uuid, status, reading=reading)
            raise

    def scan_all(self, pick: Range | Sample, **options: Any) -> Iterator[bytes]:
        """Scan all vBuckets, one after another: as `scan`."""
        for vbucket in range(self.vbuckets):
            yield from self.scan(vbucket, pick, **options)

    def _create(
        self, vbucket: int, pick: Range | Sample, collection: int, *, keys_only: bool, name: str
    ) -> bytes | None:
        """Create a scan. Returns its uuid; None if there is nothing to scan."""
        wanted = {
            **pick.to_json(),
            "key_only": keys_only,
            "collection": f"{collection:x}",
            "name": name,
        }
        request = Frame(Opcode.RANGE_SCAN_CREATE, code=vbucket, datatype=Datatype.JSON)
        request.value = json.dumps(wanted).encode()
        try:
            return self._connection.ask(request).value
        except RefusedError as error:
            if error.status == Status.NOT_FOUND:
                return None
            raise

    def _leave(self, vbucket: int, uuid: bytes, status: int, *, reading: bool) -> None:
        """Cancel a scan, and skip what is still on the way."""
        while reading:
            reply = self._connection.receive()
            status, reading = reply.code, reply.code == Status.SUCCESS
        if status == Status.SCAN_MORE:
            self._connection.ask(Frame(Opcode.RANGE_SCAN_CANCEL, code=vbucket, extras=uuid))

    def _skip(self, replies: int) -> None:
        """Receive these, that none of them is taken for the answer of a later call."""
        with suppress(ClientError):  # if the server is gone, that call will say so
            for _ in range(replies):
                with suppress(RefusedError):
                    self._connection.receive()

    def _about(self, opcode: Opcode, key: bytes, collection: int) -> Frame:
        """A request about a document."""
        code = wire.vbucket_of(key, self.vbuckets)
        return Frame(opcode, code=code, key=wire.leb128.encode(collection) + key)

    def _set(self, key: bytes, value: bytes, collection: int, datatype: int) -> Frame:
        request = self._about(Opcode.SET, key, collection)
        request.extras, request.value, request.datatype = bytes(8), value, datatype
        return request


def plain(value: bytes, datatype: int) -> bytes:
    """The value of a document, not compressed."""
    return wire.snappy.inflate(value) if datatype & Datatype.SNAPPY else value
