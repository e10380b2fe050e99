"""Scans: whatever is asked for, a scan gives what a sorted dict would have at its beginning."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from examples.range_scan.store import (
    EmptyScanError,
    KeyTooLongError,
    Limits,
    Mutation,
    NotPersistedError,
    Op,
    Range,
    Requirement,
    Sample,
    Scan,
    ScanBusyError,
    ScanCancelledError,
    ScanEnd,
    ScanRequest,
    SeqnoMissingError,
    Settings,
    Store,
    StoreDamagedError,
    TooManyScansError,
    UnknownCollectionError,
    UnknownVBucketError,
    WrongVBucketUuidError,
)

from .store_helpers import (
    GUARD,
    Clock,
    decode_documents,
    decode_keys,
    read_all,
    scan_documents,
    scan_keys,
    small_blocks,
    write,
    write_all,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.range_scan.store.blocks import Items

pytestmark = pytest.mark.tree

SDK_END = b"\xf4\x8f\xfb\xfb"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    settings = Settings(vbuckets=2, collections=["a.b"], clock=Clock(), purge_interval=1000)
    with Store.open(tmp_path, settings) as store:
        yield store


def fill(store: Store, count: int, size: int = 20, **fields: int) -> list[bytes]:
    """Documents with the keys 0000, 0001, ..."""
    keys = [b"%04d" % number for number in range(count)]
    write_all(store, [Mutation(op=Op.SET, key=key, value=bytes(size), **fields) for key in keys])
    return keys


# -- what is in a range -------------------------------------------------------------------------------


def in_range(key: bytes, range_: Range) -> bool:
    """What a range means, in the plainest words."""
    if key < range_.start or (key == range_.start and not range_.start_inclusive):
        return False
    if range_.end is None:
        return True
    return key < range_.end or (key == range_.end and range_.end_inclusive)


few_bytes = st.lists(st.sampled_from([0, 97, 255]), max_size=3).map(bytes)
any_keys = few_bytes | st.binary(max_size=250)
ranges = st.builds(
    Range,
    start=any_keys,
    end=st.none() | any_keys | st.just(SDK_END),
    start_inclusive=st.booleans(),
    end_inclusive=st.booleans(),
)


class ScansAgainstDict(RuleBasedStateMachine):
    """Scans that are opened, read in pieces and closed while documents come, go and expire."""

    sizes = st.sampled_from([0, 5, 100, 5000])  # of values; some alone in their block

    def __init__(self) -> None:
        super().__init__()
        self.small = small_blocks()
        self.small.__enter__()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = Clock()
        settings = Settings(vbuckets=2, collections=["a.b"], clock=self.clock, purge_interval=1000)
        self.store = Store.open(Path(self.directory.name), settings)
        self.model: dict[bytes, tuple[bytes, int]] = {}  # value, expiry
        self.scans: list[
            tuple[Scan, list[tuple[bytes, bytes, int]]]
        ] = []  # and what it has yet to give
        for vb, collection in ((0, 8), (1, 0)):  # neighbours, which no scan may touch
            write_all(
                self.store,
                [
                    Mutation(op=Op.SET, vb=vb, collection=collection, key=key)
                    for key in (b"", b"a", b"\xff" * 250)
                ],
            )

    def teardown(self) -> None:
        """Leave nothing."""
        for scan, _ in self.scans:
            scan.close()
        self.store.close()
        self.small.__exit__(None, None, None)
        self.directory.cleanup()

    @rule(
        keys=st.lists(any_keys, min_size=1, max_size=40), size=sizes, ttl=st.sampled_from([0, 0, 0, 3])
    )
    def put(self, keys: list[bytes], size: int, ttl: int) -> None:
        """Many at once."""
        expiry = int(self.clock.now) + ttl if ttl else 0
        value = bytes(size)
        write_all(
            self.store, [Mutation(op=Op.SET, key=key, value=value, expiry=expiry) for key in keys]
        )
        self.model |= dict.fromkeys(keys, (value, expiry))

    @rule(keys=st.lists(few_bytes, min_size=1, max_size=10))
    def delete(self, keys: list[bytes]) -> None:
        """Those that are there."""
        write_all(self.store, [Mutation(op=Op.DELETE, key=key) for key in keys])
        for key in keys:
            self.model.pop(key, None)

    @rule()
    def pass_time(self) -> None:
        """So that documents expire."""
        self.clock.now += 1

    def is_live(self, expiry: int) -> bool:
        """Whether it has not expired."""
        return not expiry or expiry > self.clock.now

    @rule(range_=ranges, keys_only=st.booleans())
    def open(self, range_: Range, keys_only: bool) -> None:
        """Expect what the model has now."""
        expected = [
            (key, value, expiry)
            for key, (value, expiry) in sorted(self.model.items())
            if in_range(key, range_) and self.is_live(expiry)
        ]
        request = ScanRequest(vb=0, pick=range_, keys_only=keys_only)
        if expected:
            self.scans.append((self.store.open_scan(request), expected))
        else:
            with pytest.raises(EmptyScanError):
                self.store.open_scan(request)

    @rule(
        which=st.integers(0, 9),
        items=st.sampled_from([0, 1, 2, 7, 100]),
        size=st.sampled_from([0, 1, 50, 300, 20_000]),
        chunk_size=st.sampled_from([1, 100, 4096, 1 << 17]),
    )
    def read(self, which: int, items: int, size: int, chunk_size: int) -> None:
        """Up to limits; the rest is for another time."""
        if not self.scans:
            return
        scan, expected = self.scans.pop(which % len(self.scans))
        data, end = read_all(scan, Limits(items=items, bytes=size), chunk_size)
        if scan.request.keys_only:
            found = [(key, b"") for key in decode_keys(data)]
            sizes = [1 + len(key) + (len(key) > 127) for key, _ in found]
        else:
            documents = decode_documents(data)
            found = [(document.key, document.value) for document in documents]
            sizes = [
                27 + len(key) + (len(key) > 127) + len(value) + (len(value) > 127)
                for key, value in found
            ]
            assert sum(sizes) == len(data)
        # What expired since the first block was read ahead may be given or not.
        rest = iter(expected)
        for key, value in found:
            for expected_key, expected_value, expiry in rest:
                if expected_key == key:
                    assert scan.request.keys_only or value == expected_value
                    break
                assert not self.is_live(expiry)
            else:
                raise AssertionError(key, expected)
        left = list(rest)
        if end is ScanEnd.COMPLETE:
            assert not any(self.is_live(expiry) for _, _, expiry in left)
            scan.close()
            return
        assert items or size
        assert found
        assert len(found) == items or (size and sum(sizes) >= size)
        assert not items or len(found) <= items
        assert not size or sum(sizes[:-1]) < size
        self.scans.append((scan, left))


TestScansAgainstDict = ScansAgainstDict.TestCase
TestScansAgainstDict.settings = settings(max_examples=30, stateful_step_count=40)


@given(
    keys=st.sets(any_keys, min_size=1, max_size=300),
    range_=ranges,
    keys_only=st.booleans(),
    chunk_size=st.sampled_from([1, 1000, 1 << 17]),
)
def test_a_scan_is_a_slice_of_the_sorted_keys(
    keys: set[bytes],
    range_: Range,
    keys_only: bool,
    chunk_size: int,
) -> None:
    """For any keys and all four kinds of bounds."""
    expected = [key for key in sorted(keys) if in_range(key, range_)]
    with (
        small_blocks(),
        tempfile.TemporaryDirectory() as directory,
        Store.open(Path(directory)) as store,
    ):
        write_all(store, [Mutation(op=Op.SET, key=key) for key in keys])
        request = ScanRequest(vb=0, pick=range_, keys_only=keys_only)
        if not expected:
            with pytest.raises(EmptyScanError):
                store.open_scan(request)
            return
        data, end = read_all(store.open_scan(request), chunk_size=chunk_size)
    assert end is ScanEnd.COMPLETE
    found = decode_keys(data) if keys_only else [it.key for it in decode_documents(data)]
    assert found == expected


@pytest.mark.parametrize("size", [300, 3000, 5000])  # many in a block, two, one
def test_bounds_at_every_place(store: Store, size: int) -> None:
    """All kinds of them, on a key and between two, also where blocks begin and end."""
    keys = fill(store, 60, size=size)
    for number in range(60):
        for bound in (keys[number], keys[number] + b"\0"):
            for inclusive in (True, False):
                to = Range(end=bound, end_inclusive=inclusive)
                from_ = Range(start=bound, start_inclusive=inclusive)
                for range_ in (to, from_):
                    expected = [key for key in keys if in_range(key, range_)]
                    if not expected:
                        continue
                    request = ScanRequest(vb=0, pick=range_)
                    assert scan_keys(store, replace(request, keys_only=True)) == expected
                    assert [it.key for it in scan_documents(store, request)] == expected


def test_a_bound_has_at_most_250_bytes() -> None:
    """As a key has."""
    with pytest.raises(KeyTooLongError, match="251 bytes; use at most 250"):
        Range(end=bytes(251))


def test_a_scan_gives_the_whole_document(store: Store) -> None:
    """Byte for byte what `get` gives: flags, expiry, sequence number, CAS, datatype."""
    write(store, Op.SET, b"k", b"v" * 300, flags=0xDEADBEEF, expiry=3_000_000, datatype=3)
    write(store, Op.SET, b"large", b"v" * 300_000)
    assert scan_documents(store, ScanRequest(vb=0)) == [
        store.get(0, 0, b"k"),
        store.get(0, 0, b"large"),
    ]


# -- snapshots ----------------------------------------------------------------------------------------


def test_a_scan_reads_the_snapshot_of_its_beginning(store: Store) -> None:
    """Whatever is written while it is open; a scan that begins later sees that."""
    keys = fill(store, 500)
    scan = store.open_scan(ScanRequest(vb=0))
    head, _ = read_all(scan, Limits(items=100))
    for op in (Op.SET, Op.DELETE):
        write_all(store, [Mutation(op=op, key=key, value=b"changed") for key in keys[::2]])
    write(store, Op.SET, b"0000a")
    write(store, Op.FLUSH)
    write(store, Op.SET, b"new")
    tail, end = read_all(scan)
    scan.close()
    documents = decode_documents(head + tail)
    assert end is ScanEnd.COMPLETE
    assert [document.key for document in documents] == keys
    assert {document.value for document in documents} == {bytes(20)}
    assert scan_keys(store, ScanRequest(vb=0, keys_only=True)) == [b"new"]


def test_a_scan_that_is_left_in_the_midst_goes_on_there(store: Store) -> None:
    """A reader may be closed at any chunk: what was not yielded comes next."""
    keys = fill(store, 300)
    scan = store.open_scan(ScanRequest(vb=0, keys_only=True))
    with closing(scan.read(chunk_size=100)) as reading:
        found = decode_keys(b"".join(islice(reading, 3)))
    found += decode_keys(read_all(scan)[0])
    assert found == keys
    assert read_all(scan) == (b"", ScanEnd.COMPLETE)
    scan.close()


def test_each_step_may_be_on_another_thread(store: Store) -> None:
    """Also the last one, and closing: LMDB's transaction is not bound to a thread."""
    keys = fill(store, 300)
    scan = store.open_scan(ScanRequest(vb=0, keys_only=True))
    reading = scan.read(chunk_size=100)
    chunks: list[bytes] = []
    while True:
        before = len(chunks)
        thread = Thread(target=lambda: chunks.extend(islice(reading, 1)))
        thread.start()
        thread.join()
        if len(chunks) == before:
            break
    assert decode_keys(b"".join(chunks)) == keys
    thread = Thread(target=scan.close)
    thread.start()
    thread.join()
    assert store.statistics().scans == 0


