"""How the benchmarks measure.

What is compared runs in turn (A B C, A B C, …) and not one after the other (A A, B B, C C): the machine
may become slower or faster meanwhile, and that must not look like a difference between A and B. For
the same reason a ratio is taken within each repetition, and the median of these ratios counts; it is
not the ratio of two medians.

The first round warms up, and does not count.

A program has so much time, and each of its questions a part of that: there are as many repetitions as
fit, and a few at the least.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from enum import Enum
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

M = TypeVar("M")
C = TypeVar("C")

FRACTION = "fraction of the limit"
"""The curve of those figures that say how much of what is possible ewb reaches: 1 is all."""
LEAST_FULL, LEAST_QUICK = 3, 0
"""Repetitions that there are whatever the time; with none, the warm-up counts."""


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
    curve: str | None = None
    """What it is a point of, or a bar, in the report's plots."""
    x: float | None = None
    """Where it is on the curve."""
    note: str | None = None
    """What the number does not say."""

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


def figure(
    name: str,
    values: Iterable[float],
    unit: str,
    target: Target | None = None,
    *,
    curve: str | None = None,
    x: float | None = None,
    note: str | None = None,
) -> Figure:
    """A figure of values that are already in their unit."""
    return Figure(name, tuple(values), unit, target, curve, x, note)


def ratio(
    name: str,
    numerators: Sequence[float],
    denominators: Sequence[float],
    target: Target | None = None,
    *,
    curve: str | None = None,
    x: float | None = None,
) -> Figure:
    """A figure of ratios, each of the two values of one repetition."""
    pairs = zip(numerators, denominators, strict=True)
    values = (above / below for above, below in pairs)
    return figure(name, values, "x", target, curve=curve, x=x)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below or at which so many percent of the values lie (the nearest rank)."""
    rank = -(-len(values) * percent // 100)  # rounded up
    return sorted(values)[max(0, int(rank) - 1)]


class Run:
    """How thorough this run is, how long it may take, and who is told how far it is."""

    def __init__(
        self,
        *,
        quick: bool,
        repetitions: int | None,
        tell: Callable[[str, float], None],
        seconds: float | None = None,
        parts: int = 1,
    ) -> None:
        """Set up a run.

        Args:
            quick: measure less, and less often.
            repetitions: how often, whatever a question would choose, and however long that takes.
            tell: called before each measurement, with what comes next and the share that is done.
            seconds: what all of it may take, from now on; None: as long as it takes.
            parts: how many times `interleaved` will be called; each has an equal part of the time.
        """
        self.quick = quick
        self.tell = tell
        self._repetitions = repetitions
        self._deadline = None if seconds is None else perf_counter() + seconds
        self._parts = parts

    @property
    def seconds(self) -> float | None:
        """What the next `interleaved` may take; None: as long as it takes."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - perf_counter()) / max(1, self._parts)

    def pick(self, full: C, quick: C) -> C:
        """One of two settings."""
        return quick if self.quick else full

    def interleaved(
        self,
        ways: Mapping[str, Callable[[], M]],
        repetitions: int | None = None,
        *,
        warm_up: bool = True,
    ) -> dict[str, list[M]]:
        """Measure all ways in turn: a round to warm up, and then rounds as long as there is time.

        There are at most so many repetitions. Returns all measurements by way. Without a warm-up the
        first round counts: for ways that start with nothing, such as a fresh process each. In a quick
        run it also counts if there is no time for a second one.
        """
        warmed: dict[str, M] = {}
        rounds = self._rounds(repetitions or self.pick(7, 3), 0 if warm_up else 1)
        measured: dict[str, list[M]] = {name: [] for name in ways}
        for number, last in rounds:
            for place, (name, way) in enumerate(ways.items()):
                what = f"repetition {number} of {last}" if number else "warm-up"
                self.tell(f"{what}: {name}", (number + place / len(ways)) / (last + 1))
                gc.collect()  # no way has to clear up after another
                result = way()
                if number:
                    measured[name].append(result)
                else:
                    warmed[name] = result
        if warmed and not all(measured.values()):
            measured = {name: [result] for name, result in warmed.items()}
        self._parts -= 1
        return measured

    def _rounds(self, most: int, first: int) -> Iterator[tuple[int, int]]:
        """Number the rounds, with the number of the last as far as one can tell. The warm-up is 0."""
        seconds = None if self._repetitions else self.seconds
        most = self._repetitions or most
        least = min(most, self.pick(LEAST_FULL, LEAST_QUICK))
        started, longest, last = perf_counter(), 0.0, most
        for number in range(first, most + 1):
            round_started = perf_counter()
            if seconds is not None and number > first:  # so it is known how long a round takes
                left = seconds - (round_started - started)
                last = min(most, max(least, number - 1 + int(left / longest)))
            if number > last:
                return
            yield number, last
            longest = max(longest, perf_counter() - round_started)
