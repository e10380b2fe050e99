"""Do 1,000 suspended producers hold what their bounds say, and no more?"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._measuring.harness import at_most, exactly, figure

from .memory_probe import CHUNK_SIZE, PRODUCERS, Held

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._measuring.harness import Figure, Run

MIB = 2**20
HIGH_WATER = 64 * 1024
BUDGET = 16 * MIB

BOUNDED = "64 KiB each"
EMPTY = "one chunk each"
SHARED = "64 KiB each, 16 MiB for all"


def measure(run: Run) -> list[Figure]:
    """What is held, by ewb's own count and by the system's."""
    ways: dict[str, Callable[[], Held]] = {
        BOUNDED: partial(probe, HIGH_WATER, None),
        EMPTY: partial(probe, 1, None),
        SHARED: partial(probe, HIGH_WATER, BUDGET),
    }
    held = run.interleaved(ways, repetitions=run.pick(3, 1))
    bounds = PRODUCERS * HIGH_WATER
    fixed = [h.growth - h.buffered for h in held[EMPTY]]
    growth = [(h.growth - f) / bounds for h, f in zip(held[BOUNDED], fixed, strict=True)]
    # The bound and one chunk: so much the law allows.
    most, budgeted = HIGH_WATER + CHUNK_SIZE, BUDGET + PRODUCERS * CHUNK_SIZE
    return [
        figure(
            "suspended, which hold no thread",
            [h.suspended for h in held[BOUNDED]],
            "",
            exactly(PRODUCERS),
        ),
        figure(
            "the most that one channel held",
            [h.most / 1024 for h in held[BOUNDED]],
            "KiB",
            at_most(most / 1024),
        ),
        figure(
            "all hold / the sum of their bounds (62.5 MiB)",
            [h.buffered / bounds for h in held[BOUNDED]],
            "x",
            at_most(most / HIGH_WATER),
        ),
        figure("resident memory / the sum of the bounds", growth, "x"),
        figure(
            "resident memory of a suspended producer itself",
            [f / PRODUCERS / 1024 for f in fixed],
            "KiB",
        ),
        figure(
            "all hold, of a budget of 16 MiB",
            [h.buffered / MIB for h in held[SHARED]],
            "MiB",
            at_most(budgeted / MIB),
        ),
    ]


def probe(high_water: int, memory: int | None) -> Held:
    """Look at a fresh process."""
    program = "benchmarks._handoff.memory_probe"
    command = [sys.executable, "-m", program, str(high_water), str(memory or 0)]
    folder = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True, timeout=120)
    return Held(**json.loads(done.stdout))
