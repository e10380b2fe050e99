"""The directory that is compressed on the way: what arrives is unzipped, and things go wrong."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import zipfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import ewb
from examples import compress_directory
from examples.compress_directory import Server, Summary, main, zipped

from .helpers import GUARD, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PROGRAM = (sys.executable, "-m", "examples.compress_directory")
NOISE = random.Random(1).randbytes(1024 * 1024)  # noqa: S311 - it only must not compress


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with something in it."""
    made = tmp_path / "a directory"
    (made / "below" / "empty").mkdir(parents=True)
    (made / "text.txt").write_text("how it began\n" * 1000)
    (made / "below" / "noise.bin").write_bytes(NOISE)
    return made


def archive_of(directory: Path) -> tuple[zipfile.ZipFile, Summary]:
    """The producer is a plain generator: run to its end, here."""
    pieces: list[bytes] = []
    producer = zipped(directory)
    while True:
        try:
            pieces.append(next(producer))
        except StopIteration as stop:
            return zipfile.ZipFile(io.BytesIO(b"".join(pieces))), stop.value


# -- the archive ----------------------------------------------------------------------------------


def test_all_files_and_directories_are_in_it(directory: Path) -> None:
    """With their content, their permissions and their times."""
    (directory / "text.txt").chmod(0o640)
    os.utime(directory / "text.txt", (1_000_000_000, 1_000_000_000))
    archive, summary = archive_of(directory)
    assert archive.testzip() is None
    assert archive.namelist() == ["below/", "text.txt", "below/empty/", "below/noise.bin"]
    assert archive.read("below/noise.bin") == NOISE
    text = archive.getinfo("text.txt")
    assert archive.read(text) == (directory / "text.txt").read_bytes()
    assert text.compress_size < text.file_size
    assert stat.filemode(text.external_attr >> 16) == "-rw-r-----"
    assert text.date_time[:2] == (2001, 9)
    assert summary == Summary(files=2, bytes=len(NOISE) + text.file_size)
    assert archive.comment == b""


def test_an_empty_directory_is_an_archive_too(tmp_path: Path) -> None:
    archive, summary = archive_of(tmp_path)
    assert (archive.namelist(), summary) == ([], Summary())


@pytest.mark.skipif(shutil.which("unzip") is None, reason="there is no unzip here")
def test_unzip_takes_it(directory: Path, tmp_path: Path) -> None:
    """A real one: it checks more than zipfile, which made this archive."""
    (directory / "link").symlink_to("text.txt")
    file = tmp_path / "archive.zip"
    file.write_bytes(b"".join(zipped(directory)))
    subprocess.run(
        ["unzip", "-q", file, "-d", tmp_path / "out"],  # noqa: S607 - it was looked for
        check=True,
    )
    assert (tmp_path / "out" / "below" / "noise.bin").read_bytes() == NOISE
    assert (tmp_path / "out" / "below" / "empty").is_dir()
    assert (tmp_path / "out" / "link").readlink() == Path("text.txt")


def test_links_are_stored_and_not_followed(directory: Path) -> None:
    """Else a link to a directory above would never end, and one to elsewhere would give that away."""
    (directory / "above").symlink_to("..", target_is_directory=True)
    (directory / "elsewhere").symlink_to("/etc/passwd")
    (directory / "nowhere").symlink_to("/no/such/thing")
    archive, summary = archive_of(directory)
    links = {"above": b"..", "elsewhere": b"/etc/passwd", "nowhere": b"/no/such/thing"}
    assert {name: archive.read(name) for name in links} == links
    assert all(stat.S_ISLNK(archive.getinfo(name).external_attr >> 16) for name in links)
    assert len(archive.namelist()) == 4 + len(links)
    assert summary.left_out == []


