"""What was acknowledged is on the disk, whatever happens then."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import time
from itertools import groupby, islice
from pathlib import Path
from random import Random
from threading import Event
from typing import IO, TYPE_CHECKING

import pytest

from examples.range_scan.store import (
    Mutation,
    Op,
    ScanRequest,
    Settings,
    Status,
    Store,
    StoreDamagedError,
    StoreFullError,
)
from examples.range_scan.store.batch import Batch

from .store_helpers import GUARD, Clock, scan_documents, write, write_all
from .store_victim import VBUCKETS, mutation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.tree

ROOT = Path(__file__).parents[2]
ENDLESS = 10**9


def victim(
    directory: Path, first: int, count: int, *options: str, under: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start a process that writes."""
    command = [
        sys.executable,
        "-m",
        "tests.range_scan.store_victim",
        str(directory),
        str(first),
        str(count),
    ]
    return subprocess.Popen(
        [*under, *command, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": ""},
    )


def output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def kill_after(process: subprocess.Popen[str], count: int) -> list[int]:
    """Kill it when it has acknowledged `count`, amid others. Returns the CAS of each it had."""
    lines = output(process)
    said = list(islice(lines, count))
    process.kill()
    said += [line for line in lines if line.endswith("\n")]
    process.wait()
    lines.close()
    return [int(line.split()[1]) for line in said]


def expected_after(count: int) -> dict[bytes, bytes]:
    """The documents after the first `count` mutations."""
    documents: dict[bytes, bytes] = {}
    for number in range(count):
        it = mutation(number)
        if it.op is Op.DELETE:
            del documents[it.key]
        elif it.op is Op.INCR:
            documents[it.key] = b"%d" % (int(documents.get(it.key, b"0")) + 1)
        else:
            documents[it.key] = it.value
    return documents


def check_store(directory: Path, least: int) -> tuple[int, list[int]]:
    """The store holds the first mutations, at least `least`, and nothing else.

    Returns how many, and the uuids of the vBuckets.
    """
    with Store.open(directory) as store:
        done = sum(store.vbucket(vb).seqno for vb in range(VBUCKETS))
        assert done >= least
        filled = [vb for vb in range(VBUCKETS) if store.tally(vb, 0).documents]
        documents = [it for vb in filled for it in scan_documents(store, ScanRequest(vb=vb))]
        assert {it.key: it.value for it in documents} == expected_after(done)
        assert store.statistics().documents == len(documents)
        return done, [store.vbucket(vb).uuid for vb in range(VBUCKETS)]


def kill_again_and_again(directory: Path, seed: int, rounds: int, seconds: float = 1e9) -> int:
    """Let a process write, kill it, look, and let the next one go on from there. Returns how often."""
    random = Random(seed)  # noqa: S311 - no secret
    deadline = time.monotonic() + seconds
    done, uuids, last_cas = 0, None, 0
    for round_ in range(rounds):
        if time.monotonic() > deadline:
            return round_
        cases = kill_after(victim(directory, done, ENDLESS), random.choice([0, 1, 10, 100, 1000]))
        assert cases == sorted(set(cases))
        assert not cases or cases[0] > last_cas
        last_cas = max([last_cas, *cases])
        before = uuids
        done, uuids = check_store(directory, done + len(cases))
        assert before is None or uuids == before
    return rounds


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """A prefix of the mutations is there, with all that were acknowledged; CAS and seqnos go on."""
    kill_again_and_again(tmp_path, seed=1, rounds=20)


@pytest.mark.slow
def test_what_was_acknowledged_survives_many_kills(tmp_path: Path) -> None:
    """As above, as often as a minute allows."""
    rounds = sum(
        kill_again_and_again(tmp_path / f"{seed}", seed, rounds=40, seconds=10) for seed in range(6)
    )
    assert rounds >= 6


def test_a_store_is_founded_wholly_or_not_at_all(tmp_path: Path) -> None:
    """A process that is killed while it makes the store leaves one that can be opened, or none."""
    for milliseconds in range(0, 300, 20):
        directory = tmp_path / f"{milliseconds}"
        process = victim(directory, 0, ENDLESS)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(milliseconds / 1000)
        acknowledged = kill_after(process, 0)
        check_store(directory, len(acknowledged))


# -- the order of things ------------------------------------------------------------------------------


@pytest.fixture
def strace() -> str:
    """The tracer, where there is one that may trace."""
    path = shutil.which("strace")
    attempt = [path or "", "-o", os.devnull, "true"]
    if path is None or subprocess.run(attempt, check=False).returncode:
        pytest.skip("needs strace, and leave to trace")
    return path


def test_the_acknowledgement_follows_its_fsync(tmp_path: Path, strace: str) -> None:
    """Traced: the pages are written, then synced, then the root of them; then it is said.

    LMDB writes the root through a descriptor that was opened with O_DSYNC.
    """
    trace = tmp_path / "trace"
    calls = "trace=openat,pwrite64,pwritev,writev,fdatasync,write"
    process = victim(
        tmp_path / "store",
        0,
        20,
        "--one-by-one",
        under=[strace, "-f", "-y", "-o", f"{trace}", "-e", calls],
    )
    assert len(output(process).readlines()) == 20
    output(process).close()
    assert process.wait() == 0
    text = trace.read_text()
    synced = re.search(r'openat\(.*data\.mdb", .*O_DSYNC.*= (\d+)', text)
    assert synced is not None
    steps = [
        (rf"pwrite64\({synced[1]}<", "root"),
        (r"p?writev?(64)?\(\d+<[^>]*data\.mdb>", "pages"),
        (r"fdatasync\(\d+<[^>]*data\.mdb>", "sync"),
        (r"write\(1<[^>]*>, \"\d+ ", "said"),
    ]
    order = [
        next((name for pattern, name in steps if re.search(rf"^\d+ +{pattern}", line)), "")
        for line in text.splitlines()
    ]
    order = [name for name, _ in groupby(filter(None, order))]
    first = order.index("said") - 3
    assert order[first : first + 80] == ["pages", "sync", "root", "said"] * 20


def test_a_failing_fsync_is_never_acknowledged(tmp_path: Path, strace: str) -> None:
    """Injected: from the tenth on they fail. Nothing is acknowledged then, and what was is there."""
    inject = "inject=fdatasync:error=EIO:when=10+"
    process = victim(
        tmp_path / "store", 0, 20, "--one-by-one", under=[strace, "-f", "-o", os.devnull, "-e", inject]
    )
    lines = output(process).readlines()
    output(process).close()
    process.wait()
    good = [line for line in lines if line[0].isdigit()]
    assert 0 < len(good) < 10
    assert lines[: len(good)] == good
    assert all("Input/output error" in line and "writes no more" in line for line in lines[len(good) :])
    assert len(lines) == 20
    assert check_store(tmp_path / "store", len(good))[0] == len(good)


def test_after_a_failed_commit_only_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No later commit could make up for it. Reads and scans go on; opening it again helps."""

    def fail(_: Batch) -> None:
        raise OSError(5, "Input/output error")

    with Store.open(tmp_path) as store:
        write(store, Op.SET, b"k", b"old")
        with monkeypatch.context() as patch:
            patch.setattr(Batch, "commit", fail)
            outcome = write(store, Op.SET, b"k", b"new")
        assert outcome.status is Status.FAILED
        assert isinstance(outcome.error, StoreDamagedError)
        again = write(store, Op.SET, b"k", b"newer")
        assert again.error is outcome.error
        assert "restart" in str(again.error)
        assert not store.statistics().writable
        assert [it.value for it in scan_documents(store, ScanRequest(vb=0))] == [b"old"]
    with Store.open(tmp_path) as store:
        assert write(store, Op.REPLACE, b"k", b"new").status is Status.OK


# -- no room ------------------------------------------------------------------------------------------


def test_a_full_store_still_deletes(tmp_path: Path) -> None:
    """Only what does not fit fails, with bound and remedy; what was deleted makes room again."""
    with Store.open(tmp_path, Settings(max_size=4 << 20)) as store:
        keys = [b"%d" % number for number in range(100)]
        outcomes = write_all(
            store, [Mutation(op=Op.SET, key=key, value=bytes(100_000)) for key in keys]
        )
        good = [outcome for outcome in outcomes if outcome.status is Status.OK]
        assert 30 < len(good) < 42
        assert {it.status for it in outcomes[len(good) :]} == {Status.FULL}
        assert isinstance(outcomes[-1].error, StoreFullError)
        assert "of 4194304" in str(outcomes[-1].error)
        assert store.statistics().full == 100 - len(good)
        assert len(scan_documents(store, ScanRequest(vb=0))) == len(good)
        scan = store.open_scan(ScanRequest(vb=0))  # which keeps what is deleted, too
        deleted = write_all(store, [Mutation(op=Op.DELETE, key=key) for key in keys[: len(good)]])
        assert {it.status for it in deleted} == {Status.OK}
        scan.close()
        assert write(store, Op.SET, b"k", bytes(1_000_000)).status is Status.OK
        assert store.statistics().writable


def test_a_full_disk_fails_only_what_does_not_fit(tmp_path: Path) -> None:
    """Here it is a bound to the file's size; what was acknowledged is there, and the store goes on."""
    process = victim(tmp_path, 0, 3000, f"--file-size={3 << 20}", "--size=4000")
    lines = output(process).readlines()
    output(process).close()
    assert process.wait() == 0
    full = [line for line in lines if "no room on the disk" in line]
    assert full
    assert all("delete something, or make room" in line for line in full)
    assert any(line[0].isdigit() for line in lines[lines.index(full[0]) :])  # deleting, and small ones
    acknowledged = [int(line.split()[0]) for line in lines if line[0].isdigit()]
    with Store.open(tmp_path) as store:
        assert sum(store.vbucket(vb).seqno for vb in range(VBUCKETS)) == len(acknowledged)
        assert write(store, Op.SET, b"k", bytes(1_000_000)).status is Status.OK


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], None]:
    """Called, it lets no file grow any more, and takes all the room that is left in the store's."""

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill(store: Store) -> None:
        monkeypatch.setattr(os, "posix_fallocate", no_room)
        for number in range(10_000):
            if write(store, Op.SET, b"fill %d" % number, bytes(40_000)).status is Status.FULL:
                return
        raise AssertionError

    return fill


