"""Waiting for what has to be waited for, such as the end of a thread."""

from __future__ import annotations

import trio


async def wait_whatever_comes(*events: trio.Event) -> None:
    """Wait for all, and only then let a cancellation or a `KeyboardInterrupt` have its way.

    Thread: front end.

    Raises:
        KeyboardInterrupt: one came meanwhile: Trio interrupts the main task even in a shield.
    """
    interrupt: KeyboardInterrupt | None = None
    for event in events:
        while not event.is_set():
            try:
                with trio.CancelScope(shield=True):
                    await event.wait()
            except KeyboardInterrupt as error:
                interrupt = error
    if interrupt is not None:
        raise interrupt
