"""What the tests of the store share."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from threading import Event
from typing import TYPE_CHECKING
from unittest.mock import patch

from examples.range_scan.store import (
    NO_LIMITS,
    Document,
    Limits,
    Mutation,
    Op,
    Outcome,
    Scan,
    ScanEnd,
    ScanRequest,
    Store,
    drafts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GUARD = 60.0
"""Seconds: far more than anything takes; a test that waits so long has failed."""


SMALL_BLOCK = 512
"""Bytes, within `small_blocks`."""


@contextmanager
def small_blocks() -> Iterator[None]:
    """Have blocks of half a KiB, so that a few documents make many of them."""
    with ExitStack() as stack:
        for name in ("_ALONE", "_SMALL", "_LOOSE", "BLOCK"):
            share = getattr(drafts, name) / drafts.BLOCK
            stack.enter_context(patch.object(drafts, name, int(SMALL_BLOCK * share)))
        yield


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """What the store asks."""
        return self.now


@contextmanager
def held_up(store: Store) -> Iterator[None]:
    """Have the writer do nothing meanwhile, so that what is submitted waits."""
    busy, go_on = Event(), Event()

    def hold(_: Outcome) -> None:
        busy.set()
        go_on.wait(GUARD)

    store.submit(Mutation(op=Op.DELETE, key=b"nothing"), hold)
    assert busy.wait(GUARD)
    try:
        yield
    finally:
        go_on.set()


def write_all(store: Store, mutations: Iterable[Mutation]) -> list[Outcome]:
    """Submit them, and wait for all of their outcomes."""
    outcomes: list[Outcome] = []
    expected, done = 0, Event()

    def callback(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == expected:
            done.set()

    waiting = list(mutations)
    expected = len(waiting)
    for mutation in waiting:
        store.submit(mutation, callback)
    assert not waiting or done.wait(GUARD)
    return outcomes


def write(store: Store, op: Op, key: bytes = b"", value: bytes = b"", **fields: int) -> Outcome:
    """Submit one mutation, and wait for its outcome."""
    mutation = Mutation(op=op, key=key, value=value, **fields)
    return write_all(store, [mutation])[0]


def read_all(
    scan: Scan, limits: Limits = NO_LIMITS, chunk_size: int = 1 << 16
) -> tuple[bytes, ScanEnd]:
    """All that one read gives, and how it ended."""
    reading = scan.read(limits, chunk_size)
    chunks: list[bytes] = []
    while True:
        try:
            chunks.append(next(reading))
        except StopIteration as stop:
            return b"".join(chunks), stop.value


def scan_documents(store: Store, request: ScanRequest) -> list[Document]:
    """All documents of a scan, in its order."""
    scan = store.open_scan(request)
    try:
        data, end = read_all(scan)
    finally:
        scan.close()
    assert end is ScanEnd.COMPLETE
    return decode_documents(data)


def scan_keys(store: Store, request: ScanRequest) -> list[bytes]:
    """All keys of a scan, in its order."""
    scan = store.open_scan(request)
    try:
        data, end = read_all(scan)
    finally:
        scan.close()
    assert end is ScanEnd.COMPLETE
    return decode_keys(data)


def decode_keys(data: bytes) -> list[bytes]:
    """The keys in a chunk. Written apart from the store's own code, from the wire's description."""
    found: list[bytes] = []
    while data:
        length, data = _leb128(data)
        found.append(data[:length])
        data = data[length:]
    return found


def decode_documents(data: bytes) -> list[Document]:
    """The documents in a chunk, as `decode_keys`."""
    found: list[Document] = []
    while data:
        flags, expiry = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
        seqno, cas = int.from_bytes(data[8:16], "big"), int.from_bytes(data[16:24], "big")
        datatype = data[24]
        length, data = _leb128(data[25:])
        key, data = data[:length], data[length:]
        length, data = _leb128(data)
        value, data = data[:length], data[length:]
        found.append(Document(key, value, flags, expiry, seqno, cas, datatype))
    return found


def _leb128(data: bytes) -> tuple[int, bytes]:
    number = 0
    for index, byte in enumerate(data):
        number += (byte & 127) << (7 * index)
        if byte < 128:
            return number, data[index + 1 :]
    raise AssertionError(data)
