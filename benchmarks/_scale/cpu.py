"""What the processor does for this process while nothing is to do, and how to wait until that is so."""

from __future__ import annotations

from time import perf_counter, process_time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 1.0
"""Percent of a core that still count as none: an idle event loop looks at its clock now and then."""
A_WHILE = 0.5
"""Seconds over which one looks whether it is quiet yet: some steps are put off for half of that."""
WHILES = 20
"""How often one looks, and then measures all the same."""
GUARD = 60.0


async def cpu_percent(seconds: float) -> float:
    """Of one core, all threads of this process together, in so many seconds, once it is quiet."""
    for _ in range(WHILES):
        if await _percent(A_WHILE) <= MOST:
            break
    return await _percent(seconds)


async def _percent(seconds: float) -> float:
    used, started = process_time(), perf_counter()
    await trio.sleep(seconds)
    return 100 * (process_time() - used) / (perf_counter() - started)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread or process does.

    Raises:
        trio.TooSlowError: it did not.
    """
    with trio.fail_after(GUARD):
        while not condition():  # noqa: ASYNC110 - nobody says so
            await trio.sleep(0.01)
