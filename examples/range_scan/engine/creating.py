"""Executes RANGE_SCAN_CREATE: takes a snapshot, once it has in it what is required.

If that must wait for a sequence number, the command parks, without a thread, until the store's writer
or a timer notifies it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import attrs

import ewb
from examples.range_scan import store as stores
from examples.range_scan.store import Range, Requirement, Sample, Scan, ScanRequest
from examples.range_scan.wire import Reply, Status
from examples.range_scan.wire.requests import KeyRange

from .refusal import RefusalError, of_store

if TYPE_CHECKING:
    from examples.range_scan.store import Store
    from examples.range_scan.wire.requests import CreateScan, Sampling, SnapshotRequirements

    from .registry import ScanRegistry
    from .session import Answer, Cookie, Session
    from .timers import Timers


@attrs.define(eq=False)
class _Opening:
    """A snapshot that is being taken on a worker."""

    store: Store
    scan: Scan | None = None

    def open(self, request: ScanRequest) -> None:
        """Thread: worker."""
        self.scan = self.store.open_scan(request)

    def close(self) -> None:
        """Nobody wants it any more."""
        if self.scan is not None:
            self.scan.close()


class Creating:
    """Thread: front end."""

    def __init__(self, store: Store, registry: ScanRegistry, timers: Timers) -> None:
        self._store = store
        self._registry = registry
        self._timers = timers

    def create(self, session: Session, cookie: Cookie) -> Answer:
        """Take a snapshot, once it has in it what is required."""
        request = cast("CreateScan", cookie.request)
        if undo := session.if_gone.pop(cookie, None):
            if isinstance(cookie.stash, _Opening):
                return self._opened(cookie, cookie.stash)
            undo()
            if cookie.status is not ewb.Status.OK:
                raise RefusalError(Status.TEMPORARY_FAILURE, "the sequence number did not come in time")
        try:
            self._store.check(request.head.vbucket, request.collection)
            if not cookie.resumed and request.snapshot is not None:
                self._check_uuid(request.head.vbucket, request.snapshot)
                if self._must_wait(session, cookie, request.snapshot):
                    return ewb.Status.WOULD_BLOCK
            return self._open(session, cookie, request)
        except stores.StoreError as error:
            raise of_store(error) from error

    def _check_uuid(self, vbucket: int, snapshot: SnapshotRequirements) -> None:
        """Before waiting: no wait would change it."""
        uuid = self._store.vbucket(vbucket).uuid
        if uuid != snapshot.vbucket_uuid:
            msg = f"vBucket {vbucket} has the uuid {uuid}, not {snapshot.vbucket_uuid}"
            raise RefusalError(Status.VBUCKET_UUID_DIFFERS, msg)

    def _must_wait(self, session: Session, cookie: Cookie, snapshot: SnapshotRequirements) -> bool:
        """Have the cookie notified when the sequence number is there, or the time is over."""
        if not snapshot.timeout:
            return False  # the store says it if it is not there
        vbucket = cookie.request.head.vbucket
        waiter = self._store.when_persisted(vbucket, snapshot.seqno, cookie.notify)
        if waiter is None:
            return False
        too_late = partial(cookie.notify, Status.TEMPORARY_FAILURE)
        call_off = self._timers.after(snapshot.timeout, too_late)
        session.if_gone[cookie] = lambda: (waiter.cancel(), call_off())
        return True

    def _open(self, session: Session, cookie: Cookie, request: CreateScan) -> Answer:
        opening = _Opening(self._store)
        wanted = _scan_request(request)
        if self._walks(wanted):
            cookie.stash = opening
            session.if_gone[cookie] = opening.close
            return cookie.run(opening.open, wanted)
        opening.open(wanted)
        return self._opened(cookie, opening)

    def _walks(self, wanted: ScanRequest) -> bool:
        """Does opening it walk over documents, so that it is not for the front end?

        To find one with a sequence number, or the first that has not expired.
        """
        if wanted.requirement is not None and wanted.requirement.seqno_exists:
            return True
        return self._store.tally(wanted.vb, wanted.collection).expiring > 0

    def _opened(self, cookie: Cookie, opening: _Opening) -> Answer:
        if opening.scan is None:
            raise of_store(cookie.exception)
        cookie.reply = Reply(self._registry.add(opening.scan).uuid)
        return Status.SUCCESS


def _scan_request(request: CreateScan) -> ScanRequest:
    requirement = None
    if snapshot := request.snapshot:
        requirement = Requirement(
            uuid=snapshot.vbucket_uuid, seqno=snapshot.seqno, seqno_exists=snapshot.seqno_exists
        )
    return ScanRequest(
        vb=request.head.vbucket,
        collection=request.collection,
        keys_only=request.keys_only,
        pick=_pick(request.pick),
        requirement=requirement,
        name=request.name,
    )


def _pick(pick: KeyRange | Sampling) -> Range | Sample:
    if isinstance(pick, KeyRange):
        return Range(pick.start, pick.end, pick.start_inclusive, pick.end_inclusive)
    return Sample(pick.samples, pick.seed)