def test_large_documents_are_deleted_from_a_full_disk(
    tmp_path: Path, fill_disk: Callable[[Store], None]
) -> None:
    """To read much is not to write much; and what is refused writes nothing."""
    with Store.open(tmp_path, Settings(vbuckets=1)) as store:
        for key in (b"a", b"c"):
            write(store, Op.SET, key, bytes(3_000_000))
        fill_disk(store)
        assert write(store, Op.ADD, b"a", b"x").status is Status.EXISTS
        assert write(store, Op.DELETE, b"b").status is Status.NOT_FOUND
        assert write(store, Op.DELETE, b"a").status is Status.OK
        assert write(store, Op.DELETE, b"c").status is Status.OK


def test_expired_documents_are_purged_from_a_full_disk(
    tmp_path: Path, fill_disk: Callable[[Store], None]
) -> None:
    """A few at a time, if there is no room to delete many."""
    clock, count = Clock(), 500
    settings = Settings(vbuckets=1, clock=clock, purge_interval=0.001)
    with Store.open(tmp_path, settings) as store:
        fill = [
            Mutation(op=Op.SET, key=b"%d" % number, value=bytes(3000), expiry=1_000_010)
            for number in range(count)
        ]
        write_all(store, fill)
        fill_disk(store)
        purged = Event()
        seqno = store.vbucket(0).seqno + count
        assert store.when_persisted(0, seqno, purged.set) is not None
        before = store.tally(0, 0).documents
        clock.now = 1_000_020
        assert purged.wait(GUARD)
        assert store.tally(0, 0).documents == before - count


# -- without sync -------------------------------------------------------------------------------------


def uuids_of(directory: Path, *, sync: bool) -> list[int]:
    with Store.open(directory, Settings(sync=sync)) as store:
        return [store.vbucket(vb).uuid for vb in range(store.vbuckets)]


def test_without_sync_an_unclean_stop_begins_new_histories(tmp_path: Path) -> None:
    """Acknowledged writes may be lost then, so no vBucket is the same; a clean stop keeps them."""
    kill_after(victim(tmp_path, 0, ENDLESS), 10)
    before = uuids_of(tmp_path, sync=False)
    assert uuids_of(tmp_path, sync=False) == before
    kill_after(victim(tmp_path, 0, ENDLESS, "--no-sync"), 10)
    after = uuids_of(tmp_path, sync=True)
    assert not set(before) & set(after)
    assert uuids_of(tmp_path, sync=True) == after
