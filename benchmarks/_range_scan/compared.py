"""A scan of 16 vBuckets, by ewb and by the two designs of kv_engine that came before.

One server serves all three, and the name of a scan says which one reads it. While it is read, another
process GETs a document a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks._measuring.harness import at_least, at_most, figure, percentile, ratio

from . import processes
from .data import check
from .designs import ONE_BUFFER, ROUND_TRIP

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._measuring.harness import Figure, Run

    from .data import Loaded, Workspace
    from .processes import Server

VBUCKETS = 16
ALONE = "ewb, no GETs"
DESIGNS = {"ewb": "", "one 8 KiB buffer a notify": ONE_BUFFER, "round trip a write": ROUND_TRIP}
"""The names of their scans."""
MOST_SECONDS = 1.5


@dataclass(frozen=True)
class Seen:
    """A scan of all vBuckets, at once."""

    seconds: float
    bytes: int
    share: float
    """Of a core, that the client took."""
    cpu: float
    """Seconds of processors, that the server took."""
    gets: tuple[float, ...] = ()
    """Seconds that each took."""


def measure(workspace: Workspace, run: Run) -> list[Figure]:
    """Throughput, and GET times, of each."""
    documents = run.pick(1_050_000, 105_000)
    loaded = workspace.store(documents, VBUCKETS)
    with processes.serving(loaded.directory, designs=True) as server:
        ways: dict[str, Callable[[], Seen]] = {ALONE: partial(scan, server, loaded)}
        for name, design in DESIGNS.items():
            ways[name] = partial(scan_among_gets, server, loaded, design)
        seen = run.interleaved(ways, repetitions=run.pick(5, 2))
    seconds = {name: [s.seconds for s in each] for name, each in seen.items()}
    most = at_most(MOST_SECONDS * documents / 1_050_000)
    figures = [
        figure(f"{ALONE}: all documents in", seconds[ALONE], "s", most),
        figure(f"{ALONE}: received", [s.bytes / s.seconds / 1e6 for s in seen[ALONE]], "MB/s"),
        figure(f"{ALONE}: client's share of a core", [100 * s.share for s in seen[ALONE]], "%"),
    ]
    for name in DESIGNS:
        gets = [[1e3 * percentile(s.gets, share) for s in seen[name]] for share in (50, 99)]
        figures += [
            figure(f"{name}: all documents in", seconds[name], "s"),
            figure(f"{name}: received", [s.bytes / s.seconds / 1e6 for s in seen[name]], "MB/s"),
            figure(f"{name}: server's CPU time", [s.cpu for s in seen[name]], "s"),
            figure(f"{name}: GET p50", gets[0], "ms"),
            figure(f"{name}: GET p99", gets[1], "ms"),
        ]
    ours, *others = DESIGNS
    return [
        *figures,
        *(ratio(f"rate: ewb / {name}", seconds[name], seconds[ours], at_least(1)) for name in others),
    ]


def scan(server: Server, loaded: Loaded, name: str = "") -> Seen:
    """All vBuckets at once, each on a connection. Blocks this thread."""
    cpu = server.cpu()
    count = len(loaded.vbuckets)
    client = processes.scan(server, connections=count, vbuckets=count, split=True, name=name)
    seen = processes.seen_by(client)
    check(seen["scans"], loaded.full)
    return Seen(seen["seconds"], seen["bytes"], seen["share"], server.cpu() - cpu)


def scan_among_gets(server: Server, loaded: Loaded, name: str) -> Seen:
    """The same, while another process GETs documents."""
    with processes.getting(server, loaded) as gets:
        seen = scan(server, loaded, name)
    return Seen(seen.seconds, seen.bytes, seen.share, seen.cpu, tuple(gets))
