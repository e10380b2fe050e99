"""The stock Couchbase SDK, unmodified, against the server.

It swallows many errors, and its iterators then just end early: so each test compares all that came.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from couchbase.auth import PasswordAuthenticator
from couchbase.cluster import Cluster
from couchbase.exceptions import (
    AuthenticationException,
    CasMismatchException,
    CouchbaseException,
    DocumentExistsException,
    DocumentNotFoundException,
    MutationTokenOutdatedException,
)
from couchbase.kv_range_scan import PrefixScan, RangeScan, SamplingScan, ScanTerm
from couchbase.mutation_state import MutationState
from couchbase.options import (
    ClusterOptions,
    ClusterTimeoutOptions,
    DecrementOptions,
    IncrementOptions,
    ReplaceOptions,
    ScanOptions,
    SignedInt64,
    UpsertOptions,
)

from examples.range_scan.wire import Opcode

from .server_helpers import PASSWORD, USER, RawClient, serving_apart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from couchbase.collection import Collection

pytestmark = pytest.mark.tree

TIMEOUT = timedelta(seconds=30)
PATIENCE = ClusterTimeoutOptions(connect_timeout=TIMEOUT, bootstrap_timeout=TIMEOUT, kv_timeout=TIMEOUT)
CITIES = {
    f"{country}-{number:03}": {"name": f"city {number} of {country}", "people": number * 1000}
    for country in ("ad", "li", "mc", "sm")
    for number in range(60)
}


def connect(port: int, password: str = PASSWORD) -> Cluster:
    """Log in."""
    options = ClusterOptions(PasswordAuthenticator(USER, password), timeout_options=PATIENCE)
    return Cluster.connect(f"couchbase://127.0.0.1:{port}", options)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with named collections, for all tests here."""
    data = tmp_path_factory.mktemp("store")
    with serving_apart(data, collections=["shop.orders", "shop.scratch"], vbuckets=8) as port:
        yield port


@pytest.fixture(scope="module")
def cluster(port: int) -> Iterator[Cluster]:
    """A client, for all tests here."""
    cluster = connect(port)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def cities(cluster: Cluster) -> Collection:
    """The default collection, with documents that no test changes."""
    collection = cluster.bucket("default").default_collection()
    for key, city in CITIES.items():
        collection.upsert(key, city)
    return collection


@pytest.fixture
def collection(cluster: Cluster) -> Iterator[Collection]:
    """A collection that is empty."""
    collection = cluster.bucket("default").scope("shop").collection("scratch")
    yield collection
    for key in scanned(collection, RangeScan(), ids_only=True):
        collection.remove(key)


def scanned(collection: Collection, scan: Any, **options: Any) -> dict[str, Any]:
    """All documents of a scan, or None for each if it gives ids only."""
    found = {}
    for result in collection.scan(scan, ScanOptions(**options)):
        assert result.id not in found, "a document came twice"
        found[result.id] = None if options.get("ids_only") else result.content_as[dict]
    return found


def test_documents_are_written_and_read(collection: Collection) -> None:
    """Insert, get, replace, upsert, exists, remove."""
    cas = collection.insert("k", {"n": 1}).cas
    with pytest.raises(DocumentExistsException):
        collection.insert("k", {"n": 2})
    read = collection.get("k")
    assert (read.content_as[dict], read.cas) == ({"n": 1}, cas)
    collection.replace("k", {"n": 3}, ReplaceOptions(cas=cas))
    with pytest.raises(CasMismatchException):
        collection.replace("k", {"n": 4}, ReplaceOptions(cas=cas))
    assert collection.upsert("k", {"n": 5}).cas == collection.get("k").cas
    assert collection.exists("k").exists
    collection.remove("k")
    assert not collection.exists("k").exists
    with pytest.raises(DocumentNotFoundException):
        collection.get("k")


def test_expiry_and_counters_work(collection: Collection) -> None:
    """Touch, get and touch; increment, decrement, append, prepend."""
    collection.upsert("k", {"n": 1}, UpsertOptions(expiry=timedelta(hours=1)))
    collection.touch("k", timedelta(hours=2))
    assert collection.get_and_touch("k", timedelta(0)).content_as[dict] == {"n": 1}
    binary = collection.binary()
    counts = [
        binary.increment("c", IncrementOptions(initial=SignedInt64(10))).content for _ in range(3)
    ]
    assert [*counts, binary.decrement("c", DecrementOptions()).content] == [10, 11, 12, 11]


def test_large_documents_which_it_compresses_come_back(collection: Collection) -> None:
    """And other clients, who know no snappy, get them plain."""
    document = {"text": "again and again " * 50_000}
    collection.upsert("k", document)
    assert collection.get("k").content_as[dict] == document
    assert scanned(collection, PrefixScan("k")) == {"k": document}


def test_plain_clients_read_what_it_has_compressed(port: int, cities: Collection) -> None:
    """And need not know where it is."""
    cities.upsert("k", {"text": "again " * 10_000})
    with RawClient(port) as other:
        other.login()
        reply = other.call(Opcode.GET, key=b"k")
    cities.remove("k")
    assert json.loads(reply.value) == {"text": "again " * 10_000}
    assert reply.datatype == 0


@pytest.mark.parametrize("ids_only", [False, True])
@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        (RangeScan(), list(CITIES)),
        (
            RangeScan(ScanTerm("li-010"), ScanTerm("mc-005")),
            [key for key in CITIES if "li-010" <= key <= "mc-005"],
        ),
        (
            RangeScan(ScanTerm("li-010", exclusive=True), ScanTerm("mc-005", exclusive=True)),
            [key for key in CITIES if "li-010" < key < "mc-005"],
        ),
        (PrefixScan("sm-"), [key for key in CITIES if key.startswith("sm-")]),
        (PrefixScan("nothing"), []),
        (SamplingScan(10_000), list(CITIES)),
    ],
    ids=["all", "range", "exclusive", "prefix", "empty", "sample of all"],
)
def test_scans_give_exactly_what_they_should(
    cities: Collection, scan: Any, expected: list[str], *, ids_only: bool
) -> None:
    """With contents and without, from all vBuckets."""
    found = scanned(cities, scan, ids_only=ids_only)
    assert found == {key: None if ids_only else CITIES[key] for key in expected}


