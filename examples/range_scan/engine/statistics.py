"""Executes STAT: what the server does, in lines of a name and a value."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Final, cast

from examples.range_scan.wire import Statistics, Status

from .refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from examples.range_scan.store import Store
    from examples.range_scan.wire.requests import Stat

    from .registry import ScanRegistry
    from .session import Answer, Cookie, Session

VERSION: Final = "7.6.0-ewb"
"""Clients look at the number to know what they may use."""
SCANS_SHOWN: Final = 100
"""Scans in the group `range-scans`: the oldest."""


class ServerStatistics:
    """Thread: front end.

    Args:
        store: has statistics of its own.
        registry: the open scans.
        more: further general statistics.
    """

    def __init__(
        self, store: Store, registry: ScanRegistry, more: Callable[[], Mapping[str, object]]
    ) -> None:
        self._store = store
        self._registry = registry
        self._more = more
        self._started = time.monotonic()
        self._groups: dict[str, Callable[[], Iterator[tuple[str, object]]]] = {
            "": self._general,
            "general": self._general,
            "range-scans": self._scans,
            "vbucket": self._vbuckets,
        }

    def stat(self, _: Session, cookie: Cookie) -> Answer:
        """One group of statistics."""
        group = cast("Stat", cookie.request).group
        lines = self._groups.get(group)
        if lines is None:
            known = ", ".join(filter(None, self._groups))
            msg = f"there is no group {group[:50]!r} of statistics, but {known}"
            raise RefusalError(Status.NOT_FOUND, msg)
        cookie.reply = Statistics([(name, _text(value)) for name, value in lines()])
        return Status.SUCCESS

    def _general(self) -> Iterator[tuple[str, object]]:
        yield "version", VERSION
        yield "uptime", int(time.monotonic() - self._started)
        yield "vbuckets", self._store.vbuckets
        store = self._store.statistics()
        for name in store.__slots__:
            yield f"store:{name}", getattr(store, name)
        yield from self._more().items()

    def _scans(self) -> Iterator[tuple[str, object]]:
        yield "scans", len(self._registry.scans)
        now = time.monotonic()
        for entry in islice(self._registry.scans, SCANS_SHOWN):
            prefix, scan = f"scan_{entry.uuid.hex()}", entry.scan.statistics()
            yield f"{prefix}:vbucket", scan.vb
            yield f"{prefix}:collection", f"{scan.collection:x}"
            yield f"{prefix}:name", scan.name
            yield f"{prefix}:keys_only", scan.keys_only
            yield f"{prefix}:age", now - entry.created
            yield f"{prefix}:continues", entry.continues
            yield f"{prefix}:is_being_continued", entry.continued_by is not None
            yield f"{prefix}:items", scan.items
            yield f"{prefix}:bytes", scan.bytes

    def _vbuckets(self) -> Iterator[tuple[str, object]]:
        for number in range(self._store.vbuckets):
            vbucket = self._store.vbucket(number)
            yield f"vb_{number}", "active"
            yield f"vb_{number}:uuid", vbucket.uuid
            yield f"vb_{number}:high_seqno", vbucket.seqno


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
