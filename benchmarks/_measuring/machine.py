"""What a benchmark ran on: the machine, what is compared, and how busy others kept it."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import psutil

from . import installed

PACKAGES = (
    "ewb",
    "trio",
    "attrs",
    "culsans",
    "janus",
    "aiologic",
    "aiothreads",
    "anyio",
    "starlette",
    "asgiref",
    "lmdb",
    "xxhash",
    "redis",
    "psutil",
)


class OtherPrograms:
    """How much of the processors they take from now on: what makes figures worse than they are."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._before = self._used()

    def percent(self) -> float:
        """Percent of all processors, since the beginning."""
        available = (perf_counter() - self._started) * (os.cpu_count() or 1)
        return max(0.0, 100 * (self._used() - self._before) / available)

    @staticmethod
    def _used() -> float:
        """Seconds that were used by others than this process and those that it started."""
        times, ours = psutil.cpu_times(), os.times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        return float(busy - sum(ours[:4]))


def machine() -> dict[str, str]:
    """This machine."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The versions of ewb and of all that it is compared with."""
    packages = {package: _version(package) for package in PACKAGES}
    servers = {"PostgreSQL": installed.postgres(), "Redis": installed.redis()}
    return packages | {name: installed.version(program) for name, program in servers.items()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from the source tree" if package == "ewb" else "not installed"
