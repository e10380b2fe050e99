"""Serves an application with Hypercorn on Trio, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve  # pyright: ignore[reportUnknownVariableType]

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.typing import ASGIFramework


def listen(host: str, port: int, stall_timeout: float) -> socket.socket:
    """A socket that listens. Its clients are cut off if they do not read for `stall_timeout` seconds.

    Hypercorn waits for ever for a client that does not read, and shields its writes, so nothing can
    cancel that. It is left to the system (Linux), which fails such a write: connections inherit this.

    Raises:
        OSError: the port is in use, or may not be used, or there is no such host.
    """
    listener = socket.create_server((host, port))
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(stall_timeout * 1000))
    return listener


async def serve(
    app: ASGIFramework,
    listener: socket.socket,
    ready: Callable[[str], object],
    stopping: Callable[[], object],
) -> None:
    """Serve until Ctrl-C or SIGTERM. Thread: front end.

    Calls `ready` with the address as soon as clients can connect, and `stopping` at each Ctrl-C.
    """
    config = Config()
    config.loglevel = "WARNING"  # errors of the application, with their tracebacks, to standard error
    config.bind = [f"fd://{listener.detach()}"]  # Hypercorn owns it from here
    stop = trio.Event()

    async def watch_signals() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                stop.set()
                if number == signal.SIGINT:
                    stopping()

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        await hypercorn_serve(app, config, shutdown_trigger=stop.wait, task_status=task_status)

    async with trio.open_nursery() as watching:
        watching.start_soon(watch_signals)
        async with trio.open_nursery() as serving:
            (address,) = await serving.start(run)
            ready(address)
        watching.cancel_scope.cancel()
