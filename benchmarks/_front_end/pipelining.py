"""How many commands does a server answer, if clients send more than one at a time?

The commands are answered at once, so it is the server that is measured, and what it adds to a command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .commands import Commands, compare

if TYPE_CHECKING:
    from benchmarks._measuring.harness import Figure, Run

CONNECTIONS = 8
DEPTHS = (1, 16, 128)
QUICK_DEPTHS = (1, 128)


def measure(run: Run) -> list[Figure]:
    """A table for each depth."""
    figures: list[Figure] = []
    for depth in run.pick(DEPTHS, QUICK_DEPTHS):
        commands = Commands(CONNECTIONS, seconds=run.pick(0.6, 0.2), depth=depth)
        figures += compare(run, f"{depth} in flight", commands)
    return figures
