"""Documents of the store: what is written is read, whatever the kind of mutation."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from threading import Event, current_thread
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from examples.range_scan.store import (
    MAX_KEY,
    MAX_VALUE,
    Document,
    KeyTooLongError,
    Mutation,
    Op,
    Outcome,
    ScanRequest,
    Settings,
    Status,
    Store,
    StoreClosedError,
    Tally,
    UnknownCollectionError,
    UnknownVBucketError,
    writer,
)
from examples.range_scan.store.batch import Batch

from .store_helpers import GUARD, Clock, held_up, scan_documents, write, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.tree

U64 = 2**64


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    settings = Settings(vbuckets=4, clock=clock, collections=["cities.europe"], inflate=bytes.swapcase)
    with Store.open(tmp_path, settings) as store:
        yield store


def test_a_document_has_all_that_was_set(store: Store) -> None:
    """Key, value, flags, expiry, datatype, and the CAS and sequence number of its mutation."""
    expiry = 2_000_000
    outcome = write(store, Op.SET, b"k", b"v", vb=2, flags=7, expiry=expiry, datatype=1)
    assert outcome.status is Status.OK
    assert (outcome.uuid, outcome.seqno) == store.vbucket(2)
    assert store.get(2, 0, b"k") == Document(b"k", b"v", 7, expiry, 1, outcome.cas, 1)
    assert store.get(1, 0, b"k") is None


def test_collections_are_apart(store: Store) -> None:
    """The same key in another collection is another document."""
    europe = store.collections["cities.europe"]
    write(store, Op.SET, b"k", b"default")
    write(store, Op.SET, b"k", b"europe", collection=europe)
    assert [getattr(store.get(0, it, b"k"), "value", None) for it in (0, europe)] == [
        b"default",
        b"europe",
    ]
    assert (store.tally(0, 0).documents, store.tally(0, europe).documents) == (1, 1)


@pytest.mark.parametrize("key", [b"", b"\0", b"\xff" * MAX_KEY, bytes(range(250))])
def test_any_bytes_are_a_key(store: Store, key: bytes) -> None:
    """Of up to 250 bytes, and of none."""
    write(store, Op.SET, key, b"v")
    document = store.get(0, 0, key)
    assert document is not None
    assert document.key == key


def test_what_cannot_be_is_refused_at_once(store: Store) -> None:
    """Keys that are too long, vBuckets and collections that are not there, numbers out of range."""
    with pytest.raises(KeyTooLongError, match="251 bytes; use at most 250"):
        write(store, Op.SET, bytes(251))
    with pytest.raises(KeyTooLongError):
        store.get(0, 0, bytes(251))
    with pytest.raises(UnknownVBucketError, match=r"no vBucket 4.* 0 to 3"):
        write(store, Op.SET, b"k", vb=4)
    with pytest.raises(UnknownCollectionError, match="0x63"):
        store.get(0, 99, b"k")
    for field in ({"flags": 2**32}, {"expiry": -1}, {"cas": U64}, {"datatype": 256}, {"delta": -1}):
        with pytest.raises(ValueError, match="flags and expiry have 32 bits"):
            Mutation(op=Op.SET, **field)  # type: ignore[arg-type]  # these are numbers


def test_a_value_has_a_bound(store: Store) -> None:
    """20 MiB, also when it is reached by appending."""
    largest = write(store, Op.SET, b"k", bytes(MAX_VALUE))
    assert largest.status is Status.OK
    assert write(store, Op.SET, b"k", bytes(MAX_VALUE + 1)).status is Status.TOO_BIG
    assert write(store, Op.APPEND, b"k", b"x").status is Status.TOO_BIG
    document = store.get(0, 0, b"k")
    assert document is not None
    assert (len(document.value), document.cas) == (MAX_VALUE, largest.cas)


def test_cas_guards_every_kind(store: Store) -> None:
    """A mutation with another CAS changes nothing; without a document there is none to compare."""
    kinds = [Op.SET, Op.REPLACE, Op.APPEND, Op.PREPEND, Op.DELETE, Op.INCR, Op.TOUCH]
    for op in kinds:
        assert write(store, op, b"k", b"1", cas=5, initial=0).status is Status.NOT_FOUND
    cas = write(store, Op.SET, b"k", b"1").cas
    for op in kinds:
        assert write(store, op, b"k", b"1", cas=cas + 1).status is Status.EXISTS
    assert write(store, Op.ADD, b"k", b"1").status is Status.EXISTS
    for op in kinds:
        outcome = write(store, op, b"k", b"1", cas=cas, delta=1)
        assert outcome.status is Status.OK
        assert outcome.cas > cas
        cas = outcome.cas if op is not Op.DELETE else write(store, Op.SET, b"k", b"1").cas


def test_counters(store: Store) -> None:
    """They begin again behind 2**64 - 1, stop at 0, and count nothing but numbers."""
    assert write(store, Op.INCR, b"n", delta=1).status is Status.NOT_FOUND
    assert write(store, Op.INCR, b"n", delta=1, initial=10).number == 10
    assert write(store, Op.INCR, b"n", delta=5).number == 15
    assert write(store, Op.DECR, b"n", delta=16).number == 0
    write(store, Op.SET, b"n", b"%d" % (U64 - 1), flags=3)
    assert write(store, Op.INCR, b"n", delta=2).number == 1
    document = store.get(0, 0, b"n")
    assert document is not None
    assert (document.value, document.flags) == (b"1", 3)
    for value in (b"", b"x", b"-1", b"+1", b"1_0", b"%d" % U64, b"9" * 30):
        write(store, Op.SET, b"n", value)
        assert write(store, Op.INCR, b"n", delta=1).status is Status.NOT_A_NUMBER


def test_what_is_compressed_is_inflated_before_it_is_changed(store: Store, tmp_path: Path) -> None:
    """By the function in the settings; where it fails, or there is none, only the mutation fails."""
    write(store, Op.SET, b"k", b"ABC", datatype=3)
    write(store, Op.APPEND, b"k", b"def")
    document = store.get(0, 0, b"k")
    assert document is not None
    assert (document.value, document.datatype) == (b"abcdef", 0)

    failure = "no snappy"

    def fail(_: bytes) -> bytes:
        raise ValueError(failure)

    for inflate, message in ((fail, failure), (None, "without a way to inflate")):
        with Store.open(tmp_path / message, Settings(inflate=inflate)) as other:
            write(other, Op.SET, b"k", b"ABC", datatype=2)
            outcome = write(other, Op.APPEND, b"k", b"def")
            assert outcome.status is Status.FAILED
            assert message in str(outcome.error)
            assert write(other, Op.SET, b"k", b"ok").status is Status.OK


def test_what_would_be_too_large_is_not_inflated(tmp_path: Path) -> None:
    """The writer's thread is everybody's: it does no work only to say that there is no number."""
    inflated: list[bytes] = []

    def inflate(value: bytes) -> bytes:
        inflated.append(value)
        return value * 10_000

    settings = Settings(inflate=inflate, plain_size=lambda value: len(value) * 10_000)
    with Store.open(tmp_path, settings) as store:
        write(store, Op.SET, b"k", b"1" * 1000, datatype=2)
        assert write(store, Op.INCR, b"k", delta=1).status is Status.NOT_A_NUMBER
        assert write(store, Op.DECR, b"k", delta=1).status is Status.NOT_A_NUMBER
        large = bytes(MAX_VALUE - 10_000_000 + 1)
        assert write(store, Op.APPEND, b"k", large).status is Status.TOO_BIG
        assert write(store, Op.PREPEND, b"k", large).status is Status.TOO_BIG
        assert not inflated
        assert write(store, Op.APPEND, b"k", b"2").status is Status.OK
        assert len(inflated) == 1


def test_a_counter_may_have_much_white_space(store: Store) -> None:
    """Compressed or not; but not without end."""
    for datatype in (0, 2):
        write(store, Op.SET, b"n", b"41".center(1000), datatype=datatype)
        assert write(store, Op.INCR, b"n", delta=1).number == 42
        write(store, Op.SET, b"n", b"41".center(2000), datatype=datatype)
        assert write(store, Op.INCR, b"n", delta=1).status is Status.NOT_A_NUMBER


def test_an_expired_document_is_gone(store: Store, clock: Clock) -> None:
    """At once, in its second, for reads and for each mutation, also before it is purged."""
    write(store, Op.SET, b"k", b"1", expiry=1_000_010)
    clock.now = 1_000_009.9
    assert store.get(0, 0, b"k") is not None
    clock.now = 1_000_010.0
    assert store.get(0, 0, b"k") is None
    for op in (Op.REPLACE, Op.APPEND, Op.DELETE, Op.TOUCH, Op.INCR):
        assert write(store, op, b"k").status is Status.NOT_FOUND
    assert write(store, Op.ADD, b"k", b"new").status is Status.OK
    assert store.tally(0, 0)[:2] == (1, 0)


def test_touch_gives_the_document_and_a_new_expiry(store: Store, clock: Clock) -> None:
    """As a get-and-touch needs it, and with a CAS of its own."""
    before = write(store, Op.SET, b"k", b"v", expiry=1_000_010)
    outcome = write(store, Op.TOUCH, b"k", expiry=1_000_020)
    assert outcome.document == store.get(0, 0, b"k")
    assert outcome.cas > before.cas
    clock.now = 1_000_015
    assert store.get(0, 0, b"k") is not None


def test_flush_deletes_what_was_written_just_before_it(store: Store) -> None:
    """Also in the same transaction, which has not stored it yet."""
    sets = [Mutation(op=Op.SET, key=b"%d" % number, expiry=2_000_000) for number in range(300)]
    write_all(store, [*sets, Mutation(op=Op.FLUSH), Mutation(op=Op.ADD, key=b"behind")])
    assert store.statistics().largest_group > 2
    assert [document.key for document in scan_documents(store, ScanRequest(vb=0))] == [b"behind"]
    assert store.get(0, 0, b"299") is None
    assert store.tally(0, 0).documents == 1


def test_expired_documents_are_purged(tmp_path: Path) -> None:
    """By the writer, on its own; and each deletion has a sequence number."""
    clock = Clock()
    settings = Settings(vbuckets=1, clock=clock, purge_interval=0.001)
    with Store.open(tmp_path, settings) as store:
        keys = [b"%d" % number for number in range(3000)]
        write_all(store, [Mutation(op=Op.SET, key=key, expiry=1_000_010) for key in keys])
        write(store, Op.SET, b"stays", expiry=1_000_050)
        purged = Event()
        assert store.when_persisted(0, 6001, purged.set) is not None
        assert store.tally(0, 0).documents == 3001
        clock.now = 1_000_020
        assert purged.wait(GUARD)
        assert store.tally(0, 0)[:2] == (1, 1)


def test_large_documents_that_expire_together_are_purged_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction has what it changes in memory, so it must not have too much."""
    monkeypatch.setattr(writer, "_GROUP_BYTES", 1 << 20)
    clock = Clock()
    with Store.open(tmp_path, Settings(vbuckets=1, clock=clock, purge_interval=0.001)) as store:
        for number in range(30):
            write(store, Op.SET, b"%d" % number, bytes(200_000), expiry=1_000_010)
        purged = Event()
        assert store.when_persisted(0, 60, purged.set) is not None
        before = store.statistics().commits
        clock.now = 1_000_020
        assert purged.wait(GUARD)
        assert 30 / 5 <= store.statistics().commits - before < 30
        assert store.tally(0, 0) == Tally()


