"""What does it cost a command to block in the background, rather than to be answered at once?

The cost is the time of a command that would block less that of one that is answered at once, both of
the same server. The blocking call does nothing, and the notifying thread nothing else.

The targets are for what one cost is above the other, in microseconds, and not for their ratio: on a
busy machine a cost may come out as nothing or less, and a ratio to that says nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks._measuring.harness import at_most, figure, ratio

from .commands import Commands
from .line_servers import CALL, PING, WAKE, by_ewb, by_hand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks._measuring.harness import Figure, Run

    from .commands import Seen

CONNECTIONS = (1, 16, 200)
QUICK_CONNECTIONS = (16,)

EWB_AT_ONCE = "ewb, at once"
EWB_CALL = "ewb, cookie.run(fn)"
EWB_NOTIFY = "ewb, cookie.notify()"
HAND_AT_ONCE = "by hand, at once"
HAND_CALL = "by hand, to_thread.run_sync(fn)"

WAYS = {
    EWB_AT_ONCE: (by_ewb, PING),
    HAND_AT_ONCE: (by_hand, PING),
    EWB_CALL: (by_ewb, CALL),
    HAND_CALL: (by_hand, CALL),
    EWB_NOTIFY: (by_ewb, WAKE),
}
"""What is compared runs next to each other."""


def measure(run: Run) -> list[Figure]:
    """A table for each number of connections."""
    figures: list[Figure] = []
    for connections in run.pick(CONNECTIONS, QUICK_CONNECTIONS):
        figures += _measure_with(run, connections)
    return figures


def _measure_with(run: Run, connections: int) -> list[Figure]:
    label = f"{connections} connection{'s' * (connections > 1)}"
    seconds = run.pick(0.4, 0.2)
    ways: dict[str, Callable[[], Seen]] = {
        name: partial(way, Commands(connections, seconds, request=f"{request.decode()}\n"))
        for name, (way, request) in WAYS.items()
    }
    seen = run.interleaved(ways, repetitions=run.pick(7, 2))
    times = {name: [1e6 * s.seconds_each for s in seen[name]] for name in ways}
    costs = {
        EWB_CALL: _difference(times[EWB_CALL], times[EWB_AT_ONCE]),
        EWB_NOTIFY: _difference(times[EWB_NOTIFY], times[EWB_AT_ONCE]),
        HAND_CALL: _difference(times[HAND_CALL], times[HAND_AT_ONCE]),
    }
    return [
        *(figure(f"{label}: {name}", times[name], "µs") for name in ways),
        *(figure(f"{label}: cost of {name}", cost, "µs") for name, cost in costs.items()),
        figure(
            f"{label}: cost of run - of to_thread",
            _difference(costs[EWB_CALL], costs[HAND_CALL]),
            "µs",
            at_most(0),
        ),
        figure(
            f"{label}: cost of notify - of to_thread",
            _difference(costs[EWB_NOTIFY], costs[HAND_CALL]),
            "µs",
            at_most(0),
        ),
        ratio(f"{label}: cost of run / to_thread", costs[EWB_CALL], costs[HAND_CALL]),
        ratio(f"{label}: cost of notify / to_thread", costs[EWB_NOTIFY], costs[HAND_CALL]),
        ratio(f"{label}: command with run / with to_thread", times[EWB_CALL], times[HAND_CALL]),
    ]


def _difference(these: Sequence[float], those: Sequence[float]) -> list[float]:
    return [this - that for this, that in zip(these, those, strict=True)]