def test_large_documents_are_not_copied_before_they_are_needed(store: Store) -> None:
    """Each chunk has one of them, not as many as are looked at together."""
    write_all(store, [Mutation(op=Op.SET, key=b"%02d" % n, value=bytes(200_000)) for n in range(40)])
    scan = store.open_scan(ScanRequest(vb=0))
    chunks = list(scan.read(chunk_size=100_000))
    scan.close()
    assert [len(decode_documents(chunk)) for chunk in chunks] == [1] * 40


def test_the_time_limit_ends_a_read_after_a_chunk(store: Store) -> None:
    """Each read gives something, however short the time."""
    keys = fill(store, 300)
    scan = store.open_scan(ScanRequest(vb=0, keys_only=True))
    found: list[bytes] = []
    end, reads = ScanEnd.MORE, 0
    while end is ScanEnd.MORE:
        data, end = read_all(scan, Limits(seconds=1e-9), chunk_size=500)
        found += decode_keys(data)
        reads += 1
    scan.close()
    assert found == keys
    assert reads > 1


def test_two_readers_at_once_are_one_too_many(store: Store) -> None:
    """The second is refused; when the first has ended, another may read."""
    fill(store, 300)
    scan = store.open_scan(ScanRequest(vb=0))
    first = scan.read(chunk_size=100)
    next(first)
    assert scan.statistics().reading
    with pytest.raises(ScanBusyError):
        next(scan.read())
    first.close()
    assert not scan.statistics().reading
    assert next(scan.read())
    scan.close()


