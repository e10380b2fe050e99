"""The limits are measured, and what is reached of them is computed right."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from benchmarks._handoff import chunks
from benchmarks._handoff.latency import Seen
from benchmarks._handoff.to_socket import sink
from benchmarks._limits import handoff, to_socket, waking
from benchmarks._measuring.harness import FRACTION, Run
from benchmarks._peers.latency import paused_chunks

if TYPE_CHECKING:
    from benchmarks._measuring.harness import Figure

pytestmark = pytest.mark.tree


def quiet_run() -> Run:
    return Run(quick=True, repetitions=1, tell=lambda what, share: None)  # noqa: ARG005


def fractions(figures: list[Figure]) -> dict[str, float]:
    """What the report draws as shares of limits."""
    return {one.name: one.median for one in figures if one.curve == FRACTION}


def test_a_hand_off_is_a_fraction_of_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as slow as the bare loop is a quarter of it."""
    monkeypatch.setattr(chunks, "by_ewb", lambda count, bound: 0.2e-6)  # noqa: ARG005
    monkeypatch.setattr(chunks, "bare", lambda count: 0.05e-6)  # noqa: ARG005
    monkeypatch.setattr(handoff, "by_simple_queue", lambda count: 0.1e-6)  # noqa: ARG005
    reached = fractions(handoff.measure(quiet_run()))
    assert reached == pytest.approx(
        {
            "a chunk of 64 B / a bare generator loop": 0.25,
            "a chunk of 64 B / SimpleQueue, thread to thread": 0.5,
        }
    )


def test_a_stream_to_a_socket_is_a_fraction_of_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rates, unlike costs, ours is the numerator."""
    monkeypatch.setattr(to_socket, "by_ewb", lambda listener, size, count: 300.0)  # noqa: ARG005
    monkeypatch.setattr(to_socket, "by_blocking_thread", lambda *_: 600.0)
    monkeypatch.setattr(to_socket, "by_loopback", lambda *_: 1200.0)
    reached = fractions(to_socket.measure(quiet_run()))
    assert reached["chunks of 64 B to a socket / sendall"] == 0.5
    assert reached["chunks of 64 B to a socket / loopback"] == 0.25
    assert len(reached) == 2 * len(to_socket.SIZES)


def test_a_wake_up_and_computed_chunks_are_fractions_of_their_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both are times: the limit's is the numerator."""
    monkeypatch.setattr(waking, "latencies", lambda *_: [1e-4])
    monkeypatch.setattr(waking, "simple_queue_latencies", lambda _: [2e-5])
    monkeypatch.setattr(waking, "by_ewb", lambda *_: Seen(30e-6))
    monkeypatch.setattr(waking, "by_bare_loop", lambda *_: Seen(20e-6))
    monkeypatch.setattr(waking, "steps_for", lambda _: 1)
    woken = fractions(waking.measure_wake_up(quiet_run()))
    assert woken["a wake-up, p50 / SimpleQueue, thread to thread"] == pytest.approx(0.2)
    (computed,) = fractions(waking.measure_computing(quiet_run())).values()
    assert computed == pytest.approx(2 / 3)


def test_a_simple_queue_hands_over_all_chunks() -> None:
    """From thread to thread, and each with the time that it took."""
    assert handoff.by_simple_queue(1_000) > 0
    times = waking.simple_queue_latencies(partial(paused_chunks, 3))
    assert len(times) == 3
    assert min(times) >= 0


def test_the_loopback_carries_all_bytes() -> None:
    """To the process that counts them."""
    with sink() as listener:
        assert to_socket.by_loopback(listener, 3) > 0
