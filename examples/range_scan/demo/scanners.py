"""The two kinds of clients that scan: the raw one of this example, and the stock Couchbase SDK."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, TypeVar

from examples.range_scan import wire
from examples.range_scan.client import Range

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from examples.range_scan.client import Client

    from .processes import Server
    from .verify import Document

T = TypeVar("T")


class Scanner(Protocol[T]):
    """A client that scans. Thread: any but the front end, one at a time."""

    title: str

    def receive(self, prefix: bytes) -> Iterator[T]:
        """Scan a prefix, or all with none. Yields what comes, as it comes."""
        ...

    def documents(self, part: T) -> Iterable[Document]:
        """The documents in a part of what came."""
        ...


class RawScanner:
    """The raw client: as fast as it can receive, as it takes no packet apart before it is asked to."""

    title = "raw client"

    def __init__(self, client: Client) -> None:
        self._client = client

    def receive(self, prefix: bytes) -> Iterator[bytes]:
        """Scan a prefix, or all with none. Yields packets."""
        return self._client.scan_all(Range.prefix(prefix), name="demo")

    def documents(self, part: bytes) -> Iterator[Document]:
        """The documents in a packet."""
        for document in wire.documents_in(part):
            yield document.key, document.value


@contextmanager
def connected(server: Server) -> Generator[RawScanner]:
    """A raw client. Thread: any but the front end. ClientError."""
    with server.connect() as client:
        yield RawScanner(client)


def has_sdk() -> bool:
    """Is the stock SDK installed?"""
    return find_spec("couchbase") is not None
