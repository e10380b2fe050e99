"""What all tests share."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="session")
def _asked_switch_interval() -> Iterator[None]:
    """CI runs all tests with a switch interval of a microsecond too, under which races show."""
    before = sys.getswitchinterval()
    if asked := os.environ.get("EWB_SWITCH_INTERVAL"):
        sys.setswitchinterval(float(asked))
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Whatever a test does, its workers have ended when it is over."""
    yield
    # Trio keeps idle threads for a while, and renames them when their work is done.
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("ewb-")]
    assert not left, f"worker threads left behind: {left}"
