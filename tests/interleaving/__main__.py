"""`python -m tests.interleaving [MOST]`: what is found after how many runs, and what passed."""

# ruff: noqa: T201 - it is a report

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING

from .cases import LARGER, SMALL, ready
from .plants import PLANTS
from .scheduler import Explorer

if TYPE_CHECKING:
    from .scheduler import Result

MOST = 1_000
"""Runs of each case that has too many orders for all."""


def main(most: int) -> None:
    """Print it; what fails prints its schedule."""
    print("Planted bugs: after how many runs each is found, and the schedule that shows it\n")
    for plant in PLANTS:
        result = plant.look_for(most=most)
        print(f"{result.runs + result.pruned:7,}  {plant.name}")
        print(f"         {result.failure or 'NOT FOUND'}\n         {result.schedule}\n")
    print("The code as it is: runs passed, steps of the longest\n")
    for case in (*SMALL, *LARGER):
        began = perf_counter()
        with ready():
            result = Explorer(case).explore(most=most)
        _tell(case.name, result, perf_counter() - began)
        if not result.complete:
            began = perf_counter()
            with ready():
                result = Explorer(case).sample(runs=most, seed=1)
            _tell("      by chance", result, perf_counter() - began)


def _tell(name: str, result: Result, seconds: float) -> None:
    how = "all orders" if result.complete else "so far"
    print(f"{result.runs:7,}  {result.steps:4}  {seconds:5.1f} s  {how:10}  {name}")
    if result.failure is not None:
        print(f"FAILED: {result.failure}\n{result.schedule}\n{result.story}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MOST)
