"""The small parts of the wire: numbers, compressed values, items, vBuckets, the error map."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.range_scan.wire import (
    ScannedDocument,
    Status,
    Topology,
    documents_in,
    error_map,
    keys_in,
    leb128,
    manifest,
    snappy,
    vbucket_of,
)

pytestmark = pytest.mark.tree


@given(st.integers(0, 2**32 - 1), st.binary(max_size=3))
def test_numbers_come_out_as_they_went_in(number: int, rest: bytes) -> None:
    """And what follows is left."""
    encoded = leb128.encode(number)
    assert leb128.decode(encoded + rest) == (number, len(encoded))


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (0x7F, "7f"), (0x80, "8001"), (555, "ab04"), (2**32 - 1, "ffffffff0f")],
)
def test_numbers_look_as_kv_engine_has_them(number: int, encoded: str) -> None:
    """The examples of its documents, and the edges."""
    assert leb128.encode(number).hex() == encoded


@pytest.mark.parametrize("bad", ["", "80", "8000", "ffffffff1f", "ffffffffff01"])
def test_bad_numbers_are_refused(bad: str) -> None:
    """Cut off, longer than need be, over 32 bits."""
    with pytest.raises(ValueError, match="LEB128"):
        leb128.decode(bytes.fromhex(bad))


@given(st.binary(max_size=2000))
def test_compressed_values_come_out_as_they_went_in(value: bytes) -> None:
    """Their size is known before."""
    assert snappy.inflate(snappy.deflate(value)) == value
    assert snappy.plain_size(snappy.deflate(value)) == len(value)


@pytest.mark.parametrize("bomb", ["ffffffff0f", "81808001"])
def test_a_value_that_claims_too_much_is_refused_before_it_is_unpacked(bomb: str) -> None:
    """A few bytes that claim gigabytes; one byte over the bound is too much, or it is no snappy."""
    with pytest.raises(snappy.BadSnappyError):
        snappy.inflate(bytes.fromhex(bomb))


@given(st.binary(max_size=100))
def test_any_bytes_are_inflated_or_refused(data: bytes) -> None:
    """No other exception."""
    with suppress(snappy.BadSnappyError):
        snappy.inflate(data)


documents = st.builds(
    ScannedDocument,
    key=st.binary(min_size=1, max_size=250),
    value=st.binary(max_size=300),
    flags=st.integers(0, 2**32 - 1),
    expiry=st.integers(0, 2**32 - 1),
    seqno=st.integers(0, 2**64 - 1),
    cas=st.integers(0, 2**64 - 1),
    datatype=st.integers(0, 7),
)


@given(st.lists(documents, max_size=5))
def test_documents_of_a_scan_come_out_as_they_went_in(sent: list[ScannedDocument]) -> None:
    """Any number of them in a packet."""
    assert list(documents_in(b"".join(document.encode() for document in sent))) == sent


def test_a_document_of_a_scan_looks_as_kv_engine_has_it() -> None:
    """The example of its document on CONTINUE."""
    document = ScannedDocument(b"key0", b"value0", 1, 2, 3, 4, 5)
    assert document.encode() == (b"\0\0\0\1\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\4\5\4key0\6value0")


def test_keys_of_a_scan_look_as_kv_engine_has_them() -> None:
    """The example of its document on CONTINUE: the third key takes a length of two bytes."""
    assert list(keys_in(b"\x04key0\x05key11\x80\x01" + b"k" * 128)) == [b"key0", b"key11", b"k" * 128]


@given(st.binary(max_size=100))
def test_any_bytes_are_items_or_refused(data: bytes) -> None:
    """No other exception."""
    for parse in (keys_in, documents_in):
        with suppress(ValueError):
            list(parse(data))


@pytest.mark.parametrize(("key", "vbucket"), [(b"foo", 115), (b"hello", 528), (b"", 0)])
def test_vbuckets_are_those_of_other_clients(key: bytes, vbucket: int) -> None:
    """`((crc32(key) >> 16) & 0x7fff) % 1024`: both ends must agree, or nothing is found."""
    assert vbucket_of(key, 1024) == vbucket


def test_every_status_is_in_the_error_map() -> None:
    """Clients look up those that they do not know; keys are hexadecimal."""
    errors = error_map(2)["errors"]
    assert isinstance(errors, dict)
    assert {int(key, 16) for key in errors} == set(Status)


def test_an_error_map_is_no_newer_than_was_asked_for() -> None:
    """Version 1 has fewer attributes, none of which we use."""
    assert (error_map(1)["version"], error_map(9)["version"]) == (1, 2)


def test_the_cluster_config_names_the_node_and_its_vbuckets() -> None:
    """Without a bucket, only the node."""
    topology = Topology(bucket="b", uuid="u", vbuckets=3, port=11210)
    config = json.loads(json.dumps(topology.with_bucket()))
    assert config["nodesExt"] == [{"services": {"kv": 11210}, "thisNode": True, "hostname": "$HOST"}]
    assert config["vBucketServerMap"]["vBucketMap"] == [[0], [0], [0]]
    assert "vBucketServerMap" not in topology.without_bucket()


def test_the_manifest_has_every_collection_under_its_scope() -> None:
    """Ids are hexadecimal."""
    listed = manifest({"_default._default": 0, "shop.orders": 8, "shop.carts": 10})
    assert listed["scopes"] == [
        {"name": "_default", "uid": "0", "collections": [{"name": "_default", "uid": "0"}]},
        {
            "name": "shop",
            "uid": "8",
            "collections": [{"name": "orders", "uid": "8"}, {"name": "carts", "uid": "a"}],
        },
    ]
