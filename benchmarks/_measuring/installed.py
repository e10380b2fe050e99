"""Where the programs are that benchmarks are compared with, if they are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path


def postgres() -> Path | None:
    """PostgreSQL's server; distributions keep it off the search path."""
    if found := shutil.which("postgres"):
        return Path(found).resolve()
    servers = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return servers[-1] if servers else None


def redis() -> Path | None:
    """Redis's server."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


def version(program: Path | None) -> str:
    """What it calls its own version: the first number with a point in what it says."""
    if program is None:
        return "not installed"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"\d+\.\d[\w.]*", said)
    return match[0] if match else "unknown"


def strace() -> Path | None:
    """What counts the system calls of a program."""
    found = shutil.which("strace")
    return Path(found) if found else None
