"""Starts a client as a process of its own, which prints what it saw as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds that a client may take, beyond those that it measures."""


def start(module: str, **settings: float | str) -> subprocess.Popen[bytes]:
    """Start a client, which is a module of this package that imports nothing of it."""
    program = Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    command = [sys.executable, "-I", str(program), json.dumps(settings)]
    # A process group of its own: Ctrl-C is not for the client, which ends when it is done.
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, process_group=0)


def seen_by(client: subprocess.Popen[bytes], seconds: float) -> Any:
    """End its input, and wait for what it prints. Blocks this thread.

    Raises:
        RuntimeError: it failed, and said why.
        subprocess.TimeoutExpired: it did not end.
    """
    with client:
        try:
            output, _ = client.communicate(timeout=seconds + PATIENCE)
        finally:
            client.kill()
    if client.returncode:
        msg = f"a client ended with exit code {client.returncode}"
        raise RuntimeError(msg)
    return json.loads(output)
