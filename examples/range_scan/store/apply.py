"""What each kind of mutation does to a batch. Thread: writer; so to read and write needs no lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from .errors import StoreError
from .mutations import Mutation, Op, Outcome, Status
from .records import COMPRESSED, MAX_VALUE, Document

if TYPE_CHECKING:
    from collections.abc import Callable

    from .batch import Batch
    from .settings import Settings

    Step: TypeAlias = Callable[[Batch, Mutation, Settings], Outcome]

_U64 = 0xFFFF_FFFF_FFFF_FFFF
_COUNTER = 1024  # bytes of the longest value that is looked at for a number: 20 digits, and much white


class _Refused(Exception):  # noqa: N818 - it is no error: the mutation has this outcome
    def __init__(self, status: Status, error: StoreError | None = None) -> None:
        super().__init__(status)
        self.outcome = Outcome(status, error=error)


def apply(batch: Batch, mutation: Mutation, settings: Settings) -> Outcome:
    """Do it in the batch, or change nothing and say why. After an lmdb.Error, abort the batch."""
    try:
        return _STEPS[mutation.op](batch, mutation, settings)
    except _Refused as refused:
        return refused.outcome


def _put(batch: Batch, mutation: Mutation, document: Document) -> Document:
    if len(document.value) > MAX_VALUE:
        raise _Refused(Status.TOO_BIG)
    return batch.put(mutation.vb, mutation.collection, document)


def _done(batch: Batch, mutation: Mutation, document: Document, *, number: int = 0) -> Outcome:
    uuid = batch.vbucket(mutation.vb).uuid
    return Outcome(Status.OK, document.cas, document.seqno, uuid, number)


def _find(batch: Batch, mutation: Mutation) -> Document | None:
    """What is there, if its CAS is the one asked for."""
    found = batch.find(mutation.vb, mutation.collection, mutation.key)
    if mutation.cas and found is None:
        raise _Refused(Status.NOT_FOUND)
    if mutation.cas and found is not None and found.cas != mutation.cas:
        raise _Refused(Status.EXISTS)
    return found


def _must_find(batch: Batch, mutation: Mutation) -> Document:
    found = _find(batch, mutation)
    if found is None:
        raise _Refused(Status.NOT_FOUND)
    return found


def _new(mutation: Mutation) -> Document:
    return Document(
        key=mutation.key,
        value=mutation.value,
        flags=mutation.flags,
        expiry=mutation.expiry,
        seqno=0,
        cas=0,
        datatype=mutation.datatype,
    )


def _plain(document: Document, settings: Settings, at_most: int, otherwise: Status) -> bytes:
    """The value, not compressed. One that is larger is refused, and need not be inflated for that."""
    value, size = document.value, len(document.value)
    if document.datatype & COMPRESSED:
        try:
            size = 0 if settings.plain_size is None else settings.plain_size(value)
            if size <= at_most:
                value = _inflate(settings)(value)
                size = len(value)
        except Exception as error:  # the functions are the caller's
            msg = f"cannot inflate the value of {document.key!r}: {error}"
            raise _Refused(Status.FAILED, StoreError(msg)) from error
    if size > at_most:
        raise _Refused(otherwise)
    return value


def _inflate(settings: Settings) -> Callable[[bytes], bytes]:
    if settings.inflate is None:
        msg = "the store was opened without a way to inflate it"
        raise StoreError(msg)
    return settings.inflate


def _set(batch: Batch, mutation: Mutation, _: Settings) -> Outcome:
    if mutation.cas:
        _must_find(batch, mutation)
    return _done(batch, mutation, _put(batch, mutation, _new(mutation)))


def _add(batch: Batch, mutation: Mutation, _: Settings) -> Outcome:
    if _find(batch, mutation) is not None:
        raise _Refused(Status.EXISTS)
    return _done(batch, mutation, _put(batch, mutation, _new(mutation)))


def _replace(batch: Batch, mutation: Mutation, _: Settings) -> Outcome:
    _must_find(batch, mutation)
    return _done(batch, mutation, _put(batch, mutation, _new(mutation)))


def _addable(found: Document, mutation: Mutation, settings: Settings) -> bytes:
    """The value that is there, if there is room for the other."""
    return _plain(found, settings, MAX_VALUE - len(mutation.value), Status.TOO_BIG)


def _append(batch: Batch, mutation: Mutation, settings: Settings) -> Outcome:
    found = _must_find(batch, mutation)
    changed = found._replace(value=_addable(found, mutation, settings) + mutation.value, datatype=0)
    return _done(batch, mutation, _put(batch, mutation, changed))


def _prepend(batch: Batch, mutation: Mutation, settings: Settings) -> Outcome:
    found = _must_find(batch, mutation)
    changed = found._replace(value=mutation.value + _addable(found, mutation, settings), datatype=0)
    return _done(batch, mutation, _put(batch, mutation, changed))


def _delete(batch: Batch, mutation: Mutation, _: Settings) -> Outcome:
    _must_find(batch, mutation)
    uuid, seqno = batch.delete(mutation.vb, mutation.collection, mutation.key)
    return Outcome(Status.OK, batch.cas, seqno, uuid)


def _touch(batch: Batch, mutation: Mutation, _: Settings) -> Outcome:
    found = _must_find(batch, mutation)
    document = _put(batch, mutation, found._replace(expiry=mutation.expiry))
    return _done(batch, mutation, document)._replace(document=document)


def _count(batch: Batch, mutation: Mutation, settings: Settings) -> Outcome:
    """INCR and DECR: the former begins again at 0 behind 2**64 - 1, the latter stops at 0."""
    found = _find(batch, mutation)
    if found is None:
        return _begin_to_count(batch, mutation)
    number = _number(_plain(found, settings, _COUNTER, Status.NOT_A_NUMBER))
    if mutation.op is Op.INCR:
        number = (number + mutation.delta) & _U64
    else:
        number = max(number - mutation.delta, 0)
    changed = found._replace(value=b"%d" % number, datatype=found.datatype & ~COMPRESSED)
    return _done(batch, mutation, _put(batch, mutation, changed), number=number)


def _begin_to_count(batch: Batch, mutation: Mutation) -> Outcome:
    if mutation.initial is None:
        raise _Refused(Status.NOT_FOUND)
    document = _new(mutation)._replace(value=b"%d" % mutation.initial)
    return _done(batch, mutation, _put(batch, mutation, document), number=mutation.initial)


def _number(value: bytes) -> int:
    """The value of a counter: decimal digits only, where int() takes signs and underscores, too."""
    digits = value.strip(b" ")
    if not digits.isdigit() or len(digits) > len(str(_U64)) or int(digits) > _U64:
        raise _Refused(Status.NOT_A_NUMBER)
    return int(digits)


def _flush(batch: Batch, _: Mutation, __: Settings) -> Outcome:
    batch.clear()
    return Outcome(Status.OK, batch.cas)


_STEPS: dict[Op, Step] = {
    Op.SET: _set,
    Op.ADD: _add,
    Op.REPLACE: _replace,
    Op.APPEND: _append,
    Op.PREPEND: _prepend,
    Op.DELETE: _delete,
    Op.INCR: _count,
    Op.DECR: _count,
    Op.TOUCH: _touch,
    Op.FLUSH: _flush,
}
