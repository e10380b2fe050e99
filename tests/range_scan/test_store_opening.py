"""Opening a store: one at a time, and whatever is wrong is said in one line."""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
import pytest

from examples.range_scan.store import Op, ScanRequest, Settings, Store, StoreOpenError
from examples.range_scan.store.founding import _Meta
from examples.range_scan.store.layout import META_COLLECTIONS, META_FORMAT

from .store_helpers import scan_keys, write

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.tree

ROOT = Path(__file__).parents[2]


def make(directory: Path, vbuckets: int = 4) -> None:
    with Store.open(directory, Settings(vbuckets=vbuckets)) as store:
        write(store, Op.SET, b"k", b"v" * 100)


def refused(directory: Path, settings: Settings | None = None) -> str:
    """The line that says why it cannot be opened."""
    with pytest.raises(StoreOpenError) as caught:
        Store.open(directory, settings)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_it_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    """Documents, collections and their ids, uuids, sequence numbers and CAS."""
    with Store.open(tmp_path, Settings(vbuckets=4, collections=["a.b", "a.c"])) as store:
        outcome = write(store, Op.SET, b"k", b"v", vb=1, collection=store.collections["a.c"])
        before = [store.vbucket(vb) for vb in range(4)]
        assert store.collections == {"_default._default": 0, "a.b": 8, "a.c": 9}
    with Store.open(tmp_path, Settings(collections=["a.d", "a.b"])) as store:
        assert store.collections == {"_default._default": 0, "a.b": 8, "a.c": 9, "a.d": 10}
        assert [store.vbucket(vb) for vb in range(4)] == before
        document = store.get(1, 9, b"k")
        assert document is not None
        assert document.cas == outcome.cas
        assert store.tally(1, 9).documents == 1
        assert write(store, Op.SET, b"k", b"v").cas > outcome.cas


def test_it_has_64_vbuckets_with_uuids_of_their_own(tmp_path: Path) -> None:
    """If nothing else is asked for."""
    with Store.open(tmp_path / "not" / "there" / "yet") as store:
        assert store.vbuckets == 64
        assert len({store.vbucket(vb).uuid for vb in range(64)}) == 64


def test_a_new_store_is_where_it_is_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the disk, with each directory that was made; the note that there is data comes after that."""
    synced: list[int] = []
    fsync, directory = os.fsync, tmp_path / "not" / "there" / "yet"

    def record(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    make(directory)
    made = [directory, directory.parent, directory.parent.parent, tmp_path]
    assert synced[:4] == [each.stat().st_ino for each in made]
    assert synced[-1] == (directory / "store.lock").stat().st_ino
    synced.clear()
    make(directory)
    assert not synced


@pytest.mark.parametrize(("code", "opens"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_directory_that_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, opens: bool
) -> None:
    """On some file systems there is no such thing; but where a disk fails, nothing is promised."""
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    if opens:
        make(tmp_path)
    else:
        assert "cannot write to" in refused(tmp_path)
        assert b"has data" not in (tmp_path / "store.lock").read_bytes()


def test_a_directory_is_for_one_store_at_a_time(tmp_path: Path) -> None:
    """In this process and in another; when it is closed the next may open it."""
    with Store.open(tmp_path):
        line = f"{tmp_path} is in use by process {os.getpid()}: stop that, or use another directory"
        assert refused(tmp_path) == line
        command = [sys.executable, "-m", "tests.range_scan.store_victim", str(tmp_path), "0", "1"]
        other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert line in other.stderr
    make(tmp_path, 64)


def test_another_number_of_vbuckets_is_refused(tmp_path: Path) -> None:
    """Keys would not be found where they are."""
    make(tmp_path)
    line = refused(tmp_path, Settings(vbuckets=8))
    assert "was made with 4 vBuckets, not 8: ask for 4" in line


def test_a_bad_name_of_a_collection_is_refused(tmp_path: Path) -> None:
    """With the form that it should have; nothing is made."""
    for name in ("cities", "a.b.c", ".b", "a. b"):
        assert "give scope.collection" in refused(tmp_path, Settings(collections=["ok.ok", name]))
    with Store.open(tmp_path) as store:
        assert list(store.collections) == ["_default._default"]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Below a file, and in a directory that may not be written to."""
    (tmp_path / "file").touch()
    assert "cannot write to" in refused(tmp_path / "file")
    assert "Not a directory" in refused(tmp_path / "file" / "below")
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        assert "Permission denied" in refused(tmp_path / "closed")


@pytest.mark.parametrize("length", [1, 100, 4096, 8192, 9000, 12_288, 20_480])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, length: int) -> None:
    """At once: reading beyond its end would kill the process."""
    make(tmp_path)
    os.truncate(tmp_path / "data.mdb", length)
    line = refused(tmp_path)
    assert line.startswith(f"the store in {tmp_path} is damaged (")
    assert line.endswith("restore a copy, or use another directory")


def test_a_file_that_is_gone_is_noticed(tmp_path: Path) -> None:
    """LMDB would begin a new one, as if there had been nothing."""
    make(tmp_path)
    make(tmp_path)  # the note of it outlasts a process
    os.truncate(tmp_path / "data.mdb", 0)
    assert "is damaged (its data.mdb is gone, or empty)" in refused(tmp_path)
    (tmp_path / "data.mdb").unlink()
    assert "is damaged (its data.mdb is gone, or empty)" in refused(tmp_path)
    (tmp_path / "store.lock").unlink()
    make(tmp_path)


