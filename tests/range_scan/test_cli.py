"""The command line, as a user meets it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner, Result

from examples.range_scan import wire
from examples.range_scan.__main__ import main
from examples.range_scan.cli.documents import cities, json_lines
from examples.range_scan.client import Client, Login, Range, RefusedError
from examples.range_scan.wire import Status
from tests.helpers import ROOT

from .server_process import GUARD, port_of, running, start, stop

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.tree

LIMIT = 5000


@pytest.fixture(scope="module")
def expected() -> dict[str, object]:
    """What is loaded, by its keys: read once, since that takes seconds."""
    return {key.decode(): json.loads(value) for key, value in cities()[:LIMIT]}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One server for all tests here, with the first of the cities."""
    with running(tmp_path_factory.mktemp("store"), "--collection", "a.b") as port:
        result = run("load", "--limit", str(LIMIT), port=port)
        assert "5,000 documents" in result.stdout
        yield port


def run(*arguments: str, port: int | None = None, code: int = 0, stdin: str | None = None) -> Result:
    """Run a command, which must end with that exit code."""
    where = [] if port is None else ["--port", str(port)]
    result = CliRunner().invoke(main, [arguments[0], *where, *arguments[1:]], input=stdin)
    assert result.exit_code == code, result.output
    return result


def failure(*arguments: str, port: int | None = None, code: int = 1, stdin: str | None = None) -> str:
    """The one line that says why a command failed."""
    return run(*arguments, port=port, code=code, stdin=stdin).stderr.splitlines()[-1]


def test_the_cities_arrive(port: int, expected: dict[str, object], tmp_path: Path) -> None:
    """All that were loaded, each as it is in its source."""
    output = tmp_path / "all.jsonl"
    result = run("scan", "--output", str(output), port=port)
    assert "5,000 documents" in result.stderr
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(found) == LIMIT
    assert {it["key"]: it["value"] for it in found} == expected


def test_a_part_of_them(port: int, expected: dict[str, object]) -> None:
    """By prefix, by bounds, as a sample, and no more than a limit."""
    keys = sorted(expected)

    def scanned(*options: str) -> list[str]:
        return sorted(run("scan", "--keys-only", *options, port=port).stdout.splitlines())

    assert scanned("--prefix", "AE:") == [key for key in keys if key.startswith("AE:")]
    assert scanned("--start", "AE:", "--end", "AF:") == scanned("--prefix", "AE:")
    assert len(scanned("--limit", "7")) == 7
    sample = scanned("--sample", "3", "--seed", "1")
    assert set(sample) < set(keys)
    assert 64 < len(sample) < 64 * 6
    assert sample == scanned("--sample", "3", "--seed", "1")
    assert scanned("--collection", "a.b") == []


def test_lines_of_json(port: int) -> None:
    """From standard input, into a collection; what is no such line is said, with its number."""
    lines = '{"id": 1, "name": "one"}\n\n{"id": "two"}\n'
    options = ("--file", "-", "--key", "id", "--collection", "a.b")
    assert "2 documents" in run("load", *options, port=port, stdin=lines).stdout
    one = run("load", *options, port=port, stdin='{"id": 1, "name": "one"}').stdout
    assert one.startswith("1 document, ")
    found = run("scan", "--collection", "a.b", port=port).stdout.splitlines()
    assert sorted(found) == [
        '{"key": "1", "value": {"id": 1, "name": "one"}}',
        '{"key": "two", "value": {"id": "two"}}',
    ]
    assert "line 2 is no JSON object with a field 'id': {}" in failure(
        "load", *options, port=port, stdin='{"id": 1}\n{}\n'
    )
    for key in ("", "x" * 251):
        said = failure("load", *options, port=port, stdin='{"id": 1}\n' + json.dumps({"id": key}))
        assert said.endswith(f"line 2 has a key of {len(key)} bytes; there must be 1 to 250")


