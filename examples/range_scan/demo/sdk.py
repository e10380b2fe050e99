"""The stock Couchbase SDK, with its defaults: it knows nothing of this server but its address.

The package `couchbase` need not be there: so import this module only if it is.
"""

# The package has no types that checkers may rely on.
# mypy: disable-error-code="import-untyped"
# pyright: reportMissingTypeStubs=false, reportArgumentType=false

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from couchbase.auth import PasswordAuthenticator
from couchbase.cluster import Cluster
from couchbase.exceptions import CouchbaseException
from couchbase.kv_range_scan import PrefixScan, RangeScan
from couchbase.options import ClusterOptions, ScanOptions
from couchbase.transcoder import RawJSONTranscoder

from .errors import DemoError
from .processes import HOST, USER

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .processes import Server
    from .verify import Document

_TOGETHER = 500
"""Documents in a part: between two, one can interrupt the demo."""


class SdkScanner:
    """Scans with the SDK, and has each document's text as it came."""

    title = "stock SDK"

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    def receive(self, prefix: bytes) -> Iterator[list[Document]]:
        """Scan a prefix, or all with none. Yields documents."""
        scan = PrefixScan(prefix.decode()) if prefix else RangeScan()
        options = ScanOptions(transcoder=RawJSONTranscoder())
        rows = self._collection.scan(scan, options)
        documents = ((row.id.encode(), row.content_as[bytes]) for row in rows)
        while part := list(islice(documents, _TOGETHER)):
            yield part

    def documents(self, part: list[Document]) -> list[Document]:
        """The documents in a part of them."""
        return part


@contextmanager
def connected(server: Server) -> Generator[SdkScanner]:
    """The SDK, connected and logged in. Thread: any but the front end.

    Raises:
        DemoError: it, or what is done with it in the block, fails.
    """
    login = ClusterOptions(PasswordAuthenticator(USER, server.password))
    try:
        cluster = Cluster.connect(f"couchbase://{HOST}:{server.port}", login)
        try:
            yield SdkScanner(cluster.bucket("default").default_collection())
        finally:
            cluster.close()
    except CouchbaseException as error:
        msg = f"the Couchbase SDK gave up ({type(error).__name__}): is the server still there?"
        raise DemoError(msg) from error
