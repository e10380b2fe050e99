"""The first of the corpus: what real clients send and hear. `python -m tests.fuzz.seeds` keeps it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from examples.range_scan import wire
from examples.range_scan.client import Client, Range, Sample
from examples.range_scan.client.connection import AGENT, FEATURES
from examples.range_scan.wire import Datatype, Frame, Opcode, ScannedDocument, Status
from examples.redis_server.resp import array_header, bulk
from tests.fuzz import corpus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.range_scan.client.connection import Connection

UUID: Final = bytes(range(16))
KEYS: Final = [b"DE:Berlin", b"k" * 250]


class _Recorder:
    """In the place of a client's connection: writes down what it asks for, and answers a little."""

    def __init__(self) -> None:
        self.asked: list[Frame] = []

    def send(self, requests: list[Frame]) -> None:
        for request in requests:
            request.opaque = len(self.asked)
            self.asked.append(request)

    def ask(self, request: Frame) -> Frame:
        self.send([request])
        return Frame(request.opcode, extras=bytes(12), value=UUID)

    def receive(self) -> Frame:
        return Frame(Opcode.RANGE_SCAN_CONTINUE, code=Status.SCAN_COMPLETE)


def requests() -> list[Frame]:
    """What the example's client asks for, and what it does not but others do."""
    recorder = _Recorder()
    client = Client(cast("Connection", recorder), 4)
    features = b"".join(feature.to_bytes(2, "big") for feature in FEATURES)
    recorder.ask(Frame(Opcode.HELLO, key=AGENT, value=features))
    first, final = next(logins()).split(b"\n")
    recorder.ask(Frame(Opcode.SASL_AUTH, key=b"SCRAM-SHA512", value=first))
    recorder.ask(Frame(Opcode.SASL_STEP, key=b"SCRAM-SHA512", value=final))
    recorder.ask(Frame(Opcode.SELECT_BUCKET, key=b"default"))
    client.get(KEYS[0], 9)
    sum(client.store([(key, b"{}") for key in KEYS]))
    client.collection_id("_default._default")
    client.statistics("range-scans")
    list(client.scan(0, Range.prefix(b"DE:"), name="a scan"))
    list(client.scan(1, Sample(samples=7, seed=5), keys_only=True))
    recorder.ask(Frame(Opcode.RANGE_SCAN_CANCEL, extras=UUID))
    document = {"key": b"\0" + KEYS[0], "cas": 5}
    for opcode, size in {
        Opcode.GETKQ: 0,
        Opcode.GATQ: 4,
        Opcode.GET_META: 1,
        Opcode.SETQ: 8,
        Opcode.APPEND: 0,
        Opcode.INCREMENT: 20,
        Opcode.DELETEQ: 0,
        Opcode.TOUCH: 4,
    }.items():
        recorder.ask(Frame(opcode, extras=bytes(size), **cast("Any", document)))
    compressed = wire.snappy.deflate(b"to be or not to be " * 5)
    bomb = b"\xff\xff\xff\xff\x0f"
    for value in (compressed, bomb):
        recorder.ask(
            Frame(Opcode.SET, datatype=Datatype.SNAPPY, key=b"\0k", extras=bytes(8), value=value)
        )
    recorder.ask(Frame(Opcode.GET, framing=b"\x00", key=b"\0k"))
    recorder.ask(Frame(Opcode.GET, framing=b"\xf1\x02x", key=b"\0k"))
    recorder.ask(Frame(Opcode.FLUSH, extras=bytes(4)))
    recorder.ask(Frame(Opcode.GET_ERROR_MAP, value=b"\0\2"))
    recorder.ask(Frame(Opcode.QUITQ))
    return recorder.asked


def logins() -> Iterator[bytes]:
    """The two messages of a login, a line each."""
    yield b"n,,n=Administrator,r=a nonce\nc=biws,r=NONCE,p=" + b"A" * 86 + b"=="
    yield b"y,a=me,n=some=2Cbody=3D,r=x\nc=eSxhPW1lLA==,r=NONCE,p=AAAA"
    yield b"p=tls-unique,,n=u,r=x\n"
    yield b"\0Administrator\0a password"


def scans() -> Iterator[dict[str, object]]:
    """What CREATE may say."""
    snapshot = {"vb_uuid": "1234", "seqno": 5, "seqno_exists": True, "timeout_ms": 100}
    yield {**Range.prefix(b"a").to_json(), "snapshot_requirements": snapshot, "collection": "8"}
    yield {**Range().to_json(), "name": "x", "key_only": True, "include_xattrs": False}
    yield Sample(samples=3).to_json()


def items() -> Iterator[bytes]:
    """A part of a scan, of documents and of keys."""
    documents = [ScannedDocument(key, b"v" * 200, 1, 2, 3, 4, 1) for key in KEYS]
    yield b"".join(document.encode() for document in documents)
    yield b"".join(wire.leb128.encode(len(key)) + key for key in KEYS)


def redis() -> Iterator[bytes]:
    """Commands as clients send them, and as one types them."""
    yield b"".join(
        array_header(len(words)) + b"".join(map(bulk, words))
        for words in ([b"PING"], [b"SET", b"k", b"v" * 30], [b"BLPOP", b"l", b"0"])
    )
    yield b"PING\r\n\r\n  set  a b \n*0\r\n*1\r\n$4\r\nQUIT\r\n"
    yield b"*1\r\n$8388609\r\n"
    yield b"*2\r\n$3\r\nGET\r\n:1\r\n"


def seeds() -> dict[str, list[bytes]]:
    """By target."""
    frames = [wire.pack_request(frame) for frame in requests()]
    replies = [
        b"".join(
            wire.pack_reply(Frame(Opcode.GET, 1, Status.SUCCESS, 5, extras=bytes(4), value=b"{}"))
        ),
        *(b"".join(wire.pack_reply(Frame(Opcode.RANGE_SCAN_CONTINUE, value=part))) for part in items()),
    ]
    lines = [b"@7 count 5\nhash text\n\n  \n@ \nset k v\nwait k\nrest"]
    conversation = b"".join(frames)
    return {
        "frames": [*frames, conversation],
        "replies": [*replies, b"".join(replies)],
        "commands": [*frames, conversation],
        "commands-of-strangers": [*frames[:4], conversation, b"GET / HTTP/1.1\r\n"],
        "framing": [b"\0", b"\x01x", b"\xf0\1", b"\x1f\2" + b"x" * 17, b"\xff\0\0"],
        "items": list(items()),
        "leb128": [wire.leb128.encode(number) for number in (0, 127, 128, 2**32 - 1, 2**32)],
        "login": list(logins()),
        "scan-json": [json.dumps(scan).encode() for scan in scans()],
        "snappy": [
            wire.snappy.deflate(b"to be or not to be " * 9),
            b"\xff\xff\xff\xff\x0f",
            b"\x80\x80\1",
        ],
        "redis": list(redis()),
        "lines": lines,
        "frame-meter": [*lines, *redis(), b"x" * 40 + b"\n", b"*1\r\n$40\r\n" + b"x" * 60],
    }


if __name__ == "__main__":
    for target, inputs in seeds().items():
        corpus.keep(target, inputs)
