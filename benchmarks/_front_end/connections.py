"""How many commands does a server answer, if there are many clients with one command each?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command_client import SPARE_FILES, allow_open_files
from .commands import Commands, compare

if TYPE_CHECKING:
    from benchmarks._measuring.harness import Figure, Run

CONNECTIONS = (1, 100, 2_000)
QUICK_CONNECTIONS = (100, 2_000)


def measure(run: Run) -> list[Figure]:
    """A table for each number of connections."""
    allow_open_files(max(CONNECTIONS) + SPARE_FILES)  # on this side, too
    figures: list[Figure] = []
    for connections in run.pick(CONNECTIONS, QUICK_CONNECTIONS):
        label = f"{connections:,} connection{'s' * (connections > 1)}"
        figures += compare(run, label, Commands(connections, seconds=run.pick(0.6, 0.2)))
    return figures
