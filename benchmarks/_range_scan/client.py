"""A raw client that scans, counts and checksums, and does nothing else.

It runs as a process of its own and says what share of a core it took: what it does for a byte must be
far less than what the server does. So it receives into one buffer, looks at the heads of frames only,
and has the quickest checksum there is.

Each connection creates all its scans, has them all continued, and reads what comes.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import struct
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from time import perf_counter, process_time

from xxhash import xxh3_64

HEADER = struct.Struct(">BBHBBHIIQ")
CONTINUE = struct.Struct(">16sIII")
HEAD_SIZE = HEADER.size + 4
"""Bytes of a frame before what was scanned: a continue's answers have extras of 4 bytes."""
REQUEST, HELLO, CREATE, GO_ON = 0x80, 0x1F, 0xDA, 0xDB
FEATURES = struct.pack(">HH", 0x0A, 0x0B)
"""Values may come as they are stored; what CREATE wants is JSON."""
SUCCESS, MORE, COMPLETE = 0x00, 0xA6, 0xA7
BUFFER_SIZE = 1024 * 1024
SPARE_FILES = 64
PATIENCE = 60.0
"""Seconds without a byte after which the server is given up."""


@dataclass(frozen=True)
class Scanned:
    """A scan that is over."""

    vbucket: int
    size: int
    checksum: str


@dataclass
class Seen:
    """What all connections saw together."""

    seconds: float = 0.0
    share: float = 0.0
    """Of a core, that this process took."""
    bytes: int = 0
    """Received, of scans that are over or not."""
    scans: list[Scanned] = field(default_factory=list)


class Reader:
    """One connection, and the scans that it reads, one after another."""

    def __init__(self, port: int, vbuckets: list[int], receive_buffer: int) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if receive_buffer:  # before it connects, or the system does not heed it
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.scans: list[Scanned] = []
        self.bytes = 0
        self._vbuckets = vbuckets
        self._head = bytearray()
        self._left = self._status = self._size = 0
        self._checksum = xxh3_64()
        self.socket.sendall(pack(HELLO, value=FEATURES))
        self._answer()

    @property
    def is_done(self) -> bool:
        """Whether all scans were read, as often as they were begun."""
        return len(self.scans) % len(self._vbuckets) == 0

    def begin(self, wanted: bytes, items: int) -> None:
        """Create all scans and have them sent, each up to so many items; 0 is all."""
        self.socket.sendall(b"".join(pack(CREATE, vb, value=wanted) for vb in self._vbuckets))
        uuids = [self._answer() for _ in self._vbuckets]
        continues = (
            pack(GO_ON, vb, extras=CONTINUE.pack(uuid, items, 0, 0))
            for vb, uuid in zip(self._vbuckets, uuids, strict=True)
        )
        self.socket.sendall(b"".join(continues))

    def read(self, buffer: bytearray) -> None:
        """Take what is here, and wait for it if nothing is."""
        received = self.socket.recv_into(buffer)
        if not received:
            msg = "the server has closed the connection"
            raise RuntimeError(msg)
        self.bytes += received
        with memoryview(buffer) as view:
            place = 0
            while place < received:
                place = self._take(view, place, received)

    def _take(self, view: memoryview, place: int, received: int) -> int:
        """Take a head, or what is here of it or of what follows. Returns where to go on."""
        if self._left:
            end = min(place + self._left, received)
            self._checksum.update(view[place:end])
            self._left -= end - place
            self._size += end - place
        else:
            end = min(place + HEAD_SIZE - len(self._head), received)
            self._head += view[place:end]
            if len(self._head) >= HEADER.size:
                self._look_at_head()
        if not self._left and not self._head:
            self._end_frame()
        return end

    def _look_at_head(self) -> None:
        _, _, _, extras, _, self._status, body, _, _ = HEADER.unpack_from(self._head)
        if self._status not in {SUCCESS, MORE, COMPLETE}:
            msg = f"the server ends a scan with 0x{self._status:02x}"
            raise RuntimeError(msg)
        if len(self._head) == HEADER.size + extras:
            self._left = body - extras
            self._head.clear()

    def _end_frame(self) -> None:
        if self._status != SUCCESS:
            vbucket = self._vbuckets[len(self.scans) % len(self._vbuckets)]
            self.scans.append(Scanned(vbucket, self._size, self._checksum.hexdigest()))
            self._size, self._checksum = 0, xxh3_64()

    def _answer(self) -> bytes:
        """What one answer carries."""
        header = self.socket.recv(HEADER.size, socket.MSG_WAITALL)
        status, size = HEADER.unpack(header)[5:7]
        body = self.socket.recv(size, socket.MSG_WAITALL) if size else b""
        if status != SUCCESS:
            msg = f"the server answers 0x{status:02x}: {body!r}"
            raise RuntimeError(msg)
        return body


