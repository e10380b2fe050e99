"""What ewb itself says of a command, and how commands of one connection may run beside each other."""

from __future__ import annotations

from enum import Enum, auto


class Status(Enum):
    """What ewb itself says of a command. An engine's own statuses are an enum of its own."""

    OK = auto()
    """It was done; also what a resumed cookie has whose producer returned None."""
    WOULD_BLOCK = auto()
    """The engine will say later; `execute` is called again."""
    FAILED = auto()
    """The engine or its background work raised; see `Cookie.exception`."""
    CANCELLED = auto()
    """`Cookie.cancel` was called: its background work is stopped."""
    TIMED_OUT = auto()
    """It made no progress for `command_timeout` seconds: its background work is stopped."""
    BUSY = auto()
    """It was not executed: the front end has as many commands in flight as it may have."""


class Order(Enum):
    """How a command may run beside others of its connection."""

    SERIAL = auto()
    """Starts when all earlier ones are complete, and holds all later ones."""
    OVERLAP = auto()
    """May run beside others; is answered in the order of requests."""
    REORDER = auto()
    """Runs beside others, and is answered when ready; its stream is interleaved with the answers of
    others, at whole messages."""
