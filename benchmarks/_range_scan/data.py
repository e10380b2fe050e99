"""The documents that are scanned: loaded once, without the wire, into a temporary directory.

What a client should receive is known from the store: how many bytes, and their checksum.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Self

from xxhash import xxh3_64

from examples.range_scan.store import Limits, Mutation, Op, Outcome, ScanRequest, Settings, Store
from examples.range_scan.store import Status as StoreStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

VALUE_SIZE = 400
KEY_SIZE = 15
QUEUED = 8192
"""Writes that wait for the store's writer at a time."""
FEW = 4000
"""Documents of a short scan: more than a connection, and its stream, hold without a reader."""


def key(number: int) -> bytes:
    """The key of a document; the next one has the next key."""
    return b"user::%09d" % number


def value(number: int) -> bytes:
    """The value of a document, like no other's."""
    return (b"%010d" % number) * (VALUE_SIZE // 10)


@dataclass(frozen=True)
class Expected:
    """What a scan of a vBucket must give."""

    size: int
    checksum: str


@dataclass(frozen=True)
class Loaded:
    """A store on the disk, and what scans of it give, by vBucket."""

    directory: Path
    documents: int
    full: dict[int, Expected]
    keys: dict[int, Expected]
    few: dict[int, Expected]
    """Of scans of the first `FEW` documents."""

    @property
    def vbuckets(self) -> range:
        """All there are; each has its part of the documents, in one run."""
        return range(len(self.full))


def check(scans: Iterable[dict[str, object]], expected: dict[int, Expected]) -> int:
    """Whether every byte of all scans was right. Returns how many scans that were."""
    checked = 0
    for scan in scans:
        right = expected[int(str(scan["vbucket"]))]
        if (scan["size"], scan["checksum"]) != (right.size, right.checksum):
            msg = f"a scan gave {scan}, where {right} is right"
            raise RuntimeError(msg)
        checked += 1
    return checked


class Workspace:
    """A temporary directory with what questions share: made when needed, removed at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._loaded: dict[tuple[int, int], Loaded] = {}
        self.directory = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="range-scan-"))
        )
        self.directory.chmod(0o711)  # peers that run as another user have their directories in it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def store(self, documents: int, vbuckets: int) -> Loaded:
        """A store with so many documents. Takes 20 µs for each when it is not there yet."""
        place = documents, vbuckets
        if place not in self._loaded:
            directory = self.directory / f"store-{documents}-{vbuckets}"
            self._loaded[place] = _load(directory, documents, vbuckets)
        return self._loaded[place]


def _load(directory: Path, documents: int, vbuckets: int) -> Loaded:
    settings = Settings(vbuckets=vbuckets, sync=False)  # it need not outlast a power failure
    with Store.open(directory, settings) as store:
        for first in range(0, documents, QUEUED):
            _write(store, range(first, min(first + QUEUED, documents)), documents)
        everything, few = Limits(), Limits(items=FEW)
        return Loaded(
            directory=directory,
            documents=documents,
            full={vb: _expected(store, vb, everything) for vb in range(vbuckets)},
            keys={vb: _expected(store, vb, everything, keys_only=True) for vb in range(vbuckets)},
            few={vb: _expected(store, vb, few) for vb in range(vbuckets)},
        )


def _write(store: Store, numbers: range, documents: int) -> None:
    done, failed = Event(), Event()

    def written(outcome: Outcome) -> None:
        if outcome.status is not StoreStatus.OK:
            failed.set()

    def last_written(outcome: Outcome) -> None:
        written(outcome)
        done.set()

    for number in numbers:
        vbucket = number * store.vbuckets // documents
        mutation = Mutation(op=Op.SET, vb=vbucket, key=key(number), value=value(number))
        store.submit(mutation, last_written if number == numbers[-1] else written)
    done.wait()
    if failed.is_set():
        msg = "the documents could not be loaded"
        raise RuntimeError(msg)


def _expected(store: Store, vb: int, limits: Limits, *, keys_only: bool = False) -> Expected:
    scan = store.open_scan(ScanRequest(vb=vb, keys_only=keys_only))
    size, checksum = 0, xxh3_64()
    for chunk in scan.read(limits):
        size += len(chunk)
        checksum.update(chunk)
    scan.close()
    return Expected(size, checksum.hexdigest())
