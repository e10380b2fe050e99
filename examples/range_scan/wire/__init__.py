"""The memcached binary protocol with Couchbase's range scans: a codec, sans I/O.

It knows nothing of stores, and of ewb only what a protocol looks like.
"""

from . import leb128, replies, requests, snappy
from .codes import Datatype, Feature, Magic, Opcode, Status
from .error_map import error_map
from .frames import REPLIES, REQUESTS, BadFrameError, Frame, FrameReader, pack_reply, pack_request
from .items import DOCUMENTS, KEYS, ScannedDocument, documents_in, keys_in
from .protocol import MAX_FRAME, UNTRUSTED_FRAME, BinaryProtocol
from .replies import ErrorContext, Payload, Reply, Statistics
from .topology import Topology, manifest, vbucket_of

__all__ = [
    "DOCUMENTS",
    "KEYS",
    "MAX_FRAME",
    "REPLIES",
    "REQUESTS",
    "UNTRUSTED_FRAME",
    "BadFrameError",
    "BinaryProtocol",
    "Datatype",
    "ErrorContext",
    "Feature",
    "Frame",
    "FrameReader",
    "Magic",
    "Opcode",
    "Payload",
    "Reply",
    "ScannedDocument",
    "Statistics",
    "Status",
    "Topology",
    "documents_in",
    "error_map",
    "keys_in",
    "leb128",
    "manifest",
    "pack_reply",
    "pack_request",
    "replies",
    "requests",
    "snappy",
    "vbucket_of",
]
