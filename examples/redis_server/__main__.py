"""The program: `python -m examples.redis_server`."""

from __future__ import annotations

import argparse
import sys
from signal import SIGINT, SIGTERM

import trio

import ewb
from examples._program import announce, listen, obey, port_number

from .engine import RedisEngine
from .resp import RespProtocol

GRACE = 2
"""Seconds that commands have to finish when the server is told to end."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a KEYS that searches lets the front end have the interpreter."""


async def serve(host: str, port: int) -> int:
    """Serve until Ctrl-C or SIGTERM; at a second one, let nothing finish. Returns the exit code."""

    def shutdown() -> None:
        front_end.shutdown()
        engine.close()

    listeners = await listen(host, port)
    with trio.open_signal_receiver(SIGINT, SIGTERM) as signals:
        announce(f"listening on {host}:{listeners[0].socket.getsockname()[1]}")
        async with (
            ewb.open_workers(switch_interval=SWITCH_INTERVAL) as workers,
            trio.open_nursery() as nursery,
        ):
            engine = RedisEngine(nursery)
            # As in Redis, a client that sends no more has left: it must not take an element with it.
            front_end = ewb.FrontEnd(RespProtocol, engine, workers, half_close_timeout=0)
            nursery.start_soon(obey, signals, shutdown, nursery.cancel_scope)
            await front_end.serve_listeners(listeners, grace=GRACE)
            nursery.cancel_scope.cancel()
            return 0
    return 130


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.redis_server",
        description="A small Redis: strings, lists, KEYS as a stream, BLPOP.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=6379, type=port_number)
    options = parser.parse_args()
    sys.exit(trio.run(serve, options.host, options.port))


if __name__ == "__main__":
    main()
