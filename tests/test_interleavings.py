"""Every interleaving of small cases on the real code; and the scheduler that makes them."""

from __future__ import annotations

import os
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from .interleaving.cases import LARGER, SMALL, Reading, case_by_chance, ready
from .interleaving.plants import PLANTS, Plant
from .interleaving.scheduler import Case, Explorer, Stuck, current_run, parse, schedule_of, step
from .interleaving.steps import StepRLock

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = int(os.environ.get("EWB_INTERLEAVINGS", "4000"))
"""Runs of each larger case in the long form."""
FEW = 5
"""Runs of each larger case in the short form, by chance."""


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_in_every_order_nothing_is_lost_stuck_or_beyond_its_bound(case: Reading) -> None:
    """Small cases, all orders that make a difference."""
    with ready():
        result = Explorer(case).explore(most=20_000)
    assert result.failure is None, f"{result.failure}\n{result.schedule}\n{result.story}"
    assert result.complete


@pytest.mark.parametrize("case", LARGER, ids=lambda case: case.name)
def test_in_some_orders_of_larger_cases_neither(case: Reading) -> None:
    """Cases with too many orders for all: some by chance, the same each time."""
    with ready():
        result = Explorer(case).sample(runs=FEW, seed=7)
    assert result.failure is None, f"{result.failure}\n{result.schedule}\n{result.story}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", LARGER, ids=lambda case: case.name)