def test_compressed_documents_are_counted(store: Store) -> None:
    """A scan of a collection without any need not look at each: whatever becomes of them is counted."""
    assert store.tally(0, 0).compressed == 0
    write(store, Op.SET, b"packed", b"ABC", datatype=3)
    write(store, Op.SET, b"plain", b"ABC", datatype=1)
    assert store.tally(0, 0).compressed == 1
    write(store, Op.SET, b"packed", b"abc")
    assert store.tally(0, 0).compressed == 0
    write(store, Op.SET, b"packed", b"ABC", datatype=2)
    write(store, Op.DELETE, b"packed")
    assert store.tally(0, 0).compressed == 0


def test_flush_deletes_everything(store: Store) -> None:
    """In all vBuckets and collections; sequence numbers go on."""
    europe = store.collections["cities.europe"]
    write(store, Op.SET, b"a", vb=0)
    write(store, Op.SET, b"b", vb=1, collection=europe, expiry=2_000_000)
    for collection in (0, europe):
        write(store, Op.SET, b"d", vb=3, collection=collection)
    outcomes = write_all(
        store, [Mutation(op=Op.FLUSH), Mutation(op=Op.SET, key=b"c"), Mutation(op=Op.ADD, key=b"a")]
    )
    assert [outcome.status for outcome in outcomes] == [Status.OK] * 3
    assert store.get(1, europe, b"b") is None
    assert store.tally(1, europe) == Tally()
    assert [store.vbucket(vb).seqno for vb in range(4)] == [4, 2, 0, 4]  # one for each collection
    assert store.statistics().documents == 2


