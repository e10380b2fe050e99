"""Threads of one's own that feed a channel: what is read, and how they end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
import trio

import ewb
from examples import own_thread
from examples.own_thread import Callback, Line, Ticker, follow, main, watching

from .helpers import GUARD, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = (sys.executable, "-m", "examples.own_thread")


@pytest.fixture(autouse=True)
def _no_thread_of_ours_is_left() -> Iterator[None]:
    """Whatever a test does: they are ours to end, and ewb cannot."""
    before = set(threading.enumerate())
    yield
    left = [t for t in set(threading.enumerate()) - before if not t.name.startswith("Trio")]
    assert left == []


def written(directory: Path, name: str, lines: int) -> Path:
    """A file of so many lines."""
    file = directory / name
    file.write_text("".join(f"{name} {number}\n" for number in range(lines)))
    return file


async def take(lines: ewb.ChunkReceiver[Line, None], count: int) -> list[Line]:
    """So many lines."""
    with trio.fail_after(GUARD):
        return [await lines.receive() for _ in range(count)]


async def test_lines_of_a_file_come_in_order_and_go_on(tmp_path: Path) -> None:
    """What is there at first, and what is written later, even a line in two parts."""
    file = written(tmp_path, "log", 500)
    async with watching([file], 0) as watch:
        first = await take(watch.lines, 500)
        with file.open("a") as more:
            more.write("a line in ")
            more.flush()
            more.write("two parts\n")
        (last,) = await take(watch.lines, 1)
    assert [line.text for line in first] == [f"log {number}" for number in range(500)]
    assert last == Line("log", "a line in two parts")


async def test_several_threads_feed_one_channel(tmp_path: Path) -> None:
    """The lines of each come in order, however they are mixed."""
    files = [written(tmp_path, f"log{number}", 300) for number in range(4)]
    async with watching(files, 0) as watch:
        came = await take(watch.lines, 1200)
    for file in files:
        texts = [line.text for line in came if line.source == file.name]
        assert texts == [f"{file.name} {number}" for number in range(300)]


async def test_a_thread_waits_for_a_slow_reader(tmp_path: Path) -> None:
    """So a file that is longer than the bound is not read ahead of it."""
    file = written(tmp_path, "log", 5000)
    async with watching([file], 0) as watch:
        await until(lambda: watch.lines.statistics().suspensions == 1)
        assert watch.lines.statistics().buffered_bytes <= own_thread.HIGH_WATER + 20
        came = await take(watch.lines, 5000)
    assert [line.text for line in came] == [f"log {number}" for number in range(5000)]


@pytest.mark.parametrize("how", ["leave", "error", "cancel"])
async def test_leaving_the_block_ends_the_threads(tmp_path: Path, how: str) -> None:
    """One waits in `send`, one for its file, one in a library: the fixture looks for all three."""
    waits = written(tmp_path, "log", 5000)
    idle = written(tmp_path, "idle", 0)

    async def use() -> None:
        async with watching([waits, idle], 0.001) as watch:
            await until(lambda: watch.lines.statistics().suspensions >= 1)
            if how == "error":
                raise ValueError
            if how == "cancel":
                scope.cancel()
                await trio.lowlevel.checkpoint()

    with trio.fail_after(GUARD), trio.CancelScope() as scope:
        if how == "error":
            with pytest.raises(ValueError, match=r"^$"):
                await use()
        else:
            await use()
    assert scope.cancelled_caught == (how == "cancel")


async def test_a_callback_does_not_wait(tmp_path: Path) -> None:
    """At a reader that takes nothing it drops; then it goes on where the library is."""
    async with watching([written(tmp_path, "idle", 0)], 0.0001) as watch:
        await until(lambda: watch.callback.dropped > 10)
        ticks = [int(line.text) for line in await take(watch.lines, 300)]
    assert ticks[:50] == list(range(1, 51))
    assert ticks == sorted(set(ticks))
    assert ticks[-1] > 300


async def test_the_end_comes_when_all_threads_are_done(tmp_path: Path) -> None:
    """A file that fails says so with its last line: an error in a thread is nobody else's."""
    missing = [tmp_path / "one", tmp_path / "two"]
    with trio.fail_after(GUARD):
        async with watching(missing, 0) as watch:
            came = [line async for line in watch.lines]
    assert sorted((line.source, line.failed) for line in came) == [("one", True), ("two", True)]
    assert all("No such file" in line.text for line in came)


async def test_a_reader_that_is_gone_before_a_failure_is_no_error(tmp_path: Path) -> None:
    """The thread ends quietly: pytest would tell of an exception that it left unhandled."""
    sender, receiver = ewb.open_channel(size=own_thread.size_of)
    await receiver.aclose()
    thread = Thread(target=follow, args=(tmp_path / "missing", sender, Event()))
    thread.start()
    await trio.to_thread.run_sync(thread.join)


async def test_a_library_is_stopped_before_its_sender_is_closed() -> None:
    """After `stop` it does not call any more, so `close` is safe."""
    sender: ewb.ChunkSender[Line]
    sender, receiver = ewb.open_channel(size=own_thread.size_of)
    callback = Callback(sender)
    ticker = Ticker(0.0001, callback)
    await take(receiver, 3)
    await trio.to_thread.run_sync(ticker.stop)
    callback.close()
    left = [line async for line in receiver]
    assert [int(line.text) for line in left] == list(range(4, 4 + len(left)))


# -- the program ----------------------------------------------------------------------------------


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Run the program."""
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_it_prints_lines_until_ctrl_c(tmp_path: Path) -> None:
    """It exits with 0, and sums up."""
    with start(str(written(tmp_path, "log", 3))) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=GUARD)
    assert lines == [f"log: log {number}\n" for number in range(3)]
    assert process.returncode == 0
    assert re.fullmatch(r"3 lines; at most \d+ characters waited, .*; 0 ticks were dropped\n", errors)


def test_it_ends_when_nobody_reads_what_it_prints(tmp_path: Path) -> None:
    """As with `| head`: without a traceback."""
    with start(str(written(tmp_path, "log", 100_000))) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "Exception" not in errors


def test_it_ends_after_so_many_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(written(tmp_path, "log", 10)), "--lines", "4"]) == 0
    assert capsys.readouterr().out.count("\n") == 4


def test_a_file_that_fails_later_is_said_and_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a disk is pulled out: all lines before it are printed."""
    file = written(tmp_path, "log", 2)
    follow_file = own_thread.follow

    def follow_and_fail(file: Path, sender: ewb.ChunkSender[Line], stop: Event) -> None:
        stop.set()  # at the end of the file, that is
        with sender:
            sender.send(Line(file.name, "before"))
            follow_file(file.with_name("pulled out"), sender.clone(), Event())

    monkeypatch.setattr(own_thread, "follow", follow_and_fail)
    assert main([str(file)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "log: before"
    assert said[1].startswith("pulled out: ")
    assert len(said) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["/no/such/file"], "/no/such/file: No such file", id="missing"),
        pytest.param(["/"], "/: Is a directory", id="directory"),
        pytest.param([__file__, "--tick", "often"], "such as 0.5, not 'often'", id="no number"),
        pytest.param([__file__, "--lines", "0"], "such as 10, not '0'", id="no lines"),
        pytest.param([__file__, "--delay=-1"], "from 0 up", id="negative"),
        pytest.param([], "required: file", id="nothing"),
    ],
)
def test_it_says_what_is_wrong_with_its_arguments(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_its_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "echo hello >> FILE" in said
    assert "--tick 0.001 --delay 0.1" in said