@pytest.mark.parametrize("keys_only", [True, False])
def test_a_scan_can_be_cancelled_at_any_time(store: Store, keys_only: bool) -> None:
    """Its reader hears of it at its next chunk, with the reason; the snapshot has ended by then."""
    fill(store, 300, size=3000)
    scan = store.open_scan(ScanRequest(vb=0, keys_only=keys_only))
    reading = scan.read(chunk_size=100)
    next(reading)
    scan.cancel("somebody said so")
    assert store.statistics().scans == 0
    with pytest.raises(ScanCancelledError, match="somebody said so"):
        next(reading)
    with pytest.raises(ScanCancelledError, match="somebody said so"):
        next(scan.read())
    scan.close()
    assert scan.statistics().cancelled == "somebody said so"


def test_closing_the_store_ends_its_scans(tmp_path: Path) -> None:
    """Also one that is being read, with views into LMDB's memory."""
    with Store.open(tmp_path) as store:
        fill(store, 300, size=3000)
        reading = store.open_scan(ScanRequest(vb=0)).read(chunk_size=100)
        next(reading)
    with pytest.raises(ScanCancelledError, match="store was closed"):
        next(reading)


def test_scans_have_a_bound(tmp_path: Path) -> None:
    """One more than may be open is refused, until one is closed; reads need none."""
    with Store.open(tmp_path, Settings(max_scans=3)) as store:
        fill(store, 3)
        scans = [store.open_scan(ScanRequest(vb=0)) for _ in range(3)]
        with pytest.raises(TooManyScansError, match="3 scans are open"):
            store.open_scan(ScanRequest(vb=0))
        assert store.get(0, 0, b"0001") is not None
        scans[1].close()
        with pytest.raises(EmptyScanError):
            store.open_scan(ScanRequest(vb=1))
        store.open_scan(ScanRequest(vb=0))
        assert store.statistics().scans == 3
        assert store.statistics().oldest_scan_age > 0