def test_a_load_that_breaks_off_says_how_much_is_there(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what was acknowledged; the rest may be there, or not."""

    def store(*_: object, **__: object) -> Iterator[int]:
        yield from (2048, 64)
        raise RefusedError(Status.TOO_BIG, "the server refuses")

    monkeypatch.setattr(Client, "store", store)
    lines = "".join(f'{{"id": {number}}}\n' for number in range(3000))
    said = failure("load", "--file", "-", "--key", "id", port=port, stdin=lines)
    assert said.endswith("only 2,112 of 3,000 documents are surely on the disk: the server refuses")


def test_more_lines_than_fit_into_memory() -> None:
    """They are read twice, to check them and to load them, and never are all there at once."""
    lines = b"".join(
        b'{"id": %d, "value": "%s"}\n' % (number, bytes(48).hex().encode()) for number in range(20_000)
    )
    read, write = os.pipe()

    def feed() -> None:
        with os.fdopen(write, "wb") as pipe:
            pipe.write(lines)

    feeding = threading.Thread(target=feed)
    feeding.start()
    tracemalloc.start()
    try:
        with os.fdopen(read, "rb") as pipe, json_lines(pipe, "id") as documents:
            counts = [sum(1 for _ in documents) for _ in range(2)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    feeding.join()
    assert counts == [20_000, 20_000]
    assert peak < len(lines) / 4


def test_a_line_that_is_too_long_is_not_read_whole() -> None:
    """No document is so large, so it is a mistake."""
    file, said = io.BytesIO(b"x" * 30_000_000), "line 1 is too long; the most is 20971520"
    with json_lines(file, "id") as documents, pytest.raises(click.ClickException, match=said):
        list(documents)
    assert file.tell() < 21_000_000


def test_a_scan_asks_for_no_more_than_its_limit(port: int) -> None:
    """What is beyond it would be received to be thrown away."""
    login = Login("Administrator", "password")
    value = json.dumps("x" * 100_000).encode()
    with Client.connect("127.0.0.1", port, login, bucket="default") as client:
        keys = [key for key in (b"~large%d" % n for n in range(500)) if wire.vbucket_of(key, 64) == 7]
        assert list(client.store([(key, value) for key in keys]))
    assert len(keys) > 2
    said = run("scan", "--prefix", "~large", "--limit", "1", port=port).stderr
    assert said.lstrip().startswith("1 document, 0.1 MB received")
    all_of_them = run("scan", "--prefix", "~large", "--limit", str(1 << 33), port=port)
    assert len(all_of_them.stdout.splitlines()) == len(keys)


def test_statistics(port: int) -> None:
    """As a table, and as lines."""
    assert "vbuckets 64" in run("stats", "--plain", port=port).stdout.splitlines()
    assert "high_seqno" in run("stats", "vbucket", port=port).stdout


def test_what_goes_wrong_is_one_line(port: int) -> None:
    """And an exit code that is not zero."""
    assert failure("stats", "--password", "x", port=port).endswith("user or password are wrong")
    assert "is the server running?" in failure("stats", port=1)
    assert "unknown collection" in failure("scan", "--collection", "not.there", port=port)
    assert "cannot connect" in failure("stats", "--host", "a" * 70)
    assert "is not in the range" in failure("stats", port=70_000, code=2)
    assert "nobody can log in" in failure("stats", "--user", "", port=port)


def test_options_that_do_not_go_together_need_no_server() -> None:
    """They are wrong with any."""
    assert "choose one" in failure("scan", "--prefix", "a", "--sample", "1", port=1, code=2)
    assert "choose one" in failure("scan", "--prefix", "a", "--start", "a", port=1, code=2)
    assert "give --sample" in failure("scan", "--seed", "5", port=1, code=2)
    assert "go together" in failure("load", "--file", "-", port=1, code=2)
    assert "go together" in failure("load", "--key", "k", port=1, code=2)


def test_user_and_password_are_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of the two is not is said, on both sides."""
    for command in ("serve", "stats"):
        for option in ("--user", "--password"):
            said = failure(command, option, "\udcff", port=1, code=2)
            assert said.startswith(f"Error: Invalid value for '{option}'")
            assert said.endswith(": it is not UTF-8: write it as that")
    monkeypatch.setenv("RANGE_SCAN_PASSWORD", "\udcff")
    assert "(env var: 'RANGE_SCAN_PASSWORD'): it is not" in failure("stats", port=1, code=2)


@pytest.mark.parametrize("arguments", [[], ["--password", ""]])
def test_a_password_that_is_empty_is_refused(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Wherever it comes from: the default would be one that everyone knows."""
    if not arguments:
        monkeypatch.setenv("RANGE_SCAN_PASSWORD", "")
    assert "password are wrong" in failure("stats", *arguments, port=port)
    said = failure("serve", "--data", str(tmp_path), *arguments, port=1)
    assert said == "Error: the password must not be empty"


@pytest.mark.parametrize("arguments", ["serve --data", "load --collection", "scan --collection"])
def test_a_name_that_is_empty_is_refused(arguments: str) -> None:
    """It is a variable that is not set: not the directory one is in, nor the default collection."""
    command, option = arguments.split()
    said = failure(command, option, "", port=1, code=2)
    assert said.startswith(f"Error: Invalid value for '{option}': it is empty")


@pytest.mark.parametrize("line", [b'\xff{"id": "\xff"}', b"[" * 100_000, b'{"other": 1}', b"7"])
def test_a_bad_line_is_named(port: int, tmp_path: Path, line: bytes) -> None:
    """And nothing before it is loaded."""
    file = tmp_path / "lines"
    file.write_bytes(b'{"id": "good, but alone"}\n' + line + b"\n")
    said = failure("load", "--file", str(file), "--key", "id", port=port)
    assert said.startswith("Error: line 2 is no JSON object with a field 'id': ")
    assert run("scan", "--prefix", "good, but alone", port=port).stdout == ""


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("null", "is null"),
        ("true", "is true"),
        ("1.0", "is 1.0"),
        ("NaN", "is NaN"),
        ("[1]", "is a list"),
        ("{}", "is an object"),
        (r'"\ud800"', "is not UTF-8"),
    ],
)
def test_a_field_that_is_no_key_is_named(port: int, field: str, said: str) -> None:
    """Or documents that have nothing in common would overwrite each other."""
    lines = f'{{"k": "good, but alone"}}\n\n{{"k": {field}}}\n'
    failed = failure("load", "--file", "-", "--key", "k", port=port, stdin=lines)
    assert failed == f"Error: line 3: the field 'k' {said}: a key is text or a whole number"
    assert run("scan", "--prefix", "good, but alone", port=port).stdout == ""


def test_a_key_that_is_no_text_can_be_scanned(port: int) -> None:
    """As the shell gives it."""
    key, login = b"\xff\xfe", Login("Administrator", "password")
    with Client.connect("127.0.0.1", port, login, bucket="default") as client:
        assert list(client.store([(key, b"{}")]))
    assert (
        run("scan", "--prefix", "\udcff", port=port).stdout
        == '{"key": "\\\\xff\\\\xfe", "value": {}}\n'
    )
    assert run("scan", "--start", "\udcff\udcff", port=port).stdout == ""


def test_json_that_utf_8_cannot_write_is_shown_as_json(port: int) -> None:
    """Half of a surrogate pair; and what would do something to a terminal."""
    login = Login("Administrator", "password")
    with Client.connect("127.0.0.1", port, login, bucket="default") as client:
        assert list(client.store([(b"~half", b'{"v": "\\ud800 \\u009b \xc2\x9b"}')]))
    (line,) = run("scan", "--prefix", "~half", port=port).stdout.splitlines()
    assert line == r'{"key": "~half", "value": {"v": "\ud800 \u009b \u009b"}}'


@pytest.mark.parametrize("value", [b"[" * 100_000, b"1e999", b"no JSON at all"])
def test_a_value_that_only_says_that_it_is_json_is_text(port: int, value: bytes) -> None:
    """So that each line is JSON."""
    login = Login("Administrator", "password")
    with Client.connect("127.0.0.1", port, login, bucket="default") as client:
        assert list(client.store([(b"~odd", value)]))
    (line,) = run("scan", "--prefix", "~odd", port=port).stdout.splitlines()
    assert json.loads(line) == {"key": "~odd", "value": value.decode()}


def test_what_clients_say_does_nothing_to_a_terminal(port: int) -> None:
    """Names of scans, and keys, are shown in one line, as they are."""
    login = Login("Administrator", "password")
    with Client.connect("127.0.0.1", port, login, bucket="default") as client:
        assert list(client.store([(b"~\x1b[31m\n", b"{}")]))
        assert client._create(0, Range(), 0, keys_only=True, name="[/b]\x1b[31m")
        for options in ([], ["--plain"]):
            assert "[/b]\\u001b[31m" in run("stats", "range-scans", *options, port=port).stdout
    keys = run("scan", "--prefix", "~\x1b", "--keys-only", port=port).stdout
    assert keys == "~\\u001b[31m\\u000a\n"


def in_shell(command: str, port: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as a program: a shell can close what Popen would open."""
    where = "" if port is None else f"--port {port}"
    name, _, rest = command.partition(" ")
    return subprocess.run(  # noqa: S602 - see above
        f"{sys.executable} -m examples.range_scan {name} {where} {rest}",
        shell=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("command", ["scan", "scan --output /dev/full", "stats", "stats --plain"])
def test_a_full_disk_is_one_line(port: int, command: str) -> None:
    """Whether what is written goes to a file or to the standard output."""
    done = in_shell(f"{command} >/dev/full", port)
    assert done.returncode == 1
    (line,) = filter(str.strip, done.stderr.split("\n"))
    assert line.startswith("Error: cannot read or write: [Errno 28] No space left on device; make room")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_help_that_cannot_be_written_is_one_line() -> None:
    """As anything else that cannot."""
    done = in_shell("--help >/dev/full")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: cannot read or write: [Errno 28] No space left on device; make room")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("command", ["scan --limit 1", "load --file - --key k"])
def test_remarks_that_cannot_be_written_are_no_failure(port: int, command: str) -> None:
    """All that was asked for is done."""
    done = in_shell(f"{command} 2>/dev/full", port)
    assert done.returncode == 0
    assert done.stdout


def test_a_scan_needs_somewhere_to_write_to(port: int, tmp_path: Path) -> None:
    """Without a standard output a file will do; without both, a line says so."""
    command = "scan --keys-only --limit 1"
    nowhere = in_shell(f"{command} >&-", port)
    assert nowhere.returncode == 1
    assert nowhere.stderr.startswith("Error: there is no standard output to write to")
    assert in_shell(f"{command} --output {tmp_path / 'keys'} >&-", port).returncode == 0
    assert len((tmp_path / "keys").read_text().splitlines()) == 1


def test_a_load_needs_somewhere_to_read_from() -> None:
    """A standard input that is closed is not one that is empty."""
    done = in_shell("load --file - --key k <&-")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: there is no standard input to read from")


def test_what_goes_wrong_is_never_output() -> None:
    """Not even where there is no standard error."""
    done = in_shell("stats 2>&-", port=1)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_server_of_something_else_is_noticed() -> None:
    """It is said, and nothing is taken for an answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(4096)

        thread = threading.Thread(target=answer)
        thread.start()
        said = failure("stats", port=listener.getsockname()[1])
        thread.join()
    assert "is no such server" in said


def test_the_password_need_not_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come from the environment or from a file, on both sides."""
    file = tmp_path / "password"
    file.write_text("from a file\n")
    with running(tmp_path / "store", "--password-file", str(file)) as port:
        run("stats", "--password-file", str(file), port=port)
        monkeypatch.setenv("RANGE_SCAN_PASSWORD", "from a file")
        run("stats", port=port)
    with running(tmp_path / "store", RANGE_SCAN_PASSWORD="in the air") as port:
        assert "wrong" in failure("stats", port=port)
        run("stats", "--password", "in the air", port=port)
    file.write_bytes(b"from another system\r\n")
    with running(tmp_path / "store", "--password-file", str(file)) as port:
        run("stats", "--password", "from another system", port=port)
    file.write_bytes(b"\xff")
    assert "is not UTF-8" in failure("stats", "--password-file", str(file), port=1)


def test_an_interrupt_while_it_starts_is_quiet(tmp_path: Path) -> None:
    """Ctrl-C comes here in the midst of an import."""
    (tmp_path / "click.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    done = subprocess.run(
        [sys.executable, "-m", "examples.range_scan", "stats"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_well(tmp_path: Path, number: int) -> None:
    """With 0, on either signal; and what was loaded is there when it starts again."""
    process = start(tmp_path)
    lines = "".join(f'{{"id": {number}}}\n' for number in range(100))
    run("load", "--file", "-", "--key", "id", port=port_of(process), stdin=lines)
    assert stop(process, number) == (0, "")
    with running(tmp_path) as port:
        assert len(run("scan", "--keys-only", port=port).stdout.splitlines()) == 100


def refused(directory: Path, *options: str) -> str:
    """The one line with which a server does not start."""
    process = start(directory, *options)
    output, errors = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert output == ""
    (line,) = errors.splitlines()
    return line


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """In one line: whatever is wrong with its port, its directory, its store or its settings."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1:{port}" in refused(tmp_path / "a", "--port", port)
    (tmp_path / "file").touch()
    for nowhere in (tmp_path / "file" / "below", Path(os.devnull), tmp_path / ("a" * 300)):
        said = refused(nowhere)
        assert said.startswith(f"Error: there can be no directory {nowhere} (")
        assert said.endswith("): give another --data")
    assert "choose a password" in refused(tmp_path / "a", "--host", "0.0.0.0")
    assert "loopback only" in refused(tmp_path / "a", "--no-auth", "--host", "0.0.0.0")
    assert "cannot listen on" in refused(tmp_path / "a", "--host", "a" * 70, "--password", "x")
    assert "the bucket needs a name" in refused(tmp_path / "a", "--bucket", "")
    assert "nobody can log in" in refused(tmp_path / "a", "--user", "")
    with running(tmp_path / "b", "--vbuckets", "4"):
        assert "is in use by process" in refused(tmp_path / "b")
    assert "was made with 4 vBuckets" in refused(tmp_path / "b", "--vbuckets", "8")
    os.truncate(tmp_path / "b" / "data.mdb", 5000)
    assert "is damaged" in refused(tmp_path / "b")
    assert "is not in the range" in failure("serve", "--port", "70000", code=2)
    assert "is not in the range" in failure("serve", "--max-size", "99999999999", code=2)
    assert "1<=x<=1024" in failure("serve", "--threads", "1025", code=2)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a bound on address space that is kept")
def test_too_little_address_space_is_one_line(tmp_path: Path) -> None:
    """It names the option."""
    command = f"{sys.executable} -m examples.range_scan serve --port 0 --data {tmp_path}"
    done = subprocess.run(  # noqa: S602 - a shell, because it has ulimit
        f"ulimit -v 16000000 && {command}",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = "Error: no address space for a store of 64 GiB: give a smaller --max-size\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_what_scans_may_take_is_for_the_command_line_to_say(tmp_path: Path) -> None:
    """How many, for how long, how much memory, how much room: here, one for a second."""
    options = ["--max-scans", "1", "--scan-lifetime", "1", "--memory", "1", "--max-growth", "1"]
    login = Login("Administrator", "password")
    with (
        running(tmp_path, "--vbuckets", "1", *options) as port,
        Client.connect("127.0.0.1", port, login, bucket="default") as client,
    ):
        assert list(client.store([(b"key", b"{}")]))
        assert client._create(0, Range(), 0, keys_only=True, name="")
        with pytest.raises(RefusedError, match="0x86"):
            client._create(0, Range(), 0, keys_only=True, name="")
        assert "workers:memory 1048576" in run("stats", "--plain", port=port).stdout


def test_help_teaches() -> None:
    """Each command says what it is for, and each option, too."""
    assert "Begin with `serve`" in run("--help").stdout
    for command in ("serve", "load", "scan", "stats"):
        text = run(command, "--help").stdout
        assert all(f"--{option}" in text for option in ("host", "port", "password-file"))
