"""To wait, on a thread, for what others do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

GUARD: Final = 60.0
"""Seconds: only a bug takes so long."""
PAUSE: Final = 0.002


def wait_for(look: Callable[[], object], what: str) -> None:
    """Look again and again, until what was seen is nothing: what is left of that is the failure.

    `look` returns what is not yet as it should be; false if all is.
    """
    deadline = time.monotonic() + GUARD
    while left := look():
        assert time.monotonic() < deadline, f"{what}: {left}"
        time.sleep(PAUSE)
