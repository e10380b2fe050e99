"""Writes documents: each is queued at the store, and answered when it is on disk.

A write would block without holding a thread. The store's writer commits all that wait together, and
then notifies each cookie.
"""

from __future__ import annotations

import time
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final, cast

import ewb
from examples.range_scan import store as stores
from examples.range_scan.store import Mutation, Op, Outcome
from examples.range_scan.wire import Datatype, Feature, Opcode, Status, replies, snappy
from examples.range_scan.wire.requests import Concatenate, Count, Delete, GetAndTouch, Store, Touch

from .reading import INFLATED_HERE, answer_document, not_found
from .refusal import RefusalError, of_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.range_scan.wire.requests import DocumentRequest, Flush

    from .session import Answer, Cookie, Session

RELATIVE_EXPIRY: Final = 30 * 24 * 60 * 60
"""Up to this many seconds an expiry counts from now; beyond, it is a unix time."""
LAST_EXPIRY: Final = 0xFFFF_FFFF
_OPS: Final = {
    Opcode.SET: Op.SET,
    Opcode.ADD: Op.ADD,
    Opcode.REPLACE: Op.REPLACE,
    Opcode.APPEND: Op.APPEND,
    Opcode.PREPEND: Op.PREPEND,
    Opcode.INCREMENT: Op.INCR,
    Opcode.DECREMENT: Op.DECR,
}
_REFUSALS: Final = {
    stores.Status.EXISTS: (Status.EXISTS, "it exists, or its CAS is another one"),
    stores.Status.TOO_BIG: (Status.TOO_BIG, f"a value may have {snappy.MAX_VALUE} bytes"),
    stores.Status.NOT_A_NUMBER: (Status.NOT_A_NUMBER, "the document is no decimal number of 64 bits"),
    stores.Status.FULL: (Status.NO_MEMORY, "the store is full"),
    stores.Status.FAILED: (Status.INTERNAL, "the store could not write it"),
}


class Writing:
    """Executes SET and its kin. Thread: front end."""

    def __init__(self, store: stores.Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def write(self, session: Session, cookie: Cookie) -> Answer:
        """Any command that writes one document."""
        if isinstance(cookie.stash, Outcome):
            return _answer(session, cookie, cookie.stash)
        request = cast("DocumentRequest", cookie.request)
        value = b""
        if isinstance(request, Store | Concatenate):
            if not cookie.resumed and _is_for_a_worker(request):
                return cookie.run(snappy.inflate, request.value)
            value = _value(cookie, request)
        return self._submit(cookie, self._mutation(session.vbucket_of(request), request, value))

    def flush(self, _: Session, cookie: Cookie) -> Answer:
        """Remove all documents."""
        if isinstance(cookie.stash, Outcome):
            return _checked(cookie.stash)
        if cast("Flush", cookie.request).delay:
            raise RefusalError(Status.NOT_SUPPORTED, "a flush cannot be delayed here")
        return self._submit(cookie, Mutation(op=Op.FLUSH))

    def _submit(self, cookie: Cookie, mutation: Mutation) -> Answer:
        try:
            self._store.submit(mutation, partial(_written, cookie), owner=cookie.connection)
        except stores.StoreError as error:
            raise of_store(error) from error
        return ewb.Status.WOULD_BLOCK

    def _mutation(self, vbucket: int, request: DocumentRequest, value: bytes) -> Mutation:
        make = partial(
            Mutation,
            vb=vbucket,
            collection=request.collection,
            key=request.key,
            cas=request.head.cas,
        )
        match request:
            case Store():
                return make(
                    op=_OPS[request.kind],
                    value=value,
                    flags=request.flags,
                    expiry=self._expiry(request.expiry),
                    datatype=request.datatype,
                )
            case Concatenate():
                return make(op=_OPS[request.kind], value=value)
            case Count():
                return make(
                    op=_OPS[request.kind],
                    delta=request.delta,
                    initial=request.initial,
                    expiry=self._expiry(request.expiry),
                )
            case Touch() | GetAndTouch():
                return make(op=Op.TOUCH, expiry=self._expiry(request.expiry))
            case _:
                return make(op=Op.DELETE)

    def _expiry(self, wanted: int) -> int:
        """As a unix time; 0 is never. One that counts from now is never over too early."""
        if 0 < wanted <= RELATIVE_EXPIRY:
            return min(ceil(self._clock()) + wanted, LAST_EXPIRY)
        return wanted


def _written(cookie: Cookie, outcome: Outcome) -> None:
    """Thread: the store's writer."""
    if not isinstance(cookie.request, GetAndTouch):
        outcome = outcome._replace(document=None)  # it may be large, and the cookie may wait for long
    cookie.stash = outcome
    cookie.notify()


def _is_for_a_worker(request: Store | Concatenate) -> bool:
    """Whether making its value plain takes longer than handing it over."""
    if not request.datatype & Datatype.SNAPPY:
        return False
    return snappy.plain_size(request.value) > INFLATED_HERE


def _value(cookie: Cookie, request: Store | Concatenate) -> bytes:
    """What is written: a piece plain; a whole value as it came, if it can be made plain."""
    if not request.datatype & Datatype.SNAPPY:
        return request.value
    plain = _plain(cookie, request.value)
    return plain if isinstance(request, Concatenate) else request.value


def _plain(cookie: Cookie, value: bytes) -> bytes:
    """The value without snappy; a large one was made so on a worker."""
    if cookie.resumed and cookie.status is not ewb.Status.FAILED:
        return cast("bytes", cookie.result)
    try:
        if cookie.exception is not None:
            raise cookie.exception
        return snappy.inflate(value)
    except snappy.BadSnappyError as error:
        raise RefusalError(Status.INVALID, str(error)) from error


def _checked(outcome: Outcome) -> Status:
    if outcome.status is stores.Status.OK:
        return Status.SUCCESS
    if outcome.status is stores.Status.NOT_FOUND:
        raise not_found()
    status, context = _REFUSALS[outcome.status]
    raise RefusalError(status, str(outcome.error or context))


def _answer(session: Session, cookie: Cookie, outcome: Outcome) -> Answer:
    request = cookie.request
    if outcome.status is stores.Status.NOT_FOUND and isinstance(request, Concatenate):
        raise RefusalError(Status.NOT_STORED, "there is no document to add to")
    status = _checked(outcome)
    if isinstance(request, GetAndTouch) and outcome.document is not None:
        return answer_document(session, cookie, outcome.document, with_key=request.with_key)
    token = (outcome.uuid, outcome.seqno) if session.may_use(Feature.MUTATION_SEQNO) else None
    if isinstance(request, Count):
        cookie.reply = replies.counter(outcome.number, outcome.cas, token)
    elif isinstance(request, Touch):
        cookie.reply = replies.Reply(cas=outcome.cas)
    elif isinstance(request, Delete) and not session.said_hello:
        cookie.reply = replies.mutation(0, None)  # memcached has no CAS for what is no more
    else:
        cookie.reply = replies.mutation(outcome.cas, token)
    return status