def test_in_many_orders_of_larger_cases_neither(case: Reading) -> None:
    """The same, depth first as far as it goes; where that is not to the end, by chance too."""
    with ready():
        result = Explorer(case).explore(most=MOST)
        if result.failure is None and not result.complete:
            result = Explorer(case).sample(runs=MOST // 4, seed=1)
    assert result.failure is None, f"{result.failure}\n{result.schedule}\n{result.story}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_in_some_orders_of_any_case_neither() -> None:
    """Cases by chance, a few runs of each."""
    chance = Random(3)  # noqa: S311 - it has to be repeatable
    for _ in range(MOST // 10):
        case = case_by_chance(chance)
        with ready():
            result = Explorer(case).sample(runs=10, seed=chance.randint(0, 1_000_000))
        assert result.failure is None, f"{case}: {result.failure}\n{result.schedule}\n{result.story}"


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    """Each of these would strand, lose, double, or overfill something."""
    result = plant.look_for(most=1_000)
    assert result.failure is not None, f"not found in {result.runs} runs"
    assert plant.found in str(result.failure), result.schedule


def test_what_was_found_can_be_had_again() -> None:
    """A schedule, as it is printed, comes to the same failure."""
    plant = PLANTS[0]
    found = plant.look_for(most=1_000)
    with plant.planted(), ready():
        run = Explorer(plant.case).replay(found.schedule)
    assert str(run.failure) == str(found.failure)
    assert schedule_of(run) == found.schedule


def test_a_schedule_is_a_list_of_turns() -> None:
    """So that one can be written by hand."""
    assert parse("worker*2 front_end closer*1") == ["worker", "worker", "front_end", "closer"]


# -- the scheduler itself ---------------------------------------------------------------------------


class Program(Case):
    """A little program by chance: two variables, two locks, an event; what it can come to is noted."""

    def __init__(self, seed: int) -> None:
        chance = Random(seed)  # noqa: S311 - it has to be repeatable
        self.outcomes: set[str] = set()
        self.actors = [self._actor(chance) for _ in range(2 + seed % 2)]

    @staticmethod
    def _actor(chance: Random) -> list[tuple[str, str]]:
        steps: list[tuple[str, str]] = []
        held: list[str] = []
        for _ in range(chance.randint(1, 4)):
            what = chance.choice(["read", "write", "write", "add", "lock", "unlock", "set", "wait"])
            if what == "lock" and (lock := chance.choice("LM")) not in held:
                held.append(lock)
                steps.append((what, lock))
            elif what == "unlock" and held:
                steps.append((what, held.pop()))
            elif what in ("set", "wait"):
                steps.append((what, "E"))
            elif what in ("read", "write", "add"):
                steps.append((what, chance.choice("xy")))
        return steps + [("unlock", lock) for lock in reversed(held)]

    def set_up(self) -> dict[str, Callable[[], object]]:
        """Nothing has happened."""
        self.values: dict[str, Any] = {"x": 0, "y": 0, "E": False}
        self.locks = {"L": StepRLock(), "M": StepRLock()}
        self.seen: list[list[Any]] = [[] for _ in self.actors]
        return {f"a{n}": partial(self.perform, n) for n in range(len(self.actors))}

    def perform(self, number: int) -> None:
        """An actor."""
        for position, (what, name) in enumerate(self.actors[number]):
            match what:
                case "read":
                    step(name, "read")
                    self.seen[number].append(self.values[name])
                case "write":
                    step(name, "write")
                    self.values[name] = (number, position)
                case "add":
                    step(name, "read")
                    old = self.values[name]
                    step(name, "write")
                    self.values[name] = (old, "and more")
                case "lock":
                    self.locks[name].acquire()
                case "unlock":
                    self.locks[name].release()
                case "set":
                    self._set()
                case _:
                    step("E", "wait", lambda: bool(self.values["E"]))

    def _set(self) -> None:
        step("E", "write")
        run = current_run()
        if not self.values["E"] and run is not None and run.current is not None:
            run.place("E").released = run.current.clock.copy()
        self.values["E"] = True

    def check(self) -> None:
        """It has come to an end."""
        self.outcomes.add(f"{self.values} {self.seen}")

    def waiting_is_fine(self, names: set[str]) -> bool:
        """It has come to a stop."""
        self.outcomes.add(f"{sorted(names)} wait; {self.values} {self.seen}")
        return True


def check_reduction(seeds: range, most: int) -> None:
    """What a program can come to in any order, it comes to in those that are tried."""
    compared = 0
    for seed in seeds:
        every, few = Program(seed), Program(seed)
        all_runs = Explorer(every, reduce=False).explore(most=most)
        if all_runs.complete:
            few_runs = Explorer(few).explore(most=most)
            assert few_runs.complete
            assert few.outcomes == every.outcomes, f"seed {seed}: {few.actors}"
            assert few_runs.runs <= all_runs.runs
            compared += 1
    assert compared


def test_no_outcome_is_left_out() -> None:
    """The orders that are not tried differ in nothing: little programs, against all their orders."""
    check_reduction(range(16), 300)


def test_what_is_only_waited_for_counts_too() -> None:
    """A lock that is never had, in a run that gets stuck, could have been had before."""
    check_reduction(range(1067, 1068), 1_500)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_outcome_of_larger_programs_is_left_out() -> None:
    """The same, with more of them."""
    check_reduction(range(1000, 1300), 1_500)


class Deadlock(Case):
    """Two locks, taken in two orders."""

    def set_up(self) -> dict[str, Callable[[], object]]:
        """Both are free."""
        one, other = StepRLock(), StepRLock()

        def take(first: StepRLock, second: StepRLock) -> None:
            with first, second:
                pass

        return {"a": lambda: take(one, other), "b": lambda: take(other, one)}


def test_a_deadlock_is_found() -> None:
    """And it says who waits for what."""
    result = Explorer(Deadlock()).explore(most=100)
    assert isinstance(result.failure, Stuck)
    assert "a is at acquire" in str(result.failure)
    assert "b is at acquire" in str(result.failure)


class Endless(Case):
    """An actor that goes on for ever."""

    def set_up(self) -> dict[str, Callable[[], object]]:
        """It does nothing else."""

        def go_on() -> None:
            while True:
                step("x", "read")

        return {"a": go_on}


def test_a_run_without_an_end_is_found() -> None:
    """A live-lock is none that a test would wait for."""
    result = Explorer(Endless()).explore(most=100)
    assert "goes on for ever" in str(result.failure)
