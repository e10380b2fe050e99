"""How a connection knows that a frame of its client's stalls: by what was fed, or by its protocol."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
import trio

from ewb._frame_meter import PROGRESS, FrameMeter

if TYPE_CHECKING:
    from trio.testing import MockClock


class Knows:
    """A protocol that knows what it holds."""

    unparsed = 0


@pytest.fixture
def meter() -> FrameMeter:
    """Of a protocol that does not know."""
    return FrameMeter(object())


@pytest.fixture
def protocol() -> Knows:
    return Knows()


@pytest.fixture
def knowing(protocol: Knows) -> FrameMeter:
    """Of a protocol that knows."""
    return FrameMeter(protocol)


async def test_who_has_sent_nothing_is_not_waited_for(meter: FrameMeter) -> None:
    """A client that is idle stalls nothing."""
    assert meter.stalled_since == inf
    meter.look(0, wants_data=True)
    assert meter.unparsed == 0
    assert meter.stalled_since == inf


async def test_the_rest_of_a_frame_is_waited_for_since_its_beginning_came(
    meter: FrameMeter, mock_clock: MockClock
) -> None:
    """Looking again, or a few bytes more, does not begin that time anew."""
    mock_clock.jump(1)
    meter.feed(2)
    meter.look(0, wants_data=True)
    began = trio.current_time()
    assert (meter.unparsed, meter.stalled_since) == (2, began)
    mock_clock.jump(1)
    meter.look(0, wants_data=True)
    meter.feed(3)
    meter.look(0, wants_data=True)
    assert (meter.unparsed, meter.stalled_since) == (5, began)


async def test_a_whole_frame_ends_the_wait(meter: FrameMeter) -> None:
    """A request came of what was fed."""
    meter.feed(2)
    meter.look(0, wants_data=True)
    meter.feed(8)
    meter.look(1, wants_data=True)
    assert meter.unparsed == 0
    assert meter.stalled_since == inf


async def test_only_a_new_request_ends_the_wait(meter: FrameMeter) -> None:
    """Requests are counted from the beginning: the old ones say nothing of what was fed since."""
    meter.feed(8)
    meter.look(3, wants_data=True)
    meter.feed(2)
    meter.look(3, wants_data=True)
    assert meter.unparsed == 2
    assert meter.stalled_since < inf


async def test_so_much_of_a_frame_is_progress(meter: FrameMeter, mock_clock: MockClock) -> None:
    """Counted from where it was when the time began, each time anew; a byte less is none."""
    meter.feed(5)
    meter.look(0, wants_data=True)
    for _ in range(2):
        began = trio.current_time()
        mock_clock.jump(1)
        meter.feed(PROGRESS - 1)
        meter.look(0, wants_data=True)
        assert meter.stalled_since == began
        meter.feed(1)
        meter.look(0, wants_data=True)
        assert meter.stalled_since == began + 1


@pytest.mark.parametrize("known", [False, True])
async def test_nobody_waits_for_a_client_whose_requests_wait(
    mock_clock: MockClock, *, known: bool
) -> None:
    """Once nothing but the rest is waited for, its time begins then."""
    protocol = Knows()
    meter = FrameMeter(protocol if known else object())
    meter.feed(2)
    protocol.unparsed = 2
    meter.look(0, wants_data=True)
    meter.feed(2)
    protocol.unparsed = 4
    meter.look(0, wants_data=False)
    assert meter.stalled_since == inf
    assert meter.unparsed >= 2, "the bytes are still there"
    mock_clock.jump(5)
    meter.look(0, wants_data=True)
    assert meter.stalled_since == trio.current_time()
    assert meter.unparsed == 4


async def test_requests_that_came_meanwhile_are_not_forgotten(meter: FrameMeter) -> None:
    """Pulled while the protocol had more of them, they still account for what was fed."""
    meter.feed(9)
    meter.look(3, wants_data=False)
    assert meter.unparsed == 9
    meter.look(3, wants_data=True)
    assert meter.unparsed == 0
    assert meter.stalled_since == inf


async def test_a_protocol_that_knows_is_believed(knowing: FrameMeter, protocol: Knows) -> None:
    """What comes after the last whole frame of a read is counted, and what it has skipped is not."""
    knowing.feed(10)
    protocol.unparsed = 2
    knowing.look(1, wants_data=True)
    assert knowing.unparsed == 2
    assert knowing.stalled_since < inf
    knowing.feed(10)
    protocol.unparsed = 0
    knowing.look(1, wants_data=True)
    assert (knowing.unparsed, knowing.stalled_since) == (0, inf)


async def test_each_frame_has_its_own_time(
    knowing: FrameMeter, protocol: Knows, mock_clock: MockClock
) -> None:
    """A client that always leaves off within a frame makes progress if whole ones come with it."""
    protocol.unparsed = 3
    knowing.look(1, wants_data=True)
    mock_clock.jump(1)
    knowing.look(2, wants_data=True)
    began = trio.current_time()
    assert knowing.stalled_since == began
    mock_clock.jump(1)
    knowing.look(2, wants_data=True)
    assert knowing.stalled_since == began


async def test_progress_is_counted_from_the_beginning_of_each_frame(
    knowing: FrameMeter, protocol: Knows, mock_clock: MockClock
) -> None:
    """That the one before was long is nothing to it."""
    protocol.unparsed = 3 * PROGRESS
    knowing.look(0, wants_data=True)
    protocol.unparsed = 1
    knowing.look(1, wants_data=True)
    mock_clock.jump(1)
    protocol.unparsed = 1 + PROGRESS
    knowing.look(1, wants_data=True)
    assert knowing.stalled_since == trio.current_time()
