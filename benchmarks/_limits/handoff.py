"""How near does the hand-off of a chunk come to the least that it could cost?

Two limits: the generator itself in a loop, with nobody to hand its chunks to; and `queue.SimpleQueue`
from thread to thread, which is written in C, has no bound, and no event loop at its end.
"""

from __future__ import annotations

import threading
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks._handoff import chunks
from benchmarks._measuring.harness import FRACTION, figure, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._measuring.harness import Figure, Run

EWB = "ewb"
BARE = "a bare generator loop"
SIMPLE_QUEUE = "SimpleQueue, thread to thread"


def measure(run: Run) -> list[Figure]:
    """Costs of a chunk of 64 B, and what share of each limit's speed is reached."""
    share = run.pick(1, 4)
    ways: dict[str, Callable[[], float]] = {
        EWB: partial(chunks.by_ewb, 1_000_000 // share, chunks.BOUND),
        BARE: partial(chunks.bare, 3_000_000 // share),
        SIMPLE_QUEUE: partial(by_simple_queue, 400_000 // share),
    }
    seconds = run.interleaved(ways, repetitions=run.pick(11, 5))
    return [
        *(figure(name, [1e6 * s for s in seconds[name]], "µs") for name in ways),
        *(
            ratio(f"a chunk of 64 B / {limit}", seconds[limit], seconds[EWB], curve=FRACTION)
            for limit in (BARE, SIMPLE_QUEUE)
        ),
    ]


def by_simple_queue(count: int) -> float:
    """Seconds for each chunk. This thread takes them one by one, as there is no other way to."""
    queue: SimpleQueue[bytes | None] = SimpleQueue()

    def work() -> None:
        for chunk in chunks.chunks_of(count):
            queue.put(chunk)
        queue.put(None)

    thread = threading.Thread(target=work)
    received = 0
    started = perf_counter()
    thread.start()
    while queue.get() is not None:
        received += 1
    seconds = perf_counter() - started
    thread.join()
    if received != count:
        msg = f"{received} chunks came, of {count}"
        raise RuntimeError(msg)
    return seconds / count
