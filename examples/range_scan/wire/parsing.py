"""From frames to requests: all commands but those for one document, which `documents` parses."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from . import documents, frame_info, scan_json
from .codes import Datatype, Opcode, Status
from .frames import Frame
from .requests import (
    Authenticate,
    CancelScan,
    ContinueScan,
    CreateScan,
    Flush,
    GetClusterConfig,
    GetCollectionId,
    GetErrorMap,
    GetManifest,
    Head,
    Hello,
    ListMechanisms,
    Malformed,
    Noop,
    Quit,
    Request,
    SelectBucket,
    Stat,
    Version,
)
from .rules import LOGIN, SMALL, BadRequestError, Key, Rule

if TYPE_CHECKING:
    from collections.abc import Container

CONTINUE: Final = struct.Struct(">16sIII")
"""The scan's uuid; limits of items, of milliseconds, of bytes."""
UUID_SIZE: Final = 16
DELAY: Final = struct.Struct(">I")
SHORT: Final = struct.Struct(">H")


Build: TypeAlias = Callable[[Head, Frame], Request]


def parse(frame: Frame, features: Container[int]) -> Request:
    """The request that a frame makes, `Malformed` if something is wrong with it.

    Args:
        frame: of a client.
        features: what was negotiated with it.
    """
    head = Head(frame.opcode, frame.opaque, frame.code, frame.cas)
    try:
        head.barrier = _has_barrier(frame)
        if document := documents.COMMANDS.get(frame.opcode):
            head.quiet = document.quiet
            document.rule.check(frame, features)
            return documents.parse(document, head, frame, features)
        if command := COMMANDS.get(frame.opcode):
            head.quiet = command.quiet
            command.rule.check(frame, features)
            return command.build(head, frame)
    except BadRequestError as error:
        return Malformed(head, error.status, str(error))
    return Malformed(head, Status.UNKNOWN_COMMAND, f"no command 0x{frame.opcode:02x} is served here")


def _has_barrier(frame: Frame) -> bool:
    barrier = False
    try:
        for number, data in frame_info.frame_infos(frame.framing):
            if number not in frame_info.DEFINED:
                msg = f"framing extras: there is no object {number}"
                raise BadRequestError(msg, Status.UNKNOWN_FRAME_INFO)
            if number != frame_info.BARRIER:
                msg = f"framing extras: object {number} is not served here"
                raise BadRequestError(msg, Status.NOT_SUPPORTED)
            if data:
                msg = "framing extras: a barrier has no data"
                raise BadRequestError(msg)
            barrier = True
    except frame_info.BadFrameInfoError as error:
        raise BadRequestError(str(error)) from error
    return barrier


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        msg = f"{what} is no UTF-8"
        raise BadRequestError(msg) from error


def _bare(kind: type[Request]) -> Build:
    """A command that consists of its header alone."""

    def build(head: Head, _: Frame) -> Request:
        return kind(head)

    return build


def _hello(head: Head, frame: Frame) -> Hello:
    if len(frame.value) % SHORT.size:
        msg = f"value: {len(frame.value)} bytes are no list of 16-bit features"
        raise BadRequestError(msg)
    features = tuple(feature for (feature,) in SHORT.iter_unpack(frame.value))
    return Hello(head, agent=frame.key.decode(errors="replace"), features=features)


def _authenticate(head: Head, frame: Frame) -> Authenticate:
    return Authenticate(head, mechanism=_text(frame.key, "mechanism"), payload=frame.value)


def _error_map(head: Head, frame: Frame) -> GetErrorMap:
    if len(frame.value) != SHORT.size:
        msg = f"value: {len(frame.value)} bytes, where there must be 2, the version"
        raise BadRequestError(msg)
    (version,) = SHORT.unpack(frame.value)
    if version == 0:
        msg = "value: versions begin with 1"
        raise BadRequestError(msg)
    return GetErrorMap(head, version=version)


def _collection_id(head: Head, frame: Frame) -> GetCollectionId:
    return GetCollectionId(head, path=_text(frame.value or frame.key, "collection"))


def _select_bucket(head: Head, frame: Frame) -> SelectBucket:
    return SelectBucket(head, name=_text(frame.key, "bucket"))


def _stat(head: Head, frame: Frame) -> Stat:
    return Stat(head, group=_text(frame.key, "group"))


def _flush(head: Head, frame: Frame) -> Flush:
    (delay,) = DELAY.unpack(frame.extras) if frame.extras else (0,)
    return Flush(head, delay=delay)


def _create_scan(head: Head, frame: Frame) -> CreateScan:
    if not frame.datatype & Datatype.JSON:
        msg = "datatype: it must be JSON, which HELLO negotiates"
        raise BadRequestError(msg)
    try:
        collection, keys_only, pick, name, snapshot = scan_json.parse(frame.value)
    except scan_json.BadScanError as error:
        raise BadRequestError(str(error)) from error
    return CreateScan(head, pick, collection, keys_only=keys_only, name=name, snapshot=snapshot)


def _continue_scan(head: Head, frame: Frame) -> ContinueScan:
    uuid, items, milliseconds, size = CONTINUE.unpack(frame.extras)
    return ContinueScan(head, uuid, items=items, milliseconds=milliseconds, bytes=size)


def _cancel_scan(head: Head, frame: Frame) -> CancelScan:
    return CancelScan(head, uuid=frame.extras)


class Command(NamedTuple):
    """How to parse a command."""

    build: Build
    rule: Rule
    quiet: bool = False


_BARE = Rule()
COMMANDS: Final[dict[int, Command]] = {
    Opcode.HELLO: Command(_hello, Rule(key=Key.MAYBE, value=SMALL)),
    Opcode.SASL_LIST_MECHS: Command(_bare(ListMechanisms), _BARE),
    Opcode.SASL_AUTH: Command(_authenticate, Rule(key=Key.NEEDED, value=LOGIN)),
    Opcode.SASL_STEP: Command(_authenticate, Rule(key=Key.NEEDED, value=LOGIN)),
    Opcode.GET_ERROR_MAP: Command(_error_map, Rule(value=SMALL)),
    Opcode.SELECT_BUCKET: Command(_select_bucket, Rule(key=Key.NEEDED)),
    Opcode.GET_CLUSTER_CONFIG: Command(_bare(GetClusterConfig), Rule(extras=(0, 16))),
    Opcode.NOOP: Command(_bare(Noop), _BARE),
    Opcode.VERSION: Command(_bare(Version), _BARE),
    Opcode.QUIT: Command(_bare(Quit), _BARE),
    Opcode.QUITQ: Command(_bare(Quit), _BARE, quiet=True),
    Opcode.STAT: Command(_stat, Rule(key=Key.MAYBE)),
    Opcode.FLUSH: Command(_flush, Rule(extras=(0, DELAY.size))),
    Opcode.FLUSHQ: Command(_flush, Rule(extras=(0, DELAY.size)), quiet=True),
    Opcode.GET_COLLECTIONS_MANIFEST: Command(_bare(GetManifest), _BARE),
    Opcode.GET_COLLECTION_ID: Command(_collection_id, Rule(key=Key.MAYBE, value=SMALL)),
    Opcode.RANGE_SCAN_CREATE: Command(_create_scan, Rule(value=SMALL, datatypes=Datatype.JSON)),
    Opcode.RANGE_SCAN_CONTINUE: Command(_continue_scan, Rule(extras=(CONTINUE.size,))),
    Opcode.RANGE_SCAN_CANCEL: Command(_cancel_scan, Rule(extras=(UUID_SIZE,))),
}
