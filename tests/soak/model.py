"""What each document is like: known by its key and its version.

Each owner writes its own keys, and no other's. A key's versions follow one another, each on condition
that the one before is there (its CAS), so that a write whose answer was lost can be told from one that
never was, and never comes late. Every eighth version is that there is no document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from examples.range_scan.wire import vbucket_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VBUCKETS: Final = 2
SCAN_LIFETIME: Final = 20
"""Seconds; scans that were left between two parts live so long."""
PREFIX: Final = b"soak-"
SIZES: Final = (20, 100, 500, 500, 2_000, 2_000, 8_000, 60_000)
DELETED_EVERY: Final = 8
BALLAST: Final = 8_000
"""Documents that nobody changes."""
BALLAST_SIZE: Final = 8_000


class Mismatch(Exception):  # noqa: N818 - what a soak is there to find
    """Something is not as it must be. The message is one line."""


class Keys:
    """The documents of one owner. Its thread changes them, any may look."""

    def __init__(self, owner: int, count: int) -> None:
        self.keys = [PREFIX + b"%d-%04d" % (owner, number) for number in range(count)]
        self.told = dict.fromkeys(self.keys, 0)
        """The version of each that was acknowledged."""
        self.tried = dict.fromkeys(self.keys, 0)
        """The version of each that was sent."""


def value_of(key: bytes, version: int) -> bytes | None:
    """What is there at that version."""
    if version % DELETED_EVERY == 0:
        return None
    unit = b"%s %d;" % (key, version)
    size = SIZES[crc32(unit) % len(SIZES)]
    return (unit * (size // len(unit) + 1))[: max(size, len(unit))]


def version_of(key: bytes, value: bytes) -> int:
    """The version that this value is. Raises Mismatch if it is none."""
    head, _, _ = value.partition(b";")
    name, _, number = head.rpartition(b" ")
    if name != key or not number.isdigit() or value_of(key, int(number)) != value:
        msg = f"{key!r} has a value that was never written: {value[:60]!r}"
        raise Mismatch(msg)
    return int(number)


class Window:
    """What a snapshot may hold that was taken between the making of this and `close`."""

    def __init__(self, all_keys: Iterable[Keys], vbucket: int) -> None:
        self._all = list(all_keys)
        self._vbucket = vbucket
        self._told = self._copy(keys.told for keys in self._all)
        self._tried: dict[bytes, int] = {}

    def close(self) -> None:
        """The snapshot is taken."""
        self._tried = self._copy(keys.tried for keys in self._all)

    def check(self, found: Mapping[bytes, bytes], prefix: bytes = PREFIX) -> None:
        """Whether it can be that all documents of a prefix were these. Raises Mismatch."""
        for key, least in self._told.items():
            if not key.startswith(prefix):
                continue
            versions = range(least, self._tried[key] + 1)
            value = found.get(key)
            if value is None:
                possible = any(value_of(key, version) is None for version in versions)
            else:
                possible = version_of(key, value) in versions
            if not possible:
                what = "nothing" if value is None else f"version {version_of(key, value)}"
                msg = f"a scan has {what} of {key!r}, and should have one of {versions}"
                raise Mismatch(msg)
        if strangers := [key for key in found if key not in self._told]:
            msg = f"a scan of vBucket {self._vbucket} has {strangers[0]!r}, which is not there"
            raise Mismatch(msg)

    def _copy(self, versions: Iterable[Mapping[bytes, int]]) -> dict[bytes, int]:
        return {
            key: version
            for some in versions
            for key, version in some.copy().items()  # type: ignore[attr-defined]
            if vbucket_of(key, VBUCKETS) == self._vbucket
        }


def ballast_key(number: int) -> bytes:
    """Of a document that nobody changes."""
    return b"ballast-%05d" % number


def ballast_value(key: bytes) -> bytes:
    """The same, again and again."""
    return (key * (BALLAST_SIZE // len(key) + 1))[:BALLAST_SIZE]
