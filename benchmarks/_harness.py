"""How the benchmarks measure.

What is compared runs in turn (A B C, A B C, …) and not one after the other (A A, B B, C C): the machine
may become slower or faster meanwhile, and that must not look like a difference between A and B. For
the same reason a ratio is taken within each repetition, and the median of these ratios counts; it is
not the ratio of two medians.

The first round warms up, and does not count.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from enum import Enum
from statistics import median
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

M = TypeVar("M")
C = TypeVar("C")


class Bound(Enum):
    """Which side of a target is the good one."""

    AT_MOST = "≤"
    AT_LEAST = "≥"
    EXACTLY = "="


@dataclass(frozen=True)
class Target:
    """What a figure has to reach."""

    bound: Bound
    value: float

    def reached_by(self, value: float) -> bool:
        """Whether this value is as good as the target."""
        if self.bound is Bound.AT_MOST:
            return value <= self.value
        if self.bound is Bound.AT_LEAST:
            return value >= self.value
        return value == self.value


def at_most(value: float) -> Target:
    """The figure must not be higher."""
    return Target(Bound.AT_MOST, value)


def at_least(value: float) -> Target:
    """The figure must not be lower."""
    return Target(Bound.AT_LEAST, value)


def exactly(value: float) -> Target:
    """The figure must be this."""
    return Target(Bound.EXACTLY, value)


@dataclass(frozen=True)
class Figure:
    """One line of the table: what was measured in each repetition, and what it should have been."""

    name: str
    values: tuple[float, ...]
    unit: str
    target: Target | None = None
    """None: the figure is for information."""

    @property
    def median(self) -> float:
        """The middle one of all repetitions."""
        return median(self.values)

    @property
    def reached(self) -> bool | None:
        """Whether the median reached the target; None if there is no target."""
        return None if self.target is None else self.target.reached_by(self.median)

    @property
    def times_reached(self) -> int:
        """How many single repetitions reached the target."""
        return sum(self.target is not None and self.target.reached_by(value) for value in self.values)


def figure(name: str, values: Iterable[float], unit: str, target: Target | None = None) -> Figure:
    """A figure of values that are already in their unit."""
    return Figure(name, tuple(values), unit, target)


def ratio(
    name: str, numerators: Sequence[float], denominators: Sequence[float], target: Target | None = None
) -> Figure:
    """A figure of ratios, each of the two values of one repetition."""
    pairs = zip(numerators, denominators, strict=True)
    return Figure(name, tuple(above / below for above, below in pairs), "x", target)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below or at which so many percent of the values lie (the nearest rank)."""
    rank = -(-len(values) * percent // 100)  # rounded up
    return sorted(values)[max(0, int(rank) - 1)]


class Run:
    """How thorough this run is, and who is told how far it is."""

    def __init__(
        self, *, quick: bool, repetitions: int | None, tell: Callable[[str, float], None]
    ) -> None:
        """Set up a run.

        Args:
            quick: measure less, and less often.
            repetitions: how often, whatever a question would choose.
            tell: called before each measurement, with what comes next and the share that is done.
        """
        self.quick = quick
        self._repetitions = repetitions
        self._tell = tell

    def pick(self, full: C, quick: C) -> C:
        """One of two settings."""
        return quick if self.quick else full

    def interleaved(
        self, ways: Mapping[str, Callable[[], M]], repetitions: int | None = None
    ) -> dict[str, list[M]]:
        """Measure all ways in turn, a round to warm up and then so often. Returns it all by way."""
        rounds = self._repetitions or repetitions or self.pick(7, 3)
        measured: dict[str, list[M]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for place, (name, way) in enumerate(ways.items()):
                share = (number + place / len(ways)) / (rounds + 1)
                what = f"repetition {number} of {rounds}" if number else "warm-up"
                self._tell(f"{what}: {name}", share)
                gc.collect()  # no way has to clear up after another
                result = way()
                if number:
                    measured[name].append(result)
        return measured
