"""How near does the rest come to its limit: a wake-up, and the work beside a producer that computes?

A wake-up's limit is that of a thread which waits at a `queue.SimpleQueue`; that of a producer which
computes, its generator in a loop, with the whole interpreter to itself.
"""

from __future__ import annotations

import threading
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks._handoff.latency import STAMPED, Seen, by_bare_loop, by_ewb
from benchmarks._measuring.harness import FRACTION, figure, percentile, ratio
from benchmarks._measuring.work import steps_for
from benchmarks._peers import ways
from benchmarks._peers.latency import COMPUTED, latencies, paused_chunks

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._measuring.harness import Figure, Run
    from benchmarks._peers.way import Make

EWB = "ewb"
SIMPLE_QUEUE = "SimpleQueue, thread to thread"
BARE = "a bare generator loop"


def measure_wake_up(run: Run) -> list[Figure]:
    """From a chunk's yield until it is taken, after a pause."""
    make = partial(paused_chunks, run.pick(150, 40))
    measured: dict[str, Callable[[], list[float]]] = {
        EWB: partial(latencies, ways.EWB, make),
        SIMPLE_QUEUE: partial(simple_queue_latencies, make),
    }
    seen = run.interleaved(measured, repetitions=run.pick(11, 5))
    figures: list[Figure] = []
    for percent in (50, 99):
        times = {name: [1e6 * percentile(s, percent) for s in seen[name]] for name in seen}
        figures += (figure(f"{name}: p{percent}", times[name], "µs") for name in times)
        label = f"a wake-up, p{percent} / {SIMPLE_QUEUE}"
        figures.append(ratio(label, times[SIMPLE_QUEUE], times[EWB], curve=FRACTION))
    return figures


def measure_computing(run: Run) -> list[Figure]:
    """Chunks of 20 µs a second."""
    steps, count = steps_for(COMPUTED), run.pick(20_000, 5_000)
    measured: dict[str, Callable[[], Seen]] = {
        EWB: partial(by_ewb, steps, count),
        BARE: partial(by_bare_loop, steps, count),
    }
    seen = run.interleaved(measured, repetitions=run.pick(11, 5))
    seconds = {name: [s.per_chunk for s in seen[name]] for name in seen}
    return [
        *(figure(name, [1e6 * s for s in seconds[name]], "µs") for name in seconds),
        ratio(f"chunks of 20 µs / {BARE}", seconds[BARE], seconds[EWB], curve=FRACTION),
    ]


def simple_queue_latencies(make: Make) -> list[float]:
    """Of each chunk, in seconds, from its yield until another thread has it."""
    queue: SimpleQueue[bytes | None] = SimpleQueue()

    def work() -> None:
        for chunk in make():
            queue.put(chunk)
        queue.put(None)

    thread = threading.Thread(target=work)
    thread.start()
    taken: list[tuple[float, bytes]] = []
    while (chunk := queue.get()) is not None:
        taken.append((perf_counter(), chunk))
    thread.join()
    return [at - STAMPED.unpack(chunk)[0] for at, chunk in taken]
