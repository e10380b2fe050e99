"""What the store keeps in memory of itself: always as of the last commit.

Only the writer changes it, after a commit is on disk. Any thread reads it: each value is immutable and
replaced as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .layout import Tally, VBucket


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long the file is, and how much of it is in use; the rest is free, or an old scan's."""

    file: int
    used: int


@dataclass(slots=True)
class Counters:
    """What the writer has done since the store was opened."""

    commits: int = 0
    mutations: int = 0
    largest_group: int = 0
    purged: int = 0
    full: int = 0
    failed: int = 0


@dataclass(slots=True)
class State:
    """The store as of the last commit."""

    vbuckets: list[VBucket]
    collections: dict[str, int]
    tallies: dict[tuple[int, int], Tally]
    cas: int
    sizes: Sizes
    counters: Counters = field(default_factory=Counters)

    def expiring(self) -> int:
        """How many documents have an expiry."""
        return sum(tally.expiring for tally in self.tallies.copy().values())
