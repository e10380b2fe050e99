"""Who has not logged in: let in, shown out, and what is said of it."""

from __future__ import annotations

import logging
from functools import partial

import pytest
import trio

import ewb
from examples.range_scan.engine.lobby import LOG_EVERY, Lobby
from examples.range_scan.engine.timers import Timers

pytestmark = pytest.mark.tree


class Strangers:
    """Connections, by the order in which they come; and who was shown out."""

    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby
        self._count = 0
        self.gone: list[int] = []

    def come(self, count: int = 1) -> None:
        """So many more."""
        for number in range(self._count, self._count + count):
            leave = partial(self.gone.append, number)
            self._lobby.enter(ewb.Connection(None, f"{number}", leave, leave))
        self._count += count


async def test_the_oldest_has_to_go(autojump_clock: object) -> None:
    """And only once: what would have shown it out later is called off."""
    assert autojump_clock is not None
    async with trio.open_nursery() as nursery:
        strangers = Strangers(lobby := Lobby(Timers(nursery), at_most=3, timeout=1.0))
        strangers.come(5)
        assert (strangers.gone, len(lobby)) == ([0, 1], 3)
        await trio.sleep(2)
        assert sorted(strangers.gone) == [0, 1, 2, 3, 4]
        nursery.cancel_scope.cancel()


async def test_a_flood_is_a_line_and_then_a_line_in_a_while(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """With how many were closed since the last one."""
    assert autojump_clock is not None
    async with trio.open_nursery() as nursery:
        strangers = Strangers(Lobby(Timers(nursery), at_most=3, timeout=1000.0))
        caplog.set_level(logging.WARNING)
        strangers.come(103)
        assert [record.args for record in caplog.records] == [(3, 1)]
        await trio.sleep(LOG_EVERY + 1)
        assert [record.args for record in caplog.records] == [(3, 1), (3, 99)]
        strangers.come(2)
        await trio.sleep(3 * LOG_EVERY)
        assert [record.args for record in caplog.records] == [(3, 1), (3, 99), (3, 2)]
        strangers.come()
        assert len(caplog.records) == 4
        nursery.cancel_scope.cancel()
