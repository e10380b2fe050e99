"""A cookie's life: the table of its steps, what it forbids, and the diagram that is made from it."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ewb import Order
from ewb._command import Command
from ewb._connection import Connection
from ewb._life import TRANSITIONS, IllegalStepError, State, Step, after, diagram

if TYPE_CHECKING:
    from collections.abc import Callable

ENDS = {State.DONE, State.DROPPED}


@pytest.mark.parametrize(("state", "step"), list(product(State, Step)))
def test_a_step_is_in_the_table_or_raises(state: State, step: Step) -> None:
    """There is nothing between: a step leads where the table says, or is illegal, and says so."""
    if (state, step) in TRANSITIONS:
        assert after(state, step) is TRANSITIONS[state, step]
    else:
        with pytest.raises(IllegalStepError, match=f"that is {state.name} cannot {step.name}"):
            after(state, step)


def test_nothing_leaves_an_end() -> None:
    """A cookie that was answered, or dropped, stays so; every other one can still get there."""
    for state in State:
        leads_to = {after for (before, _), after in TRANSITIONS.items() if before is state}
        assert bool(leads_to) is (state not in ENDS)


def test_every_state_can_be_reached_and_can_end_well() -> None:
    """From the first state all are reached; from all that are no end, an answer and a drop are."""
    assert reachable(State.WAITING) == set(State)
    for state in set(State) - ENDS:
        assert reachable(state) >= ENDS


def test_any_cookie_that_is_not_at_an_end_can_be_dropped() -> None:
    """A connection may go away at any time."""
    for state in set(State) - ENDS:
        assert after(state, Step.DROP) is State.DROPPED


def test_only_what_is_parked_can_be_notified() -> None:
    """So a second notify, an early or a late one is never a step."""
    assert [state for state in State if (state, Step.NOTIFY) in TRANSITIONS] == [State.PARKED]


def test_what_is_executed_was_waiting_or_ready() -> None:
    """`execute` is never called for a cookie that is in it, parked or complete."""
    able = {state for state in State if (state, Step.EXECUTE) in TRANSITIONS}
    assert able == {State.WAITING, State.READY}


def test_the_diagram_shows_the_table_and_nothing_else() -> None:
    """Its arrows are the table's, besides the way in and the two ways out."""
    arrows = re.findall(r"^    (\S+) --> (\S+?)(?:: (\w+))?$", diagram(), re.MULTILINE)
    steps = {(a, b, label) for a, b, label in arrows if "[*]" not in (a, b)}
    assert steps == {(a.name, b.name, step.name.lower()) for (a, step), b in TRANSITIONS.items()}
    assert [b for a, b, _ in arrows if a == "[*]"] == ["WAITING"]
    assert {a for a, b, _ in arrows if b == "[*]"} == {"DONE", "DROPPED"}
    assert len(arrows) == len(TRANSITIONS) + 3


def test_the_diagram_is_one_that_mermaid_can_draw() -> None:
    """Its first line says what it is, and each other one is an arrow."""
    first, *others = diagram().splitlines()
    assert first == "stateDiagram-v2"
    assert all(" --> " in line for line in others)
    assert diagram().endswith("\n")


def reachable(first: State) -> set[State]:
    """All states that steps lead to from here, and this one."""
    reached = {first}
    while more := {b for (a, _), b in TRANSITIONS.items() if a in reached} - reached:
        reached |= more
    return reached


class Host:
    """What a command tells."""

    def __init__(self) -> None:
        self.resumed = 0

    def post(self, call: object) -> None:
        """Not called: there is but one thread."""

    def resume(self, _: object) -> None:
        """Count."""
        self.resumed += 1

    def stop(self, background: object) -> None:
        """Not called: nothing is started."""


class LifeMachine(RuleBasedStateMachine):
    """A command that is told to take any step at any time, against the table."""

    def __init__(self) -> None:
        super().__init__()
        self.host = Host()
        connection = Connection(None, "a test", lambda: None, lambda: None)
        self.command: Command[str, str] = Command("request", connection, Order.SERIAL, self.host)
        self.expected = State.WAITING
        self.resumes = 0

    @rule(step=st.sampled_from(Step))
    def take(self, step: Step) -> None:
        """Take a step: a legal one leads where the table says, another one changes nothing."""
        command = self.command
        take: Callable[[], object] = {
            Step.EXECUTE: command.enter,
            Step.BLOCK: command.block,
            Step.NOTIFY: lambda: command.answer("said"),
            Step.COMPLETE: lambda: command.complete("told"),
            Step.ANSWER: lambda: command.take_step(Step.ANSWER),
            Step.DROP: lambda: command.take_step(Step.DROP),
        }[step]
        if (to := TRANSITIONS.get((self.expected, step))) is not None:
            take()
            self.expected = to
            self.resumes += step is Step.NOTIFY
        else:
            before = everything(command)
            with pytest.raises(IllegalStepError):
                take()
            assert everything(command) == before

    @rule()
    def notify(self) -> None:
        """As an engine does, at any time: one that does not wait is not woken."""
        if self.expected is State.EXECUTING:
            return  # kept: see test_command
        before = everything(self.command)
        self.command.notify("said")
        if self.expected is State.PARKED:
            self.expected = State.READY
            self.resumes += 1
        else:
            assert everything(self.command) == before

    @rule()
    def cancel(self) -> None:
        """As an engine does, at any time."""
        before = everything(self.command)
        self.command.cancel()
        if self.expected is State.PARKED:
            self.expected = State.READY
            self.resumes += 1
        else:
            assert everything(self.command) == before

    @invariant()
    def state_is_the_tables(self) -> None:
        """It is where the table says, and was resumed as often."""
        assert self.command.state is self.expected
        assert self.host.resumed == self.resumes
        assert self.expected.name.lower() in repr(self.command)


def everything(command: Command[str, str]) -> dict[str, object]:
    """All that is known of a command."""
    slots = [slot for kind in type(command).__mro__ for slot in getattr(kind, "__slots__", ())]
    return {slot: getattr(command, slot) for slot in slots if slot != "__weakref__"}


TestLife = LifeMachine.TestCase
TestLife.settings = settings(max_examples=200, stateful_step_count=30)
