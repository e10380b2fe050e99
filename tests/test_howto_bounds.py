"""The program that chooses bounds measures what it is given, and says what to set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from examples.choose_bounds import HIGH_WATERS, KIB, THREADS, least_near_best, main, run_alone, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent
HERE = "tests.test_howto_bounds"


def repeated(text: str, times: str) -> Iterator[bytes]:
    """What a user may have: it takes its arguments from the command line."""
    for _ in range(int(times)):
        yield text.encode()


def nothing() -> Iterator[bytes]:
    """A producer without chunks."""
    return iter(())


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "examples.choose_bounds", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_the_program_shows_both_tables_and_a_suggestion_that_it_measured() -> None:
    """As its reader would run it, for the producer that it brings along."""
    done = run("--seconds", "0.05")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"Alone: [\d,.]+ MB/s, chunks of 4,096 bytes\.", done.stdout)
    for bound in HIGH_WATERS:
        assert re.search(rf"│ {bound // KIB:,} KiB +│ +[\d,.]+ │", done.stdout)
    for count in THREADS:
        assert re.search(rf"│ {count} +│ +[\d,.]+ │", done.stdout)
    said = re.search(
        r"open_workers\(threads=(\d+)\), produce\(\.\.\., high_water=(\d+) \* 1024\)", done.stdout
    )
    assert said
    assert int(said[1]) in THREADS
    assert int(said[2]) * KIB in HIGH_WATERS


def test_a_producer_of_ones_own_is_given_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """And one that ends early is begun again."""
    assert main([f"{HERE}:repeated", "seven..", "3", "--seconds", "0.05"]) == 0
    assert "chunks of 7 bytes" in capsys.readouterr().out


def test_a_producer_without_chunks_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to measure, and no division by zero."""
    assert main([f"{HERE}:nothing", "--seconds", "0.05"]) == 1
    assert "It has ended and yielded nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["blocks", "no_such_module:blocks", "examples.choose_bounds:none", "os:sep"]
)
def test_a_wrong_name_is_answered_with_a_right_one(name: str) -> None:
    """In the usual way of a command line."""
    done = run(name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "give MODULE:FUNCTION, such as examples.choose_bounds:blocks" in done.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "some"])
def test_a_wrong_time_is_answered_with_a_right_one(
    seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the usual way of a command line."""
    with pytest.raises(SystemExit, match="2"):
        main([f"--seconds={seconds}"])
    said = capsys.readouterr().err
    assert f"--seconds: give a number of seconds above 0, such as 0.5, not '{seconds}'" in said


def fails_later() -> Iterator[bytes]:
    """A producer that works alone."""
    yield b"once"
    if threading.current_thread().name.startswith("ewb-"):
        msg = "the disk is gone"
        raise OSError(msg)


@pytest.mark.parametrize(
    ("producer", "why"),
    [
        (["os:getpid"], "TypeError(\"'int' object is not iterable\")"),
        ([f"{HERE}:repeated", "a", "x"], "ValueError("),
        ([f"{HERE}:fails_later"], "OSError('the disk is gone')"),
    ],
)
def test_a_producer_that_fails_is_named_in_one_line(
    producer: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, or later among the others."""
    assert main([*producer, "--seconds=0.05"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"The producer fails, or yields no bytes: {why}")
    assert said.count("\n") == 1


def test_ctrl_c_ends_it_with_one_line() -> None:
    """And with the exit code that a shell expects."""
    interrupted = (
        "import signal, sys\nfrom examples import choose_bounds as program\n"
        "program.show_alone = lambda *_: signal.raise_signal(signal.SIGINT)\n"
        "sys.exit(program.main(['--seconds=0.05']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", interrupted], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_the_least_near_the_best_is_suggested() -> None:
    """Not the best: it may cost many times as much for little."""
    assert least_near_best({1: 50.0, 2: 91.0, 4: 95.0, 8: 100.0}) == 2
    assert least_near_best({1: 50.0, 2: 60.0, 4: 99.9}) == 4


def test_alone_it_is_measured_until_its_end_or_the_time_is_over() -> None:
    """Whichever comes first; what waits is not on the CPU."""

    def waits() -> Iterator[bytes]:
        while True:
            time.sleep(0.001)
            yield b"12345"

    ended = run_alone(lambda: repeated("four", "25"), 60.0)
    assert (ended.chunks, ended.bytes) == (25, 100)
    stopped = run_alone(waits, 0.05)
    assert stopped.bytes == 5 * stopped.chunks > 0
    assert stopped.seconds >= 0.05
    assert stopped.cpu_seconds < stopped.seconds


async def test_streams_are_bounded_by_what_is_measured() -> None:
    """The bound is the one it was given, and all producers count."""
    begun = []

    def endless() -> Iterator[bytes]:
        begun.append(True)
        while True:
            yield bytes(KIB)

    streamed = await stream(endless, 1.0, threads=2, producers=3, high_water=4 * KIB)
    assert len(begun) == 3
    assert streamed.bytes > 0
    assert 0 < streamed.peak_bytes <= 5 * KIB
    assert streamed.rate == streamed.bytes / streamed.seconds
