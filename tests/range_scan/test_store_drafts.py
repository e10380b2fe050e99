"""Drafts: what a transaction leaves is what a dict would have, in blocks of a good size."""

from __future__ import annotations

import tempfile
from random import Random
from typing import TYPE_CHECKING

import lmdb
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from examples.range_scan.store import drafts
from examples.range_scan.store.blocks import Block, encoded_size, find_record
from examples.range_scan.store.drafts import Drafts
from examples.range_scan.store.layout import PLACE, document_key, same_place
from examples.range_scan.store.records import Document, encode_record

from .store_helpers import SMALL_BLOCK, small_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = 12


class Pair:
    """An LMDB database with blocks in it, and a dict that says what must be there."""

    def __init__(self, directory: Path | str) -> None:
        self.environment = lmdb.open(str(directory), sync=False, map_size=1 << 28)
        self.model: dict[bytes, bytes] = {}
        self.written = 0
        """Bytes of blocks."""

    def change(self, changes: dict[bytes, int | None], *, vb: int = 0, write: bool = True) -> None:
        """Put documents with values of so many bytes, or delete them, in one transaction."""
        with self.environment.begin(write=True, buffers=True) as txn:
            changed = Drafts(txn, self.environment.open_db(txn=txn))
            for key, size in changes.items():
                stored_key = document_key(vb, 0, key)
                assert changed.get(stored_key) == self.model.get(stored_key)
                if size is not None:
                    record = encode_record(Document(key, bytes(size), 0, 0, 0, 0, 0))
                    changed.put(stored_key, record)
                    if write:
                        self.model[stored_key] = record
                elif stored_key in self.model:
                    changed.delete(stored_key)
                    if write:
                        del self.model[stored_key]
            if write:
                changed.write()
            else:
                changed.forget()
                changed.write()
            self.written += changed.written

    def blocks(self) -> Iterator[tuple[bytes, Block, int]]:
        """Each with its bound and its size."""
        with self.environment.begin(buffers=True) as txn:
            for bound, stored in txn.cursor():
                yield bytes(bound), Block(bytes(stored)), len(stored)

    def check(self, most: int) -> None:
        """Everything is there, once, where it is looked for, and no block is too large."""
        found: dict[bytes, bytes] = {}
        before = b""
        for bound, block, size in self.blocks():
            assert block.count == 1 or (1 < block.count <= drafts.MOST and size <= most + HEAD)
            keys = [bound[:PLACE] + key for key, _ in block.items()]
            assert before < keys[0]
            assert keys == sorted(set(keys))
            assert keys[-1] <= bound
            sizes = [encoded_size(*document) for document in block.items()]
            assert block.count == 1 or max(sizes) <= most // 2
            found |= zip(keys, block.records(), strict=True)
            before = bound
        assert found == self.model
        with self.environment.begin(buffers=True) as txn:
            for key in found:
                assert find_record(txn.cursor(), key) == found[key]
                assert find_record(txn.cursor(), key + b"\0") == found.get(key + b"\0")


def keys_with(*byte: int) -> st.SearchStrategy[bytes]:
    """Few enough that they meet."""
    return st.lists(st.sampled_from(byte), max_size=4).map(bytes)


class DraftsAgainstDict(RuleBasedStateMachine):
    """A few changes at a time, in two places; blocks are so small that they are split and joined."""

    keys = keys_with(0, 1, 97, 255) | st.binary(max_size=250)
    sizes = st.sampled_from([None, None, 0, 5, 20, 50, 100, 128, 300, 500, 20_000])

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.small = small_blocks()
        self.small.__enter__()
        self.pair = Pair(self.directory.name)

    def teardown(self) -> None:
        """Leave nothing."""
        self.pair.environment.close()
        self.small.__exit__(None, None, None)
        self.directory.cleanup()

    @rule(changes=st.dictionaries(keys, sizes, max_size=20), vb=st.integers(0, 1))
    def change(self, changes: dict[bytes, int | None], vb: int) -> None:
        """As a commit does."""
        self.pair.change(changes, vb=vb)

    @rule(changes=st.dictionaries(keys, sizes, max_size=5))
    def forget(self, changes: dict[bytes, int | None]) -> None:
        """Nothing of it is written."""
        self.pair.change(changes, write=False)

    @rule(vb=st.integers(0, 1), keep=st.integers(0, 3))
    def delete_most(self, vb: int, keep: int) -> None:
        """So that blocks are joined, or go."""
        keys = [key[PLACE:] for key in self.pair.model if same_place(key, document_key(vb, 0, b""))]
        self.pair.change(dict.fromkeys(sorted(keys)[keep:]), vb=vb)

    @invariant()
    def is_right(self) -> None:
        """After each transaction."""
        self.pair.check(SMALL_BLOCK)


TestDraftsAgainstDict = DraftsAgainstDict.TestCase
TestDraftsAgainstDict.settings = settings(max_examples=60, stateful_step_count=30)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.environment.close()


def key_of(number: int) -> bytes:
    """In the order of the numbers."""
    return b"%06d" % number


def average(pair: Pair) -> float:
    """How full the blocks are, of those that may have several documents."""
    sizes = [size for _, _, size in pair.blocks()]
    return sum(sizes) / len(sizes) / drafts.BLOCK


def test_keys_that_come_in_order_fill_their_blocks(pair: Pair) -> None:
    """As when a store is loaded, a few at a time."""
    for start in range(0, 3000, 10):
        pair.change({key_of(number): 200 for number in range(start, start + 10)})
    pair.check(drafts.BLOCK)
    assert average(pair) > 0.9


