"""The limits are measured, and what is reached of them is computed right."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from benchmarks import _chunks, _limits_handoff, _limits_socket, _limits_waking
from benchmarks._harness import FRACTION, Run
from benchmarks._latency import Seen
from benchmarks._peers_latency import paused_chunks
from benchmarks._to_socket import sink

if TYPE_CHECKING:
    from benchmarks._harness import Figure

pytestmark = pytest.mark.tree


def quiet_run() -> Run:
    return Run(quick=True, repetitions=1, tell=lambda what, share: None)  # noqa: ARG005


def fractions(figures: list[Figure]) -> dict[str, float]:
    """What the report draws as shares of limits."""
    return {one.name: one.median for one in figures if one.curve == FRACTION}


def test_a_hand_off_is_a_fraction_of_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as slow as the bare loop is a quarter of it."""
    monkeypatch.setattr(_chunks, "by_ewb", lambda count, bound: 0.2e-6)  # noqa: ARG005
    monkeypatch.setattr(_chunks, "bare", lambda count: 0.05e-6)  # noqa: ARG005
    monkeypatch.setattr(_limits_handoff, "by_simple_queue", lambda count: 0.1e-6)  # noqa: ARG005
    reached = fractions(_limits_handoff.measure(quiet_run()))
    assert reached == pytest.approx(
        {
            "a chunk of 64 B / a bare generator loop": 0.25,
            "a chunk of 64 B / SimpleQueue, thread to thread": 0.5,
        }
    )


def test_a_stream_to_a_socket_is_a_fraction_of_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rates, unlike costs, ours is the numerator."""
    monkeypatch.setattr(_limits_socket, "by_ewb", lambda listener, size, count: 300.0)  # noqa: ARG005
    monkeypatch.setattr(_limits_socket, "by_blocking_thread", lambda *_: 600.0)
    monkeypatch.setattr(_limits_socket, "by_loopback", lambda *_: 1200.0)
    reached = fractions(_limits_socket.measure(quiet_run()))
    assert reached["chunks of 64 B to a socket / sendall"] == 0.5
    assert reached["chunks of 64 B to a socket / loopback"] == 0.25
    assert len(reached) == 2 * len(_limits_socket.SIZES)


def test_a_wake_up_and_computed_chunks_are_fractions_of_their_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both are times: the limit's is the numerator."""
    monkeypatch.setattr(_limits_waking, "latencies", lambda *_: [1e-4])
    monkeypatch.setattr(_limits_waking, "simple_queue_latencies", lambda _: [2e-5])
    monkeypatch.setattr(_limits_waking, "by_ewb", lambda *_: Seen(30e-6))
    monkeypatch.setattr(_limits_waking, "by_bare_loop", lambda *_: Seen(20e-6))
    monkeypatch.setattr(_limits_waking, "steps_for", lambda _: 1)
    woken = fractions(_limits_waking.measure_wake_up(quiet_run()))
    assert woken["a wake-up, p50 / SimpleQueue, thread to thread"] == pytest.approx(0.2)
    (computed,) = fractions(_limits_waking.measure_computing(quiet_run())).values()
    assert computed == pytest.approx(2 / 3)


def test_a_simple_queue_hands_over_all_chunks() -> None:
    """From thread to thread, and each with the time that it took."""
    assert _limits_handoff.by_simple_queue(1_000) > 0
    times = _limits_waking.simple_queue_latencies(partial(paused_chunks, 3))
    assert len(times) == 3
    assert min(times) >= 0


def test_the_loopback_carries_all_bytes() -> None:
    """To the process that counts them."""
    with sink() as listener:
        assert _limits_socket.by_loopback(listener, 3) > 0
