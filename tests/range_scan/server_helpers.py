"""A server in a thread of its own, and a client that shows every byte."""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import trio
from scramp import ScramClient

from examples.range_scan import wire
from examples.range_scan.server import serve
from examples.range_scan.settings import ServerSettings
from examples.range_scan.wire import Datatype, Feature, Frame, FrameReader, Opcode, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

VBUCKETS = 4
USER, PASSWORD = "Administrator", "correct horse"
EVERYTHING = tuple(Feature)
MEBIBYTE = 1024 * 1024
ROOT = Path(__file__).resolve().parent.parent.parent


@contextmanager
def serving(data: Path, **settings: Any) -> Iterator[int]:
    """Serve from another thread; the port. At the end it is told to stop, `stops` times, and must."""
    stops: int = settings.pop("stops", 1)
    chosen = {
        "vbuckets": VBUCKETS,
        "user": USER,
        "password": PASSWORD,
        "port": 0,
        "grace": 5,
        **settings,
    }
    started: SimpleQueue[Any] = SimpleQueue()
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    async def main() -> None:
        stop, stops = trio.open_memory_channel[None](2)
        token = trio.lowlevel.current_trio_token()

        def ready(port: int) -> None:
            started.put((port, lambda: token.run_sync_soon(stop.send_nowait, None)))

        await serve(ServerSettings(data=data, **chosen), stops=stops, ready=ready)

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:  # noqa: BLE001 - it is the test's
            started.put(error)
            ended.put(error)
        else:
            ended.put(None)

    thread = threading.Thread(target=run, name="server of a test")
    thread.start()
    first = started.get()
    if isinstance(first, BaseException):
        thread.join()
        raise first
    port, stop = first
    try:
        yield port
    finally:
        for _ in range(stops):
            stop()
        thread.join(30)
    assert not thread.is_alive(), "the server did not stop"
    if error := ended.get():
        raise error


PROGRAM = """
import json, sys
from pathlib import Path
import trio
from examples.range_scan.server import run
from examples.range_scan.settings import ServerSettings
settings = json.loads(sys.stdin.readline())
paths = {name: Path(settings[name]) for name in ("data", "tls_cert", "tls_key") if name in settings}
trio.run(run, ServerSettings(**{**settings, **paths}))
"""


@contextmanager
def serving_apart(data: Path, **settings: Any) -> Iterator[int]:
    """Serve from another process; the port. At the end it is told to stop, and must exit with 0.

    For clients that hold the GIL while they wait, as the SDK does.
    """
    chosen = {
        "vbuckets": VBUCKETS,
        "user": USER,
        "password": PASSWORD,
        "port": 0,
        "grace": 5,
        **settings,
    }
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as server:
        assert server.stdin
        assert server.stdout
        try:
            server.stdin.write(json.dumps({"data": data, **chosen}, default=str) + "\n")
            server.stdin.flush()
            line = server.stdout.readline()
            found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
            assert found, line
            yield int(found[1])
            server.terminate()
            assert server.wait(30) == 0
        finally:
            server.kill()


class RawClient:
    """A blocking client of frames."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", port))
        self._frames = FrameReader(wire.REPLIES, 256 * MEBIBYTE)
        self._opaques = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, opcode: int, **parts: Any) -> int:
        """Send a request; its opaque."""
        opaque: int = parts.pop("opaque", None) or next(self._opaques)
        self.socket.sendall(wire.pack_request(Frame(opcode, opaque, **parts)))
        return opaque

    def receive(self) -> Frame:
        """The next reply; EOFError if there is none."""
        while (frame := self._frames.next_frame()) is None:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._frames.receive_data(data)
        return frame

    def call(self, opcode: int, **parts: Any) -> Frame:
        """Send a request, and receive its reply."""
        opaque = self.send(opcode, **parts)
        reply = self.receive()
        assert (reply.opcode, reply.opaque) == (opcode, opaque)
        return reply

    def hello(self, *features: int) -> tuple[int, ...]:
        """Negotiate; what was agreed."""
        value = struct.pack(f">{len(features)}H", *features)
        reply = self.call(Opcode.HELLO, key=b"a test", value=value)
        assert reply.code == Status.SUCCESS
        return struct.unpack(f">{len(reply.value) // 2}H", reply.value)

    def login(self, mechanism: str = "SCRAM-SHA512", password: str = PASSWORD) -> Frame:
        """Log in; the last reply."""
        key = mechanism.encode()
        scram = ScramClient([mechanism.replace("SHA", "SHA-")], USER, password)
        first = self.call(Opcode.SASL_AUTH, key=key, value=scram.get_client_first().encode())
        if first.code != Status.AUTH_CONTINUE:
            return first
        scram.set_server_first(first.value.decode())
        last = self.call(Opcode.SASL_STEP, key=key, value=scram.get_client_final().encode())
        if last.code == Status.SUCCESS:
            scram.set_server_final(last.value.decode())
        return last

    def begin(self, *features: int) -> Self:
        """Negotiate, log in, select the bucket."""
        self.hello(*(features or EVERYTHING))
        assert self.login().code == Status.SUCCESS
        if Feature.SELECT_BUCKET in (features or EVERYTHING):
            assert self.call(Opcode.SELECT_BUCKET, key=b"default").code == Status.SUCCESS
        return self

    def set(
        self, key: bytes, value: bytes, vbucket: int = 0, *, datatype: int = 0, flags: int = 0
    ) -> Frame:
        """Store a document of the default collection, having negotiated collections."""
        extras = struct.pack(">II", flags, 0)
        reply = self.call(
            Opcode.SET, code=vbucket, key=b"\0" + key, value=value, extras=extras, datatype=datatype
        )
        assert reply.code == Status.SUCCESS
        return reply

    def create_scan(self, vbucket: int = 0, **body: Any) -> Frame:
        """Create a scan; of everything, if nothing is said."""
        if not {"range", "sampling"} & body.keys():
            body["range"] = {"start": "", "end": "/////w=="}
        value = json.dumps(body).encode()
        return self.call(Opcode.RANGE_SCAN_CREATE, code=vbucket, value=value, datatype=Datatype.JSON)

    def send_continue(
        self, uuid: bytes, items: int = 0, milliseconds: int = 0, size: int = 0, vbucket: int = 0
    ) -> int:
        """Ask for the next part of a scan; the opaque."""
        extras = struct.pack(">16sIII", uuid, items, milliseconds, size)
        return self.send(Opcode.RANGE_SCAN_CONTINUE, code=vbucket, extras=extras)

    def continue_scan(
        self, uuid: bytes, items: int = 0, milliseconds: int = 0, size: int = 0, vbucket: int = 0
    ) -> tuple[Frame, bytes]:
        """The next part of a scan: its last frame, and all values."""
        self.send_continue(uuid, items, milliseconds, size, vbucket)
        values = b""
        while (frame := self.receive()).code == Status.SUCCESS:
            values += frame.value
        return frame, values + (frame.value if frame.extras else b"")


def context_of(reply: Frame) -> str:
    """What an error's JSON says."""
    assert reply.datatype == Datatype.JSON
    text = json.loads(reply.value)["error"]["context"]
    assert isinstance(text, str)
    return text