def test_keys_that_come_backwards_leave_them_two_thirds_full(pair: Pair) -> None:
    """As those do that begin with the time that is left: the newest first."""
    for number in reversed(range(2000)):
        pair.change({key_of(number): 200})
    pair.check(drafts.BLOCK)
    assert average(pair) > 0.6


def test_keys_that_come_in_any_order_leave_them_half_full(pair: Pair) -> None:
    """Or more."""
    numbers = Random(1).sample(range(10_000), 3000)  # noqa: S311 - no secret
    for start in range(0, 3000, 10):
        pair.change({key_of(number): 200 for number in numbers[start : start + 10]})
    pair.check(drafts.BLOCK)
    assert average(pair) > 0.5


@pytest.mark.parametrize("order", ["up", "down", "any"])
def test_what_is_left_after_deleting_is_together(pair: Pair, order: str) -> None:
    """A scan of few documents takes few steps, in whatever order the others went."""
    pair.change({key_of(number): 200 for number in range(3000)})
    gone = [number for number in range(3000) if number % 50]
    if order == "down":
        gone.reverse()
    elif order == "any":
        Random(1).shuffle(gone)  # noqa: S311 - no secret
    for start in range(0, len(gone), 10):
        pair.change(dict.fromkeys(map(key_of, gone[start : start + 10])))
    pair.check(drafts.BLOCK)
    assert len(pair.model) == 60
    assert len(list(pair.blocks())) <= 60 // 4


@pytest.mark.parametrize("down", [False, True])
def test_a_large_document_is_not_written_again_for_its_neighbours(pair: Pair, down: bool) -> None:
    """Whatever comes before it or behind it, and in whatever order."""
    large = 1_000_000
    pair.change({b"m": large})
    before, behind = (b"l%04d", b"n%04d")
    for number in sorted(range(200), reverse=down):
        pair.change({before % number: 10, behind % number: 10})
    pair.check(drafts.BLOCK)
    assert pair.written < 3 * large


def test_a_neighbour_that_comes_and_goes_leaves_a_large_document_alone(pair: Pair) -> None:
    """Also if there is no other one, so that it has to come from the large one's block each time."""
    pair.change({b"m": 1_000_000})
    for _ in range(10):
        pair.change({b"a": 1})
        pair.change({b"a": None})
    pair.check(drafts.BLOCK)
    assert pair.written < 1_100_000


def test_large_documents_are_written_once(pair: Pair) -> None:
    """Each as it comes: the one before it stays where it is."""
    for number in range(20):
        pair.change({key_of(number): 100_000})
    pair.check(drafts.BLOCK)
    assert pair.written < 21 * 100_000


def test_a_document_that_grows_leaves_its_block(pair: Pair) -> None:
    """And one that shrinks may have company again."""
    pair.change({key_of(number): 50 for number in range(10)})
    assert len(list(pair.blocks())) == 1
    pair.change({key_of(5): 10_000})
    pair.check(drafts.BLOCK)
    assert [block.count for _, block, _ in pair.blocks()] == [5, 1, 4]
    pair.change({key_of(5): 50})
    pair.check(drafts.BLOCK)
    pair.change({key_of(4): None, key_of(5): None})
    pair.check(drafts.BLOCK)
    assert sum(block.count for _, block, _ in pair.blocks()) == 8


def test_documents_that_were_large_for_a_while_are_together_again(pair: Pair) -> None:
    """Whether they became small by being written again, or what was between them went."""
    count = 600
    pair.change({key_of(number): 100 for number in range(count)})
    few = len(list(pair.blocks()))
    for size in (5000, 100):
        for number in Random(1).sample(range(count), count):  # noqa: S311 - no secret
            pair.change({key_of(number): size})
    pair.check(drafts.BLOCK)
    assert len(list(pair.blocks())) < 4 * few
    pair.change({key_of(number) + b"large": 5000 for number in range(count)})
    for number in range(count):
        pair.change({key_of(number) + b"large": None})
    pair.check(drafts.BLOCK)
    assert len(list(pair.blocks())) < 4 * few


def test_tiny_documents_share_a_block_with_a_few_only(pair: Pair) -> None:
    """To change one of them takes all of a block apart."""
    pair.change({key_of(number): 1 for number in range(1000)})
    pair.check(drafts.BLOCK)
    assert {block.count for _, block, _ in pair.blocks()} == {drafts.MOST, 1000 % drafts.MOST}
    numbers = [number for number in range(1000) if number % 3]
    pair.change({key_of(number): None for number in numbers})
    pair.check(drafts.BLOCK)


def test_a_block_knows_its_size_before_it_is_made() -> None:
    """Or a little more."""
    record = encode_record(Document(b"k" * 250, bytes(300), 0, 0, 0, 0, 0))
    assert encoded_size(b"k" * 250, record) == 8 + 2 + 250 + len(record)


def test_the_largest_block_of_several_has_two_pages(pair: Pair) -> None:
    """With its head, and LMDB's."""
    keys = [bytes([letter]) * 200 for letter in b"ab"]
    pair.change(dict.fromkeys(keys, 3641))
    ((_, block, size),) = pair.blocks()
    assert sum(encoded_size(*document) for document in block.items()) == drafts.BLOCK
    assert size == drafts.BLOCK + HEAD
    with pair.environment.begin() as txn:
        assert txn.stat(pair.environment.open_db(txn=txn))["overflow_pages"] == 2