def test_a_callback_runs_on_the_writers_thread(store: Store) -> None:
    """One that raises harms nobody."""
    threads: list[str] = []

    def callback(_: Outcome) -> None:
        threads.append(current_thread().name)
        raise RuntimeError

    store.submit(Mutation(op=Op.SET, key=b"a"), callback)
    assert write(store, Op.SET, b"b").status is Status.OK
    assert threads == ["range-scan store writer"]


def test_what_waits_is_one_commit(store: Store) -> None:
    """While the writer is busy, mutations gather; then they share one commit."""
    done = Event()
    with held_up(store):
        before = store.statistics().commits
        for number in range(100):
            store.submit(Mutation(op=Op.SET, key=b"%d" % number), lambda _: None)
        store.submit(Mutation(op=Op.INCR, key=b"n", initial=1), lambda _: done.set())
    assert done.wait(GUARD)
    assert store.statistics().commits == before + 1
    assert store.statistics().largest_group == 101


def test_owners_take_turns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One's mutation is in the next group, however many another has there; each has its own order."""
    monkeypatch.setattr(writer, "_GROUP_MUTATIONS", 10)
    monkeypatch.setattr(writer, "_GROUP_BYTES", 1 << 20)
    called: list[tuple[str, int]] = []
    done = Event()

    def submit(owner: str, number: int, size: int) -> None:
        def callback(_: Outcome) -> None:
            called.append((owner, number))
            if len(called) == 72:
                done.set()

        mutation = Mutation(op=Op.SET, key=b"%d" % (number % 3), value=bytes(size))
        store.submit(mutation, callback, owner=owner)

    with held_up(store):
        for number in range(40):
            submit("small", number, 10)
        for number in range(30):
            submit("large", number, 200_000)
        submit("one", 0, 10)
        submit("other", 0, 200_000)
    assert done.wait(GUARD)
    assert {owner for owner, _ in called[:4]} == {"small", "large", "one", "other"}
    for owner, count in (("small", 40), ("large", 30)):
        assert [number for name, number in called if name == owner] == list(range(count))
        turns = [at for at, (name, _) in enumerate(called[:60]) if name == owner]
        assert all(later - before <= 4 for before, later in pairwise(turns))


