"""Parses the commands for one document: what is in their extras, and whose their key is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from . import leb128
from .codes import Feature, Opcode
from .requests import (
    Concatenate,
    Count,
    Delete,
    DocumentRequest,
    Get,
    GetAndTouch,
    GetMeta,
    Head,
    Store,
    Touch,
)
from .rules import VALUES, BadRequestError, Key, Rule
from .scan_json import MAX_KEY
from .snappy import MAX_VALUE

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from .frames import Frame

NO_INITIAL: Final = 0xFFFFFFFF
"""A counter's expiry that says not to make one that is not there."""
COUNTER: Final = struct.Struct(">QQI")
"""Delta, initial value, expiry."""
STORE: Final = struct.Struct(">II")
"""Flags, expiry."""
EXPIRY: Final = struct.Struct(">I")
META_VERSIONS: Final = frozenset({b"", b"\x01", b"\x02"})
"""What GET_META may ask for: the last with the datatype, the others without."""
DEFAULT_COLLECTION: Final = 0


class Parts(NamedTuple):
    """What a frame of these commands consists of."""

    kind: Opcode
    """The opcode; of a quiet command, that of the same which is not quiet."""
    collection: int
    key: bytes
    extras: bytes
    value: bytes
    datatype: int


def key_of(frame: Frame, features: Container[int]) -> tuple[int, bytes]:
    """The collection and the key that a frame's key consists of.

    Raises:
        BadRequestError: it is no such key.
    """
    collection, key = DEFAULT_COLLECTION, frame.key
    if Feature.COLLECTIONS in features:
        try:
            collection, start = leb128.decode(frame.key)
        except ValueError as error:
            msg = f"key: the collection's id at its beginning: {error}"
            raise BadRequestError(msg) from error
        key = frame.key[start:]
    if not 1 <= len(key) <= MAX_KEY:
        msg = f"key: {len(key)} bytes, where there must be 1 to {MAX_KEY}"
        raise BadRequestError(msg)
    return collection, key


def _get(head: Head, parts: Parts) -> Get:
    return Get(head, parts.collection, parts.key, with_key=parts.kind is Opcode.GETK)


def _get_and_touch(head: Head, parts: Parts) -> GetAndTouch:
    (expiry,) = EXPIRY.unpack(parts.extras)
    with_key = parts.kind is Opcode.GATK
    return GetAndTouch(head, parts.collection, parts.key, with_key=with_key, expiry=expiry)


def _get_meta(head: Head, parts: Parts) -> GetMeta:
    if parts.extras not in META_VERSIONS:
        msg = f"extras: 0x{parts.extras.hex()}, where there may be 01, or 02 for the datatype too"
        raise BadRequestError(msg)
    return GetMeta(head, parts.collection, parts.key, with_datatype=parts.extras == b"\x02")


def _store(head: Head, parts: Parts) -> Store:
    flags, expiry = STORE.unpack(parts.extras)
    return Store(
        head,
        parts.collection,
        parts.key,
        kind=parts.kind,
        flags=flags,
        expiry=expiry,
        datatype=parts.datatype,
        value=parts.value,
    )


def _concatenate(head: Head, parts: Parts) -> Concatenate:
    return Concatenate(
        head,
        parts.collection,
        parts.key,
        kind=parts.kind,
        datatype=parts.datatype,
        value=parts.value,
    )


def _count(head: Head, parts: Parts) -> Count:
    delta, initial, expiry = COUNTER.unpack(parts.extras)
    is_made = expiry != NO_INITIAL
    return Count(
        head,
        parts.collection,
        parts.key,
        kind=parts.kind,
        delta=delta,
        initial=initial if is_made else None,
        expiry=expiry if is_made else 0,
    )


def _delete(head: Head, parts: Parts) -> Delete:
    return Delete(head, parts.collection, parts.key)


def _touch(head: Head, parts: Parts) -> Touch:
    (expiry,) = EXPIRY.unpack(parts.extras)
    return Touch(head, parts.collection, parts.key, expiry=expiry)


Build: TypeAlias = Callable[[Head, Parts], DocumentRequest]


class Command(NamedTuple):
    """How to parse a command."""

    kind: Opcode
    build: Build
    rule: Rule
    quiet: bool


_BARE = Rule(key=Key.NEEDED)
_EXPIRY = Rule(key=Key.NEEDED, extras=(EXPIRY.size,))
_VALUE = Rule(key=Key.NEEDED, extras=(STORE.size,), value=MAX_VALUE, datatypes=VALUES)
_NEW = Rule(key=Key.NEEDED, extras=(STORE.size,), value=MAX_VALUE, datatypes=VALUES, cas=False)
_PIECE = Rule(key=Key.NEEDED, value=MAX_VALUE, datatypes=VALUES)
_COUNTER = Rule(key=Key.NEEDED, extras=(COUNTER.size,))
_META = Rule(key=Key.NEEDED, extras=(0, 1))

_TABLE: Final[tuple[tuple[Opcode, Opcode | None, Build, Rule], ...]] = (
    (Opcode.GET, Opcode.GETQ, _get, _BARE),
    (Opcode.GETK, Opcode.GETKQ, _get, _BARE),
    (Opcode.GAT, Opcode.GATQ, _get_and_touch, _EXPIRY),
    (Opcode.GATK, Opcode.GATKQ, _get_and_touch, _EXPIRY),
    (Opcode.GET_META, None, _get_meta, _META),
    (Opcode.SET, Opcode.SETQ, _store, _VALUE),
    (Opcode.ADD, Opcode.ADDQ, _store, _NEW),
    (Opcode.REPLACE, Opcode.REPLACEQ, _store, _VALUE),
    (Opcode.APPEND, Opcode.APPENDQ, _concatenate, _PIECE),
    (Opcode.PREPEND, Opcode.PREPENDQ, _concatenate, _PIECE),
    (Opcode.INCREMENT, Opcode.INCREMENTQ, _count, _COUNTER),
    (Opcode.DECREMENT, Opcode.DECREMENTQ, _count, _COUNTER),
    (Opcode.DELETE, Opcode.DELETEQ, _delete, _BARE),
    (Opcode.TOUCH, None, _touch, _EXPIRY),
)


def _commands() -> Iterator[tuple[int, Command]]:
    for loud, quiet, build, rule in _TABLE:
        yield loud, Command(loud, build, rule, quiet=False)
        if quiet is not None:
            yield quiet, Command(loud, build, rule, quiet=True)


COMMANDS: Final[dict[int, Command]] = dict(_commands())


def parse(command: Command, head: Head, frame: Frame, features: Container[int]) -> DocumentRequest:
    """The request that a frame makes, its rule having been checked.

    Raises:
        BadRequestError: its key is none, or its extras ask for what there is not.
    """
    collection, key = key_of(frame, features)
    parts = Parts(command.kind, collection, key, frame.extras, frame.value, frame.datatype)
    return command.build(head, parts)
