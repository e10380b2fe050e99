"""The demo, run as its reader would run it: as a program, with few cities."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from examples.range_scan.demo.verify import difference

from .server_process import GUARD, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.tree

INTERRUPTED = "Interrupted: all processes were ended, nothing is left behind."

# The demo with cities that take no time to read, a neighbour that is not alone for long, and a change.
SMALL_DEMO = """
import json
from examples.range_scan.__main__ import main
from examples.range_scan.client import Client
from examples.range_scan.demo import scanners, story

def few_cities():
    return [
        (f"{country}:São Paulo:{number}".encode(), json.dumps({"number": number}).encode())
        for country, many in (("AA", 300), ("BB", 200), ("CC", 100))
        for number in range(many)
    ]

story.cities = few_cities
story.IDLE_SECONDS = 0.2
CHANGE
main(["demo"])
"""

# While it is loaded, one document is changed, as a server with an error might do.
CHANGED = """
store = Client.store

def store_wrongly(self, documents):
    changed = few_cities()[7][0]
    return store(self, [(key, b"{}" if key == changed else value) for key, value in documents])

Client.store = store_wrongly
"""

# Or one is lost.
LOST = """
store = Client.store

def store_too_few(self, documents):
    return store(self, list(documents)[:-1])

Client.store = store_too_few
"""

# The second client expects what nobody has stored.
WRONG_GETS = """
getting = story.getting
story.getting = lambda server, documents: getting(server, [(key, b"{}") for key, _ in documents])
"""

# The raw client receives too little.
CUT_OFF = """
scan_all = Client.scan_all
Client.scan_all = lambda *about, **options: (packet[:-1] for packet in scan_all(*about, **options))
"""

# Nobody has installed the SDK.
NO_SDK = "scanners.has_sdk = lambda: False"

# The server cannot have its store there.
BAD_DIRECTORY = """
from pathlib import Path
story.Path = lambda _: Path("/dev/null/below")
"""

# The server is killed as soon as all is loaded.
DEAD_SERVER = """
from examples.range_scan.demo import processes
started, load = [], story._load
open_process = processes.trio.lowlevel.open_process

async def remember(*arguments, **options):
    started.append(await open_process(*arguments, **options))
    return started[-1]

def load_and_kill(*arguments):
    load(*arguments)
    started[0].kill()

processes.trio.lowlevel.open_process = remember
story._load = load_and_kill
"""


def environment(directory: Path) -> dict[str, str]:
    """One in which the demo has its temporary directory in this one."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(directory), "COLUMNS": "100"}


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments; the demo must leave nothing behind."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(directory),
        capture_output=True,
        encoding="utf-8",
        timeout=GUARD,
        check=False,
    )
    assert list(directory.iterdir()) == []
    return done


def run_small_demo(directory: Path, change: str = "") -> subprocess.CompletedProcess[str]:
    return run(directory, "-c", SMALL_DEMO.replace("CHANGE", change))


def rows_of(shown: str) -> list[list[str]]:
    """The cells of the tables."""
    return [re.split(r" {2,}", line.strip()) for line in shown.splitlines()]


def test_the_demo_shows_scans_of_both_clients_and_gets_meanwhile(tmp_path: Path) -> None:
    """Two prefixes and everything, each verified, and a row for each phase of the second client."""
    done = run_small_demo(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout  # no colours but on a terminal
    rows = rows_of(done.stdout)
    for client in ("raw client", "stock SDK"):
        for scan, documents in (("prefix AA:", "300"), ("prefix AA:São", "300"), ("everything", "600")):
            (row,) = [row for row in rows if row[:2] == [client, scan]]
            assert (row[2], row[-1]) == (documents, "yes")
    for phase in ("nothing else goes on", "the raw client scans", "the stock SDK scans"):
        assert [row for row in rows if row[0] == phase]
    assert done.stdout.endswith(
        "All is right: 2,400 scanned documents, and each GET, are as their source.\n"
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        pytest.param(CHANGED, "AA:São Paulo:7 is not as its source.", id="changed"),
        pytest.param(LOST, "1 of 600 did not come, such as CC:São Paulo:99.", id="lost"),
    ],
)
def test_a_document_that_is_wrong_is_noticed(tmp_path: Path, change: str, what: str) -> None:
    """It is named, the scans that have it are marked, and the exit code is 1."""
    done = run_small_demo(tmp_path, change)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1].startswith("Not everything is right. raw client, ")
    assert done.stdout.endswith(f": {what}\n")
    everything = [row for row in rows_of(done.stdout) if row[1:2] == ["everything"]]
    assert [row[-1] for row in everything] == ["NO", "NO"]
    assert "All is right" not in done.stdout


