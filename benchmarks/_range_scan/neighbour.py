"""How soon is a GET answered, while 8 other connections scan everything, again and again?

One process reads the scans, another one GETs a document a millisecond. The two and the server share
what cores there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from benchmarks._measuring.harness import at_most, figure, percentile, ratio

from . import processes
from .compared import VBUCKETS
from .data import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._measuring.harness import Figure, Run

    from .data import Loaded, Workspace
    from .processes import Server

SCANS = 8
IDLE, BUSY = "idle", f"{SCANS} full scans"


@dataclass(frozen=True)
class Seen:
    """One measurement."""

    p50: float
    """Seconds from GET to document."""
    p99: float
    rate: float = 0.0
    """MB a second of all scans."""
    scanned: int = 0
    """Scans of a vBucket that were complete, and right."""


def measure(workspace: Workspace, run: Run) -> list[Figure]:
    """GET times, idle and not."""
    loaded = workspace.store(run.pick(1_050_000, 105_000), VBUCKETS)
    seconds = run.pick(3.0, 0.7)
    with processes.serving(loaded.directory) as server:
        ways: dict[str, Callable[[], Seen]] = {
            IDLE: partial(probe, server, loaded, seconds),
            BUSY: partial(probe_among_scans, server, loaded, seconds),
        }
        seen = run.interleaved(ways, repetitions=run.pick(7, 3))
    p99s = {name: [s.p99 for s in each] for name, each in seen.items()}
    figures: list[Figure] = []
    for name, each in seen.items():
        figures += [
            figure(f"{name}: GET p50", [1e3 * s.p50 for s in each], "ms"),
            figure(f"{name}: GET p99", [1e3 * s.p99 for s in each], "ms"),
        ]
    return [
        *figures,
        figure(f"{BUSY}: all together", [s.rate for s in seen[BUSY]], "MB/s"),
        figure(f"{BUSY}: vBuckets scanned meanwhile", [s.scanned for s in seen[BUSY]], ""),
        ratio(f"GET p99: {BUSY} / {IDLE}", p99s[BUSY], p99s[IDLE], at_most(3)),
    ]


def probe(server: Server, loaded: Loaded, seconds: float) -> Seen:
    """What a neighbour sees in so many seconds. Blocks this thread."""
    with processes.getting(server, loaded) as gets:
        sleep(seconds)
    return Seen(percentile(gets, 50), percentile(gets, 99))


def probe_among_scans(server: Server, loaded: Loaded, seconds: float) -> Seen:
    """The same, with scans from its beginning to its end."""
    settings: dict[str, float | str] = {"connections": SCANS, "vbuckets": VBUCKETS, "forever": True}
    with processes.begun(server, **settings) as client:
        started = perf_counter()
        seen = probe(server, loaded, seconds)
        took = perf_counter() - started
        scans = processes.seen_by(client)
    scanned = check(scans["scans"], loaded.full)
    return Seen(seen.p50, seen.p99, scans["bytes"] / took / 1e6, scanned)
