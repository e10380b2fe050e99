"""A server in a process of its own, started from the command line, as a user would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).parents[2]
GUARD = 60.0
"""Seconds: far more than anything takes."""


def start(directory: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start one on a free port."""
    command = [
        sys.executable,
        "-m",
        "examples.range_scan",
        "serve",
        "--port",
        "0",
        "--data",
        str(directory),
    ]
    return subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def port_of(process: subprocess.Popen[str]) -> int:
    """The port, from the line that it prints when it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate(timeout=GUARD))
    assert line.startswith("listening on 127.0.0.1:")
    return int(line.rpartition(":")[2])


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    """Ask it to end. Returns the exit code, and what it had to say of errors."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=GUARD)
    return process.returncode, errors


@contextmanager
def running(directory: Path, *options: str, **environment: str) -> Generator[int]:
    """A server, by its port. It must end well, with nothing to say but who could not log in."""
    process = start(directory, *options, **environment)
    try:
        yield port_of(process)
        code, errors = stop(process)
        unexpected = [line for line in errors.splitlines() if "login from" not in line]
        assert (code, unexpected) == (0, []), unexpected
    finally:
        process.kill()
        process.communicate()
