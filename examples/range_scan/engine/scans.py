"""Executes RANGE_SCAN_CONTINUE and RANGE_SCAN_CANCEL.

CONTINUE streams a part of a scan: a producer on a worker reads ahead, the front end sends, and while a
client does not read, the producer is suspended. CANCEL drops a scan, whoever reads it.
"""

from __future__ import annotations

from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from examples.range_scan.store import Limits, Scan, ScanEnd, UnknownVBucketError
from examples.range_scan.wire import Datatype, Feature, Status, documents_in, snappy

from .refusal import RefusalError, of_store
from .registry import OpenScan

if TYPE_CHECKING:
    from collections.abc import Generator

    from examples.range_scan.store import Store
    from examples.range_scan.wire.requests import CancelScan, ContinueScan

    from .registry import ScanRegistry
    from .session import Answer, Cookie, Session

_HIGH_WATER: Final = 2 * 1024 * 1024  # as much again may be on its way to the client, beyond the budget
_ENDS: Final = {ScanEnd.MORE: Status.SCAN_MORE, ScanEnd.COMPLETE: Status.SCAN_COMPLETE}


class Scans:
    """Thread: front end."""

    def __init__(self, store: Store, registry: ScanRegistry) -> None:
        self._store = store
        self._registry = registry

    def continue_(self, session: Session, cookie: Cookie) -> Answer:
        """Stream a part of a scan, and then say whether there is more."""
        if isinstance(cookie.stash, OpenScan):
            del session.if_gone[cookie]
            return self._continued(cookie, cookie.stash)
        request = cast("ContinueScan", cookie.request)
        entry = self._find(request)
        self._registry.begin(entry, cookie)
        cookie.stash = entry
        session.if_gone[cookie] = partial(self._registry.remove, entry)
        request.keys_only = entry.scan.request.keys_only
        as_stored = request.keys_only or session.may_use(Feature.SNAPPY) or not entry.scan.compressed
        read = _read if as_stored else _read_plain
        limits = Limits(items=request.items, bytes=request.bytes, seconds=request.milliseconds / 1000)
        return cookie.produce(read, entry.scan, limits, high_water=_HIGH_WATER, same_thread=False)

    def _continued(self, cookie: Cookie, entry: OpenScan) -> Answer:
        self._registry.end(entry)
        if cookie.status is Status.SCAN_MORE:
            return Status.SCAN_MORE
        self._registry.remove(entry)
        if cookie.status is Status.SCAN_COMPLETE:
            return Status.SCAN_COMPLETE
        if cookie.exception is not None:
            raise of_store(cookie.exception)
        raise RefusalError(Status.SCAN_CANCELLED, "the scan was cancelled")

    def cancel(self, _: Session, cookie: Cookie) -> Answer:
        """Drop a scan; a command that continues it is told."""
        entry = self._find(cast("CancelScan", cookie.request))
        self._registry.cancel(entry, "a client has cancelled it")
        return Status.SUCCESS

    def _find(self, request: ContinueScan | CancelScan) -> OpenScan:
        vbucket = request.head.vbucket
        try:
            self._store.check(vbucket)
        except UnknownVBucketError as error:
            raise of_store(error) from error
        return self._registry.find(request.uuid, vbucket)


def _read(scan: Scan, limits: Limits) -> Generator[bytes, None, Status]:
    """Read a part of a scan, as it is stored. Thread: worker."""
    end = yield from scan.read(limits)
    return _ENDS[end]


def _read_plain(scan: Scan, limits: Limits) -> Generator[bytes, None, Status]:
    """Read a part of a scan for a client that knows no snappy. Thread: worker."""
    if limits.bytes:
        return (yield from _read_one_by_one(scan, limits))
    chunks = scan.read(limits)
    while True:
        try:
            chunk = next(chunks)
        except StopIteration as stop:
            return _ENDS[cast("ScanEnd", stop.value)]
        yield _plain(chunk)


def _read_one_by_one(scan: Scan, limits: Limits) -> Generator[bytes, None, Status]:
    """As `_read_plain`, up to so many plain bytes, which the store cannot count. Thread: worker."""
    deadline = monotonic() + limits.seconds if limits.seconds else inf
    items = size = 0
    while chunk := b"".join(map(_plain, scan.read(Limits(items=1)))):
        yield chunk
        items, size = items + 1, size + len(chunk)
        if size >= limits.bytes or items == limits.items or monotonic() >= deadline:
            return Status.SCAN_MORE
    return Status.SCAN_COMPLETE


def _plain(chunk: bytes) -> bytes:
    documents = list(documents_in(chunk))
    if not any(document.datatype & Datatype.SNAPPY for document in documents):
        return chunk
    for document in documents:
        if document.datatype & Datatype.SNAPPY:
            document.value = snappy.inflate(document.value)
            document.datatype &= ~Datatype.SNAPPY
    return b"".join(document.encode() for document in documents)
