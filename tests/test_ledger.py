"""The ledger: how much may still be produced, and what of it the budget knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ewb._budget import Budget
from ewb._ledger import Ledger
from ewb._settings import Bounds


def ledger(high_water: int = 100, max_chunks: int = 10, budget: Budget | None = None) -> Ledger:
    return Ledger(Bounds(high_water, max_chunks), budget)


def test_credit_is_for_half_a_buffer() -> None:
    """The producer looks up at half of the buffer, so that the reader is woken while there is room."""
    book = ledger(high_water=100, max_chunks=1000)
    assert book.grant(0) == 500
    assert book.limit == 50


def test_credit_is_for_what_is_left() -> None:
    """Near the bound there is credit for the rest only, in bytes and in chunks."""
    book = ledger(high_water=100, max_chunks=10)
    book.produced = 70
    assert book.grant(8) == 2
    assert book.limit == 100


@pytest.mark.parametrize(
    ("produced", "count"),
    [(100, 1), (130, 2), (10, 10), (0, 10)],
    ids=["at", "over", "chunks", "empty"],
)
def test_at_a_bound_nothing_is_granted(produced: int, count: int) -> None:
    """Whichever bound is reached first stops the producer."""
    book = ledger(high_water=100, max_chunks=10)
    book.produced = produced
    assert book.grant(count) == 0
    assert book.limit == produced


def test_the_least_bounds_still_grant_a_chunk() -> None:
    """A bound of one byte and one chunk lets one chunk through at a time."""
    book = ledger(high_water=1, max_chunks=1)
    assert book.grant(0) == 1
    book.produced = 1000
    assert book.grant(1) == 0
    book.drained = 1000
    assert book.grant(0) == 1


def test_held_chunks_count() -> None:
    """What is drained and not yet received still takes room."""
    book = ledger(high_water=100)
    book.produced = book.drained = book.held = 90
    assert book.buffered == 90
    assert book.received == 0
    assert book.grant(1) > 0
    assert book.limit == 100


def test_received_is_what_was_neither_kept_nor_dropped() -> None:
    """Of all bytes drained those count as received that somebody got."""
    book = ledger()
    book.produced = book.drained = 60
    book.held = 10
    book.dropped = 20
    assert book.received == 30


def test_a_credit_is_on_account_until_it_is_returned() -> None:
    """The budget knows what a producer was promised, and gets back what it does not use."""
    budget = Budget(1000)
    book = ledger(high_water=100, budget=budget)
    book.grant(0)
    assert budget.used == 50
    book.produced = 20
    book.settle()
    assert budget.used == 50
    book.return_credit()
    assert budget.used == 20
    book.drained = 20
    book.settle()
    assert budget.used == 0


def test_a_chunk_beyond_its_credit_is_on_account_whole() -> None:
    """One chunk may be larger than its credit, and than the budget; all of it is counted."""
    budget = Budget(30)
    book = ledger(high_water=100, budget=budget)
    assert book.grant(0) > 0
    assert budget.used == 30
    book.produced = 500
    book.settle()
    assert budget.used == 500


def test_an_empty_channel_gets_one_chunk_whatever_the_budget_says() -> None:
    """Readers who stall starve nobody: there is always room for a first chunk, and for one only."""
    budget = Budget(10)
    budget.force(10)
    book = ledger(budget=budget)
    assert book.grant(0) > 0
    assert book.limit == 1
    book.produced = 5
    assert book.grant(1) == 0
    assert budget.used == 15
    book.drained = 5
    assert book.grant(0) > 0


def test_without_a_budget_only_the_bounds_count() -> None:
    """A channel of a user's own thread shares no memory, and needs no budget to settle with."""
    book = ledger()
    book.grant(0)
    book.settle()
    book.return_credit()
    assert book.limit == book.produced == 0


@pytest.mark.parametrize(
    ("count", "produced", "full", "empty"),
    [
        (0, 0, False, True),
        (2, 25, False, True),
        (3, 3, False, False),
        (2, 26, False, False),
        (4, 49, False, False),
        (5, 5, True, False),
        (1, 50, True, False),
    ],
)
def test_half_full_and_nearly_empty(
    count: int,
    produced: int,
    full: bool,
    empty: bool,
) -> None:
    """At half of a bound a moderated reader is woken, below a quarter of both a producer resumed."""
    book = ledger(high_water=100, max_chunks=10)
    book.produced = produced
    assert book.is_half_full(count) is full
    assert book.is_nearly_empty(count) is empty


@given(
    high_water=st.integers(1, 50),
    max_chunks=st.integers(1, 8),
    limit=st.none() | st.integers(1, 60),
    sizes=st.lists(st.integers(0, 70), max_size=60),
    drain_every=st.integers(1, 12),
)
def test_whoever_obeys_the_grants_stays_within_the_bounds(
    high_water: int, max_chunks: int, limit: int | None, sizes: list[int], drain_every: int
) -> None:
    """Chunks of any size, added as granted, pass the bound by one chunk at most; then all is back."""
    budget = Budget(limit)
    book = ledger(high_water, max_chunks, budget)
    count = room = 0
    largest = max(sizes, default=0)
    for n, size in enumerate(sizes, 1):
        if room == 0 or book.produced >= book.limit:
            room = book.grant(count)
        if room:
            assert book.buffered < high_water
            book.produced += size
            count += 1
            room -= 1
        assert count <= max_chunks
        assert book.buffered < high_water + max(1, largest)
        if n % drain_every == 0:
            book.drained, count = book.produced, 0
    book.drained = book.produced
    book.return_credit()
    assert budget.used == 0
