"""The comparison with peers measures what it says: every way streams, and its fate is found out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING

import pytest

from benchmarks._handoff.latency import STAMPED
from benchmarks._measuring.own_process import seen_by
from benchmarks._peers import cancelled, crowd, latency, throughput, ways
from benchmarks._peers.cancelled import Fate, fates
from benchmarks._peers.crowd import Crowd, Seen, serve
from benchmarks._peers.way import TRIO, Bounds, Way
from tests.helpers import GUARD

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from benchmarks._peers.way import Make, Stream, Take

pytestmark = pytest.mark.tree

ALL = pytest.mark.parametrize("way", ways.BY_NAME.values(), ids=list(ways.BY_NAME))


def numbers(count: int) -> Iterator[bytes]:
    """Chunks that can be told apart."""
    for number in range(count):
        yield b"%d" % number


@asynccontextmanager
async def by_losing_one(_: Bounds) -> AsyncGenerator[Stream]:
    """A way that is wrong."""

    async def stream(make: Make, take: Take) -> None:
        next(chunks := make())
        for chunk in chunks:
            await take((chunk,))

    yield stream


# -- the ways -----------------------------------------------------------------------------------------


@ALL
def test_each_way_delivers_all_chunks_in_order(way: Way) -> None:
    """More than it may read ahead, in two streams one after the other."""
    taken: list[bytes] = []

    async def take(batch: Sequence[bytes]) -> None:
        taken.extend(batch)

    async def main(stream: Stream) -> None:
        for _ in repeat(None, 2):
            await stream(partial(numbers, 100), take)

    way.run(main, Bounds(max_chunks=8, high_water=64))
    assert taken == [*numbers(100)] * 2


@ALL
def test_each_way_is_timed_from_yield_to_reader(way: Way) -> None:
    """All chunks, and none before it was yielded; of each stream the first one."""
    times = latency.latencies(way, latency.read_chunks)
    assert len(times) == latency.STREAM
    assert min(times) >= 0
    (first,) = latency.first_chunks(way, streams=1)
    assert first >= latency.READ


def test_the_cost_of_a_chunk_is_measured_only_if_all_come() -> None:
    """A way that loses chunks gets no figure."""
    size = throughput.SIZES[0]
    assert throughput.per_chunk(ways.EWB, size, 10) > 0
    wrong = Way("wrong", TRIO, by_losing_one)
    with pytest.raises(RuntimeError, match="9 chunks came by wrong, of 10"):
        throughput.per_chunk(wrong, size, 10)


def test_an_idle_producer_pauses_before_each_chunk() -> None:
    """So that its reader waits: by the times that its chunks carry."""
    times = [STAMPED.unpack(chunk)[0] for chunk in latency.paused_chunks(3)]
    assert times[2] - times[1] >= latency.PAUSE


# -- cancellation -------------------------------------------------------------------------------------


def test_what_ewb_does_when_a_reader_is_cancelled_is_found() -> None:
    """It ends the producer, on a worker, before the block is left, and has kept its bound in bytes."""
    small, large = fates(ways.EWB, GUARD)
    for fate in small, large:
        assert fate.in_words == "ended"
        assert 0 < fate.read_ahead <= 64 * 1024 + fate.size
    assert small.size < large.size


def test_a_producer_that_is_left_blocked_is_found() -> None:
    """Nothing ends it; its process ends all the same. What it reads ahead has no bound in bytes."""
    small, large = fates(ways.JANUS, 0.1)
    for fate in small, large:
        assert not fate.closed
        assert fate.in_words.startswith("left blocked")
    assert large.read_ahead > 2**20 > small.read_ahead


@pytest.mark.parametrize(
    ("left", "closed", "first", "on_event_loop", "words"),
    [
        (True, True, True, False, "ended"),
        (True, True, False, False, "ended, after its block was left"),
        (True, True, True, True, "closed on the event loop"),
        (True, False, False, False, "left blocked"),
        (False, False, False, False, "left blocked, and its block is never left"),
    ],
)
def test_a_fate_is_told_in_words(
    *, left: bool, closed: bool, first: bool, on_event_loop: bool, words: str
) -> None:
    """What the table says."""
    assert Fate(1, 0, left, closed, first, on_event_loop).in_words == words


def test_the_table_of_fates_counts_what_is_left_and_compares_bytes() -> None:
    """A bound in chunks lets 64 times as much in, if chunks are 64 times as large."""
    ended = Fate(1024, 65_536, left=True, closed=True, closed_first=True, closed_on_event_loop=False)
    blocked = Fate(
        65_536, 4_194_304, left=True, closed=False, closed_first=False, closed_on_event_loop=False
    )
    left, ahead = cancelled.rows(ways.JANUS, [ended, blocked])
    assert (left.median, left.note) == (1, "ended / left blocked")
    assert (ahead.median, ahead.note) == (64, "no bound in bytes")


# -- slow clients -------------------------------------------------------------------------------------


def test_slow_clients_are_served_in_a_process_of_their_own() -> None:
    """With what they took."""
    seen = serve(ways.EWB, 3, GUARD)
    assert seen.done
    assert seen.seconds >= 0.4  # twenty pauses of 20 ms
    assert seen.threads >= 2


def test_slow_clients_that_are_not_done_in_time_are_told_as_such() -> None:
    """They need 0.4 s, and are given less."""
    seen = serve(ways.ROUND_TRIP, 3, 0.05)
    assert seen.delivered < 1
    time, *_ = crowd.rows("three", [seen])
    assert time.note
    assert time.note.startswith("not done in ")


@pytest.mark.parametrize(
    ("theirs", "ours", "note"),
    [
        (1.0, 1.0, None),
        (0.5, 1.0, "at least: "),
        (1.0, 0.5, "says nothing: "),
        (0.5, 0.5, "says nothing: "),
    ],
)
def test_a_ratio_says_who_was_not_done(theirs: float, ours: float, note: str | None) -> None:
    """Time that was cut short is no time."""
    times = crowd.compared("", [Seen(6, theirs)], [Seen(2, ours)])
    assert times.median == 3
    assert (times.note or "").startswith(note or "")
    assert (times.note is None) == (note is None)


def test_a_process_that_cannot_tell_delivered_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """And why is read."""
    assert seen_by("_peers.crowd_probe", GUARD, way="nobody's", clients=1, seconds=1) is None
    assert "nobody's" in capfd.readouterr().err


def test_each_crowd_begins_with_ewb() -> None:
    """All else is compared with it."""
    compared: Crowd
    for compared in crowd.CROWDS:
        assert compared.full[0] is ways.EWB
    assert Seen(1, 1).done
