"""The engine's own statuses, and how a command is refused."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """How a command ended, where `ewb.Status` does not say it."""

    STREAMED = "all of the answer was streamed"
    NOTHING_CAME = "nothing was pushed within the time limit"
    ERROR = "ERR"
    WRONG_TYPE = "WRONGTYPE"
    NO_PROTOCOL = "NOPROTO"


class RefusedError(Exception):
    """A command cannot be done. The outcome is its code for the client, and the text says why."""

    def __init__(self, text: str, outcome: Outcome = Outcome.ERROR) -> None:
        super().__init__(text)
        self.text = text.encode()
        self.outcome = outcome
