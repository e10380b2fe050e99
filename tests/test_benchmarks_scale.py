"""Growth is fitted right, and what grows is really there."""

from __future__ import annotations

from itertools import count

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._scale import connections, cpu, streams
from benchmarks._scale.connections import client_of, possible
from benchmarks._scale.growth import exponent, growth
from benchmarks._scale.idle import suspended_producers
from tests.helpers import GUARD

pytestmark = pytest.mark.tree


# -- the fit ------------------------------------------------------------------------------------------


@given(power=st.floats(-1, 3), factor=st.floats(1e-6, 1e3))
def test_the_exponent_of_a_power_is_found(power: float, factor: float) -> None:
    """Whatever its factor."""
    points = [(n, factor * n**power) for n in (1, 10, 100, 1_000)]
    assert exponent(points) == pytest.approx(power, abs=1e-6)


def test_a_fixed_cost_does_not_hide_growth() -> None:
    """A square, and a cost that only the small ones notice: the last two decades count."""
    costs = {n: [1e-3 + 1e-9 * n**2] for n in (1, 10, 100, 1_000, 10_000, 100_000)}
    *points, fitted = growth("squares", costs)
    assert fitted.median > 1.8
    assert fitted.reached is False
    assert fitted.note == "fitted from 1,000 to 100,000 squares"
    assert [point.x for point in points] == list(costs)
    assert {point.curve for point in points} == {fitted.curve}
    assert fitted.x is None


def test_growth_in_proportion_reaches_its_target_in_each_repetition() -> None:
    """Each has an exponent of its own."""
    *points, fitted = growth("things", {n: [1e-6 * n, 2e-6 * n] for n in (1, 10, 100)})
    assert fitted.values == pytest.approx((1, 1))
    assert fitted.times_reached == 2
    assert points[-1].name == "100 things"
    assert points[-1].values == pytest.approx((0.1, 0.2))  # milliseconds


# -- what is measured ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "time_of",
    [streams.time_of_chunks, streams.time_of_producers, streams.time_of_threads],
)
def test_streams_are_timed_once_all_their_chunks_have_come(
    time_of: streams.TimeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any number; one chunk too few is no measurement."""
    assert time_of(3) > 0
    monkeypatch.setattr(streams, "chunks_of", lambda count: iter([b""] * (count - 1)))
    with pytest.raises((RuntimeError, ExceptionGroup)):
        time_of(3)


def test_connections_are_opened_asked_parked_and_closed() -> None:
    """All of them; and while a command waits on each, hardly anything is computed."""
    seen = connections.serve(3, 0.05)
    assert seen.opened > 0
    assert seen.asked > 0
    assert seen.closed > 0
    assert 0 <= seen.idle < 100
    assert 0 <= seen.parked < 100


def test_only_connections_with_descriptors_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few are kept for other files."""
    monkeypatch.setattr(connections, "allow_open_files", lambda count: None)  # noqa: ARG005
    monkeypatch.setattr("resource.getrlimit", lambda _: (1_100, 1_100))
    assert possible([1, 100, 1_000, 10_000]) == [1, 100, 1_000]


async def test_a_client_that_fails_fails_the_measurement(capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody listens: one reads why."""
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        with trio.fail_after(GUARD):
            async with client_of(unused.getsockname()[1], 1) as client:
                with pytest.raises(RuntimeError, match="client of the connections has failed"):
                    await client.open()
    assert "refused" in capfd.readouterr().err


def test_suspended_producers_and_a_loop_that_sleeps_are_measured() -> None:
    """In percent of a core."""
    assert 0 <= suspended_producers(3, 0.05) < 100


async def test_the_processor_is_looked_at_once_it_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a core, then none, and then three tenths: these are what counts."""
    monkeypatch.setattr(cpu, "A_WHILE", 0)
    monkeypatch.setattr(cpu, "perf_counter", iter([0, 1, 1, 2, 2, 4]).__next__)
    monkeypatch.setattr(cpu, "process_time", iter([0, 0.5, 0.5, 0.5, 0.5, 1.1]).__next__)
    assert await cpu.cpu_percent(0) == pytest.approx(30)


async def test_a_processor_that_does_not_become_quiet_is_looked_at_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tenth of a core, for ever."""
    monkeypatch.setattr(cpu, "A_WHILE", 0)
    monkeypatch.setattr(cpu, "perf_counter", count().__next__)
    monkeypatch.setattr(cpu, "process_time", count(step=0.1).__next__)
    assert await cpu.cpu_percent(0) == pytest.approx(10)
