"""Whatever fails within the server: what was acknowledged stands, the rest is said, nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import pytest

from examples.range_scan.client import ClientError, Range, RefusedError
from examples.range_scan.store import (
    Mutation,
    Op,
    Settings,
    Status,
    Store,
    StoreDamagedError,
)
from examples.range_scan.store.batch import Batch
from examples.range_scan.wire import Datatype, Frame, Opcode, vbucket_of
from examples.range_scan.wire import Status as WireStatus
from tests.faults import sabotage
from tests.faults.conversation import Conversation
from tests.faults.looking import Observer, connect, put, scanned
from tests.faults.server import VBUCKETS, running, start
from tests.faults.waiting import GUARD

from .store_helpers import Clock, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from examples.range_scan.store import Outcome
    from tests.faults.server import ServerProcess

pytestmark = pytest.mark.tree

# -- the disk fails -----------------------------------------------------------------------------------


@pytest.fixture
def strace() -> str:
    """The tracer, where there is one that may trace."""
    path = shutil.which("strace")
    attempt = [path or "", "-o", os.devnull, "true"]
    if path is None or subprocess.run(attempt, check=False).returncode:
        pytest.skip("needs strace, and leave to trace")
    return path


@contextlib.contextmanager
def injected(strace: str, server: ServerProcess, what: str) -> Iterator[None]:
    """Have system calls of a running server fail."""
    command = [strace, "-f", "-o", os.devnull, "-e", f"inject={what}", "-p", f"{server.pid}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(GUARD)


@pytest.mark.parametrize("calls", ["fdatasync", "pwrite64,pwritev"])
def test_the_disk_fails(tmp_path: Path, strace: str, calls: str) -> None:
    """No write is acknowledged from then on; a restart finds all that was.

    When a sync fails, reading goes on. When LMDB cannot write its root, it reads no more either.
    """
    acknowledged = [b"k%d" % number for number in range(20)]
    server = start(tmp_path / "store")
    try:
        with connect(server) as client, connect(server) as reader:
            for key in acknowledged:
                put(client, key, b"good")
            with injected(strace, server, f"{calls}:error=EIO"), pytest.raises(RefusedError):
                put(client, b"k0", b"bad")
            for key in acknowledged:
                with connect(server) as other, pytest.raises(RefusedError):
                    put(other, key, b"bad")
                if calls == "fdatasync":
                    assert reader.get(key) == b"good"
                else:
                    with pytest.raises(RefusedError):
                        reader.get(key)
            assert reader.statistics()["store:writable"] == "false"
        assert any("look after the disk, then restart" in line for line in server.said())
    finally:
        server.kill()
    with running(tmp_path / "store") as server, connect(server) as client:
        assert scanned(client) == dict.fromkeys(acknowledged, b"good")
        put(client, b"k0", b"better")


@pytest.mark.parametrize("kind", [SystemExit, MemoryError, KeyboardInterrupt])
def test_the_writer_is_hit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    """Whatever is raised in its thread: nobody waits for ever, nothing is acknowledged from then on."""

    def fail(_: Batch) -> NoReturn:
        raise kind

    with Store.open(tmp_path, Settings(vbuckets=1)) as store:
        with monkeypatch.context() as patch:
            patch.setattr(Batch, "commit", fail)
            assert write(store, Op.SET, b"k", b"new").status is Status.FAILED
        again = write(store, Op.SET, b"k", b"new")
        assert isinstance(again.error, StoreDamagedError)
        assert store.get(0, 0, b"k") is None


def test_a_callback_that_exits_ends_nothing(tmp_path: Path) -> None:
    """It is logged, and others are called."""

    def exit_(_: Outcome) -> NoReturn:
        sys.exit("a mistake")

    with Store.open(tmp_path, Settings(vbuckets=1)) as store:
        store.submit(Mutation(op=Op.SET, key=b"k", value=b"1"), exit_)
        store.when_persisted(0, 2, sys.exit)
        assert write(store, Op.REPLACE, b"k", b"2").status is Status.OK
        assert write(store, Op.REPLACE, b"k", b"3").status is Status.OK


# -- scans fail ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["begin", "chunk", "finally"])
@pytest.mark.parametrize("error", [OSError, MemoryError])
def test_what_reads_for_a_scan_raises(tmp_path: Path, point: str, error: type[Exception]) -> None:
    """That scan ends with a refusal behind what was read, and is gone; all else is served."""
    breaks = partial(sabotage.break_scans, point, error)
    with (
        running(tmp_path / "store", sabotage=breaks, says=None) as server,
        Observer(server) as observer,
    ):
        with connect(server) as client:
            put(client, b"k", b"v")
            for _ in range(3):
                with pytest.raises(RefusedError, match="internal"):
                    scanned(client)
                assert client.get(b"k") == b"v"
        observer.assert_as_before()
        told = [line for line in server.said() if line.endswith(f"{error.__name__}: {point}")]
        assert len(told) == 3


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_reads_for_a_scan_exits(tmp_path: Path, error: type[BaseException]) -> None:
    """That ends the server, as it says; what was acknowledged is there when it starts again."""
    breaks = partial(sabotage.break_scans, "chunk", error)
    server = start(tmp_path / "store", sabotage=breaks)
    with connect(server) as client:
        put(client, b"k", b"v")
        with pytest.raises(ClientError):
            scanned(client)
    server.process.join(GUARD)
    assert server.process.exitcode not in {0, None}
    with running(tmp_path / "store") as server, connect(server) as client:
        assert scanned(client) == {b"k": b"v"}


# -- the clock ----------------------------------------------------------------------------------------

YEAR = 365 * 24 * 3600
JUMPS = [0, YEAR, -YEAR, 20 * YEAR, -50 * YEAR, 100 * YEAR, 3600, -3600, 200 * YEAR, 0]
"""Seconds; the clock starts in this century."""


def test_the_clock_jumps(tmp_path: Path) -> None:
    """CAS and sequence numbers grow all the same, and what has no expiry stays."""
    clock = Clock(now := time.time())
    with Store.open(tmp_path, Settings(vbuckets=1, clock=clock, purge_interval=0.001)) as store:
        last = write(store, Op.SET, b"k", b"")
        for jump in JUMPS:
            clock.now = now + jump
            outcome = write(store, Op.REPLACE, b"k", b"%d" % jump)
            assert (outcome.status, outcome.seqno) == (Status.OK, last.seqno + 1)
            assert outcome.cas > last.cas
            last = outcome
            found = store.get(0, 0, b"k")
            assert found is not None
            assert found.value == b"%d" % jump
        assert store.statistics().writable


def test_the_clock_jumps_beneath_a_server(tmp_path: Path) -> None:
    """Time limits go on by another clock: logins, scans and connections end no sooner for it."""
    wrong = tmp_path / "wrong"
    wrong.write_text("0")
    with (
        running(tmp_path / "store", sabotage=partial(sabotage.clock_of, wrong)) as server,
        Observer(server) as observer,
    ):
        with connect(server) as client:
            put(client, b"k", b"v")
            for jump in JUMPS:
                create = Frame(Opcode.RANGE_SCAN_CREATE, code=vbucket_of(b"k", VBUCKETS))
                create.value, create.datatype = json.dumps(Range().to_json()).encode(), Datatype.JSON
                uuid = client._connection.ask(create).value
                (next_one := tmp_path / "next").write_text(f"{jump}")
                next_one.replace(wrong)
                assert Conversation(server.port).run()
                touch = client._about(Opcode.SET, b"expires", 0)
                touch.extras, touch.value = struct.pack(">II", 0, 3600), b"v"
                client._connection.ask(touch)
                assert client.get(b"expires") == b"v"
                extras = struct.pack(">16sIII", uuid, 0, 0, 0)
                carry_on = Frame(Opcode.RANGE_SCAN_CONTINUE, code=create.code, extras=extras)
                client._connection.send([carry_on])
                while (reply := client._connection.receive()).code != WireStatus.SCAN_COMPLETE:
                    assert reply.code == WireStatus.SUCCESS
        observer.assert_as_before()
