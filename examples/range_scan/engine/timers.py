"""What is to be done later, and may be called off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class Timers:
    """Tasks that sleep in a nursery. Thread: front end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def after(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        """Have it called then; returns what calls that off."""
        scope = trio.CancelScope()
        self._nursery.start_soon(self._call_later, scope, seconds, call)
        return scope.cancel

    async def _call_later(
        self, scope: trio.CancelScope, seconds: float, call: Callable[[], object]
    ) -> None:
        with scope:
            await trio.sleep(seconds)
            call()
