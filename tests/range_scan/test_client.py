"""The raw client, against a server in another process."""

from __future__ import annotations

import socket
import ssl
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING

import pytest
import trustme

from examples.range_scan import wire
from examples.range_scan.client import (
    Client,
    ClientError,
    Limits,
    Login,
    LoginError,
    Range,
    RefusedError,
    Sample,
    plain,
)

from .server_process import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.tree

LOGIN = Login("Administrator", "password")
DOCUMENTS = {b"%04d" % number: b'{"number": %d}' % number for number in range(3000)}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One server for all tests here, with documents in the default collection only."""
    directory = tmp_path_factory.mktemp("store")
    with running(directory, "--vbuckets", "4", "--collection", "a.b") as port:
        with Client.connect("127.0.0.1", port, LOGIN) as client:
            assert sum(client.store(DOCUMENTS.items())) == len(DOCUMENTS)
        yield port


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with Client.connect("127.0.0.1", port, LOGIN) as client:
        yield client


def open_scans(client: Client) -> str:
    return client.statistics("range-scans")["scans"]


def test_what_was_stored_is_there(client: Client) -> None:
    """In the vBucket that the key's hash says, in its collection."""
    assert client.vbuckets == 4
    assert client.get(b"0042") == b'{"number": 42}'
    assert client.get(b"nothing") is None
    collection = client.collection_id("a.b")
    assert client.get(b"0042", collection) is None
    assert list(client.store([(b"0042", b"{}")], collection=collection)) == [1]
    assert client.get(b"0042", collection) == b"{}"


def test_what_is_stored_compressed_comes_so_in_a_scan(client: Client) -> None:
    """And `plain` says what it was; `get` does that by itself."""
    value, collection = b"again and " * 100, client.collection_id("a.b")
    datatype = wire.Datatype.SNAPPY
    compressed = wire.snappy.deflate(value)
    list(client.store([(b"c", compressed)], collection=collection, datatype=datatype))
    assert client.get(b"c", collection) == value
    packets = client.scan_all(Range.prefix(b"c"), collection=collection)
    (document,) = [it for packet in packets for it in wire.documents_in(packet)]
    assert document.value == compressed
    assert plain(document.value, document.datatype) == value


def test_a_scan_of_everything_has_every_byte(client: Client) -> None:
    """Whatever the limits: they only say how many rounds it takes."""
    for limits in (Limits(), Limits(items=100), Limits(bytes=5000), Limits(milliseconds=1)):
        packets = client.scan_all(Range(), limits=limits)
        found = [it for packet in packets for it in wire.documents_in(packet)]
        assert {it.key: it.value for it in found} == DOCUMENTS
        assert len(found) == len(DOCUMENTS)
    assert open_scans(client) == "0"


def test_ranges_prefixes_and_samples(client: Client) -> None:
    """Keys only, over all vBuckets."""

    def keys(pick: Range | Sample) -> list[bytes]:
        packets = client.scan_all(pick, keys_only=True)
        return sorted(key for packet in packets for key in wire.keys_in(packet))

    everything = sorted(DOCUMENTS)
    assert keys(Range.prefix(b"01")) == everything[100:200]
    assert keys(Range(start=b"0100", end=b"0105")) == everything[100:105]
    assert keys(Range(start=b"2990")) == everything[2990:]
    assert keys(Range.prefix(b"x")) == []
    assert keys(Sample(samples=100_000)) == everything
    assert 40 <= len(keys(Sample(samples=20, seed=1))) <= 120


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", None), (b"", None), (b"a\0", b"a\1")],
)
def test_the_range_of_a_prefix(prefix: bytes, end: bytes | None) -> None:
    """Up to the next key of its length, if there is one."""
    assert Range.prefix(prefix) == Range(start=prefix, end=end)


def test_a_scan_that_is_left_is_cancelled(client: Client) -> None:
    """Between two rounds, and in the midst of one; the connection goes on."""
    for limits in (Limits(items=10), Limits()):
        for taken in (1, 2):
            packets = client.scan(0, Range(), limits=limits, name="left")
            list(islice(packets, taken))
            packets.close()  # type: ignore[attr-defined]  # it is a generator
            assert open_scans(client) == "0"
            assert client.get(b"0001") is not None


def test_a_refusal_says_why(client: Client) -> None:
    """Its status, and the server's words."""
    with pytest.raises(RefusedError, match="0x88 unknown collection") as caught:
        client.collection_id("not.there")
    assert caught.value.status == wire.Status.UNKNOWN_COLLECTION
    with pytest.raises(RefusedError, match="no group"):
        client.statistics("nonsense")
    assert client.get(b"0001") is not None


@pytest.mark.parametrize("window", [1, 2048])
def test_after_a_document_was_refused_all_goes_on(client: Client, window: int) -> None:
    """Its neighbours' replies, that come behind it, are not taken for those of the next call."""
    collection = client.collection_id("a.b")
    documents = [(b"long" * (100 if number == 5 else 1), b"{}") for number in range(200)]
    with pytest.raises(RefusedError, match="there must be 1 to 250"):
        list(client.store(documents, collection=collection, window=window))
    assert client.get(b"0042") == b'{"number": 42}'
    stored = client.store(documents[:5] * 50, collection=collection, window=window)
    next(stored)
    stored.close()  # type: ignore[attr-defined]  # it is a generator
    assert client.get(b"0042") == b'{"number": 42}'


def test_who_may_not_log_in(port: int) -> None:
    """A wrong password, an unknown user, another bucket, none at all."""
    for login in (Login("Administrator", "wrong"), Login("nobody", "password")):
        with pytest.raises(LoginError, match="user or password are wrong"):
            Client.connect("127.0.0.1", port, login)
    with pytest.raises(LoginError, match="no access to the bucket 'other'"):
        Client.connect("127.0.0.1", port, LOGIN, bucket="other")
    with pytest.raises(LoginError, match="0x24 no access"):
        Client.connect("127.0.0.1", port, None)
    assert "secret" not in repr(Login("user", "secret"))


def test_where_there_is_no_server() -> None:
    """Nobody listens; and one who breaks off."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def break_off() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            connection.close()

        thread = Thread(target=break_off)
        thread.start()
        with pytest.raises(ClientError, match="broke off"):
            Client.connect("127.0.0.1", port, LOGIN)
        thread.join()
    with pytest.raises(
        ClientError, match=f"cannot connect to 127.0.0.1:{port} .* is the server running"
    ):
        Client.connect("127.0.0.1", port, LOGIN)


def test_tls_that_does_not_come_about_says_why(port: int, tmp_path: Path) -> None:
    """A certificate that is not trusted, one of another name, and a server that speaks no TLS."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    knows, knows_not = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(knows)
    with running(tmp_path / "store", "--tls-cert", str(certificate), "--tls-key", str(key)) as secure:
        Client.connect("127.0.0.1", secure, LOGIN, tls=knows).close()
        for host, tls in (("127.0.0.1", knows_not), ("localhost", knows)):
            with pytest.raises(ClientError, match=f"certificate of {host}:{secure} is not trusted"):
                Client.connect(host, secure, LOGIN, tls=tls)
    with pytest.raises(ClientError, match=f"no TLS with 127.0.0.1:{port} .* does the server speak"):
        Client.connect("127.0.0.1", port, LOGIN, tls=knows)
