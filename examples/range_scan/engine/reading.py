"""Reads documents, and makes them plain for clients that cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import ewb
from examples.range_scan.store import Document, StoreError
from examples.range_scan.wire import Datatype, Feature, Status, leb128, replies, snappy

from .refusal import RefusalError, of_store

if TYPE_CHECKING:
    from examples.range_scan.store import Store
    from examples.range_scan.wire.requests import DocumentRequest, Get, GetMeta

    from .session import Answer, Cookie, Session

INFLATED_HERE: Final = 64 * 1024
"""Bytes up to which a value is made plain on the front end: it takes less than handing it over."""


class Reading:
    """Executes GET and its kin. Thread: front end."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, session: Session, cookie: Cookie) -> Answer:
        """Read a document."""
        request = cast("Get", cookie.request)
        document = cookie.stash
        if not isinstance(document, Document):
            document = cookie.stash = self._find(session, request)
        return answer_document(session, cookie, document, with_key=request.with_key)

    def get_meta(self, session: Session, cookie: Cookie) -> Answer:
        """Read what is known of a document."""
        request = cast("GetMeta", cookie.request)
        document = self._find(session, request)
        cookie.reply = replies.meta(
            flags=document.flags,
            expiry=document.expiry,
            seqno=document.seqno,
            cas=document.cas,
            datatype=document.datatype if request.with_datatype else None,
        )
        return Status.SUCCESS

    def _find(self, session: Session, request: DocumentRequest) -> Document:
        vbucket = session.vbucket_of(request)
        try:
            document = self._store.get(vbucket, request.collection, request.key)
        except StoreError as error:
            raise of_store(error) from error
        if document is None:
            raise not_found()
        return document


def not_found() -> RefusalError:
    """There is no such document."""
    return RefusalError(Status.NOT_FOUND, "there is no such document")


def answer_document(session: Session, cookie: Cookie, document: Document, *, with_key: bool) -> Answer:
    """Answer with a document. Called again once a large one was made plain."""
    value, datatype = document.value, document.datatype
    if datatype & Datatype.SNAPPY and not session.may_use(Feature.SNAPPY):
        if cookie.status is ewb.Status.FAILED:
            raise RefusalError(Status.INTERNAL, f"the stored value is damaged: {cookie.exception}")
        if isinstance(cookie.result, bytes):
            value = cookie.result
        elif snappy.plain_size(value) > INFLATED_HERE:
            return cookie.run(snappy.inflate, value)
        else:
            value = snappy.inflate(value)
        datatype &= ~Datatype.SNAPPY
    key = b""
    if with_key:
        has_collections = session.may_use(Feature.COLLECTIONS)
        request = cast("DocumentRequest", cookie.request)
        key = (leb128.encode(request.collection) if has_collections else b"") + request.key
    cookie.reply = replies.document(
        value, flags=document.flags, cas=document.cas, datatype=datatype, key=key
    )
    return Status.SUCCESS
