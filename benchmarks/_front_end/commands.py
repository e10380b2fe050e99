"""Commands a second, as one client process gets them answered, by different ways to serve it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks._measuring import client_process
from benchmarks._measuring.harness import FRACTION, figure, ratio

from .line_servers import ANSWER, PING, by_ewb, by_hand, by_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from benchmarks._measuring.harness import Figure, Run

    Client: TypeAlias = "Callable[[int], Seen]"
    Way: TypeAlias = Callable[[Client], "Seen"]

EWB = "ewb"
BY_HAND = "by hand on Trio"
THREADS = "thread per connection"

WAYS: Mapping[str, Way] = {EWB: by_ewb, BY_HAND: by_hand, THREADS: by_threads}


@dataclass(frozen=True)
class Seen:
    """One measurement."""

    rate: float
    """Commands a second, of all connections together."""
    share: float
    """Of a core, that the client used."""

    @property
    def seconds_each(self) -> float:
        """Time for each command, of all connections together: how long the server had for it."""
        return 1 / self.rate


@dataclass(frozen=True)
class Commands:
    """What a client sends, and how many commands it keeps in flight."""

    connections: int
    seconds: float
    depth: int = 1
    """Commands in flight on each connection."""
    request: str = f"{PING.decode()}\n"
    answer: str = ANSWER.decode()

    def __call__(self, port: int) -> Seen:
        """Be measured by a client process. Blocks this thread."""
        client = client_process.start("_front_end.command_client", port=port, **asdict(self))
        return Seen(**client_process.seen_by(client, self.seconds))


def compare(run: Run, label: str, client: Client, ways: Mapping[str, Way] = WAYS) -> list[Figure]:
    """Their rates, those of ewb (the first of them) to those of the others, and the client's share."""
    measured = {name: partial(way, client) for name, way in ways.items()}
    seen = run.interleaved(measured, repetitions=run.pick(7, 2))
    rates = {name: [s.rate for s in seen[name]] for name in ways}
    ours, *theirs = ways
    busiest = [max(s.share for s in round_) for round_ in zip(*seen.values(), strict=True)]
    return [
        *(figure(f"{label}: {name}", rates[name], "/s") for name in ways),
        *(
            ratio(
                f"{label}: {ours} / {name}",
                rates[ours],
                rates[name],
                curve=FRACTION if name == BY_HAND else None,
            )
            for name in theirs
        ),
        figure(f"{label}: client's share of a core, at most", [100 * share for share in busiest], "%"),
    ]
