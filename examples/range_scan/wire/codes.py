"""The numbers of the wire: magics, opcodes, statuses, datatypes, features.

They are those of couchbase/kv_engine's `docs/BinaryProtocol.md` and `docs/range_scans/`.
"""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class Magic(IntEnum):
    """The first byte of a frame."""

    REQUEST = 0x80
    REPLY = 0x81
    FLEXIBLE_REQUEST = 0x08  # it has framing extras, and a key length of one byte
    FLEXIBLE_REPLY = 0x18


@unique
class Opcode(IntEnum):
    """What a client asks for. A `Q` at the end: quiet, answered only if there is something to say."""

    GET = 0x00
    SET = 0x01
    ADD = 0x02
    REPLACE = 0x03
    DELETE = 0x04
    INCREMENT = 0x05
    DECREMENT = 0x06
    QUIT = 0x07
    FLUSH = 0x08
    GETQ = 0x09
    NOOP = 0x0A
    VERSION = 0x0B
    GETK = 0x0C
    GETKQ = 0x0D
    APPEND = 0x0E
    PREPEND = 0x0F
    STAT = 0x10
    SETQ = 0x11
    ADDQ = 0x12
    REPLACEQ = 0x13
    DELETEQ = 0x14
    INCREMENTQ = 0x15
    DECREMENTQ = 0x16
    QUITQ = 0x17
    FLUSHQ = 0x18
    APPENDQ = 0x19
    PREPENDQ = 0x1A
    TOUCH = 0x1C
    GAT = 0x1D
    GATQ = 0x1E
    HELLO = 0x1F
    SASL_LIST_MECHS = 0x20
    SASL_AUTH = 0x21
    SASL_STEP = 0x22
    GATK = 0x23
    GATKQ = 0x24
    SELECT_BUCKET = 0x89
    GET_META = 0xA0
    GET_CLUSTER_CONFIG = 0xB5
    GET_COLLECTIONS_MANIFEST = 0xBA
    GET_COLLECTION_ID = 0xBB
    RANGE_SCAN_CREATE = 0xDA
    RANGE_SCAN_CONTINUE = 0xDB
    RANGE_SCAN_CANCEL = 0xDC
    GET_ERROR_MAP = 0xFE


@unique
class Status(IntEnum):
    """How a command ended."""

    SUCCESS = 0x00
    NOT_FOUND = 0x01
    EXISTS = 0x02
    TOO_BIG = 0x03
    INVALID = 0x04
    NOT_STORED = 0x05
    NOT_A_NUMBER = 0x06
    NOT_MY_VBUCKET = 0x07
    NO_BUCKET = 0x08
    AUTH_ERROR = 0x20
    AUTH_CONTINUE = 0x21
    NO_ACCESS = 0x24
    UNKNOWN_FRAME_INFO = 0x80
    UNKNOWN_COMMAND = 0x81
    NO_MEMORY = 0x82
    NOT_SUPPORTED = 0x83
    INTERNAL = 0x84
    BUSY = 0x85
    TEMPORARY_FAILURE = 0x86
    UNKNOWN_COLLECTION = 0x88
    SCAN_CANCELLED = 0xA5
    SCAN_MORE = 0xA6
    SCAN_COMPLETE = 0xA7
    VBUCKET_UUID_DIFFERS = 0xA8


@unique
class Datatype(IntEnum):
    """What a value is made of: bits. No IntFlag, whose `&` takes ten times as long."""

    RAW = 0x00
    JSON = 0x01
    SNAPPY = 0x02
    XATTR = 0x04


@unique
class Feature(IntEnum):
    """What HELLO negotiates: the features that are served, of all there are."""

    TCP_NODELAY = 0x03
    MUTATION_SEQNO = 0x04
    XERROR = 0x07
    SELECT_BUCKET = 0x08
    SNAPPY = 0x0A
    JSON = 0x0B
    DUPLEX = 0x0C
    UNORDERED = 0x0E
    ALT_REQUEST = 0x10
    COLLECTIONS = 0x12
