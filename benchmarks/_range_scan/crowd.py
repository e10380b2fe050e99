"""Can 2,000 clients have a scan open each, and not read? In a quick run, 500.

Their scans fill what buffers there are, and are suspended. The server must have no more threads, and
no more memory than its budget says; it must serve others meanwhile. Then the clients read, and each
must get every byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING

from benchmarks._measuring.harness import at_most, exactly, figure, percentile

from . import processes
from .compared import VBUCKETS
from .data import FEW, check
from .processes import MEBIBYTE, MEMORY

if TYPE_CHECKING:
    from benchmarks._measuring.harness import Figure, Run

    from .data import Loaded, Workspace
    from .processes import Server

CHUNK_SIZE = 128 * 1024
"""Bytes of a chunk: a scan whose buffer is empty is granted one, whatever the budget says."""
RECEIVE_BUFFER = 32 * 1024
"""Bytes that the system may keep for a client, so that it does not read for it."""
SETTLED = 0.5
"""Seconds without a change after which the scans have come as far as they do."""
TO_SETTLE = 60.0


@dataclass(frozen=True)
class Seen:
    """One crowd."""

    threads: int
    """That the server has more than before."""
    suspended: int
    """Scans, which hold no thread."""
    buffered: int
    """Bytes, of all scans, as the server counts them."""
    growth: int
    """Bytes that the server's own memory grew by."""
    gets: int
    """That were served meanwhile."""
    p99: float
    """Seconds that they took."""
    seconds: float
    """Until all had read all."""
    right: int
    """Scans of which every byte was right."""


def measure(workspace: Workspace, run: Run) -> list[Figure]:
    """What the crowd costs."""
    loaded = workspace.store(run.pick(1_050_000, 105_000), VBUCKETS)
    clients, seconds = run.pick(2_000, 500), run.pick(3.0, 1.0)
    ways = {f"{clients:,} clients": partial(crowd, loaded, clients, seconds)}
    (seen,) = run.interleaved(ways, repetitions=run.pick(3, 1)).values()
    budget = (MEMORY + clients * CHUNK_SIZE) / MEBIBYTE
    # What is being sent has left the buffers: of each connection that is no more than it may buffer.
    growth = [s.growth / MEBIBYTE for s in seen]
    return [
        figure(
            "threads more than before, all scans being open",
            [s.threads for s in seen],
            "",
            exactly(0),
        ),
        figure("scans suspended, which hold no thread", [s.suspended for s in seen], ""),
        figure("all scans buffer", [s.buffered / MEBIBYTE for s in seen], "MiB", at_most(budget)),
        figure("the server's own memory grew by", growth, "MiB", at_most(2 * budget)),
        figure("GETs served meanwhile", [s.gets for s in seen], ""),
        figure("GETs served meanwhile: p99", [1e3 * s.p99 for s in seen], "ms"),
        figure(f"then all read {FEW:,} documents each, in", [s.seconds for s in seen], "s"),
        figure("scans of which every byte was right", [s.right for s in seen], "", exactly(clients)),
    ]


def crowd(loaded: Loaded, clients: int, seconds: float) -> Seen:
    """A server of its own, so that its memory is as small as can be. Blocks this thread."""
    settings: dict[str, float | str] = {
        "connections": clients,
        "vbuckets": VBUCKETS,
        "split": True,
        "items": FEW,
        "receive_buffer": RECEIVE_BUFFER,
        "wait": True,
    }
    with processes.serving(loaded.directory) as server:
        with processes.getting(server, loaded):
            sleep(SETTLED)  # all threads are there
        threads, memory = server.process.num_threads(), _own_memory(server)
        with processes.begun(server, **settings) as client:
            suspended, buffered = _settled(server)
            more = server.process.num_threads() - threads
            growth = _own_memory(server) - memory
            with processes.getting(server, loaded) as gets:
                sleep(seconds)
            seen = processes.seen_by(client)  # that its input ends is what it waits for
    return Seen(
        threads=more,
        suspended=suspended,
        buffered=buffered,
        growth=growth,
        gets=len(gets),
        p99=percentile(gets, 99),
        seconds=seen["seconds"],
        right=check(seen["scans"], loaded.few),
    )


def _own_memory(server: Server) -> int:
    """Bytes that are not the store's, which the system maps and may take back."""
    info = server.process.memory_info()
    return int(info.rss - info.shared)


def _settled(server: Server) -> tuple[int, int]:
    """Wait until nothing changes. Returns how many scans are suspended, and what all buffer."""
    before, since, deadline = (0, 0), monotonic(), monotonic() + TO_SETTLE
    while monotonic() < min(since + SETTLED, deadline):
        sleep(SETTLED / 5)
        statistics = processes.statistics(server)
        now = int(statistics["workers:suspended"]), int(statistics["workers:buffered_bytes"])
        if now != before:
            before, since = now, monotonic()
    return before
