"""A client with httpx: download a file, and say how that went."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Download:
    """How one download went."""

    seconds: float
    """From the request to the last byte."""
    first_byte: float | None
    """Seconds from the request to the first byte of the body; None: the client does not say."""


def fetch(url: str, file: Path) -> Download:
    """Download to a file. Thread: any.

    Raises:
        httpx.HTTPError: no answer, an answer other than 200, or an answer that is incomplete.
    """
    first_byte = None
    with httpx.Client(timeout=60) as client, file.open("wb") as target:
        started = perf_counter()
        with client.stream("GET", url) as response:
            response.raise_for_status()
            for part in response.iter_raw():
                if first_byte is None:
                    first_byte = perf_counter() - started
                target.write(part)
        return Download(perf_counter() - started, first_byte)