def test_an_old_scan_that_makes_the_file_grow_is_cancelled(tmp_path: Path) -> None:
    """The oldest only: what it kept can be used again, so the file stops growing."""
    with Store.open(tmp_path, Settings(max_growth=1 << 20)) as store:
        fill(store, 500, size=1000)
        old = store.open_scan(ScanRequest(vb=0))
        for _ in range(20):
            fill(store, 500, size=1000)
            if store.statistics().scans_cancelled:
                break
        with pytest.raises(ScanCancelledError, match=r"grew by .* bytes beyond its documents"):
            next(old.read())
        size = store.statistics().file_size
        for _ in range(20):
            young = store.open_scan(ScanRequest(vb=0, keys_only=True))
            fill(store, 500, size=1000)
            assert len(decode_keys(read_all(young)[0])) == 500
            young.close()
        statistics = store.statistics()
        assert statistics.scans_cancelled == 1
        assert statistics.file_size < size + (2 << 20)  # 10 MiB were written


def test_growth_by_documents_cancels_no_scan(tmp_path: Path) -> None:
    """Only what an old scan keeps counts."""
    with Store.open(tmp_path, Settings(max_growth=1 << 20)) as store:
        write(store, Op.SET, b"first")
        scan = store.open_scan(ScanRequest(vb=0))
        write_all(store, [Mutation(op=Op.SET, key=b"%d" % n, value=bytes(50_000)) for n in range(100)])
        assert store.statistics().file_size > 5_000_000
        assert decode_documents(read_all(scan)[0])[0].key == b"first"
        scan.close()


