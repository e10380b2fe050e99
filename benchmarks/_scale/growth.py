"""How fast does a cost grow? The exponent of the power of n that fits it best.

It is the slope of a straight line through the points, both axes being logarithms, by least squares: 1
for a cost in proportion, 2 for its square, 0 for none. Where n is small a fixed cost hides any growth,
so only the points of the last two decades count.

A cost in proportion may well come out above 1: ten thousand of anything no longer fit into the caches
that held a hundred, and the machine is a noisy one. What really grows faster, such as a walk over all
for each, or a list that is searched, comes out at 1.3 or more once n is large. Hence `LINEAR`.
"""

from __future__ import annotations

from math import log
from statistics import linear_regression
from typing import TYPE_CHECKING

from benchmarks._measuring.harness import at_most, figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks._measuring.harness import Figure

LINEAR = 1.1
"""The exponent up to which growth counts as linear."""
FITTED = 100
"""From the largest n divided by this on, points count."""


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line through their logarithms.

    Raises:
        statistics.StatisticsError: there are fewer than two of different x.
    """
    slope, _ = linear_regression([log(x) for x, _ in points], [log(y) for _, y in points])
    return slope


def growth(of: str, measured: Mapping[int, Sequence[float]]) -> list[Figure]:
    """The points, and the exponent, fitted in each repetition.

    Args:
        of: what there are n of.
        measured: for each n, how many seconds each repetition took.
    """
    curve = f"time by {of}, ms"
    least = max(measured) / FITTED
    fitted = {n: seconds for n, seconds in measured.items() if n >= least}
    exponents = [
        exponent(list(zip(fitted, costs, strict=True))) for costs in zip(*fitted.values(), strict=True)
    ]
    return [
        *(
            figure(f"{n:,} {of}", [1e3 * s for s in measured[n]], "ms", curve=curve, x=n)
            for n in measured
        ),
        figure(
            f"exponent of growth by {of}",
            exponents,
            "",
            at_most(LINEAR),
            curve=curve,
            note=f"fitted from {min(fitted):,} to {max(fitted):,} {of}",
        ),
    ]
