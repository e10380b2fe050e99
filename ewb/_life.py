"""The life of a cookie: its states, and the steps between them, as a table.

Invariants: a step that is not in the table raises, and changes nothing. All steps are taken on the
front end.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class State(IntEnum):  # an IntEnum's hash is quick
    """Where a cookie is."""

    WAITING = 0
    """Received; the commands before it are not complete."""
    EXECUTING = 1
    """In the engine's `execute`."""
    PARKED = 2
    """It would block: its background work is under way, or somebody is to notify it."""
    READY = 3
    """The answer it waited for is there: `execute` is called again soon."""
    COMPLETE = 4
    """It has its status; its answer may have to wait for those before it."""
    DONE = 5
    """It was answered."""
    DROPPED = 6
    """Its connection is gone."""


class Step(IntEnum):
    """What happens to it."""

    EXECUTE = 0
    """The front end calls `execute`."""
    BLOCK = 1
    """`execute` returned `WOULD_BLOCK`."""
    NOTIFY = 2
    """It was notified, or its background work has ended."""
    COMPLETE = 3
    """`execute` returned another status; or the command was refused."""
    ANSWER = 4
    """Its answer was encoded."""
    DROP = 5
    """Its connection is gone."""


TRANSITIONS: Final[dict[tuple[State, Step], State]] = {
    (State.WAITING, Step.EXECUTE): State.EXECUTING,
    (State.WAITING, Step.COMPLETE): State.COMPLETE,
    (State.WAITING, Step.DROP): State.DROPPED,
    (State.EXECUTING, Step.BLOCK): State.PARKED,
    (State.EXECUTING, Step.COMPLETE): State.COMPLETE,
    (State.EXECUTING, Step.DROP): State.DROPPED,  # by a KeyboardInterrupt or the like
    (State.PARKED, Step.NOTIFY): State.READY,
    (State.PARKED, Step.DROP): State.DROPPED,
    (State.READY, Step.EXECUTE): State.EXECUTING,
    (State.READY, Step.DROP): State.DROPPED,
    (State.COMPLETE, Step.ANSWER): State.DONE,
    (State.COMPLETE, Step.DROP): State.DROPPED,
}
"""All steps there are."""


class IllegalStepError(RuntimeError):
    """A cookie was to take a step that its state does not have."""


def after(state: State, step: Step) -> State:
    """The state that a step leads to. Thread: any.

    Raises:
        IllegalStepError: there is no such step from this state.
    """
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        msg = f"a cookie that is {state.name} cannot {step.name}"
        raise IllegalStepError(msg) from None


def diagram() -> str:
    """The table as a Mermaid state diagram, as the documentation shows it."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.WAITING.name}"]
    lines += [f"    {a.name} --> {b.name}: {step.name.lower()}" for (a, step), b in TRANSITIONS.items()]
    ends = [state for state in State if not any(a is state for a, _ in TRANSITIONS)]
    lines += [f"    {end.name} --> [*]" for end in ends]
    return "\n".join(lines) + "\n"
