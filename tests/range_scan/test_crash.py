"""The server is killed amid load, again and again: all that it acknowledged is there, and goes on."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest

from examples.range_scan.wire import vbucket_of
from tests.faults.load import Writer, look, until_gone
from tests.faults.looking import connect
from tests.faults.server import VBUCKETS, ServerProcess, start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.tree

WRITERS = 6
ROUNDS = int(os.environ.get("EWB_CRASH_ROUNDS", "50"))
"""Of the long form; for more: EWB_CRASH_ROUNDS=1000."""


def load_until(
    end: Callable[[], object], server: ServerProcess, writers: list[Writer], random: Random
) -> None:
    """Writers write, one client scans, and at some moment the server is ended."""
    enough = threading.Semaphore(0)
    threads = [threading.Thread(target=writer.run, args=(server, enough)) for writer in writers]
    threads.append(threading.Thread(target=until_gone, args=(server, look)))
    for thread in threads:
        thread.start()
    for _ in range(random.choice([0, 1, 10, 50, 150])):
        enough.acquire()
    time.sleep(random.random() / 100)
    end()
    for thread in threads:
        thread.join()


def check(server: ServerProcess, writers: list[Writer]) -> dict[str, str]:
    """All is as the writers were told, and there is nothing else. Returns the vBuckets' uuids."""
    with connect(server) as client:
        found = look(client)
        assert client.statistics()["store:documents"] == f"{len(found)}"
        vbuckets = client.statistics("vbucket")
    places = {(vbucket_of(key, VBUCKETS), document.seqno) for key, document in found.items()}
    assert len(places) == len(found)
    assert all(seqno <= int(vbuckets[f"vb_{vbucket}:high_seqno"]) for vbucket, seqno in places)
    for writer in writers:
        writer.check(found)
    assert found == {}
    assert server.said() == []
    return {name: value for name, value in vbuckets.items() if name.endswith(":uuid")}


def kill_again_and_again(data: Path, rounds: int, seed: int) -> int:
    """Kill it so often. Returns how many writes were acknowledged."""
    random = Random(seed)  # noqa: S311 - no secret
    writers = [Writer(number, seed) for number in range(WRITERS)]
    uuids: list[dict[str, str]] = []
    for _ in range(rounds):
        server = start(data)
        try:
            uuids.append(check(server, writers))
            load_until(server.kill, server, writers, random)
        finally:
            server.kill()
    server = start(data)
    uuids.append(check(server, writers))
    assert server.stop() == (0, [])
    assert all(one == uuids[0] for one in uuids)
    return sum(writer.answers for writer in writers)


def test_the_server_is_killed(tmp_path: Path) -> None:
    """Every acknowledged write is there with its CAS and sequence number, and none in halves."""
    assert kill_again_and_again(tmp_path / "store", rounds=15, seed=1) > 100


@pytest.mark.slow
@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_the_server_is_killed_hundreds_of_times(tmp_path: Path) -> None:
    """As above."""
    assert kill_again_and_again(tmp_path / "store", ROUNDS, seed=2) > ROUNDS


def test_the_server_is_asked_to_stop_amid_load(tmp_path: Path) -> None:
    """It ends well, whatever its clients still want; what was not answered is there wholly or not."""
    random = Random(3)  # noqa: S311 - no secret
    writers = [Writer(number, seed=3) for number in range(WRITERS)]
    ends: list[object] = []
    for _ in range(5):
        server = start(tmp_path / "store")
        try:
            check(server, writers)
            load_until(partial(stop, server, ends), server, writers, random)
        finally:
            server.kill()
    assert ends == [(0, [])] * 5


def stop(server: ServerProcess, ends: list[object]) -> None:
    """Ask it to stop, and note how it ends."""
    ends.append(server.stop())