def test_a_sample_is_repeated_by_its_seed(cities: Collection) -> None:
    """The SDK stops it at its limit."""
    once, again = (set(scanned(cities, SamplingScan(40, 7))) for _ in range(2))
    assert once == again
    assert 1 <= len(once) <= 40
    assert once <= CITIES.keys()


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 1},
        {"concurrency": 16},
        {"batch_item_limit": 1},
        {"batch_byte_limit": 1},
        {"batch_item_limit": 0, "batch_byte_limit": 0},
    ],
    ids=str,
)
def test_limits_and_concurrency_change_nothing(cities: Collection, options: dict[str, int]) -> None:
    """But how it comes."""
    assert scanned(cities, RangeScan(), **options) == CITIES


def test_a_scan_is_consistent_with_what_was_written_before(collection: Collection) -> None:
    """The tokens of the writes are the snapshots' requirements."""
    writes = [collection.upsert(f"new-{number}", {"n": number}) for number in range(50)]
    state = MutationState(*writes)
    found = scanned(collection, PrefixScan("new-"), consistent_with=state)
    assert found == {f"new-{number}": {"n": number} for number in range(50)}


def test_a_scan_consistent_with_another_history_gives_nothing_of_it(
    cities: Collection, tmp_path: Path
) -> None:
    """A token of another server, whose vBuckets have other uuids. The SDK says so, or ends early."""
    with serving_apart(tmp_path, vbuckets=8) as other_port:
        other = connect(other_port)
        foreign = other.bucket("default").default_collection().upsert("ad-001", {})
        other.close()
    found: dict[str, Any] = {}
    with suppress(MutationTokenOutdatedException):
        found = scanned(cities, RangeScan(), consistent_with=MutationState(foreign))
    assert "ad-001" not in found


def test_named_collections_are_scanned_by_themselves(cities: Collection, cluster: Cluster) -> None:
    """They need not be the default one."""
    orders = cluster.bucket("default").scope("shop").collection("orders")
    assert scanned(orders, RangeScan()) == {}
    for number in range(30):
        orders.upsert(f"ad-{number}", {"order": number})
    assert scanned(orders, PrefixScan("ad-")) == {
        f"ad-{number}": {"order": number} for number in range(30)
    }
    assert scanned(cities, RangeScan()) == CITIES


def test_a_collection_that_is_not_there_cannot_be_scanned(cluster: Cluster) -> None:
    """It asks for its id first."""
    with pytest.raises(CouchbaseException):
        scanned(
            cluster.bucket("default").scope("shop").collection("carts"),
            RangeScan(),
            timeout=timedelta(seconds=3),
        )


def test_scans_go_on_while_others_write_and_read(cities: Collection, collection: Collection) -> None:
    """On the same connection: what it reads in between is answered, and the scan is whole."""
    over = threading.Event()
    wrong: list[object] = []

    def write_and_read() -> None:
        number = 0
        while not over.is_set():
            number += 1
            collection.upsert(f"k-{number % 50}", {"n": number})
            if cities.get("ad-007").content_as[dict] != CITIES["ad-007"]:
                wrong.append(number)

    writer = threading.Thread(target=write_and_read)
    writer.start()
    try:
        for _ in range(10):
            assert scanned(cities, RangeScan(), batch_item_limit=5) == CITIES
            assert scanned(collection, RangeScan()).keys() <= {f"k-{number}" for number in range(50)}
    finally:
        over.set()
        writer.join()
    assert not wrong


def test_a_scan_that_is_given_up_is_cancelled(port: int, cities: Collection) -> None:
    """No scan is left open, and the next one is whole."""
    for _ in range(3):
        result = cities.scan(RangeScan(), ScanOptions(batch_item_limit=1, concurrency=8))
        rows = iter(result)
        next(rows)
        result.cancel_scan()
    assert scanned(cities, RangeScan()) == CITIES
    with RawClient(port) as other:
        other.begin()
        while True:
            other.send(Opcode.STAT, key=b"range-scans")
            lines = {}
            while (line := other.receive()).key:
                lines[line.key] = line.value
            if lines[b"scans"] == b"0":
                break


def test_a_wrong_password_is_an_authentication_failure(port: int) -> None:
    """Told at once, and not after a timeout."""
    with pytest.raises(AuthenticationException):
        connect(port, "wrong")


def test_another_bucket_cannot_be_opened(cluster: Cluster) -> None:
    """There is one."""
    with pytest.raises(CouchbaseException):
        cluster.bucket("other").default_collection().get("k")


def test_it_works_over_tls(tmp_path: Path) -> None:
    """With a certificate that it trusts."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    certificate, key, trusted = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(trusted)
    with serving_apart(tmp_path / "store", tls_cert=certificate, tls_key=key, vbuckets=8) as port:
        options = ClusterOptions(
            PasswordAuthenticator(USER, PASSWORD, cert_path=str(trusted)), timeout_options=PATIENCE
        )
        cluster = Cluster.connect(f"couchbases://127.0.0.1:{port}", options)
        collection = cluster.bucket("default").default_collection()
        for city_key, city in CITIES.items():
            collection.upsert(city_key, city)
        assert scanned(collection, RangeScan()) == CITIES
        cluster.close()