@pytest.mark.parametrize("chunk_size", [1, 1000, 100_000, 128 << 10])
def test_sizes_that_vary_a_lot_make_chunks_that_do_not(tmp_path: Path, chunk_size: int) -> None:
    """Whatever the mean says that a chunk has: many small documents, many of 16 KiB, and small ones."""
    sizes = [10] * 700 + [16_000] * 100 + [0] * 700
    expected = {b"%04d" % number: bytes(size) for number, size in enumerate(sizes)}
    with Store.open(tmp_path, Settings(vbuckets=1)) as store:
        write_all(store, [Mutation(op=Op.SET, key=key, value=value) for key, value in expected.items()])
        scan = store.open_scan(ScanRequest(vb=0))
        chunks = list(scan.read(chunk_size=chunk_size))
        scan.close()
    assert max(map(len, chunks)) <= chunk_size + (160 << 10)
    found = {one.key: one.value for one in decode_documents(b"".join(chunks))}
    assert found == expected


# -- expiry -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys_only", [True, False])
def test_documents_that_expire_leave_a_scan(tmp_path: Path, keys_only: bool) -> None:
    """Also those that expire while it is open; a range of nothing else is empty."""
    clock = Clock()
    with Store.open(tmp_path, Settings(clock=clock, purge_interval=1000)) as store:
        expiries = [0, 1_000_010, 1_000_020]
        for number in range(600):
            expiry = expiries[number % 3]
            store.submit(Mutation(op=Op.SET, key=b"%04d" % number, expiry=expiry), lambda _: None)
        write(store, Op.SET, b"z", expiry=1_000_010)
        clock.now = 1_000_010
        with pytest.raises(EmptyScanError):
            store.open_scan(ScanRequest(vb=0, keys_only=keys_only, pick=Range(start=b"z")))
        scan = store.open_scan(ScanRequest(vb=0, keys_only=keys_only))
        decode = decode_keys if keys_only else decode_documents
        assert len(decode(read_all(scan, Limits(items=100))[0])) == 100
        clock.now = 1_000_020
        rest = decode(read_all(scan)[0])
        assert 150 <= len(rest) <= 182  # 450 / 3, and what had been looked at before
        scan.close()


@pytest.mark.parametrize("keys_only", [True, False])
def test_what_expires_before_a_scan_is_read_is_not_in_it(tmp_path: Path, keys_only: bool) -> None:
    """Not even what was looked at to know that there is something to read."""
    clock = Clock()
    with Store.open(tmp_path, Settings(clock=clock, purge_interval=1000)) as store:
        write(store, Op.SET, b"first", expiry=1_000_010)
        write(store, Op.SET, b"last")
        scan = store.open_scan(ScanRequest(vb=0, keys_only=keys_only))
        clock.now = 1_000_010
        data, _ = read_all(scan)
        found = decode_keys(data) if keys_only else [one.key for one in decode_documents(data)]
        assert found == [b"last"]
        scan.close()


# -- requirements -------------------------------------------------------------------------------------


def test_what_a_scan_requires_is_checked(store: Store) -> None:
    """The vBucket's uuid, how far it has come, and that a sequence number is a document's."""
    fill(store, 100)
    write(store, Op.SET, b"0050", b"again")  # 101; 51 is no document's any more
    write(store, Op.DELETE, b"0051")  # 102; no more are 52 and 102
    uuid, seqno = store.vbucket(0)

    def open_with(uuid: int, seqno: int, *, exists: bool = False) -> None:
        requirement = Requirement(uuid, seqno, exists)
        store.open_scan(ScanRequest(vb=0, requirement=requirement)).close()

    open_with(uuid, seqno)
    open_with(uuid, 101, exists=True)
    for missing in (51, 52, 102):
        with pytest.raises(SeqnoMissingError, match=f"seqno {missing}"):
            open_with(uuid, missing, exists=True)
    with pytest.raises(NotPersistedError, match="at seqno 102, not yet at 103"):
        open_with(uuid, 103)
    with pytest.raises(WrongVBucketUuidError) as caught:
        open_with(uuid + 1, 1)
    assert caught.value.uuid == uuid
    assert store.statistics().scans == 0


