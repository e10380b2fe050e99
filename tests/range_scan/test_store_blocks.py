"""Blocks: what was put in is found, whatever the keys, and a part of it is the join of its items."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.range_scan.store.blocks import Block, Column, Items, encode_block, encoded_size
from examples.range_scan.store.records import Document, encode_record

from .store_helpers import decode_documents, decode_keys

any_keys = st.lists(st.sampled_from([0, 1, 2, 97, 255]), max_size=4).map(bytes) | st.binary(
    max_size=250
)


def record(key: bytes, value: bytes = b"", expiry: int = 0) -> bytes:
    """A document, as it is stored."""
    return encode_record(Document(key, value, 1, expiry, 2, 3, 0))


def block_of(*keys: bytes) -> Block:
    """With a document for each key."""
    return Block(encode_block([(key, record(key, key * 2)) for key in keys]))


blocks = st.sets(any_keys, min_size=1, max_size=20).map(lambda keys: block_of(*sorted(keys)))


@given(block=blocks, view=st.booleans())
def test_what_was_put_in_is_read(block: Block, view: bool) -> None:
    """Also from a view of LMDB's memory."""
    keys = block.keys()
    stored = encode_block(list(block.items()))
    again = Block(memoryview(stored) if view else stored)
    assert again.count == len(keys)
    assert again.keys() == keys == sorted(keys)
    assert again.records() == [record(key, key * 2) for key in keys]
    assert decode_keys(bytes(again.part(Column.KEYS, 0, len(keys)))) == keys
    sent = decode_documents(bytes(again.part(Column.DOCUMENTS, 0, len(keys))))
    assert [document.key for document in sent] == keys
    assert len(stored) <= 12 + sum(map(encoded_size, keys, block.records()))


@given(block=blocks, other=any_keys)
def test_a_key_is_found_if_it_is_there(block: Block, other: bytes) -> None:
    """And another one is not, even where it is a part of one that is."""
    keys = block.keys()
    for key in (*keys, other):
        assert block.find(key) == (record(key, key * 2) if key in keys else None)
        assert block.index(key) == len([one for one in keys if one < key])


@pytest.mark.parametrize("key", [b"", b"b", b"ab", b"\1b"])
def test_a_key_that_looks_like_the_midst_of_others_is_found(key: bytes) -> None:
    """Its length and its bytes are in the others' too, and before it."""
    tricky = {b"\0\1b\2ab\2\1b", b"\0\0\0", b"\0\0"}
    assert block_of(*sorted(tricky)).find(key) is None
    assert block_of(*sorted({key, *tricky})).find(key) == record(key, key * 2)


@given(block=blocks, column=st.sampled_from(Column), data=st.data())
def test_a_part_is_its_items(block: Block, column: Column, data: st.DataObject) -> None:
    """Any that follow each other; and what it takes to reach a size is counted to the byte."""
    start = data.draw(st.integers(0, block.count))
    stop = data.draw(st.integers(start, block.count))
    size = data.draw(st.integers(1, 2000))
    items = Items(block, column, start, stop)
    each = [bytes(block.part(column, at, at + 1)) for at in range(start, stop)]
    assert bytes(items.bytes) == b"".join(each)
    assert len(items) == len(each)
    enough = [count for count, sent in enumerate(accumulate(map(len, each)), 1) if sent >= size]
    assert items.reaching(size) == (enough[0] if enough else len(each))


@pytest.mark.parametrize(
    ("expiries", "earliest"), [([0, 0], 0), ([0, 7, 5], 5), ([2**32 - 1], 2**32 - 1)]
)
def test_the_earliest_expiry_is_known(expiries: list[int], earliest: int) -> None:
    """So that a scan need not look at each document."""
    documents = [(b"%d" % at, record(b"%d" % at, expiry=expiry)) for at, expiry in enumerate(expiries)]
    assert Block(encode_block(documents)).expiry == earliest
