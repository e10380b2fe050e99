"""The scans that are open, by their uuids.

Invariants:

- A scan leaves the registry when it is complete, cancelled, too old, or its client has left in the
  midst of a continue; leaving closes it, and so its snapshot.
- It is continued by one command at a time.

How many may be open, the store knows.
"""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from examples.range_scan.wire import Status

from .refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from examples.range_scan.store import Scan

    from .session import Cookie
    from .timers import Timers

UUID_SIZE: Final = 16


@attrs.define(eq=False)
class OpenScan:
    """A scan, and who continues it."""

    uuid: bytes
    scan: Scan
    created: float
    """Of the monotonic clock."""
    continued_by: Cookie | None = None
    continues: int = 0


class ScanRegistry:
    """Thread: front end.

    Args:
        timers: for the lifetime.
        lifetime: seconds that a scan lives.
    """

    def __init__(self, timers: Timers, lifetime: float) -> None:
        self._timers = timers
        self._lifetime = lifetime
        self._scans: dict[bytes, OpenScan] = {}
        self._call_off: dict[bytes, Callable[[], object]] = {}

    def __repr__(self) -> str:
        return f"<ScanRegistry of {len(self._scans)} scans>"

    @property
    def scans(self) -> Collection[OpenScan]:
        """All that are open, the oldest first."""
        return self._scans.values()

    def add(self, scan: Scan) -> OpenScan:
        """A scan was opened."""
        entry = OpenScan(secrets.token_bytes(UUID_SIZE), scan, time.monotonic())
        self._scans[entry.uuid] = entry
        self._call_off[entry.uuid] = self._timers.after(self._lifetime, partial(self._expire, entry))
        return entry

    def find(self, uuid: bytes, vbucket: int) -> OpenScan:
        """The scan with this uuid.

        Raises:
            RefusalError: there is none.
        """
        entry = self._scans.get(uuid)
        if entry is None or entry.scan.request.vb != vbucket:
            raise RefusalError(Status.NOT_FOUND, f"vBucket {vbucket} has no scan {uuid.hex()}")
        return entry

    def begin(self, entry: OpenScan, cookie: Cookie) -> None:
        """This command continues it.

        Raises:
            RefusalError: another one does.
        """
        if entry.continued_by is not None:
            raise RefusalError(Status.BUSY, f"scan {entry.uuid.hex()} is being continued already")
        entry.continued_by = cookie
        entry.continues += 1

    def end(self, entry: OpenScan) -> None:
        """The command that continues it is done."""
        entry.continued_by = None

    def cancel(self, entry: OpenScan, reason: str) -> None:
        """End a scan before it is complete; who continues it is answered so."""
        entry.scan.cancel(reason)
        if entry.continued_by is not None:
            entry.continued_by.cancel()
        self.remove(entry)

    def remove(self, entry: OpenScan) -> None:
        """It is over."""
        if self._scans.pop(entry.uuid, None) is not None:
            self._call_off.pop(entry.uuid)()
            entry.scan.close()

    def close(self) -> None:
        """End all of them."""
        for entry in tuple(self._scans.values()):
            self.remove(entry)

    def _expire(self, entry: OpenScan) -> None:
        self.cancel(entry, f"it is {self._lifetime:g} seconds old, as old as a scan may become")
