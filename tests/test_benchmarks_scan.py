"""The benchmarks of scans measure what they say: the server, its neighbours and peers, the designs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from benchmarks._designs import designs, probe
from benchmarks._measuring import installed
from benchmarks._range_scan import compared, crowd, neighbour, peers, processes, rates
from benchmarks._range_scan.data import VALUE_SIZE, Loaded, Workspace, check

from .helpers import GUARD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.tree

# -- the range-scan server ----------------------------------------------------------------------------

DOCUMENTS = 3_000


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    with Workspace() as workspace:
        yield workspace


@pytest.fixture(scope="module")
def loaded(workspace: Workspace) -> Loaded:
    return workspace.store(DOCUMENTS, vbuckets=2)


@pytest.fixture(scope="module")
def server(loaded: Loaded) -> Iterator[processes.Server]:
    with processes.serving(loaded.directory, designs=True) as server:
        yield server


@pytest.mark.parametrize("design", compared.DESIGNS.values(), ids=list(compared.DESIGNS))
def test_each_design_of_the_server_sends_every_byte(
    server: processes.Server, loaded: Loaded, design: str
) -> None:
    """Twice, and neighbours are answered: the client checks what it gets."""
    for _ in range(2):
        seen = compared.scan_among_gets(server, loaded, design)
        assert seen.bytes > DOCUMENTS * VALUE_SIZE
        assert all(seconds > 0 for seconds in seen.gets)


@pytest.mark.parametrize("keys_only", [False, True])
def test_one_scan_of_the_server_is_measured(workspace: Workspace, *, keys_only: bool) -> None:
    """The server as it is, with one vBucket."""
    one = workspace.store(DOCUMENTS, vbuckets=1)
    with processes.serving(one.directory) as server:
        seen = rates.scan(server, one, keys_only=keys_only)
    assert seen.seconds > 0
    assert (seen.bytes > DOCUMENTS * VALUE_SIZE) != keys_only


def test_the_limit_of_a_scan_takes_each_value(workspace: Workspace) -> None:
    """While a server has the store."""
    one = workspace.store(DOCUMENTS, vbuckets=1)
    with processes.serving(one.directory):
        sent = one.full[0].size + one.keys[0].size  # which are beside each other in the store's blocks
        assert sent < rates.walk(one).bytes <= sent + 20 * DOCUMENTS


def test_a_neighbour_of_scans_is_answered(
    server: processes.Server, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the scans beside it are right."""
    monkeypatch.setattr(neighbour, "VBUCKETS", 2)
    seen = neighbour.probe_among_scans(server, loaded, seconds=0.3)
    assert 0 < seen.p50 <= seen.p99
    assert seen.rate > 0


@pytest.mark.slow
def test_a_crowd_is_served_when_it_reads(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets a wrong byte, and others are served meanwhile."""
    loaded = workspace.store(DOCUMENTS + 2, vbuckets=2)  # the other one is being served
    monkeypatch.setattr(crowd, "VBUCKETS", 2)
    seen = crowd.crowd(loaded, clients=6, seconds=0.3)
    assert seen.right == 6
    assert seen.threads == 0
    assert seen.gets


def test_a_scan_with_another_byte_is_no_figure(loaded: Loaded) -> None:
    """One that is too short, or has another checksum."""
    right = loaded.full[0]
    scan = {"vbucket": 0, "size": right.size, "checksum": right.checksum}
    assert check([scan], loaded.full) == 1
    with pytest.raises(RuntimeError, match="is right"):
        check([scan, {**scan, "checksum": "0"}], loaded.full)
    with pytest.raises(RuntimeError, match="is right"):
        check([{**scan, "size": 1}], loaded.full)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PostgreSQL", "Redis"])
def test_a_peer_sends_all_documents(name: str, workspace: Workspace, tmp_path: Path) -> None:
    """As many bytes as there are in keys and values, and what goes with them."""
    postgres, redis = installed.postgres(), installed.redis()
    peer: peers.Starting
    if name == "PostgreSQL" and postgres:
        peer = peers.postgres(postgres.parent, workspace.directory, DOCUMENTS)
    elif name == "Redis" and redis:
        peer = peers.redis(redis, tmp_path, DOCUMENTS)
    else:
        pytest.skip(f"{name} is not installed")
    with peer as running:
        assert rates.ask(running.documents).bytes > DOCUMENTS * VALUE_SIZE
        if running.keys:
            assert DOCUMENTS < rates.ask(running.keys).bytes < DOCUMENTS * VALUE_SIZE


# -- the three designs --------------------------------------------------------------------------------


@pytest.mark.parametrize("design", designs.DESIGNS.values(), ids=list(designs.DESIGNS))
@pytest.mark.parametrize("buffer", [1, 300, 10_000])
async def test_each_design_sends_all_chunks_in_order(design: designs.Design, buffer: int) -> None:
    """Whatever its buffer."""
    sent = [b"%03d" % number for number in range(200)]
    ours, theirs = (
        trio.SocketStream(trio.socket.from_stdlib_socket(end))
        for end in socket.socketpair(type=socket.SOCK_STREAM)
    )
    received = bytearray()

    async def receive() -> None:
        async for data in theirs:
            received.extend(data)

    with trio.fail_after(GUARD):
        async with ours, theirs, trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await design(ours, iter(sent), buffer)
            await ours.send_eof()
    assert bytes(received) == b"".join(sent)


@pytest.mark.slow
@pytest.mark.parametrize("design", designs.DESIGNS)
def test_a_design_is_measured(design: str, workspace: Workspace) -> None:
    """In a process of its own, with its neighbour."""
    one = workspace.store(DOCUMENTS, vbuckets=1)
    setting = probe.Setting(one.directory, design, chunk=1024, buffer=65_536, seconds=0.1)
    seen = probe.probe(setting)
    assert seen.rate > 0
    assert seen.wake_ups > 0
    assert 0 < seen.p50 <= seen.p99


@pytest.mark.slow
@pytest.mark.skipif(not probe.can_count(), reason="strace is not installed")
def test_system_calls_are_counted(workspace: Workspace) -> None:
    """A round trip for each 64 B takes more of them than one for each 64 KiB."""
    one = workspace.store(DOCUMENTS, vbuckets=1)
    small, large = (
        probe.Setting(one.directory, "round trip", chunk=chunk, buffer=0, seconds=0.1)
        for chunk in (64, 65_536)
    )
    assert probe.system_calls(small) > 10 * probe.system_calls(large) > 0


def test_rows_of_straces_table_are_added_up() -> None:
    """With and without errors; the heads and the sum are none."""
    rows = """
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000060           6        10         2 read
 40.00    0.000040           1        32           write
------ ----------- ----------- --------- --------- ----------------
100.00    0.000100           2        42         2 total
"""
    assert sum(map(probe._calls_in, rows.splitlines())) == 42
