"""A line server that says how it is: what to watch in a server on ewb, and how to hand it out.

- On a second port, for this machine only: all statistics, for `curl` and for Prometheus.
- In the log: each command that took long, and what has held a worker for long.

Run it: `python -m examples.observed_server`
Talk to it: `nc localhost 4000`; and look: `curl localhost:4001`
"""

from __future__ import annotations

import argparse
import logging
import sys
from bisect import bisect_left
from contextlib import suppress
from functools import partial
from math import inf
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING, Final

import attrs
import trio

import ewb
from examples._program import announce, listen, obey, port_number
from examples.line_server import LineEngine, LineProtocol, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    Cookie = ewb.Cookie[Request, ewb.Status]
    FrontEnd = ewb.FrontEnd[Request, ewb.Status]

COMMANDS: Final = ("count", "hash", "wait", "set")
"""Those with latencies of their own. A client can invent others without end, so they share one."""
BOUNDS: Final = (0.001, 0.01, 0.1, 1.0, inf)
"""Seconds: the upper ends of the buckets that commands are counted in."""

logger: Final = logging.getLogger("observed_server")


class Latencies(ewb.Hook[Request, ewb.Status]):
    """How long commands take, from the request to its answer. Thread: front end."""

    def __init__(self) -> None:
        self._received: dict[Cookie, float] = {}
        self._counts = {name: [0] * len(BOUNDS) for name in (*COMMANDS, "other")}
        self._seconds = dict.fromkeys(self._counts, 0.0)

    def received(self, cookie: Cookie, at: float) -> None:
        """It begins."""
        self._received[cookie] = at

    def done(self, cookie: Cookie, at: float) -> None:
        """It was answered."""
        seconds = at - self._received.pop(cookie)
        word = cookie.request[1].decode(errors="replace") if len(cookie.request) > 1 else ""
        name = word if word in COMMANDS else "other"
        self._counts[name][bisect_left(BOUNDS, seconds)] += 1
        self._seconds[name] += seconds

    def dropped(self, cookie: Cookie, at: float) -> None:  # noqa: ARG002 - no latency, as no answer
        """Its client left."""
        del self._received[cookie]

    def lines(self) -> Iterator[str]:
        """A histogram, as Prometheus wants it: each bucket counts those below it too."""
        yield "# TYPE command_seconds histogram"
        for name, counts in self._counts.items():
            total = 0
            for bound, count in zip(BOUNDS, counts, strict=True):
                total += count
                shown = "+Inf" if bound == inf else bound
                yield f'command_seconds_bucket{{command="{name}",le="{shown}"}} {total}'
            yield f'command_seconds_sum{{command="{name}"}} {self._seconds[name]:.6f}'
            yield f'command_seconds_count{{command="{name}"}} {total}'


def statistics_lines(front_end: FrontEnd, workers: ewb.Workers) -> Iterator[str]:
    """What ewb counts: one line for each number. Thread: front end."""
    for part, statistics in (("front_end", front_end.statistics()), ("workers", workers.statistics())):
        for name, value in attrs.asdict(statistics, recurse=False).items():
            if isinstance(value, (int, float)):  # not who holds a worker
                yield f"ewb_{part}_{name} {value}"


async def answer_http(
    stream: trio.SocketStream, front_end: FrontEnd, workers: ewb.Workers, latencies: Latencies
) -> None:
    """Whatever is asked for, answer with all figures. Thread: front end."""
    with trio.move_on_after(5):
        try:
            await stream.receive_some()
            lines = [*statistics_lines(front_end, workers), *latencies.lines()]
            head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n"
            await stream.send_all((head + "\n".join(lines) + "\n").encode())
        except trio.BrokenResourceError:
            pass  # who asked has left


async def warn_of_stuck(workers: ewb.Workers, patience: float) -> None:
    """Log what has held a worker for longer than `patience` seconds. Thread: front end."""
    while True:
        await trio.sleep(patience)
        for producer in workers.statistics().running:
            if producer.seconds > patience:
                logger.warning(
                    "%s has held worker %d for %.1f s",
                    producer.name,
                    producer.worker,
                    producer.seconds,
                )


async def serve(host: str, port: int, metrics_port: int, slow: float) -> int:
    """Serve until Ctrl-C or SIGTERM; at a second one, let nothing finish. Returns the exit code."""
    listeners, metrics = await listen(host, port), await listen("127.0.0.1", metrics_port)
    latencies = Latencies()
    with trio.open_signal_receiver(SIGINT, SIGTERM) as signals:
        announce(
            f"listening on {host}:{listeners[0].socket.getsockname()[1]}\n"
            f"metrics at http://127.0.0.1:{metrics[0].socket.getsockname()[1]}"
        )
        async with ewb.open_workers() as workers, trio.open_nursery() as nursery:
            hooks = [latencies, ewb.SlowCommands[Request, ewb.Status](slow)]
            front_end = ewb.FrontEnd(LineProtocol, LineEngine(), workers, hooks=hooks)
            answer = partial(answer_http, front_end=front_end, workers=workers, latencies=latencies)
            nursery.start_soon(trio.serve_listeners, answer, metrics)
            nursery.start_soon(warn_of_stuck, workers, 1.0)
            nursery.start_soon(obey, signals, front_end.shutdown, nursery.cancel_scope)
            await front_end.serve_listeners(listeners, grace=2)
            nursery.cancel_scope.cancel()
            return 0
    return 130


def seconds(text: str) -> float:
    """A time, of the command line."""
    with suppress(ValueError):
        if 0 <= (number := float(text)) < inf:
            return number
    msg = f"give a number of seconds from 0 up, such as 0.1, not {text!r}"
    raise argparse.ArgumentTypeError(msg)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.observed_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=4000, type=port_number)
    parser.add_argument("--metrics-port", default=4001, type=port_number)
    parser.add_argument(
        "--slow", default=0.1, type=seconds, help="log commands that take so many seconds"
    )
    options = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    sys.exit(trio.run(serve, options.host, options.port, options.metrics_port, options.slow))


if __name__ == "__main__":
    main()
