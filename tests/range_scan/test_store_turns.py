"""Who waits for the writer, and whose turn it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.range_scan.store import Mutation, Op
from examples.range_scan.store.turns import Request, Turns

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.tree


def request(name: str) -> Request:
    """The first letter is its owner."""
    return Request(Mutation(op=Op.SET, key=name.encode()), bool, name[0])


def waiting(*names: str) -> Turns:
    turns = Turns()
    for name in names:
        turns.add(request(name))
    return turns


def names(taken: Iterable[Request]) -> list[str]:
    return [it.mutation.key.decode() for it in taken]


def test_each_has_one_in_a_round() -> None:
    """The rounds go on from one group to the next."""
    turns = waiting("a1", "a2", "a3", "b1", "c1", "c2")
    assert names(turns.take(2)) == ["a1", "b1"]
    assert names(turns.take(2)) == ["c1", "a2"]
    turns.add(request("b2"))
    assert names(turns.take(9)) == ["c2", "a3", "b2"]
    assert len(turns) == 0


def test_what_is_put_back_is_as_if_it_had_not_been_taken() -> None:
    """Who came meanwhile has a turn, but not before the others have theirs."""
    turns = waiting("a1", "a2", "a3", "b1", "c1")
    taken = turns.take(9)
    turns.add(request("d1"))
    turns.put_back(taken[1:])
    assert len(turns) == 5
    assert names(turns.take(9)) == ["b1", "c1", "a2", "d1", "a3"]


def test_what_is_withdrawn_does_not_come_back() -> None:
    """Wherever it is; the owner's later ones do come."""
    turns = waiting("a1", "a2", "b1")
    taken = turns.take(2)
    turns.withdraw("a")
    turns.withdraw("z")
    turns.put_back(taken)
    assert len(turns) == 1
    turns.add(request("a3"))
    assert names(turns.take(9)) == ["b1", "a3"]
