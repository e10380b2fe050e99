"""To look into a server over its own wire, and at its process: is it as if nothing had been?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from examples.range_scan.client import Client, Login, Range
from examples.range_scan.wire import Frame, Opcode, documents_in

from .server import PASSWORD, USER
from .waiting import GUARD, wait_for

if TYPE_CHECKING:
    from .server import ServerProcess

PROBE: Final = b"the observer's own"
AT_REST: Final = (
    "front_end:waiting",
    "front_end:parked",
    "front_end:ready",
    "front_end:complete",
    "front_end:suspended",
    "front_end:unsent_bytes",
    "workers:producers",
    "workers:queued",
    "workers:suspended",
    "workers:buffered_bytes",
    "store:queued",
    "store:waiters",
    "store:scans",
)
"""Statistics that are 0 while nobody wants anything."""


def connect(server: ServerProcess) -> Client:
    """A client that waits as long as it takes."""
    return Client.connect("127.0.0.1", server.port, Login(USER, PASSWORD), timeout=GUARD)


def put(client: Client, key: bytes, value: bytes) -> None:
    """Write one document. RefusedError."""
    assert sum(client.store([(key, value)], datatype=0)) == 1


def scanned(client: Client) -> dict[bytes, bytes]:
    """All documents."""
    parts = client.scan_all(Range())
    return {document.key: document.value for part in parts for document in documents_in(part)}


class Observer:
    """A client that nothing happens to. Made when the server is as it should be."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._client = connect(server)
        self._writes = 0
        self.assert_served()
        self._before = server.held()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def statistics(self, group: str = "") -> dict[str, str]:
        """What the server says of itself."""
        return self._client.statistics(group)

    def assert_served(self) -> None:
        """The server writes, reads and scans."""
        self._writes += 1
        value = b"%d" % self._writes
        put(self._client, PROBE, value)
        assert self._client.get(PROBE) == value

    def assert_as_before(self) -> None:
        """All who have left have left nothing: no command, scan, byte, thread, or descriptor.

        But scans between two CONTINUEs, which any client may go on with: these are cancelled.
        """
        wait_for(self._left, "left behind")
        assert self._server.readers() == 0

    def _left(self) -> object:
        self._cancel_idle_scans()
        now = self.statistics()
        left: dict[str, object] = {name: now[name] for name in AT_REST if now[name] != "0"}
        if now["front_end:connections"] != "1":
            left["connections"] = now["front_end:connections"]
        held = self._server.held()
        if held.descriptors > self._before.descriptors or held.threads > self._before.threads:
            left["held"] = held, self._before
        return left

    def _cancel_idle_scans(self) -> None:
        shown = self.statistics("range-scans")
        for name, value in shown.items():
            scan, _, what = name.partition(":")
            if what == "is_being_continued" and value == "false":
                uuid = bytes.fromhex(scan.removeprefix("scan_"))
                vbucket = int(shown[f"{scan}:vbucket"])
                cancel = Frame(Opcode.RANGE_SCAN_CANCEL, code=vbucket, extras=uuid)
                self._client._connection.ask(cancel)