def test_what_cannot_be_opened_is_left_out_and_said(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is there; who receives it reads in the comment what is not."""
    system_open = os.open

    def open_but_not_that(path: str, flags: int) -> int:
        if path.endswith("text.txt"):
            raise PermissionError(13, "Permission denied", path)
        return system_open(path, flags)

    monkeypatch.setattr(os, "open", open_but_not_that)
    archive, summary = archive_of(directory)
    assert summary.left_out == ["text.txt: Permission denied"]
    assert archive.comment == b"Left out:\ntext.txt: Permission denied"
    assert archive.read("below/noise.bin") == NOISE
    assert archive.testzip() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_directory_that_cannot_be_listed_is_left_out_and_said(directory: Path) -> None:
    (directory / "below").chmod(0)
    try:
        archive, summary = archive_of(directory)
    finally:
        (directory / "below").chmod(0o700)
    assert summary.left_out == ["below: Permission denied"]
    assert archive.namelist() == ["below/", "text.txt"]


def test_a_pipe_is_left_out(directory: Path) -> None:
    """To open it would be to wait for somebody who writes."""
    os.mkfifo(directory / "pipe")
    archive, summary = archive_of(directory)
    assert summary.left_out == ["pipe: neither a file nor a link nor a directory"]
    assert "pipe" not in archive.namelist()


@pytest.mark.parametrize("becomes", ["pipe", "link", "gone"])
def test_a_file_that_becomes_something_else_is_left_out(
    directory: Path, monkeypatch: pytest.MonkeyPatch, becomes: str
) -> None:
    """Between the look at it and the open: it neither waits, nor gives away what a link leads to."""
    file = directory / "text.txt"
    look = os.lstat

    def look_and_change(path: str) -> os.stat_result:
        seen = look(path)
        if path == str(file):
            file.unlink()
            if becomes == "pipe":
                os.mkfifo(file)
            elif becomes == "link":
                file.symlink_to("/etc/passwd")
        return seen

    monkeypatch.setattr(os, "lstat", look_and_change)
    archive, summary = archive_of(directory)
    assert [line.partition(":")[0] for line in summary.left_out] == ["text.txt"]
    assert "text.txt" not in archive.namelist()


def test_a_file_that_grows_meanwhile_ends_where_it_ended(directory: Path) -> None:
    """A log that is written to faster than a client reads would never end."""
    log = NOISE[:200_001]
    (directory / "a.log").write_bytes(log)
    pieces: list[bytes] = []
    with (directory / "a.log").open("ab") as file:
        for piece in zipped(directory):
            pieces.append(piece)
            file.write(bytes(1000))
            file.flush()
    archive = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert (archive.testzip(), archive.read("a.log")) == (None, log)


def test_names_are_kept_whatever_they_are(directory: Path) -> None:
    """Only what is not UTF-8 is written otherwise; and none leads out of the directory."""
    names = ["öäü €", "new\nline", "..x", "-r", "a" * 250]
    for name in names:
        (directory / name).write_text(name)
    with open(os.fsencode(directory) + b"/caf\xe9", "w") as file:  # noqa: PTH123 - a name of bytes
        file.write("coffee")
    archive, summary = archive_of(directory)
    assert {name: archive.read(name).decode() for name in names} == {name: name for name in names}
    assert archive.read("caf\\xe9") == b"coffee"
    assert summary.left_out == []
    assert not any(name.startswith(("/", "../")) for name in archive.namelist())


@pytest.mark.parametrize(("year", "said"), [(1971, 1980), (2200, 2107)])
def test_times_that_a_zip_cannot_say_are_moved(directory: Path, year: int, said: int) -> None:
    """Not an error: who has such files did not choose them."""
    seconds = (year - 1970) * 365.2425 * 86_400 + 86_400 * 100
    os.utime(directory / "text.txt", (seconds, seconds))
    archive, _ = archive_of(directory)
    assert archive.getinfo("text.txt").date_time[0] == said


def failing_source(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the file `noise.bin` fail when half of it is read, as a disk does."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > len(NOISE) // 2:
                raise OSError(5, "Input/output error")
            return super().read(size)

    look_at = compress_directory.look_at

    def look_at_or_fail(path: str, name: str) -> tuple[zipfile.ZipInfo, io.IOBase]:
        info, source = look_at(path, name)
        if not name.endswith("noise.bin"):
            return info, source  # type: ignore[return-value]
        with source:
            return info, Failing(source.read())

    monkeypatch.setattr(compress_directory, "look_at", look_at_or_fail)
    assert (directory / "below" / "noise.bin").exists()


def test_half_a_file_is_no_archive(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent of it cannot be taken back; so the archive gets no end, and is none."""
    failing_source(directory, monkeypatch)
    pieces: list[bytes] = []
    with pytest.raises(OSError, match="Input/output error"):
        pieces.extend(zipped(directory))
    assert len(b"".join(pieces)) > len(NOISE) // 4
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(b"".join(pieces)))


# -- the server -----------------------------------------------------------------------------------


@asynccontextmanager
async def serving(directory: Path, threads: int = 1) -> AsyncGenerator[tuple[int, Server, ewb.Workers]]:
    """Serve in this process; yields the port."""
    with trio.fail_after(3 * GUARD):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with ewb.open_workers(threads=threads) as workers, trio.open_nursery() as nursery:
            server = Server(directory, workers)
            nursery.start_soon(trio.serve_listeners, server.serve, [listener])
            yield listener.socket.getsockname()[1], server, workers
            nursery.cancel_scope.cancel()