def test_on_a_full_store_owners_take_turns_too(tmp_path: Path) -> None:
    """Who deletes need not wait until another was told of each that does not fit."""
    called: list[tuple[Op, Status]] = []

    def submit(store: Store, op: Op, number: int) -> None:
        mutation = Mutation(op=op, key=b"%d" % number, value=bytes(100_000))
        store.submit(mutation, lambda it: called.append((op, it.status)), owner=op)

    with Store.open(tmp_path, Settings(max_size=1 << 20)) as store, held_up(store):
        for number in range(100):
            submit(store, Op.SET, number)
        submit(store, Op.DELETE, 0)
    assert called[:2] == [(Op.SET, Status.OK), (Op.DELETE, Status.OK)]
    assert {status for _, status in called[2:10]} == {Status.OK}
    assert {status for _, status in called[20:]} == {Status.FULL}
    assert len(called) == 101


@pytest.mark.parametrize("op", [Op.TOUCH, Op.ADD, Op.INCR, Op.APPEND])
def test_what_is_read_for_nothing_counts(store: Store, monkeypatch: pytest.MonkeyPatch, op: Op) -> None:
    """A group ends early if its documents are large, though nothing of them is written."""
    monkeypatch.setattr(writer, "_GROUP_BYTES", 1 << 20)
    write(store, Op.SET, b"k", bytes(200_000))
    done = Event()
    with held_up(store):
        for number in range(20):
            store.submit(
                Mutation(op=op, key=b"k", cas=0 if op is Op.ADD else 1),
                (lambda _: done.set()) if number == 19 else (lambda _: None),
            )
    assert done.wait(GUARD)
    assert store.statistics().largest_group <= 5


