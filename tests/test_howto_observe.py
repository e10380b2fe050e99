"""The observed server says what it does, as one would see it with `nc`, `curl` and its log."""

from __future__ import annotations

import logging
import re
import signal
import socket
import urllib.request
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import ewb
from ewb.testing import Gate, connect
from examples.line_server import LineEngine, LineProtocol
from examples.observed_server import Latencies, statistics_lines, warn_of_stuck

from .helpers import GUARD, run_example, until, until_refused

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent


def value_of(name: str, text: str) -> float:
    """What is said of it, in the line that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


begun = partial(run_example, "observed_server", "--metrics-port=0")
"""The program, on any metrics port."""


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """The program, its port, and where its metrics are."""
    with begun("--port=0", *options) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        yield process, port, process.stdout.readline().removeprefix("metrics at ").strip()


def talk(port: int, text: bytes) -> bytes:
    """Send this, and return all that is said to it."""
    with socket.create_connection(("127.0.0.1", port), GUARD) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def test_the_program_tells_curl_and_its_log() -> None:
    """Metrics in Prometheus's format, slow commands in the log, and it ends well."""
    with running("--slow=0") as (process, port, where):
        assert talk(port, b"count 3\nhash me\nsing\n").count(b"\n") == 6
        with urllib.request.urlopen(where, timeout=GUARD) as answer:  # noqa: S310 - our own server
            assert answer.headers["Content-Type"].startswith("text/plain")
            told = answer.read().decode()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=GUARD)
    assert process.returncode == 0
    assert value_of("ewb_front_end_completed", told) == 3
    assert value_of("ewb_front_end_failed", told) == 1
    assert value_of("ewb_workers_threads", told) == 4
    for command, count in (("count", 1), ("hash", 1), ("other", 1), ("set", 0)):
        assert value_of(f'command_seconds_count{{command="{command}"}}', told) == count
    assert re.search(r"WARNING ewb\.slow: \[b'', b'hash', b'me'\] from 127\.0\.0\.1:\d+ took", log)


def test_the_program_that_is_told_twice_ends_at_once() -> None:
    """Quietly, and with the exit code that a shell expects."""
    with running() as (process, port, _), socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"count 1\nwait k\n")
        assert client.recv(5, socket.MSG_WAITALL) == b"1\nOK\n"
        process.send_signal(signal.SIGINT)
        until_refused(port)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=GUARD)
    assert (process.returncode, out, errors) == (130, "", "")


def test_two_servers_do_not_share_a_port() -> None:
    """The second one says so in a line."""
    with running() as (_, port, _), begun(f"--port={port}") as second:
        _, errors = second.communicate(timeout=GUARD)
    assert second.returncode == 1
    assert errors == f"cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("which", ["--port", "--metrics-port"])
def test_the_program_does_not_take_another_port_than_it_was_given(which: str) -> None:
    """Beyond the last one, the system would take the rest of a division."""
    with begun(which, "99999") as process:
        out, errors = process.communicate(timeout=GUARD)
    assert (process.returncode, out) == (2, "")
    assert f"{which}: give a number up to 65535, or 0 for any that is free, not '99999'" in errors


@pytest.mark.parametrize("slow", ["-1", "nan", "inf", "soon"])
def test_the_program_says_what_a_wrong_time_should_be(slow: str) -> None:
    """In the usual way of a command line."""
    with begun(f"--slow={slow}") as process:
        out, errors = process.communicate(timeout=GUARD)
    assert (process.returncode, out) == (2, "")
    assert f"--slow: give a number of seconds from 0 up, such as 0.1, not '{slow}'" in errors


async def test_each_command_is_in_one_bucket_and_in_those_above() -> None:
    """What took no time, and what waited until another client came."""
    latencies = Latencies()
    async with ewb.open_workers() as workers:
        front_end = ewb.FrontEnd(LineProtocol, LineEngine(), workers, hooks=[latencies])
        async with connect(front_end) as waiter, connect(front_end) as other:
            await waiter.send(b"wait key\n")
            await until(lambda: front_end.statistics().parked == 1)
            await trio.sleep(0.011)  # at least
            await other.send(b"set key value\n")
            assert await waiter.receive_until(b"\n") == b"OK value\n"
            assert await other.receive_until(b"\n") == b"OK\n"
        told = "\n".join(latencies.lines())
        assert value_of("ewb_front_end_parked", "\n".join(statistics_lines(front_end, workers))) == 0
    bucket = 'command_seconds_bucket{{command="wait",le="{}"}}'
    assert value_of(bucket.format("0.01"), told) == 0
    assert value_of(bucket.format("+Inf"), told) == 1
    assert value_of('command_seconds_sum{command="wait"}', told) >= 0.011


async def test_a_command_whose_client_leaves_is_forgotten() -> None:
    """It has no latency, and nothing of it is kept."""
    latencies = Latencies()
    async with ewb.open_workers() as workers:
        front_end = ewb.FrontEnd(LineProtocol, LineEngine(), workers, hooks=[latencies])
        async with connect(front_end) as client:
            await client.send(b"wait godot\n")
            await until(lambda: front_end.statistics().parked == 1)
    assert front_end.statistics().dropped == 1
    assert value_of('command_seconds_count{command="wait"}', "\n".join(latencies.lines())) == 0
    assert not latencies._received


async def test_what_holds_a_worker_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """By the name of its function."""
    gate = Gate()

    def stuck() -> Iterator[bytes]:
        gate.wait()
        yield b"at last"

    with caplog.at_level(logging.WARNING):
        async with (
            ewb.open_workers(threads=1) as workers,
            workers.produce(stuck) as chunks,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(warn_of_stuck, workers, 0.01)
            await until(lambda: "stuck has held worker 0 for 0." in caplog.text)
            gate.open()
            assert await chunks.receive() == b"at last"
            nursery.cancel_scope.cancel()
