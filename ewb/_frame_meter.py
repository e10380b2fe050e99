"""How much of a frame that is not whole a client has sent, and since when its rest is waited for.

A protocol may know (`unparsed`); else this goes by what was fed, and by whether requests came of it:
what comes after the last whole frame of a read is not counted before the next read.
"""

from __future__ import annotations

from math import inf
from typing import Final

import trio

PROGRESS: Final = 64 * 1024
"""Bytes of a frame that have to come within a time limit, unless the rest of it is less."""


class FrameMeter:
    """Of one connection. Thread: front end."""

    __slots__ = ("_protocol", "_pulled", "_stalled_at", "stalled_since", "unparsed")

    def __init__(self, protocol: object) -> None:
        self._protocol = protocol
        self._pulled = 0  # requests, when we looked last
        self._stalled_at = 0  # bytes of the frame, at `stalled_since`
        self.unparsed = 0
        """Bytes fed, of which no request was pulled; at least so many, and one read more at most."""
        self.stalled_since = inf
        """Since when, of Trio's clock, the client makes no progress with a frame; infinite: it does."""

    def feed(self, count: int) -> None:
        """So many bytes more."""
        self.unparsed += count

    def look(self, pulled: int, *, wants_data: bool) -> None:
        """Commands were started: so many requests were pulled since the beginning.

        While the protocol may have a whole request, nobody waits for the client.
        """
        if not wants_data:
            self.stalled_since = inf
            return
        came = pulled > self._pulled
        self._pulled = pulled
        known = getattr(self._protocol, "unparsed", None)
        if known is not None:
            self.unparsed = known
        elif came:
            self.unparsed = 0
        if self.unparsed == 0:
            self.stalled_since = inf
        elif came or self.stalled_since == inf or self.unparsed >= self._stalled_at + PROGRESS:
            self.stalled_since, self._stalled_at = trio.current_time(), self.unparsed
