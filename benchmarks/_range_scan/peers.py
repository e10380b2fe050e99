"""The peers: PostgreSQL and Redis, each a private server in the temporary directory, on loopback.

Each is filled with the same documents, and knows how it is asked for them. One that is not installed
is left out.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from subprocess import DEVNULL
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from benchmarks._measuring import client_process

from .data import key, value

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Starting = AbstractContextManager["Peer"]

TO_START = 30.0
"""Seconds that a peer has to start, and to end."""
PATIENCE = 60.0
"""Seconds that a question may take."""
AT_ONCE = 1000
"""Documents given to a peer at a time."""
TABLE = """
CREATE TABLE docs (k bytea PRIMARY KEY, v bytea NOT NULL);
COPY docs FROM STDIN;
"""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "1GB",  # all of the table, so that it is warm
    "fsync": "off",
    "max_wal_size": "4GB",
}


@dataclass(frozen=True)
class Request:
    """How a peer is asked for documents, and how its answer ends."""

    port: int
    request: bytes
    tail: bytes
    hello: bytes = b""
    hello_tail: bytes = b""

    def __call__(self) -> Any:
        """Have a client process read the answer, and return what it saw. Blocks this thread."""
        client = client_process.start(
            "_range_scan.peer_client",
            port=self.port,
            hello=self.hello.hex(),
            hello_tail=self.hello_tail.hex(),
            request=self.request.hex(),
            tail=self.tail.hex(),
        )
        return client_process.seen_by(client, PATIENCE)


@dataclass(frozen=True)
class Peer:
    """A peer that runs, and holds the documents."""

    name: str
    documents: Request
    keys: Request | None = None


# -- PostgreSQL ---------------------------------------------------------------------------------------


@contextmanager
def postgres(programs: Path, directory: Path, documents: int) -> Generator[Peer]:
    """A private cluster with a table of the documents, all of it in its buffers."""
    user, port, data = _unprivileged(), _free_port(), directory / "postgres"
    data.mkdir()
    if user:
        shutil.chown(data, user)
    initdb = [programs / "initdb", "-D", data, "-U", "ewb", "-A", "trust", "-E", "UTF8", "--no-sync"]
    _run(initdb, user=user, cwd=data)
    options = chain.from_iterable(("-c", f"{name}={text}") for name, text in SETTINGS.items())
    server = [programs / "postgres", "-D", data, "-p", str(port), *options]
    where = ["-h", "127.0.0.1", "-p", str(port), "-U", "ewb", "-d", "postgres"]
    with _process(server, data, user) as process:
        _wait_until(process, [programs / "pg_isready", *where])
        _fill_table([programs / "psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", *where], documents)
        yield Peer(
            "PostgreSQL",
            _copy(port, "SELECT k, v FROM docs ORDER BY k", documents),
            _copy(port, "SELECT k FROM docs ORDER BY k", documents),
        )


def _fill_table(psql: list[Any], documents: int) -> None:
    with subprocess.Popen([*psql, "-1"], stdin=subprocess.PIPE, process_group=0) as loading:
        if loading.stdin:
            loading.stdin.write(TABLE.encode())
            for number in range(documents):
                loading.stdin.write(b"%b\t%b\n" % (key(number), value(number)))
            loading.stdin.write(b"\\.\n")
    if loading.returncode:
        msg = f"psql could not load the documents: exit code {loading.returncode}"
        raise RuntimeError(msg)
    _run([*psql, "-c", "VACUUM (FREEZE, ANALYZE) docs"])


def _copy(port: int, query: str, documents: int) -> Request:
    startup = struct.pack(">I", 196608) + b"user\0ewb\0database\0postgres\0\0"
    text = f"COPY ({query}) TO STDOUT (FORMAT binary)\0".encode()
    ready = b"Z\0\0\0\x05I"
    tag = f"COPY {documents}\0".encode()
    return Request(
        port,
        b"Q" + struct.pack(">I", len(text) + 4) + text,
        b"C" + struct.pack(">I", len(tag) + 4) + tag + ready,
        struct.pack(">I", len(startup) + 4) + startup,
        ready,
    )


# -- Redis --------------------------------------------------------------------------------------------


@contextmanager
def redis(program: Path, directory: Path, documents: int) -> Generator[Peer]:
    """A private server with a sorted set of the documents, whose members are key and value."""
    port, data = _free_port(), directory / "redis"
    data.mkdir()
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", data]
    with _process([program, "--port", str(port), *options], data) as process:
        _wait_until(process, ["redis-cli", "-p", str(port), "-e", "PING"])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            for first in range(0, documents, AT_ONCE):
                members = map(_member, range(first, min(first + AT_ONCE, documents)))
                scored = chain.from_iterable((b"0", member) for member in members)
                connection.sendall(_words(b"ZADD", b"docs", *scored))
                connection.recv(64)
        scan = _words(b"ZRANGE", b"docs", b"-", b"+", b"BYLEX")
        yield Peer("Redis", Request(port, scan, _member(documents - 1) + b"\r\n"))


def _member(number: int) -> bytes:
    return key(number) + value(number)


def _words(*words: bytes) -> bytes:
    """A command."""
    parts = (b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n" % len(words) + b"".join(parts)


# -- both ---------------------------------------------------------------------------------------------


def _unprivileged() -> str | None:
    """Who is to run a server that refuses to be root's; None: whoever we are."""
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _run(command: list[Any], **options: Any) -> str:
    """Run a program to its end. Returns what it prints."""
    output: bytes = subprocess.check_output(command, timeout=PATIENCE, **options)
    return output.decode()


@contextmanager
def _process(
    command: list[Any], folder: Path, user: str | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Have a server run; leaving the block ends it."""
    with (
        (folder / "log").open("wb") as log,
        # A process group of its own: Ctrl-C is not for the server, which we end.
        subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, user=user, process_group=0
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL would wait for clients at SIGTERM
            try:
                process.wait(TO_START)
            finally:
                process.kill()


def _wait_until(process: subprocess.Popen[bytes], ready: list[Any]) -> None:
    """Wait until this program says that the server is ready."""
    deadline = monotonic() + TO_START
    while subprocess.run(ready, stdout=DEVNULL, stderr=DEVNULL, check=False).returncode:
        if process.poll() is not None or monotonic() > deadline:
            msg = f"{process.args!r} does not start"
            raise RuntimeError(msg)
        sleep(0.05)