def test_a_get_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    """Even if every scan is right."""
    done = run_small_demo(tmp_path, WRONG_GETS)
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"right\. a GET of the second client: .* is not as its source\.\n$", done.stdout)
    assert "NO" not in done.stdout


def test_a_packet_that_is_cut_off_is_noticed(tmp_path: Path) -> None:
    """As what it is."""
    done = run_small_demo(tmp_path, CUT_OFF)
    assert (done.returncode, done.stderr) == (1, "")
    last = done.stdout.splitlines()[-1]
    assert re.match(
        r"Not everything is right\. raw client, .*: it cannot be taken apart: byte \d+", last
    )


def test_without_the_sdk_the_raw_client_scans_alone(tmp_path: Path) -> None:
    """And one line says how to get it."""
    done = run_small_demo(tmp_path, NO_SDK)
    assert (done.returncode, done.stderr) == (0, "")
    assert "`pip install couchbase`" in done.stdout
    assert "stock SDK  " not in done.stdout
    assert "All is right: 1,200 scanned documents" in done.stdout


def test_a_server_that_does_not_start_ends_the_demo(tmp_path: Path) -> None:
    """It has said why itself."""
    done = run_small_demo(tmp_path, BAD_DIRECTORY)
    assert done.returncode == 1
    why, end = done.stderr.splitlines()
    assert why.startswith("Error: there can be no directory /dev/null/below")
    assert end == "Error: the server did not start; see what it says above"


def test_a_server_that_dies_ends_the_demo(tmp_path: Path) -> None:
    """In one line."""
    done = run_small_demo(tmp_path, DEAD_SERVER)
    assert done.returncode == 1
    assert re.fullmatch(r"Error: (cannot connect|the connection to the server).*\n", done.stderr)
    assert "Traceback" not in done.stdout


@contextmanager
def on_a_terminal(directory: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A program, and the other side of its terminal."""
    master, slave = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**environment(directory), "TERM": "xterm-256color"},
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
        ) as process:
            os.close(slave)
            try:
                yield process, master
            finally:
                process.kill()  # does nothing if it has ended
    finally:
        os.close(master)


def read(terminal: int, until: str | None = None) -> str:
    """What is shown until it shows this; or else to the end, which comes when no process is left."""
    shown = ""
    while until is None or not re.search(until, shown):
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # so says Linux, where others return nothing
            data = b""
        shown += data.decode("utf-8", "replace")
        if not data:
            assert until is None, f"ended before it showed {until!r}: {shown}"
            break
    return shown


INT, TERM, SLOW = signal.SIGINT, signal.SIGTERM, pytest.mark.slow
REAL_DEMO = ("-m", "examples.range_scan", "demo")
LARGE_DEMO = ("-c", SMALL_DEMO.replace("300", "30_000").replace("CHANGE", ""))


@pytest.mark.parametrize(
    ("arguments", "moment", "signals"),
    [
        pytest.param(REAL_DEMO, "Read the cities", [INT], id="reading", marks=SLOW),
        pytest.param(LARGE_DEMO, "Start the server", [INT], id="starting", marks=SLOW),
        pytest.param(LARGE_DEMO, "Load the cities", [INT, INT], id="loading, twice"),
        pytest.param(LARGE_DEMO, "nothing else goes on", [TERM], id="idle, SIGTERM"),
        pytest.param(LARGE_DEMO, "raw client: everything", [INT], id="raw client"),
        pytest.param(LARGE_DEMO, "stock SDK: everything", [INT], id="SDK", marks=SLOW),
    ],
)
def test_the_interrupted_demo_ends_with_one_line(
    tmp_path: Path, arguments: tuple[str, ...], moment: str, signals: list[int]
) -> None:
    """At any moment, even twice: exit code 130, no process, no directory, and the cursor is back."""
    with on_a_terminal(tmp_path, *arguments) as (process, terminal):
        shown = read(terminal, moment)
        for number in signals:
            process.send_signal(number)
        shown += read(terminal)
        assert process.wait() == 130
    assert shown.endswith(f"{INTERRUPTED}\r\n")
    assert "Traceback" not in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_with_real_cities(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "examples.range_scan", "demo", "--cities", "5000")
    assert (done.returncode, done.stderr) == (0, "")
    assert "All is right: " in done.stdout


def test_a_difference_is_said_in_words() -> None:
    """The first one: a document too many, twice, changed, or missing."""
    expected = {b"a": b"1", b"b": b"2"}
    right = list(expected.items())
    assert difference(right, expected) is None
    assert difference([*right, (b"c", b"3")], expected) == "c came and is none of them"
    assert difference([*right, (b"a", b"1")], expected) == "a came twice"
    assert difference([(b"a", b"1"), (b"b", b"1")], expected) == "b is not as its source"
    assert difference(right[:1], expected) == "1 of 2 did not come, such as b"
