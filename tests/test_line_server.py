"""The line server does what it promises, as one would see it with `nc`."""

from __future__ import annotations

import re
import signal
import socket
from contextlib import asynccontextmanager
from functools import partial
from hashlib import pbkdf2_hmac
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ewb
from ewb.testing import connect
from examples.line_server import LineEngine, LineProtocol

from .helpers import GUARD, run_example, until, until_refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent
FrontEnd = ewb.FrontEnd[list[bytes], ewb.Status]


@asynccontextmanager
async def serving() -> AsyncGenerator[FrontEnd]:
    """The example, without sockets."""
    async with ewb.open_workers(threads=2) as workers:
        yield ewb.FrontEnd(LineProtocol, LineEngine(), workers)


async def answers_to(*lines: bytes) -> list[bytes]:
    """All lines that come back for these, sent at once."""
    async with serving() as front_end, connect(front_end) as client:
        await client.send(b"".join(line + b"\n" for line in lines))
        return (await client.finish()).splitlines()


async def parked(front_end: FrontEnd, count: int) -> None:
    """Wait until so many commands are."""
    await until(lambda: front_end.statistics().parked == count)


def hashed(text: bytes) -> bytes:
    return pbkdf2_hmac("sha256", text, b"salt", 100_000).hex().encode()


async def test_commands_are_answered_in_order() -> None:
    """A stream, a blocking call, and what is wrong; empty lines are no commands."""
    usage = b"FAILED try: count N, hash TEXT, wait KEY, set KEY VALUE"
    said = await answers_to(
        b"count 3", b"", b"hash a\r", b" \t", b"set k v", b"count 0", b"count -1", b"count", b"nonsense"
    )
    assert said == [b"1", b"2", b"3", b"OK", b"OK " + hashed(b"a"), b"OK", b"OK", usage, usage, usage]


async def test_tagged_commands_are_answered_when_they_are_ready() -> None:
    """The first one waits for the last one; each line of an answer has its tag."""
    said = await answers_to(b"@1 wait k", b"@2 hash a", b"@3 count 2", b"@4", b"@5 set k v")
    assert sorted(said) == [
        b"@1 OK v",
        b"@2 OK " + hashed(b"a"),
        b"@3 1",
        b"@3 2",
        b"@3 OK",
        b"@4 FAILED try: count N, hash TEXT, wait KEY, set KEY VALUE",
        b"@5 OK",
    ]
    assert [line for line in said if line.startswith(b"@3")] == [b"@3 1", b"@3 2", b"@3 OK"]
    assert said.index(b"@5 OK") < said.index(b"@1 OK v")


async def test_a_tagged_command_is_answered_beside_an_endless_stream() -> None:
    async with serving() as front_end, connect(front_end) as client:
        await client.send(b"@1 count 1000000000000\n")
        await client.receive_until(b"@1 1\n")
        await client.send(b"@2 hash a\n")
        await client.receive_until(b"\n@2 OK " + hashed(b"a") + b"\n")


async def test_set_wakes_all_who_wait_for_its_key() -> None:
    """With the value that it sets, whatever is set next; who waits for another key waits on."""
    async with (
        serving() as front_end,
        connect(front_end) as one,
        connect(front_end) as two,
        connect(front_end) as other,
    ):
        for number, (client, key) in enumerate([(one, b"k"), (two, b"k"), (other, b"x")], 1):
            await client.send(b"wait %s\n" % key)
            await parked(front_end, number)
        async with connect(front_end) as setter:
            await setter.send(b"set k first\nset k second\n")
            assert await setter.finish() == b"OK\nOK\n"
        assert await one.finish() == b"OK first\n"
        assert await two.finish() == b"OK first\n"
        await parked(front_end, 1)


async def test_a_client_that_leaves_while_it_waits_is_forgotten() -> None:
    """What is set later finds nobody, and the other one is served."""
    async with serving() as front_end, connect(front_end) as stays:
        async with connect(front_end) as leaves:
            await leaves.send(b"wait k\n")
            await parked(front_end, 1)
        await parked(front_end, 0)
        await stays.send(b"set k v\ncount 1\n")
        assert await stays.finish() == b"OK\n1\nOK\n"


@given(st.lists(st.integers(0, 60), max_size=12))
def test_lines_are_the_same_however_they_are_split(cuts: list[int]) -> None:
    data = b"count 3\r\n\n@7 wait k\n @8  set k v\nbegun"
    protocol = LineProtocol()
    places = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    requests = []
    for begin, end in pairwise(places):
        protocol.receive_data(data[begin:end])
        while (request := protocol.next_request()) is not None:
            requests.append(request)
    assert requests == [
        [b"", b"count", b"3"],
        [b"@7", b"wait", b"k"],
        [b"@8", b"set", b"k", b"v"],
    ]


def test_example_stays_short() -> None:
    """It is the one to begin with: under 120 lines."""
    assert len((ROOT / "examples/line_server.py").read_text(encoding="utf-8").splitlines()) < 120


# -- the program -------------------------------------------------------------------------------------


program = partial(run_example, "line_server")
"""The example as its reader runs it."""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_program_lets_commands_finish_when_it_is_told_to_end(how: signal.Signals) -> None:
    """Those that have begun are answered, and the exit code is 0."""
    with program("--port", "0") as process:
        assert process.stdout
        listening = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", process.stdout.readline())
        assert listening
        with socket.create_connection(("127.0.0.1", int(listening[1])), timeout=GUARD) as client:
            client.sendall(b"@1 count 200000\n@2 set k v\n")  # the stream holds some of it back
            said = b""
            while b"@2 OK\n" not in said:
                said += client.recv(4096)
            process.send_signal(how)
            said += b"".join(iter(partial(client.recv, 65_536), b""))
        out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, out, err) == (0, "", "")
    lines = said.splitlines()
    assert lines.pop(lines.index(b"@2 OK")) == b"@2 OK"
    assert lines == [*(b"@1 %d" % number for number in range(1, 200_001)), b"@1 OK"]


def test_program_does_not_wait_for_ever_for_what_never_comes() -> None:
    """Who waits has two seconds more, and the exit code is 0 all the same."""
    with program("--port", "0") as process:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=GUARD) as client:
            client.sendall(b"count 1\nwait k\n")
            answers = client.makefile("rb")
            assert [answers.readline(), answers.readline()] == [b"1\n", b"OK\n"]
            process.send_signal(signal.SIGTERM)
            assert answers.read() == b""
        out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_program_that_is_told_twice_ends_at_once(how: signal.Signals) -> None:
    """Quietly, and with the exit code that a shell expects."""
    with program("--port", "0") as process:
        assert process.stdout
        port = int(process.stdout.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=GUARD) as client:
            client.sendall(b"count 1\nwait k\n")
            answers = client.makefile("rb")
            assert [answers.readline(), answers.readline()] == [b"1\n", b"OK\n"]
            process.send_signal(how)
            until_refused(port)
            process.send_signal(how)
            assert answers.read() == b""
        out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, out, err) == (130, "", "")


def test_program_says_if_its_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with program("--port", port) as process:
            out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert (out, err) == ("", f"cannot listen on 127.0.0.1:{port}: Address already in use\n")


def test_program_does_not_take_another_port_than_it_was_given() -> None:
    """Beyond the last one, the system would take the rest of a division."""
    with program("--port", "99999") as process:
        out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, out) == (2, "")
    assert "--port: give a number up to 65535, or 0 for any that is free, not '99999'" in err


def test_program_help_teaches() -> None:
    with program("--help") as process:
        out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, err) == (0, "")
    assert "wait KEY" in out
    assert "--port PORT" in out