def pack(opcode: int, vbucket: int = 0, *, extras: bytes = b"", value: bytes = b"") -> bytes:
    """A request."""
    datatype = 1 if opcode == CREATE else 0  # JSON
    size = len(extras) + len(value)
    return HEADER.pack(REQUEST, opcode, 0, len(extras), datatype, vbucket, size, 0, 0) + extras + value


def read_all(readers: list[Reader], again: bytes | None, items: int) -> None:
    """Read until all are done; or, if scans are to be created again and again, until input ends."""
    buffer = bytearray(BUFFER_SIZE)
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader.socket, selectors.EVENT_READ, reader)
        if again is not None:
            selector.register(sys.stdin, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(PATIENCE)
            if not ready:
                msg = f"nothing came for {PATIENCE:g} s"
                raise RuntimeError(msg)
            for key, _ in ready:
                reader = key.data
                if reader is None:
                    return
                scans = len(reader.scans)
                reader.read(buffer)
                if len(reader.scans) == scans or not reader.is_done:
                    continue
                if again is None:
                    selector.unregister(reader.socket)
                else:
                    reader.begin(again, items)


def allow_open_files(count: int) -> None:
    """Raise this process's own limit, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(
    *,
    port: int,
    connections: int,
    vbuckets: int,
    split: bool = False,
    name: str = "",
    keys_only: bool = False,
    items: int = 0,
    receive_buffer: int = 0,
    wait: bool = False,
    forever: bool = False,
) -> None:
    """Be the clients, and print what they saw.

    Args:
        port: the server's.
        connections: how many.
        vbuckets: how many the server has; each connection scans all of them.
        split: each scans only one of them, in turn.
        name: of all scans.
        keys_only: no documents.
        items: how many are read of each scan; 0: all.
        receive_buffer: bytes that the system may keep for each connection; 0: as it likes.
        wait: print a line when all scans have begun, and read nothing before there is a line of input.
        forever: print that line, and scan again and again until input ends.
    """
    allow_open_files(connections + SPARE_FILES)
    wanted = json.dumps({"range": {"start": "", "end": "/w=="}, "key_only": keys_only, "name": name})
    with ExitStack() as stack:
        parts = [[n % vbuckets] if split else [*range(vbuckets)] for n in range(connections)]
        readers = [Reader(port, part, receive_buffer) for part in parts]
        for reader in readers:
            stack.enter_context(reader.socket)
        started, worked_before = perf_counter(), process_time()
        for reader in readers:
            reader.begin(wanted.encode(), items)
        if wait or forever:
            print("begun", flush=True)
        if wait:
            sys.stdin.readline()
            started, worked_before = perf_counter(), process_time()
        read_all(readers, wanted.encode() if forever else None, items)
        seen = Seen(perf_counter() - started)
        seen.share = (process_time() - worked_before) / seen.seconds
        seen.bytes = sum(reader.bytes for reader in readers)
        seen.scans = [scan for reader in readers for scan in reader.scans]
    print(json.dumps(asdict(seen)))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