def test_what_is_withdrawn_is_not_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor called back; also if it was taken into a group that became too large for it."""
    monkeypatch.setattr(writer, "_GROUP_BYTES", 1 << 20)
    commit, done = Batch.commit, Event()
    called: list[bytes] = []

    def withdrawing(batch: Batch) -> object:
        store.withdraw("gone")
        return commit(batch)

    def submit(key: bytes, owner: str) -> None:
        def callback(_: Outcome) -> None:
            called.append(key)
            if key == b"stays49":
                done.set()

        store.submit(Mutation(op=Op.SET, key=key, value=bytes(100_000)), callback, owner=owner)

    with held_up(store):
        for number in range(50):
            submit(b"gone%d" % number, "gone")
            submit(b"stays%d" % number, "stays")
        submit(b"early", "early")
        store.withdraw("early")
        store.withdraw("who has nothing")
        monkeypatch.setattr(Batch, "commit", withdrawing)
    assert done.wait(GUARD)
    assert 1 <= sum(key.startswith(b"gone") for key in called) <= 10  # the group that had begun
    assert [key for key in called if key.startswith(b"stays")] == [b"stays%d" % it for it in range(50)]
    assert b"early" not in called
    assert store.statistics().documents == len(called)
    assert store.statistics().queued == 0


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """What was submitted before is written; afterwards each use raises."""
    store = Store.open(tmp_path)
    outcomes: list[Outcome] = []
    for number in range(100):
        store.submit(Mutation(op=Op.SET, key=b"%d" % number), outcomes.append)
    store.close()
    store.close()
    assert [outcome.status for outcome in outcomes] == [Status.OK] * 100
    with pytest.raises(StoreClosedError):
        store.get(0, 0, b"1")
    with pytest.raises(StoreClosedError):
        write(store, Op.SET, b"k")


def test_waiting_for_a_sequence_number(store: Store) -> None:
    """The callback comes when it is on disk, once; not if it is already, nor after a cancel."""
    calls: list[str] = []
    first = store.when_persisted(1, 1, lambda: calls.append("first"))
    second = store.when_persisted(1, 2, lambda: calls.append("second"))
    never = store.when_persisted(1, 2, lambda: calls.append("never"))
    assert first is not None
    assert second is not None
    assert never is not None
    assert never.cancel()
    assert store.statistics().waiters == 2
    write(store, Op.SET, b"other", vb=0)
    assert calls == []
    write(store, Op.SET, b"k", vb=1)
    assert calls == ["first"]
    assert store.when_persisted(1, 1, lambda: calls.append("never")) is None
    write(store, Op.DELETE, b"k", vb=1)
    assert calls == ["first", "second"]
    assert not first.cancel()
    assert not never.cancel()


class StoreAgainstDict(RuleBasedStateMachine):
    """All kinds of mutations, the passing of time and reopening, against a dict."""

    keys = st.sampled_from([b"", b"a", b"a\0", b"b", b"\xff", bytes(range(250))])
    values = st.one_of(st.binary(max_size=8), st.integers(0, U64 - 1).map(lambda n: b"%d" % n))
    ttls = st.sampled_from([0, 0, 5, 20])

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.model: dict[bytes, tuple[bytes, int, int]] = {}  # value, expiry, CAS
        self.last_cas = self.last_seqno = 0

    @initialize()
    def open(self) -> None:
        """At the beginning, and again."""
        settings = Settings(vbuckets=2, clock=self.clock, purge_interval=0.0001)
        self.store = Store.open(Path(self.directory.name), settings)
        self.uuid = self.store.vbucket(1).uuid

    def teardown(self) -> None:
        """Leave nothing."""
        self.store.close()
        self.directory.cleanup()

    def live(self, key: bytes) -> tuple[bytes, int, int] | None:
        """What the model says is there."""
        value, expiry, cas = self.model.get(key, (b"", 1, 0))
        return (value, expiry, cas) if not expiry or expiry > self.clock.now else None

    def check(self, outcome: Outcome, key: bytes, value: bytes, expiry: int) -> None:
        """It succeeded, with a higher CAS and seqno than any before."""
        assert outcome.status is Status.OK
        assert outcome.cas > self.last_cas
        assert outcome.seqno > self.last_seqno
        assert outcome.uuid == self.uuid
        self.last_cas, self.last_seqno = outcome.cas, outcome.seqno
        self.model[key] = value, expiry, outcome.cas

    @rule(key=keys, value=values, ttl=ttls, op=st.sampled_from([Op.SET, Op.ADD, Op.REPLACE]))
    def store_value(self, key: bytes, value: bytes, ttl: int, op: Op) -> None:
        """SET, ADD and REPLACE."""
        expiry = int(self.clock.now) + ttl if ttl else 0
        outcome = write(self.store, op, key, value, vb=1, expiry=expiry)
        present = self.live(key) is not None
        if op is Op.ADD and present:
            assert outcome.status is Status.EXISTS
        elif op is Op.REPLACE and not present:
            assert outcome.status is Status.NOT_FOUND
        else:
            self.check(outcome, key, value, expiry)

    @rule(key=keys, value=values, op=st.sampled_from([Op.APPEND, Op.PREPEND, Op.TOUCH, Op.DELETE]))
    def change(self, key: bytes, value: bytes, op: Op) -> None:
        """What needs a document."""
        outcome = write(self.store, op, key, value, vb=1)
        found = self.live(key)
        if found is None:
            assert outcome.status is Status.NOT_FOUND
            return
        old, expiry, _ = found
        new = {Op.APPEND: old + value, Op.PREPEND: value + old}.get(op, old)
        self.check(outcome, key, new, 0 if op is Op.TOUCH else expiry)
        if op is Op.DELETE:
            del self.model[key]

    @rule(key=keys, delta=st.integers(0, U64 - 1), op=st.sampled_from([Op.INCR, Op.DECR]))
    def count(self, key: bytes, delta: int, op: Op) -> None:
        """INCR and DECR."""
        outcome = write(self.store, op, key, vb=1, delta=delta, initial=7)
        value, expiry, _ = self.live(key) or (None, 0, 0)
        if value is None:
            number = 7
        elif not value.isdigit() or int(value) >= U64:
            assert outcome.status is Status.NOT_A_NUMBER
            return
        elif op is Op.INCR:
            number = (int(value) + delta) % U64
        else:
            number = max(int(value) - delta, 0)
        assert outcome.number == number
        self.check(outcome, key, b"%d" % number, expiry)

    @rule(key=keys, value=values)
    def set_with_cas(self, key: bytes, value: bytes) -> None:
        """With the CAS that it has."""
        found = self.live(key)
        if found is not None:
            self.check(write(self.store, Op.SET, key, value, vb=1, cas=found[2]), key, value, 0)

    @rule(seconds=st.integers(1, 10))
    def pass_time(self, seconds: int) -> None:
        """So that documents expire."""
        self.clock.now += seconds

    @rule()
    def reopen(self) -> None:
        """As it was left."""
        self.store.close()
        self.open()

    @rule()
    def flush(self) -> None:
        """All are gone."""
        assert write(self.store, Op.FLUSH).status is Status.OK
        self.model.clear()
        self.last_seqno = self.store.vbucket(1).seqno

    @invariant()
    def agree(self) -> None:
        """The store and the model, on each key."""
        for key in (b"", b"a", b"a\0", b"b", b"\xff", bytes(range(250))):
            document = self.store.get(1, 0, key)
            found = None if document is None else (document.value, document.expiry, document.cas)
            assert found == self.live(key)


TestStoreAgainstDict = StoreAgainstDict.TestCase
TestStoreAgainstDict.settings = settings(max_examples=30, stateful_step_count=40)
