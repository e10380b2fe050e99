"""A measurement in a process of its own, which ends whatever becomes of its threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

PATIENCE = 15.0
"""Seconds that such a process may take beyond what it gives itself: then it is killed."""


def seen_by(module: str, seconds: float, /, **settings: float | str) -> dict[str, Any] | None:
    """Run a module of this package, and wait for what it tells. Blocks this thread.

    Returns:
        what it told; None if it could not: it failed, and said why, or had to be killed.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", json.dumps(settings)]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            check=True,
            timeout=seconds + PATIENCE,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def tell_and_end(told: dict[str, Any]) -> NoReturn:
    """End this process at once: threads that are blocked for good would otherwise hold it."""
    print(json.dumps(told), flush=True)
    os._exit(0)
