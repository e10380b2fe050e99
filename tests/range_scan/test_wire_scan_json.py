"""The body of CREATE: what is understood, and that each mistake is named."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.range_scan.wire.requests import KeyRange, Sampling, SnapshotRequirements
from examples.range_scan.wire.scan_json import BadScanError, parse

pytestmark = pytest.mark.tree

RANGE = {"start": "YQ==", "end": "Yg=="}


def parsed(**body: Any) -> tuple[Any, ...]:
    """What the parser makes of it."""
    return parse(json.dumps(body).encode())


def test_a_range_has_inclusive_and_exclusive_bounds() -> None:
    """All four kinds."""
    assert parsed(range=RANGE)[2] == KeyRange(start=b"a", end=b"b")
    assert parsed(range={"excl_start": "YQ==", "excl_end": "Yg=="})[2] == KeyRange(
        start=b"a", end=b"b", start_inclusive=False, end_inclusive=False
    )


@given(st.binary(max_size=250), st.binary(max_size=250))
def test_bounds_may_be_any_bytes(start: bytes, end: bytes) -> None:
    """They need not be UTF-8: the SDK's default end is not."""
    bounds = {"start": b64encode(start).decode(), "end": b64encode(end).decode()}
    assert parsed(range=bounds)[2] == KeyRange(start=start, end=end)


def test_a_sample_has_a_size_and_perhaps_a_seed() -> None:
    """Seeds have 64 bits; 0 is the default."""
    assert parsed(sampling={"samples": 10})[2] == Sampling(samples=10)
    assert parsed(sampling={"samples": 10, "seed": 2**64 - 1})[2] == Sampling(
        samples=10, seed=2**64 - 1
    )


def test_the_rest_is_understood() -> None:
    """Collections are hexadecimal, uuids decimal strings, timeouts milliseconds."""
    snapshot = {"vb_uuid": "18446744073709551615", "seqno": 5, "seqno_exists": True, "timeout_ms": 1500}
    assert parsed(
        range=RANGE,
        collection="aBc",
        key_only=True,
        name="nightly",
        snapshot_requirements=snapshot,
        new=1,
    ) == (
        0xABC,
        True,
        KeyRange(start=b"a", end=b"b"),
        "nightly",
        SnapshotRequirements(vbucket_uuid=2**64 - 1, seqno=5, seqno_exists=True, timeout=1.5),
    )


def test_without_a_timeout_there_is_no_waiting() -> None:
    """Which is not the same as a timeout of 0, though it ends the same."""
    assert parsed(range=RANGE, snapshot_requirements={"vb_uuid": "1", "seqno": 5})[4].timeout is None


@pytest.mark.parametrize(
    ("body", "context"),
    [
        ({}, "either range or sampling"),
        ({"range": RANGE, "sampling": {"samples": 1}}, "either range or sampling"),
        ({"range": 1}, "range must be an object"),
        ({"range": {"start": "YQ=="}}, "either end or excl_end"),
        ({"range": {**RANGE, "excl_start": "YQ=="}}, "either start or excl_start"),
        ({"range": {**RANGE, "start": "a"}}, "range.start is no base64"),
        ({"range": {**RANGE, "start": "YQ=\u00e9"}}, "range.start is no base64"),
        ({"range": {**RANGE, "end": 1}}, "range.end must be a string"),
        ({"range": {**RANGE, "end": b64encode(bytes(251)).decode()}}, "range.end: 251 bytes"),
        ({"sampling": {}}, "sampling.samples is missing"),
        ({"sampling": {"samples": 0}}, "sampling.samples must be more than 0"),
        ({"sampling": {"samples": -1}}, "sampling.samples must be a whole number"),
        ({"sampling": {"samples": 1.5}}, "sampling.samples must be a whole number"),
        ({"sampling": {"samples": True}}, "sampling.samples must be a whole number"),
        ({"sampling": {"samples": 1, "seed": 2**64}}, "sampling.seed must be a whole number"),
        ({"range": RANGE, "key_only": 1}, "key_only must be true or false"),
        ({"range": RANGE, "collection": 8}, "collection must be a string"),
        ({"range": RANGE, "collection": "0x8g"}, "collection: '0x8g'"),
        ({"range": RANGE, "collection": "0x8"}, "collection: '0x8'"),
        ({"range": RANGE, "collection": "_8"}, "collection: '_8'"),
        ({"range": RANGE, "collection": ""}, "collection: ''"),
        ({"range": RANGE, "collection": "100000000"}, "32 bits"),
        ({"range": RANGE, "name": "n" * 51}, "name: 51 bytes"),
        ({"range": RANGE, "name": "\ud800"}, "name: '\\ud800' is no text"),
        ({"range": RANGE, "collection": "\u0660"}, "is no hexadecimal number"),
        ({"range": RANGE, "include_xattrs": True}, "include_xattrs"),
        (
            {"range": RANGE, "snapshot_requirements": {"seqno": 1}},
            "snapshot_requirements.vb_uuid is missing",
        ),
        (
            {"range": RANGE, "snapshot_requirements": {"vb_uuid": "1"}},
            "snapshot_requirements.seqno is missing",
        ),
        (
            {"range": RANGE, "snapshot_requirements": {"vb_uuid": 1, "seqno": 1}},
            "vb_uuid must be a string",
        ),
        ({"range": RANGE, "snapshot_requirements": {"vb_uuid": "-1", "seqno": 1}}, "vb_uuid: '-1'"),
        ({"range": RANGE, "snapshot_requirements": {"vb_uuid": str(2**64), "seqno": 1}}, "64 bits"),
        ({"range": RANGE, "snapshot_requirements": {"vb_uuid": "9" * 5000, "seqno": 1}}, "64 bits"),
    ],
)
def test_each_mistake_is_named(body: dict[str, Any], context: str) -> None:
    """Where it is, and what it is."""
    with pytest.raises(BadScanError) as caught:
        parsed(**body)
    assert context in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff",
        b"[" * 100_000,
        b"null",
        b'{"range":' + b"9" * 5000 + b"}",
        json.dumps({"range": RANGE}).encode("utf-16"),
        json.dumps({"range": RANGE}).encode("utf-32-le"),
    ],
)
def test_what_is_no_object_of_json_is_refused(body: bytes) -> None:
    """Deeply nested, or of too many digits, or no UTF-8, as well."""
    with pytest.raises(BadScanError):
        parse(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        "range",
        "sampling",
        "start",
        "end",
        "excl_start",
        "excl_end",
        "samples",
        "seed",
        "key_only",
        "collection",
        "name",
        "snapshot_requirements",
        "vb_uuid",
        "seqno",
        "seqno_exists",
        "timeout_ms",
        "include_xattrs",
    ]
)


@given(
    st.recursive(json_values, lambda inner: st.dictionaries(MEMBERS, inner, max_size=4), max_leaves=12)
)
def test_any_json_is_understood_or_refused(body: object) -> None:
    """No other exception."""
    with suppress(BadScanError):
        parse(json.dumps(body).encode())
