"""Turns: one task at a time, in the order in which they asked, one in a round of the event loop."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ewb import _send
from ewb._turns import Turns


class Rounds(trio.abc.Instrument):
    """Counts the rounds of the event loop."""

    now = 0

    def before_io_wait(self, timeout: float) -> None:
        """A new one begins."""
        self.now += 1


async def use(turns: Turns, name: str, used: list[str], times: int = 1) -> None:
    """Take so many turns."""
    for _ in range(times):
        await turns.take()
        used.append(name)
        await turns.give()


async def test_who_is_alone_need_not_wait() -> None:
    """Neither for the first turn nor for the next one."""
    turns, used = Turns(), list[str]()
    with trio.move_on_after(0):
        await turns.take()
        used.append("at once")
        turns.pass_on()
        await turns.take()
        used.append("again")
    assert used == ["at once", "again"]


async def test_all_have_as_many_turns() -> None:
    """However many each wants: one after another."""
    turns, used = Turns(), list[str]()
    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(use, turns, name, used, 5)
    for first in range(0, 15, 3):
        assert sorted(used[first : first + 3]) == ["a", "b", "c"]


async def test_a_turn_is_one_round_long() -> None:
    """Whoever asks for little is looked after between any two."""
    turns, used = Turns(), list[int]()
    rounds = Rounds()
    trio.lowlevel.add_instrument(rounds)

    async def use_and_note() -> None:
        for _ in range(5):
            await turns.take()
            used.append(rounds.now)
            await turns.give()

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(use_and_note)
    trio.lowlevel.remove_instrument(rounds)
    assert len(used) == 20
    assert all(one < other for one, other in pairwise(used))


async def test_who_is_cancelled_while_waiting_leaves_no_gap() -> None:
    """The one behind has the turn then."""
    turns, used = Turns(), list[str]()
    await turns.take()
    async with trio.open_nursery() as nursery:
        given_up = trio.CancelScope()

        async def wait_until_cancelled() -> None:
            with given_up:
                await use(turns, "given up", used)

        nursery.start_soon(wait_until_cancelled)
        await wait_all_tasks_blocked()
        nursery.start_soon(use, turns, "behind", used)
        await wait_all_tasks_blocked()
        given_up.cancel()
        await wait_all_tasks_blocked()
        assert used == []
        turns.pass_on()
    assert used == ["behind"]


@pytest.mark.parametrize("others", [0, 1])
async def test_who_is_cancelled_after_its_turn_has_given_it_on(others: int) -> None:
    """Giving is a checkpoint, and that may be where it ends."""
    turns, used = Turns(), list[str]()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            await turns.take()
            for _ in range(others):
                nursery.start_soon(use, turns, "other", used)
            await wait_all_tasks_blocked()
            scope.cancel()
            await turns.give()
        assert scope.cancelled_caught
        await use(turns, "next", used)
    assert sorted(used) == ["next"] + ["other"] * others


def stream_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends, of the system's."""
    one, other = trio.socket.socketpair()
    return trio.SocketStream(one), trio.SocketStream(other)


async def test_streams_that_send_much_do_so_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No round of the event loop is longer than one share, however many streams there are."""
    monkeypatch.setattr(_send, "FAIR_SHARE", 16 * 1024)
    chunks = [bytes(16 * 1024)] * 5  # which the system takes at once, all of them
    turns, rounds, written = Turns(), Rounds(), list[int]()
    pairs = [stream_pair() for _ in range(4)]
    trio.lowlevel.add_instrument(rounds)
    async with trio.open_nursery() as nursery:
        for stream, _ in pairs:
            note = partial(lambda rounds, _: written.append(rounds.now), rounds)
            nursery.start_soon(_send.send_in_turn, stream, chunks, note, turns)
    trio.lowlevel.remove_instrument(rounds)
    assert len(written) == 20
    assert all(one < other for one, other in pairwise(written))
    for stream, peer in pairs:
        await stream.aclose()
        async with peer:
            assert sum([len(data) async for data in peer]) == 5 * 16 * 1024


async def test_who_cannot_send_keeps_nobody_waiting() -> None:
    """A client that does not read has no turn while it does not; and has one when it does."""
    turns, sent = Turns(), list[int]()
    slow, slow_peer = stream_pair()
    quick, quick_peer = stream_pair()
    async with slow, slow_peer, quick, quick_peer, trio.open_nursery() as nursery:
        nursery.start_soon(_send.send_in_turn, slow, [bytes(2_000_000)], sent.append, turns)
        await wait_all_tasks_blocked()
        assert 0 < sum(sent) < 2_000_000
        await _send.send_in_turn(quick, [b"x" * 1000], sent.append, turns)
        assert sent[-1] == 1000
        while sum(sent) < 2_001_000:
            await slow_peer.receive_some(100_000)
            await wait_all_tasks_blocked()


async def test_an_error_gives_the_turn_on() -> None:
    """The peer is gone: that is no other stream's trouble."""
    turns, sent = Turns(), list[int]()
    broken, gone = stream_pair()
    await gone.aclose()
    async with broken:
        with pytest.raises(trio.BrokenResourceError):
            await _send.send_in_turn(broken, [b"x"], sent.append, turns)
    good, peer = stream_pair()
    async with good, peer:
        await _send.send_in_turn(good, [b"xy"], sent.append, turns)
    assert sent == [2]
