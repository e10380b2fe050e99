"""What all these programs read from: a blocking generator, as a cursor or a file would be."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

COUNT = 2_000


def lines() -> Generator[bytes]:
    """Yield lines, and say at the end which thread that is."""
    try:
        for number in range(COUNT):
            yield b"line %d\n" % number
    finally:
        on_main_thread = threading.current_thread() is threading.main_thread()
        print("closed on the", "event loop" if on_main_thread else "worker", file=sys.stderr)


def write(chunk: bytes) -> None:
    """Stands for what is done with a chunk, on the event loop."""
    sys.stdout.buffer.write(chunk)
