"""What the example servers have in common as programs: where they listen, and when they end."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PORTS: Final = 65_535


def port_number(text: str) -> int:
    """A port, of the command line."""
    if text.isdecimal() and (number := int(text)) <= PORTS:
        return number
    msg = f"give a number up to {PORTS}, or 0 for any that is free, not {text!r}"
    raise argparse.ArgumentTypeError(msg)


async def listen(host: str, port: int) -> list[trio.SocketListener]:
    """Listeners; or else this ends the program, with a line that says why there are none."""
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        sys.exit(f"cannot listen on {host}:{port}: {error.strerror}")


def announce(line: str) -> None:
    """Say where it listens; or else this ends the program."""
    try:
        print(line, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # lest the exit try it again
        sys.exit(f"cannot write to the standard output: {error.strerror}")


async def obey(
    signals: AsyncIterator[int], shutdown: Callable[[], object], scope: trio.CancelScope
) -> None:
    """At the first signal let commands finish, at the second one do not."""
    await anext(signals)
    shutdown()
    await anext(signals)
    scope.cancel()
