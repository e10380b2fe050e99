"""Whatever the server runs out of: it serves what it can, says so, and goes on when there is more."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import threading
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from examples.range_scan.client import RefusedError
from examples.range_scan.store import Store, StoreOpenError
from examples.range_scan.wire import Opcode, Status
from tests.faults import sabotage
from tests.faults.conversation import Conversation
from tests.faults.looking import Observer, connect, put, scanned
from tests.faults.server import running, start
from tests.faults.waiting import wait_for

if TYPE_CHECKING:
    from examples.range_scan.client import Client

pytestmark = pytest.mark.tree

BLOCK = 100_000
"""Bytes of a document, where it is to take room."""


# -- descriptors --------------------------------------------------------------------------------------


def test_descriptors_run_out(tmp_path: Path) -> None:
    """Who is connected is served, in all ways; who is not is when there are more."""
    with (
        running(tmp_path / "store", says="cannot accept: Too many open files") as server,
        Observer(server) as observer,
    ):
        with connect(server) as client:
            most = server.held().descriptors + 5
            limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (most, limits[1]))
            with contextlib.ExitStack() as crowd:
                for _ in range(20):
                    crowd.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                wait_for(lambda: "cannot accept" not in server.log.read_text(), "not at its limit")
                for number in range(60):  # the file has to grow, too
                    put(client, b"k%d" % number, bytes(BLOCK))
                assert len(scanned(client)) == 61
        assert Conversation(server.port).run()
        observer.assert_as_before()


# -- threads ------------------------------------------------------------------------------------------


def test_no_thread_for_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and leaves the directory to others."""

    def refuse(_: threading.Thread) -> NoReturn:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(StoreOpenError, match="no thread for the store's writer"):
            Store.open(tmp_path)
    Store.open(tmp_path).close()


@pytest.mark.parametrize("threads", range(2))
def test_too_few_threads_to_begin_with(tmp_path: Path, threads: int) -> None:
    """The server does not serve; the store is as it was."""
    with pytest.raises(AssertionError, match="thread"):
        start(tmp_path / "store", sabotage=partial(sabotage.only_threads, threads))
    with running(tmp_path / "store") as server:
        assert Conversation(server.port).run()


def test_threads_run_out_while_it_serves(tmp_path: Path) -> None:
    """It has all that it needs: every kind of command is served."""
    with running(tmp_path / "store", sabotage=partial(sabotage.only_threads, 2)) as server:
        Conversation(server.port).fill()
        with Observer(server) as observer:
            assert Conversation(server.port).scan_large()
            assert Conversation(server.port).run()
            observer.assert_as_before()


# -- room ---------------------------------------------------------------------------------------------


@pytest.fixture
def may_mount(tmp_path: Path) -> None:
    """Leave to mount a small disk that goes with its process."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "-m", "mount", "-t", "tmpfs", "tmpfs", os.fspath(tmp_path)]
    if unshare is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs leave to mount a small disk")


def fill(client: Client) -> list[bytes]:
    """Write until there is no more room. Returns the keys of what was written."""
    written: list[bytes] = []
    for number in count():
        key = b"k%d" % number
        try:
            put(client, key, b"%d" % number + bytes(BLOCK))
        except RefusedError as error:
            refusal = error
            break
        written.append(key)
    assert refusal.status == Status.NO_MEMORY
    assert "delete" in str(refusal)
    return written


def empty(client: Client, keys: list[bytes]) -> None:
    """Delete these."""
    for key in keys:
        client._connection.ask(client._about(Opcode.DELETE, key, 0))


def check_full(client: Client, written: list[bytes]) -> None:
    """What was written is there, the rest is not; deleting makes room for as much again."""
    assert len(written) > 10
    assert set(scanned(client)) == set(written)
    assert client.get(written[-1]) == written[-1][1:] + bytes(BLOCK)
    empty(client, written[::2])
    for key in written[: len(written) // 4]:
        put(client, key, bytes(BLOCK))


def test_the_map_is_full(tmp_path: Path) -> None:
    """Writing says so; reading, scanning and deleting go on, and then writing."""
    with running(tmp_path / "store", max_size=4 << 20) as server, Observer(server) as observer:
        with connect(server) as client:
            empty(client, [b"the observer's own"])
            check_full(client, fill(client))
        observer.assert_served()
        observer.assert_as_before()


@pytest.mark.usefixtures("may_mount")
def test_the_disk_is_full(tmp_path: Path) -> None:
    """As for the map; and when the disk has become larger, writing goes on by itself."""
    (data := tmp_path / "store").mkdir()
    small = partial(sabotage.on_small_disk, data, "16m")
    with running(data, sabotage=small) as server:
        server.data = Path(f"/proc/{server.pid}/root{data}")
        with Observer(server) as observer:
            with connect(server) as client:
                empty(client, [b"the observer's own"])
                written = fill(client)
                check_full(client, written)
                fill(client)
                larger = f"nsenter -t {server.pid} -m mount -o remount,size=64m {data}"
                subprocess.run(larger.split(), check=True)
                for number in range(50):
                    put(client, b"more%d" % number, bytes(BLOCK))
            observer.assert_served()
            observer.assert_as_before()
