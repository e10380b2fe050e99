"""How fast is one long scan, to a raw client in another process, next to PostgreSQL and Redis?

All of them send the same documents, in the order of their keys, over loopback TCP, from memory.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import lmdb

from benchmarks._measuring import installed
from benchmarks._measuring.harness import FRACTION, at_least, at_most, figure, ratio

from . import peers, processes
from .data import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._measuring.harness import Figure, Run

    from .data import Loaded, Workspace
    from .peers import Request
    from .processes import Server

EWB, EWB_KEYS = "ewb", "ewb, keys only"
WALK = "LMDB's cursor alone (the limit)"


@dataclass(frozen=True)
class Seen:
    """One scan."""

    seconds: float
    bytes: int
    share: float
    """Of a core, that the client took."""


def measure(workspace: Workspace, run: Run) -> list[Figure]:
    """Times, rates, and what they are to each other."""
    documents = run.pick(1_000_000, 100_000)
    loaded = workspace.store(documents, vbuckets=1)
    with ExitStack() as stack:
        server = stack.enter_context(processes.serving(loaded.directory))
        postgres, redis = (
            stack.enter_context(peer) if peer else None for peer in _peers(workspace, documents)
        )
        ways: dict[str, Callable[[], Seen]] = {
            EWB: partial(scan, server, loaded, keys_only=False),
            EWB_KEYS: partial(scan, server, loaded, keys_only=True),
            WALK: partial(walk, loaded),
        }
        for peer in filter(None, (postgres, redis)):
            ways[peer.name] = partial(ask, peer.documents)
            if peer.keys:
                ways[f"{peer.name}, keys only"] = partial(ask, peer.keys)
        seen = run.interleaved(ways)
    figures = [one for name, each in seen.items() for one in _about(name, each)]
    seconds = {name: [s.seconds for s in each] for name, each in seen.items()}
    figures.append(ratio("time: LMDB's cursor / ewb", seconds[WALK], seconds[EWB], curve=FRACTION))
    for peer in filter(None, (postgres, redis)):
        theirs = seconds[peer.name]
        figures.append(ratio(f"time: ewb / {peer.name}", seconds[EWB], theirs, at_most(1)))
        if peer.keys:
            theirs = seconds[f"{peer.name}, keys only"]
            title = f"rate of keys: ewb / {peer.name}"
            figures.append(ratio(title, theirs, seconds[EWB_KEYS], at_least(0.6)))
    return figures


def _peers(workspace: Workspace, documents: int) -> Iterator[peers.Starting | None]:
    postgres, redis = installed.postgres(), installed.redis()
    if postgres is None:
        print("PostgreSQL is not installed, and left out.")
    yield peers.postgres(postgres.parent, workspace.directory, documents) if postgres else None
    if redis is None:
        print("Redis is not installed, and left out.")
    yield peers.redis(redis, workspace.directory, documents) if redis else None


def scan(server: Server, loaded: Loaded, *, keys_only: bool) -> Seen:
    """All of the store's one vBucket. Blocks this thread."""
    client = processes.scan(server, connections=1, vbuckets=1, keys_only=keys_only)
    seen = processes.seen_by(client)
    check(seen["scans"], loaded.keys if keys_only else loaded.full)
    return Seen(seen["seconds"], seen["bytes"], seen["share"])


def walk(loaded: Loaded) -> Seen:
    """Take each value of the store, in this process."""
    with (
        lmdb.open(str(loaded.directory), readonly=True, lock=False, max_dbs=1) as environment,
        environment.begin() as txn,
    ):
        documents = environment.open_db(b"documents", txn=txn, create=False)
        started = perf_counter()
        with txn.cursor(documents) as cursor:
            size = sum(map(len, cursor.iternext(keys=False, values=True)))
        return Seen(perf_counter() - started, size, 1.0)


def ask(request: Request) -> Seen:
    """The same, of a peer."""
    seen = request()
    return Seen(seen["seconds"], seen["bytes"], seen["share"])


def _about(name: str, seen: list[Seen]) -> list[Figure]:
    seconds = figure(f"{name}: all documents in", [s.seconds for s in seen], "s")
    if name == WALK:
        return [seconds]
    return [
        seconds,
        figure(f"{name}: received", [s.bytes / s.seconds / 1e6 for s in seen], "MB/s"),
        figure(f"{name}: client's share of a core", [100 * s.share for s in seen], "%"),
    ]
