"""The benchmarks measure what they say: what is compared, the clients, the program around it."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Thread, main_thread
from time import sleep
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import ewb
from benchmarks import __main__ as everything
from benchmarks._front_end import redis, reordering, stream_neighbours
from benchmarks._front_end.commands import WAYS, Commands
from benchmarks._front_end.line_servers import (
    CALL,
    WAKE,
    by_ewb,
    by_hand,
    by_hand_with_streams,
    by_threads,
)
from benchmarks._front_end.reorder_client import Reader
from benchmarks._measuring import client_process, harness, program
from benchmarks._measuring.harness import Run, at_most, figure, ratio
from benchmarks._measuring.program import Budget, Program, Question, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._front_end.commands import Seen
    from benchmarks._measuring.harness import Figure

pytestmark = pytest.mark.tree

ROOT = Path(__file__).parent.parent

MOMENT = 0.02
"""Seconds that are measured: these tests want no figures."""


def quiet_run(*, repetitions: int) -> Run:
    return Run(quick=True, repetitions=repetitions, tell=lambda what, share: None)  # noqa: ARG005


# -- the harness --------------------------------------------------------------------------------------


def test_what_is_compared_runs_in_turn_and_the_first_round_does_not_count() -> None:
    """A B, A B, A B; of these the last two are kept."""
    ran: list[str] = []

    def way(name: str) -> int:
        ran.append(name)
        return len(ran)

    measured = quiet_run(repetitions=2).interleaved({"a": partial(way, "a"), "b": partial(way, "b")})
    assert ran == ["a", "b"] * 3
    assert measured == {"a": [3, 5], "b": [4, 6]}


def test_a_ratio_is_taken_pair_by_pair() -> None:
    """The median of ratios, and not the ratio of medians."""
    measured = ratio("", [1, 20, 300], [1, 10, 100], at_most(2))
    assert measured.values == (1, 2, 3)
    assert measured.reached
    assert measured.times_reached == 2


# -- commands -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_each_way_answers_a_client_with_many_commands_in_flight(way: Callable[..., Seen]) -> None:
    """Commands that are answered at once."""
    seen = way(Commands(connections=3, seconds=MOMENT, depth=5))
    assert seen.rate > 0
    assert 0 <= seen.share < 2


@pytest.mark.parametrize(("way", "request_"), [(by_ewb, CALL), (by_ewb, WAKE), (by_hand, CALL)])
def test_commands_that_would_block_are_answered(way: Callable[..., Seen], request_: bytes) -> None:
    """By a call on a worker, by a notify, and by hand."""
    commands = Commands(connections=3, seconds=MOMENT, request=f"{request_.decode()}\n")
    assert way(commands).rate > 0


@pytest.mark.parametrize("command", [redis.PING, redis.SET, redis.GET], ids=["PING", "SET", "GET"])
@pytest.mark.parametrize("way", redis.WAYS.values(), ids=list(redis.WAYS))
def test_each_redis_server_answers(way: Callable[..., Seen], command: redis.Command) -> None:
    """With what Redis would answer."""
    commands = Commands(2, MOMENT, 3, request=command.request, answer=command.answer)
    assert way(partial(redis.with_value, commands)).rate > 0


def test_a_client_that_gets_another_answer_fails_the_measurement(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No figure is made of wrong answers, and one reads why."""
    with pytest.raises(RuntimeError, match="exit code 1"):
        by_threads(Commands(connections=1, seconds=MOMENT, answer="wrong"))
    assert "the answer was" in capfd.readouterr().err


# -- streams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [by_ewb, by_hand_with_streams, by_threads])
def test_a_neighbour_of_streams_is_answered(way: Callable[..., stream_neighbours.Seen]) -> None:
    """Both are measured: its answers, and the streams."""
    seen = way(partial(stream_neighbours.probe_among_streams, MOMENT))
    assert 0 < seen.p50 <= seen.p99
    assert seen.rate > 0


@pytest.mark.parametrize("way", [partial(by_ewb, order=ewb.Order.REORDER), by_hand_with_streams])
@pytest.mark.parametrize("stream", ["stream\n", ""], ids=["stream", "no stream"])
def test_a_command_beside_a_stream_of_its_connection_is_answered(
    way: Callable[..., reordering.Seen], stream: str
) -> None:
    """With a stream, and without one nothing comes before the answer."""
    seen = way(partial(reordering.ask, MOMENT, stream))
    assert len(seen.times) == len(seen.before) > 0
    assert (seen.rate > 1) == bool(stream)
    assert stream or not any(seen.before)


