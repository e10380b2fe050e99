"""The memory that channels share: never promised twice, and never lost."""

from __future__ import annotations

import random
import threading

import pytest

from ewb._budget import Budget


def test_takes_what_is_left() -> None:
    """A budget grants what was asked for as long as it has it, then what is left, then nothing."""
    budget = Budget(100)
    assert budget.take(60) == 60
    assert budget.take(60) == 40
    assert budget.take(60) == 0
    assert budget.used == 100


def test_what_comes_back_can_be_taken_again() -> None:
    """Bytes given back are there for the next one."""
    budget = Budget(10)
    budget.take(10)
    budget.force(-4)
    assert budget.take(10) == 4
    assert budget.used == 10


def test_no_limit_grants_all_and_still_counts() -> None:
    """Without a limit everything is granted, and what is used is known all the same."""
    budget = Budget(None)
    assert budget.take(10**12) == 10**12
    assert budget.used == 10**12


def test_force_may_pass_the_limit_and_take_then_grants_nothing() -> None:
    """The end of a chunk is counted whatever the limit says, and never makes a grant negative."""
    budget = Budget(10)
    budget.force(25)
    assert budget.used == 25
    assert budget.take(1) == 0
    budget.force(-20)
    assert budget.take(100) == 5


@pytest.mark.parametrize("limit", [1000, None])
def test_threads_lose_no_byte(limit: int | None) -> None:
    """However threads take, force and give back at once, nothing is used when all is back."""
    budget = Budget(limit)
    start = threading.Barrier(4)
    worst: list[int] = []

    def churn(seed: int) -> None:
        choice = random.Random(seed)  # noqa: S311 - not a secret
        start.wait()
        most = 0
        for _ in range(2000):
            taken = budget.take(choice.randrange(600))
            most = max(most, budget.used)
            budget.force(-taken)
        worst.append(most)

    threads = [threading.Thread(target=churn, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.used == 0
    assert limit is None or max(worst) <= limit


def test_the_collector_may_give_back_in_the_middle_of_a_call() -> None:
    """A channel collected by the thread that is inside the budget does not hang that thread."""
    budget = Budget(10)
    budget.take(10)
    done = threading.Event()

    def collected_inside() -> None:
        with budget._lock:
            budget.force(-10)
        done.set()

    threading.Thread(target=collected_inside, daemon=True).start()
    assert done.wait(20)
    assert budget.used == 0


def test_says_how_full_it_is() -> None:
    """Its repr shows what a person debugging wants to know."""
    budget = Budget(10)
    budget.take(3)
    assert "3 of 10" in repr(budget)
