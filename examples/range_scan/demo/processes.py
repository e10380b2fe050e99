"""The other processes of the demo: the server, and the neighbour.

Invariants:

- Both end before their block is left, whatever ends it: at the end of the demo they are asked to, and
  otherwise they are killed. Nothing is lost by that, since the store is a temporary one.
- Ctrl-C is for the demo alone: each of them has a session of its own.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Final

import attrs
import trio

from examples.range_scan.cli.options import PASSWORD_VARIABLE
from examples.range_scan.client import Client, Login

from .errors import DemoError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from .verify import Document

ROOT: Final = Path(__file__).parents[3]
HOST: Final = "127.0.0.1"
USER: Final = "Administrator"
TIMEOUT: Final = 30.0
"""Seconds, for each step of a client."""


@attrs.frozen
class Server:
    """Where the server is, and its password, which nobody else knows."""

    port: int
    password: str = attrs.field(repr=False)

    def connect(self) -> Client:
        """A raw client of it. Thread: any but the front end. ClientError."""
        return Client.connect(HOST, self.port, Login(USER, self.password), timeout=TIMEOUT)


@attrs.define
class Gets:
    """What the neighbour says at its end."""

    times: list[tuple[float, float]] = attrs.field(factory=list[tuple[float, float]])
    """Of each GET: when, by the monotonic clock, and how many seconds it took."""
    wrong: str | None = None
    """The key of a document that was not as its source."""


@asynccontextmanager
async def running_server(data: Path) -> AsyncGenerator[Server]:
    """A server, in a process of its own, on a port that is free.

    Raises:
        DemoError: it does not start, or does not end well.
    """
    password = secrets.token_urlsafe()
    command = ["serve", "--port", "0", "--data", str(data)]
    async with _running("examples.range_scan", *command, password=password) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        line = await _first_line(process.stdout)
        found = re.fullmatch(r"listening on .*:(\d+)\n", line)
        if found is None:
            msg = "the server did not start; see what it says above"
            raise DemoError(msg)
        yield Server(int(found[1]), password)
        process.terminate()
        if await process.wait():
            msg = f"the server should have ended with the exit code 0, not {process.returncode}"
            raise DemoError(msg)


@asynccontextmanager
async def getting(server: Server, documents: Sequence[Document]) -> AsyncGenerator[Gets]:
    """A neighbour, which gets these documents; what it yields is filled in when the block is left.

    Raises:
        DemoError: it fails.
    """
    gets = Gets()
    program = f"{__package__}.neighbour"
    async with _running(program, str(server.port), USER, password=server.password) as process:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        texts = [(key.decode(), value.decode()) for key, value in documents]
        await process.stdin.send_all(json.dumps(texts).encode() + b"\n")
        yield gets
        await process.stdin.aclose()
        said = b"".join([data async for data in process.stdout])
        if await process.wait():
            msg = "the second client, which does GETs, has failed"
            raise DemoError(msg)
        told = json.loads(said)
        gets.times, gets.wrong = told["times"], told["wrong"]


async def _first_line(stream: trio.abc.ReceiveStream) -> str:
    """Or all there is, if that is less."""
    line = b""
    while not line.endswith(b"\n") and (data := await stream.receive_some()):
        line += data
    return line.decode()


@asynccontextmanager
async def _running(module: str, *arguments: str, password: str) -> AsyncGenerator[trio.Process]:
    """A Python program, which is killed if it still runs when the block is left."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", module, *arguments],
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,
        cwd=ROOT,
        env={**os.environ, PASSWORD_VARIABLE: password},
    )
    try:
        yield process
    finally:
        process.kill()  # does nothing if it has ended
        with trio.CancelScope(shield=True):
            await process.wait()