@given(before=st.integers(0, 4), after=st.integers(0, 4), split=st.integers(1, 40))
def test_an_answer_is_found_between_chunks_however_these_come(
    before: int, after: int, split: int
) -> None:
    """At its first byte, and once, though the chunks hold the same bytes."""
    chunk, answer = b"chunk done\n", b"done\n"
    sent = chunk * before + answer + chunk * after
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        reader = Reader(ours, len(chunk), answer)
        found = []
        for begin in range(0, len(sent), split):
            theirs.sendall(sent[begin : begin + split])
            found.append(reader.find_answer())
    assert reader.position == len(sent)
    assert [at for at in found if at is not None] == [before * len(chunk)]


def test_an_echo_that_comes_in_pieces_counts_once_it_is_whole() -> None:
    """The neighbour of all benchmarks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        echoing = Thread(target=_echo_byte_by_byte, args=(listener,))
        echoing.start()
        port = listener.getsockname()[1]
        client = client_process.start(
            "_measuring.echo_client", port=port, seconds=MOMENT, message="ping\n"
        )
        times = client_process.seen_by(client, MOMENT)
        echoing.join()
    assert times
    assert all(time > 0 for time in times)


def _echo_byte_by_byte(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while byte := connection.recv(1):
            connection.sendall(byte)


# -- the program --------------------------------------------------------------------------------------


def test_the_program_tells_and_writes_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A question that fails leaves the others be, and is told."""

    def measure(run: Run) -> list[Figure]:
        return [figure("a figure", [run.pick(1.0, 2.0)], "µs", at_most(1))]

    def fail(_: Run) -> list[Figure]:
        msg = "no server"
        raise ValueError(msg)

    tried = Program(
        "some",
        "About it.",
        {"bad": Question("Fails", fail), "good": Question("Works", measure)},
        "",
        "",
    )
    file = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", ["some", "--quick", "--json", str(file)])
    run(tried)
    told = capsys.readouterr().out
    assert "NOT MEASURED: bad: ValueError('no server')" in told
    assert "MISSED: good: a figure: 2 µs, target ≤ 1 µs" in told
    bad, good = json.loads(file.read_text(encoding="utf-8"))["questions"]
    assert bad["error"] == "ValueError('no server')"
    assert good["figures"][0]["values"] == [2.0]
    assert good["figures"][0]["reached"] is False


