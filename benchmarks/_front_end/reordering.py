"""How soon is a short command answered on the very connection that streams as fast as it can?

Both commands may be reordered. The stream's chunks have 16 KiB. What was written of the stream before
the answer, and not read yet, lies in the system's buffers: nobody can overtake that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import ewb
from benchmarks._measuring import client_process
from benchmarks._measuring.harness import figure, percentile, ratio

from .line_servers import ANSWER, CHUNK, PING, STREAM, by_ewb, by_hand_with_streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._measuring.harness import Figure, Run

EWB_IDLE = "ewb, no stream"
HAND_IDLE = "by hand, no stream"
EWB = "ewb"
HAND = "to_thread.run_sync(next, it)"


@dataclass(frozen=True)
class Seen:
    """One measurement."""

    times: list[float]
    """Seconds from command to answer."""
    before: list[float]
    """Bytes of the stream that came meanwhile."""
    rate: float
    """MB a second of the stream."""


def measure(run: Run) -> list[Figure]:
    """Answer times, and what came before."""
    seconds = run.pick(0.8, 0.3)
    reorder = partial(by_ewb, order=ewb.Order.REORDER)
    idle, busy = partial(ask, seconds, ""), partial(ask, seconds, f"{STREAM.decode()}\n")
    ways: dict[str, Callable[[], Seen]] = {
        EWB_IDLE: partial(reorder, idle),
        HAND_IDLE: partial(by_hand_with_streams, idle),
        EWB: partial(reorder, busy),
        HAND: partial(by_hand_with_streams, busy),
    }
    seen = run.interleaved(ways, repetitions=run.pick(7, 2))
    figures: list[Figure] = []
    for name in ways:
        figures += [_at(percent, name, seen[name]) for percent in (50, 99)]
        if name in {EWB, HAND}:
            before = [[size / 1e6 for size in s.before] for s in seen[name]]
            figures += [
                figure(f"{name}: stream before, p50", [percentile(b, 50) for b in before], "MB"),
                figure(f"{name}: stream before, p99", [percentile(b, 99) for b in before], "MB"),
                figure(f"{name}: stream", [s.rate for s in seen[name]], "MB/s"),
            ]
    ours, theirs = seen[EWB], seen[HAND]
    return [
        *figures,
        ratio(
            f"answer p99: {EWB} / {HAND}",
            [percentile(s.times, 99) for s in ours],
            [percentile(s.times, 99) for s in theirs],
        ),
        ratio(f"stream: {EWB} / {HAND}", [s.rate for s in ours], [s.rate for s in theirs]),
    ]


def _at(percent: int, name: str, seen: list[Seen]) -> Figure:
    values = [1e3 * percentile(s.times, percent) for s in seen]
    return figure(f"{name}: answer p{percent}", values, "ms")


def ask(seconds: float, stream: str, port: int) -> Seen:
    """What a client sees that asks on the connection of its stream, if it has one."""
    client = client_process.start(
        "_front_end.reorder_client",
        port=port,
        seconds=seconds,
        stream=stream,
        chunk_size=len(CHUNK),
        request=f"{PING.decode()}\n",
        answer=ANSWER.decode(),
    )
    return Seen(**client_process.seen_by(client, seconds))