async def read_all(stream: trio.SocketStream) -> bytes:
    """All that comes, until the server has closed."""
    return b"".join([data async for data in stream])


def make_it_large(directory: Path) -> None:
    """More than all buffers of two sockets take."""
    with (directory / "large.bin").open("wb") as file:
        for _ in range(14):
            file.write(NOISE)


@pytest.mark.slow
async def test_slow_clients_hold_no_thread_and_get_all(directory: Path) -> None:
    """Three of them at one worker: each is suspended; then each gets a whole archive."""
    make_it_large(directory)
    archives: list[bytes] = []

    async def read(stream: trio.SocketStream) -> None:
        archives.append(await read_all(stream))

    async with serving(directory) as (port, _, workers):
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]
        await until(lambda: (now := workers.statistics()).suspended == 3 and now.idle == 1)
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(read, stream)
        for stream in streams:
            await stream.aclose()
    assert len(archives) == 3
    for data in archives:
        assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


async def test_when_a_client_leaves_its_compression_ends(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_it_large(directory)
    async with serving(directory) as (port, server, workers):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.receive_some(1)
        await until(server.served.is_set)
        assert workers.statistics().producers == 0
    assert server.exit_code == 1
    assert capsys.readouterr().err == "client 1: connected\nclient 1: left before the end\n"


async def test_a_client_that_takes_nothing_is_cut_off(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress_directory, "STALL_TIMEOUT", 0.01)
    make_it_large(directory)
    async with (
        serving(directory) as (port, server, _),
        await trio.open_tcp_stream("127.0.0.1", port),
    ):
        await until(server.served.is_set)
    assert server.exit_code == 1
    assert capsys.readouterr().err.endswith("client 1: took nothing for 0 s, and was cut off\n")


async def test_a_file_that_fails_costs_only_its_client(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut off, and can tell; the next one is served."""
    with monkeypatch.context() as failing:
        failing_source(directory, failing)
        async with serving(directory) as (port, server, _):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                data = await read_all(stream)
            assert server.exit_code == 1
            failing.undo()
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                whole = await read_all(stream)
            await until(lambda: server.exit_code == 0)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(data))
    assert zipfile.ZipFile(io.BytesIO(whole)).testzip() is None
    assert "client 1: cut off, since its archive cannot be whole: " in capsys.readouterr().err


# -- the program ----------------------------------------------------------------------------------


@contextmanager
def program(*arguments: str) -> Generator[tuple[subprocess.Popen[str], int]]:
    """Run it; yields its process and its port."""
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = re.fullmatch(
                r"listening on 127\.0\.0\.1:(\d+); try: nc 127\.0\.0\.1 \1 > directory\.zip\n",
                process.stdout.readline(),
            )
            assert said
            yield process, int(said[1])
        finally:
            process.kill()


def download(port: int) -> bytes:
    """All that a client gets."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=GUARD) as client,
        client.makefile("rb") as data,
    ):
        return data.read()


@pytest.mark.parametrize("left_out", [False, True])
def test_once_says_by_its_exit_code_what_was_sent(directory: Path, *, left_out: bool) -> None:
    """0 for all; 3 if something was left out, which it names."""
    if left_out:
        os.mkfifo(directory / "pipe")
    with program(str(directory), "--once") as (process, port):
        data = download(port)
        _, errors = process.communicate(timeout=GUARD)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    assert process.returncode == (3 if left_out else 0)
    assert re.match(
        rf"client 1: connected\nclient 1: 2 files, [\d,]+ bytes, sent as {len(data):,}\n", errors
    )
    assert ("client 1: left out pipe: neither" in errors) == left_out


def test_it_serves_one_after_the_other_until_ctrl_c(directory: Path) -> None:
    with program(str(directory)) as (process, port):
        assert download(port) == download(port)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=GUARD)
    assert process.returncode == 0
    assert errors.splitlines()[-1].startswith("Stopped. ")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["/no/such/directory"], "/no/such/directory: No such file", id="missing"),
        pytest.param([__file__], "Not a directory", id="no directory"),
        pytest.param(
            [".", "--port", "65536"], "up to 65535, or 0 for any that is free", id="large port"
        ),
        pytest.param([".", "--port", "http"], "not 'http'", id="no port"),
        pytest.param([], "required: directory", id="nothing"),
    ],
)
def test_it_says_what_is_wrong_with_its_arguments(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_port_in_use_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main([".", "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"Error: cannot listen at 127.0.0.1:{port}: ")
    assert said.endswith("; choose another --host or --port; 0 is any port that is free\n")
    assert said.count("\n") == 1


def test_its_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "nc 127.0.0.1 PORT > directory.zip" in said
    assert "3 if something was left out" in said