@pytest.mark.parametrize("left", [b"7\nhas data\n data\n", b"4194304\nhas data\n"])
def test_what_a_killed_process_left_in_its_lock_still_says_that(tmp_path: Path, left: bytes) -> None:
    """It may have written its number, and not yet have cut what was there before."""
    make(tmp_path)
    (tmp_path / "store.lock").write_bytes(left)
    (tmp_path / "data.mdb").unlink()
    for _ in range(2):  # and who was refused keeps nothing
        assert "is damaged" in refused(tmp_path)


def test_a_process_that_ended_before_there_was_data_does_no_harm(tmp_path: Path) -> None:
    """It had taken the directory, and LMDB had made its file."""
    (tmp_path / "store.lock").write_bytes(b"123456\n")
    (tmp_path / "data.mdb").touch()
    make(tmp_path)


def uuids_of(directory: Path) -> set[int]:
    with Store.open(directory) as store:
        return {store.vbucket(vb).uuid for vb in range(store.vbuckets)}


def test_a_copy_begins_new_histories(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who remembers a later write than it has is told so; it is said once, and goes on from there."""
    make(tmp_path / "store")
    before = uuids_of(tmp_path / "store")
    with Store.open(tmp_path / "store") as store:
        (tmp_path / "copy").mkdir()
        store._tables.environment.copy(str(tmp_path / "copy"))
    assert not caplog.records
    after = uuids_of(tmp_path / "copy")
    assert not before & after
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'copy'} holds a copy of a store: its vBuckets begin new histories"
    ]
    assert uuids_of(tmp_path / "copy") == after
    assert uuids_of(tmp_path / "store") == before
    assert len(caplog.records) == 1


def test_a_copy_is_one_until_that_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may end while it opens it: the next one must know it, too."""
    make(tmp_path)
    before = uuids_of(tmp_path)
    (tmp_path / "store.lock").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(_Meta, "begin_histories", lambda _: sys.exit("killed"))
        with pytest.raises(SystemExit):
            Store.open(tmp_path)
    assert not before & uuids_of(tmp_path)


def test_scans_of_a_killed_process_keep_no_pages(tmp_path: Path) -> None:
    """Though another process, which copies the store for one, has had its file open all the time."""
    make(tmp_path)
    read = (
        "import lmdb, sys; environment = lmdb.open(sys.argv[1], max_dbs=3); "
        "reading = environment.begin(); reading.get(b'x'); print(flush=True); sys.stdin.read()"
    )
    with ExitStack() as stack:
        holder, victim = (
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", read, os.fspath(tmp_path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for _ in range(2)
        )
        for process in (holder, victim):
            assert process.stdout is not None
            process.stdout.readline()
        victim.kill()
        victim.wait()
        with Store.open(tmp_path) as store:
            readers = store._tables.environment.readers()
        assert str(holder.pid) in readers
        assert str(victim.pid) not in readers


def scribble(environment: lmdb.Environment) -> None:
    """Another program's database."""
    with environment.begin(write=True) as txn:
        txn.put(b"hello", b"world")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """Noise, and an LMDB file of another program's."""
    (tmp_path / "data.mdb").write_bytes(bytes(range(256)) * 100)
    assert "is damaged" in refused(tmp_path)
    with lmdb.open(str(tmp_path / "other"), max_dbs=5) as environment:
        scribble(environment)
    assert "is not such a store" in refused(tmp_path / "other")
    with lmdb.open(str(tmp_path / "other"), max_dbs=5) as environment, environment.begin() as txn:
        assert txn.stat()["entries"] == 1  # as it was


def change(directory: Path, do: Callable[[lmdb.Transaction[bytes]], object]) -> None:
    with lmdb.open(str(directory), max_dbs=3) as environment:
        state = environment.open_db(b"state")
        with environment.begin(write=True, db=state) as txn:
            do(txn)


def test_another_format_is_refused(tmp_path: Path) -> None:
    """A later program's, for one."""
    make(tmp_path)
    change(tmp_path, lambda txn: txn.put(META_FORMAT, b"3"))
    assert "has format 3, this program knows 2" in refused(tmp_path)


@pytest.mark.parametrize("key", [META_COLLECTIONS, META_FORMAT, b"v\0\2"])
def test_what_is_missing_or_garbled_is_noticed(tmp_path: Path, key: bytes) -> None:
    """Of what the store knows of itself."""
    make(tmp_path)
    change(tmp_path, lambda txn: txn.put(key, b"\x80garbled"))
    assert "is damaged" in refused(tmp_path)
    change(tmp_path, lambda txn: txn.delete(key))
    assert "use another directory" in refused(tmp_path)


def test_too_little_address_space_is_said(tmp_path: Path) -> None:
    """With the remedy."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 33, hard))
    try:
        line = refused(tmp_path, Settings(max_size=1 << 40))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert "no address space" in line
    assert "use a smaller maximal size" in line


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """With the remedy."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        line = refused(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert line.startswith(
        f"no room on the disk for the store in {tmp_path}: make room, or use another"
    )


def test_settings_are_checked() -> None:
    """Where they are made, with their bounds."""
    for settings in (
        {"vbuckets": 0},
        {"vbuckets": 1025},
        {"max_size": 0},
        {"max_growth": -1},
        {"max_scans": 0},
    ):
        with pytest.raises(ValueError, match="must be"):
            Settings(**settings)  # type: ignore[arg-type]


def test_a_refused_store_is_left_as_it_was(tmp_path: Path) -> None:
    """It can be opened the right way afterwards."""
    make(tmp_path)
    refused(tmp_path, Settings(vbuckets=8, collections=["new.one"]))
    with Store.open(tmp_path) as store:
        assert json.dumps(dict(store.collections)) == '{"_default._default": 0}'
        assert scan_keys(store, ScanRequest(vb=0, keys_only=True)) == [b"k"]