@pytest.mark.parametrize(
    "interrupt", [KeyboardInterrupt(), BaseExceptionGroup("of Trio", [KeyboardInterrupt()])]
)
def test_an_interrupted_program_tells_what_there_is(
    interrupt: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The questions before are in the table; those after are not asked."""

    def measure(_: Run) -> list[Figure]:
        return [figure("a figure", [1.0], "µs", at_most(1))]

    def be_interrupted(_: Run) -> list[Figure]:
        raise interrupt

    questions = {
        "first": Question("Works", measure),
        "second": Question("Is interrupted", be_interrupted),
        "third": Question("Is not asked", measure),
    }
    monkeypatch.setattr(sys, "argv", ["some"])
    run(Program("some", "About it.", questions, "", ""))
    told = capsys.readouterr().out
    assert "Interrupted: this is what there is so far." in told
    assert "1 of 1 targets reached." in told
    assert "Is not asked" not in told


# -- time ---------------------------------------------------------------------------------------------


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def take(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(harness, "perf_counter", clock)
    monkeypatch.setattr(program, "perf_counter", clock)
    monkeypatch.setattr(gc, "collect", lambda: 0)  # there is nothing, and it takes its time
    return clock


def timed_run(seconds: float | None, *, parts: int = 1, repetitions: int | None = None) -> Run:
    return Run(
        quick=False,
        repetitions=repetitions,
        tell=lambda what, share: None,  # noqa: ARG005
        seconds=seconds,
        parts=parts,
    )


@pytest.mark.parametrize(
    ("seconds", "asked", "rounds"),
    [
        (60, None, 5),  # a warm-up of 10 s, and five that fit
        (69, None, 5),
        (5, None, 3),  # at the least
        (1000, None, 9),  # at the most
        (5, 7, 7),  # the user's wish comes first
        (None, None, 9),
    ],
)
def test_there_are_as_many_repetitions_as_fit(
    clock: Clock, seconds: float | None, asked: int | None, rounds: int
) -> None:
    """Of what takes 10 s, with a warm-up that takes as long."""
    run = timed_run(seconds, repetitions=asked)
    measured = run.interleaved(
        {"a": partial(clock.take, 4), "b": partial(clock.take, 6)}, repetitions=9
    )
    assert {name: len(values) for name, values in measured.items()} == {"a": rounds, "b": rounds}


def test_the_warm_up_of_a_quick_run_counts_if_there_is_no_time_for_more(clock: Clock) -> None:
    """So that a quick run stays one on a slow machine."""

    def way() -> float:
        clock.take(10)
        return clock.now

    for seconds, values in ((15, [110]), (25, [130])):
        run = Run(quick=True, repetitions=None, tell=lambda *_: None, seconds=seconds)
        assert run.interleaved({"a": way})["a"] == values


def test_the_parts_of_a_question_share_its_time(clock: Clock) -> None:
    """What one leaves over is for the next."""
    run = timed_run(300, parts=3)
    way = {"a": partial(clock.take, 10)}
    rounds = [len(run.interleaved(way, repetitions=most)["a"]) for most in (99, 4, 99)]
    assert rounds == [9, 4, 14]  # of 100 s each, with a warm-up; and 50 s that were left over
    assert clock.now == 400


def test_without_a_warm_up_the_first_round_counts(clock: Clock) -> None:
    """And there are no more of them than are asked for."""
    ran: list[float] = []

    def way() -> None:
        ran.append(clock.now)
        clock.take(1)

    measured = timed_run(None).interleaved({"a": way}, repetitions=3, warm_up=False)
    assert len(measured["a"]) == len(ran) == 3


@pytest.mark.parametrize(("only", "seconds"), [(None, [25.0, 75.0]), (["long"], [75.0])])
def test_questions_share_the_time_of_their_program(
    clock: Clock, only: list[str] | None, seconds: list[float]
) -> None:
    """By their weights; one alone has no more than its share."""
    given: list[float | None] = []

    def measure(run: Run) -> list[Figure]:
        given.append(run.seconds)
        clock.take(run.seconds or 0)
        return []

    questions = {
        "short": Question("", measure, weight=1),
        "long": Question("", measure, weight=3),
    }
    tried = Program("some", "", questions, "", "", Budget(full=100, quick=1))
    options = program.parse(tried, ["--only", *only] if only else [])
    assert list(program.answered(tried, options, program.Teller(Console(quiet=True))))
    assert given == pytest.approx(seconds)


# -- all programs -------------------------------------------------------------------------------------

STUB = """
import sys, time
from pathlib import Path
from benchmarks._measuring.harness import figure
from benchmarks._measuring.program import Program, Question, run

def measure(run):
    return [figure("a figure", [run.pick(1.0, 2.0)], "s", curve="c", x=3.0, note="n")]

def wait(run):
    Path(__file__).with_suffix(".waiting").touch()
    time.sleep(100)

questions = {"one": Question("One", measure)}
if Path(__file__).stem == "waits":
    questions["two"] = Question("Two", wait)
run(Program(Path(__file__).stem, "", questions, "", ""))
"""

FAILING = """
import sys
open(sys.argv[sys.argv.index("--json") + 1], "w").close()
raise SystemExit(3)
"""


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs of which one ends, one waits to be interrupted, and one fails."""
    folder = tmp_path / "stubs"
    folder.mkdir()
    for name in ("ends", "waits"):
        (folder / f"{name}.py").write_text(STUB)
    (folder / "fails.py").write_text(FAILING)
    monkeypatch.setattr(everything, "PACKAGE", "stubs")
    monkeypatch.setattr(everything, "PROGRAMS", ("ends", "fails", "waits"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    return folder


def test_all_programs_are_told_in_one_table_and_one_file(
    stubs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that fails leaves the others be, and is told."""
    file = tmp_path / "all.json"
    arguments = ["--quick", "--json", str(file), "--only", "fails", "ends"]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    everything.main()
    told = capsys.readouterr().out
    assert "NOT MEASURED: fails: fails ended with exit code 3" in told
    assert "a figure: n" in told
    whole = json.loads(file.read_text())
    assert whole["quick"]
    assert whole["machine"]["python"]
    assert whole["versions"]["lmdb"]
    assert whole["versions"]["xxhash"]
    failed, ended = whole["programs"]
    assert failed["questions"] == []
    assert ended["questions"][0]["figures"][0]["values"] == [2.0]
    (answer,) = everything.answers_of(ended)
    assert answer.figures == [figure("a figure", [2.0], "s", curve="c", x=3.0, note="n")]
    assert stubs.exists()


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not twenty minutes later."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--json", str(tmp_path)])
    with pytest.raises(SystemExit):
        everything.main()
    assert f"{tmp_path} cannot be written: Is a directory" in capsys.readouterr().err


def test_an_interrupted_run_keeps_what_was_measured(stubs: Path) -> None:
    """Ctrl-C in the midst of a question: the one before it is kept."""

    def interrupt() -> None:
        while not (stubs / "waits.waiting").exists():
            sleep(0.01)
        signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupting = Thread(target=interrupt)
    interrupting.start()
    try:
        found = everything.measured_by("waits", quick=False)
    finally:
        interrupting.join()
        signal.signal(signal.SIGINT, before)
    assert found["interrupted"]
    assert [question["name"] for question in found["questions"]] == ["one"]
    assert found["questions"][0]["figures"][0]["median"] == 1.0


@pytest.mark.parametrize("name", everything.PROGRAMS)
def test_each_program_can_be_run_alone(name: str) -> None:
    """And says what it answers."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"python -m benchmarks.{name}" in told
    assert "questions:" in told