def test_a_scan_of_what_is_not_there(store: Store) -> None:
    """No such vBucket, no such collection, no document."""
    with pytest.raises(UnknownVBucketError):
        store.open_scan(ScanRequest(vb=2))
    with pytest.raises(UnknownCollectionError):
        store.open_scan(ScanRequest(vb=0, collection=9))
    for pick in (Range(), Sample(5)):
        with pytest.raises(EmptyScanError):
            store.open_scan(ScanRequest(vb=0, pick=pick))


# -- samples ------------------------------------------------------------------------------------------


def test_a_sample_of_no_more_than_there_is_has_all(store: Store) -> None:
    """Of this collection in this vBucket; the neighbours do not count."""
    keys = fill(store, 100)
    fill(store, 50, vb=1)
    fill(store, 50, collection=8)
    for samples in (100, 101, 10_000):
        request = ScanRequest(vb=0, pick=Sample(samples), keys_only=True)
        assert scan_keys(store, request) == keys


@pytest.mark.parametrize("keys_only", [True, False])
def test_a_sample_has_each_document_as_often(store: Store, keys_only: bool) -> None:
    """Over many seeds: the counts, and each document's share, are within five standard deviations."""
    keys = fill(store, 1000)
    seeds, samples = 400, 100
    share = samples / 1000
    times = dict.fromkeys(keys, 0)
    total = 0
    for seed in range(seeds):
        request = ScanRequest(vb=0, pick=Sample(samples, seed), keys_only=keys_only)
        found = (
            scan_keys(store, request)
            if keys_only
            else [it.key for it in scan_documents(store, request)]
        )
        assert abs(len(found) - samples) < 5 * (1000 * share * (1 - share)) ** 0.5
        assert found == sorted(set(found))
        total += len(found)
        for key in found:
            times[key] += 1
    spread = (seeds * share * (1 - share)) ** 0.5
    assert abs(total - samples * seeds) < 5 * spread * 1000**0.5
    assert max(abs(count - seeds * share) for count in times.values()) < 5 * spread


def test_the_same_seed_gives_the_same_sample(store: Store) -> None:
    """And another seed another one."""
    fill(store, 1000)
    first, again, other = (
        scan_keys(store, ScanRequest(vb=0, pick=Sample(50, seed), keys_only=True)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_samples_are_at_least_one() -> None:
    """Of none there would be no share."""
    with pytest.raises(ValueError, match="1 or more, not 0"):
        Sample(0)


# -- beside writers -----------------------------------------------------------------------------------


def test_scans_beside_writers_are_consistent(tmp_path: Path) -> None:
    """Documents are written in turn, again and again; a scan sees how far that was, not a mixture."""
    with Store.open(tmp_path) as store:
        keys = fill(store, 200)
        ended = Event()

        def rewrite() -> None:
            for round_ in range(1, 60):
                write_all(store, [Mutation(op=Op.SET, key=key, value=b"%d" % round_) for key in keys])
            ended.set()

        fill_round_0 = [Mutation(op=Op.SET, key=key, value=b"0") for key in keys]
        write_all(store, fill_round_0)
        writer = Thread(target=rewrite)
        writer.start()
        scans = 0
        while not ended.is_set() or scans == 0:
            documents = scan_documents(store, ScanRequest(vb=0))
            assert [document.key for document in documents] == keys
            rounds = [int(document.value) for document in documents]
            assert rounds == sorted(rounds, reverse=True)
            assert rounds[0] - rounds[-1] <= 1
            scans += 1
        writer.join(GUARD)


def test_a_scan_that_met_damage_has_no_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads on is told the same: it is not complete."""

    def damaged(what: str) -> Iterator[Items]:
        raise lmdb.CorruptedError(what)
        yield

    fill(store, 3)
    with closing(store.open_scan(ScanRequest(vb=0))) as scan:
        monkeypatch.setattr(scan, "_parts", damaged("a page"))
        for _ in range(2):
            with pytest.raises(StoreDamagedError, match="restore it from a copy"):
                read_all(scan)
