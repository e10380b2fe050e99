"""Background work that nobody wants any more: closed, counted, and what goes wrong is told once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio

from ewb._closing import Closing, tell_errors
from ewb._counters import Counters

if TYPE_CHECKING:
    from collections.abc import Callable


class Work:
    """Background work that is over when the test says so."""

    def __init__(self, error: BaseException | None = None, *, at_once: bool = False) -> None:
        self.finished = trio.Event()
        self.closing_error = error
        self.doorbells, self.suspensions = 3, 2
        self.stopped = 0
        self._at_once = at_once
        self._closed: Callable[[], None] | None = None

    def stop(self, closed: Callable[[], None]) -> None:
        """As a stream's or a call's: `closed` is called once it is over, unless it is by now."""
        self.stopped += 1
        if not self.finished.is_set():
            self._closed = closed
        if self._at_once:
            self.finish()

    def finish(self) -> None:
        """It is over, and closed."""
        self.finished.set()
        if self._closed is not None:
            self._closed()


class Bench:
    """A connection's closing, and how often its owner was woken."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.woken = 0
        self.closing = Closing(self.counters, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def close(self, error: BaseException | None = None, *, at_once: bool = False) -> Work:
        """Have new work closed."""
        work = Work(error, at_once=at_once)
        self.closing.close(work)  # type: ignore[arg-type]  # no more of a `Background` is used
        return work

    @property
    def backgrounds(self) -> list[object]:
        """All that were not reported yet."""
        return [*self.closing.backgrounds]


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- closing ---------------------------------------------------------------------------------------


def test_work_is_open_then_news_then_forgotten(bench: Bench) -> None:
    """Its owner is woken when there is something to report, once, and not before."""
    closing = bench.closing
    assert not closing
    work = bench.close()
    assert closing
    assert work.stopped == 1
    assert not closing.has_news
    assert bench.woken == 0
    assert bench.backgrounds == [work]
    work.finish()
    assert closing
    assert closing.has_news
    assert bench.woken == 1
    assert bench.backgrounds == [work]
    closing.report("a peer")
    assert not closing
    assert not closing.has_news
    assert bench.backgrounds == []
    assert bench.woken == 1


def test_work_that_was_over_before_is_news_at_once(bench: Bench) -> None:
    """Nobody else would say so."""
    work = Work()
    work.finish()
    bench.closing.close(work)  # type: ignore[arg-type]
    assert bench.closing.has_news
    assert bench.woken == 1
    assert bench.backgrounds == [work]


def test_work_that_is_over_as_it_is_stopped_is_news_once(bench: Bench) -> None:
    """It says so itself, within the call."""
    work = bench.close(at_once=True)
    assert bench.woken == 1
    assert bench.backgrounds == [work]


def test_what_work_has_cost_is_counted_when_it_makes_no_more_chunks(bench: Bench) -> None:
    """Once each, whatever becomes of it then, and added to what there was."""
    bench.counters.doorbells = 10
    work = bench.close()
    bench.close()
    work.finish()
    bench.closing.report("a peer")
    assert bench.counters.doorbells == 16
    assert bench.counters.suspensions == 4


def test_only_what_is_closed_is_reported(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The rest is looked after until it is, too."""
    open_one, closed_one = bench.close(ValueError("late")), bench.close(OSError("early"))
    closed_one.finish()
    bench.closing.report("a peer")
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [
        closed_one.closing_error
    ]
    assert bench.backgrounds == [open_one]
    assert bench.closing
    open_one.finish()
    bench.closing.report("a peer")
    assert not bench.closing
    assert "late" in caplog.text


def test_what_went_wrong_is_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A second report says nothing, nor does one of work that closed well."""
    bench.close(OSError("disk"), at_once=True)
    bench.close(at_once=True)
    bench.closing.report("192.0.2.1:7777")
    bench.closing.report("192.0.2.1:7777")
    (record,) = caplog.records
    assert "192.0.2.1:7777" in record.getMessage()


def test_what_must_not_be_lost_is_raised_once(bench: Bench) -> None:
    """Whoever gets it need not be told again, and nothing is left behind it."""
    bench.close(KeyboardInterrupt("grave"), at_once=True)
    with pytest.raises(KeyboardInterrupt, match="grave"):
        bench.closing.report("a peer")
    assert not bench.closing
    bench.closing.report("a peer")


# -- telling ---------------------------------------------------------------------------------------


def test_an_error_is_logged_with_its_peer_and_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """In the log of `ewb`, where a user looks for it."""
    error = OSError("disk")
    tell_errors("192.0.2.1:7777", [None, error, None])
    (record,) = caplog.records
    assert record.name == "ewb"
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "closing a producer of 192.0.2.1:7777 failed"
    assert record.exc_info
    assert record.exc_info[1] is error


def test_nothing_is_told_of_what_went_well(caplog: pytest.LogCaptureFixture) -> None:
    """Neither of nothing at all."""
    tell_errors("a peer", [])
    tell_errors("a peer", [None, None])
    assert not caplog.records


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, BaseException])
def test_one_grave_error_is_raised_as_it_is(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """And not before all others are logged, whatever their order."""
    grave = kind("grave")
    with pytest.raises(kind) as caught:
        tell_errors("a peer", [OSError("before"), grave, ValueError("after")])
    assert caught.value is grave
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [OSError, ValueError]


def test_several_grave_errors_are_raised_together(caplog: pytest.LogCaptureFixture) -> None:
    """None of them gives way to another."""
    grave = [KeyboardInterrupt("one"), SystemExit(3)]
    with pytest.raises(BaseExceptionGroup, match="several producers raised") as caught:
        tell_errors("a peer", [grave[0], OSError("disk"), grave[1]])
    assert list(caught.value.exceptions) == grave
    assert len(caplog.records) == 1
