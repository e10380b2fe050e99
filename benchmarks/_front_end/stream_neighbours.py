"""How soon is a short command answered, while other connections stream as fast as they can?

Eight streams of 16 KiB chunks, whose making takes no time, are read by one process. Another one sends a
command a millisecond, on time, and times its answers. The three share what cores there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks._measuring import client_process
from benchmarks._measuring.harness import FRACTION, figure, percentile, ratio

from .line_servers import PING, STREAM, by_ewb, by_hand_with_streams, by_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._measuring.harness import Figure, Run

STREAMS = 8

EWB_IDLE = "ewb, no streams"
HAND_IDLE = "by hand, no streams"
EWB = "ewb"
HAND = "to_thread.run_sync(next, it)"
THREADS = "thread per connection"
STREAMING = (EWB, HAND, THREADS)


@dataclass(frozen=True)
class Seen:
    """One measurement."""

    p50: float
    """Seconds from command to answer."""
    p99: float
    rate: float = 0.0
    """MB a second of all streams."""
    share: float = 0.0
    """Of a core, that the process used that read the streams."""


def measure(run: Run) -> list[Figure]:
    """Answer times and rates."""
    seconds = run.pick(1.2, 0.5)
    idle, busy = partial(probe, seconds), partial(probe_among_streams, seconds)
    ways: dict[str, Callable[[], Seen]] = {
        EWB_IDLE: partial(by_ewb, idle),
        HAND_IDLE: partial(by_hand_with_streams, idle),
        EWB: partial(by_ewb, busy),
        HAND: partial(by_hand_with_streams, busy),
        THREADS: partial(by_threads, busy),
    }
    seen = run.interleaved(ways, repetitions=run.pick(7, 2))
    p99s = {name: [s.p99 for s in seen[name]] for name in ways}
    figures: list[Figure] = []
    for name in ways:
        figures += [
            figure(f"{name}: answer p50", [1e3 * s.p50 for s in seen[name]], "ms"),
            figure(f"{name}: answer p99", [1e3 * p99 for p99 in p99s[name]], "ms"),
        ]
        if name in STREAMING:
            figures += [
                figure(f"{name}: streams", [s.rate for s in seen[name]], "MB/s"),
                figure(f"{name}: reader's share of a core", [100 * s.share for s in seen[name]], "%"),
            ]
    rates = {name: [s.rate for s in seen[name]] for name in STREAMING}
    return [
        *figures,
        *(ratio(f"answer p99: {EWB} / {name}", p99s[EWB], p99s[name]) for name in (HAND, THREADS)),
        ratio("answer p99: ewb / ewb, no streams", p99s[EWB], p99s[EWB_IDLE]),
        ratio(f"streams: {EWB} / {HAND}", rates[EWB], rates[HAND]),
        ratio(f"streams: {EWB} / {THREADS}", rates[EWB], rates[THREADS], curve=FRACTION),
    ]


def probe(seconds: float, port: int) -> Seen:
    """What a neighbour sees. Blocks this thread."""
    message = f"{PING.decode()}\n"
    client = client_process.start("_measuring.echo_client", port=port, seconds=seconds, message=message)
    times = client_process.seen_by(client, seconds)
    return Seen(percentile(times, 50), percentile(times, 99))


def probe_among_streams(seconds: float, port: int) -> Seen:
    """The same, with streams from its beginning to its end."""
    request = f"{STREAM.decode()}\n"
    with client_process.start(
        "_front_end.stream_reader", port=port, connections=STREAMS, request=request
    ) as reader:
        if reader.stdout is not None:
            reader.stdout.readline()  # all streams have begun
        seen = probe(seconds, port)
        streams = client_process.seen_by(reader, seconds)
    return Seen(seen.p50, seen.p99, **streams)
