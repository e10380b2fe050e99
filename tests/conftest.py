"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "examples").is_dir():  # the wheel is tested apart: these are about the tree
    collect_ignore_glob = [
        "range_scan/*",
        "faults/*",
        "fuzz/*",
        "soak/*",
        "test_*_server.py",
        "test_benchmarks*.py",
        "test_docs.py",
        "test_faults*.py",
        "test_fuzz.py",
        "test_hostile.py",
        "test_howto*.py",
        "test_soak.py",
        "test_tutorials.py",
    ]

# The same examples each time, however slow the machine. For others: --hypothesis-profile=explore
settings.register_profile(
    "explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=1000
)
settings.register_profile(
    "ewb", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("ewb")


@pytest.fixture(autouse=True, scope="session")
def _asked_switch_interval() -> Iterator[None]:
    """CI runs all tests with a switch interval of a microsecond too, under which races show."""
    before = sys.getswitchinterval()
    if asked := os.environ.get("EWB_SWITCH_INTERVAL"):
        sys.setswitchinterval(float(asked))
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> Iterator[None]:
    """What a shell runs in the background ignores Ctrl-C, and so does what that starts: not here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Whatever a test does, its workers have ended when it is over."""
    before = worker_threads()
    yield
    left = [thread.name for thread in worker_threads() - before]
    assert not left, f"worker threads left behind: {left}"


def worker_threads() -> set[threading.Thread]:
    """The threads that are workers now: Trio keeps idle ones for a while, and renames them before."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("ewb-")}
