"""Clients that write, each its own keys, until the server is gone; and what must be there then."""

from __future__ import annotations

import struct
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from examples.range_scan import wire
from examples.range_scan.client import Client, ClientError, Range, RefusedError
from examples.range_scan.wire import Frame, Opcode

from .looking import connect
from .server import VBUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Semaphore

    from .server import ServerProcess

KEYS: Final = 12
"""Of each writer: few, so that each is written often."""


class Written(NamedTuple):
    """What a key holds; no value: it was deleted."""

    value: bytes | None
    cas: int = 0
    seqno: int = 0


class Writer:
    """A client that writes, and keeps what it was told. Thread: one of its own, between kills."""

    def __init__(self, number: int, seed: int) -> None:
        self.acknowledged: dict[bytes, Written] = {}
        self.attempted: dict[bytes, bytes | None] = {}
        """What was sent, and not answered: it may be there or not."""
        self.answers = 0
        self._least_cas = self._highest_cas = 0
        self._random = Random(f"{seed} {number}")  # noqa: S311 - no secret
        self._numbers = count()

        self._keys = [b"w%d-%d" % (number, key) for key in range(KEYS)]

    def run(self, server: ServerProcess, enough: Semaphore) -> None:
        """Write until the server is gone; each answer counts for `enough`."""
        until_gone(server, lambda client: self._write_some(client, enough))

    def check(self, found: dict[bytes, Written]) -> None:
        """Take what is its own out of what was found: is it what it was told?"""
        for key in self._keys:
            told, now = self.acknowledged.get(key, Written(None)), found.pop(key, Written(None))
            if key in self.attempted and now != told:
                assert now.value == self.attempted[key], key
                if now.value is not None:
                    assert now.cas > told.cas
                    assert now.seqno > told.seqno
            elif told.value is None:
                assert now.value is None, key
            else:
                assert now == told, key
            self.acknowledged[key] = now
        self.attempted.clear()
        self._least_cas = self._highest_cas

    def _write_some(self, client: Client, enough: Semaphore) -> None:
        """Several at once, of different keys."""
        keys = self._random.sample(self._keys, self._random.randint(1, 4))
        frames = [self._frame(client, key) for key in keys]
        client._connection.send(frames)
        waiting = {frame.opaque: key for frame, key in zip(frames, keys, strict=True)}
        while waiting:
            reply = client._connection.receive()
            key = waiting.pop(reply.opaque)
            _, seqno = struct.unpack(">QQ", reply.extras)
            assert reply.cas > self._least_cas
            self._highest_cas = max(self._highest_cas, reply.cas)
            value = self.attempted.pop(key)
            self.acknowledged[key] = (
                Written(None) if value is None else Written(value, reply.cas, seqno)
            )
            self.answers += 1
            enough.release()

    def _frame(self, client: Client, key: bytes) -> Frame:
        there = self.acknowledged.get(key, Written(None)).value is not None
        if there and self._random.random() < 0.2:
            self.attempted[key] = None
            return client._about(Opcode.DELETE, key, 0)
        size = self._random.choice([1, 100, 3000, 40_000])
        self.attempted[key] = b"%s %d " % (key, next(self._numbers)) * size
        return client._set(key, self.attempted[key] or b"", 0, 0)


def until_gone(server: ServerProcess, do: Callable[[Client], object]) -> None:
    """Do it again and again, until the server is gone. RefusedError: it was not."""
    try:
        with connect(server) as client:
            while True:
                do(client)
    except RefusedError:
        raise
    except ClientError:
        pass


def look(client: Client) -> dict[bytes, Written]:
    """All that is there, by scans."""
    found: dict[bytes, Written] = {}
    for vbucket in range(VBUCKETS):
        for part in client.scan(vbucket, Range()):
            for it in wire.documents_in(part):
                assert wire.vbucket_of(it.key, VBUCKETS) == vbucket
                assert it.key not in found
                found[it.key] = Written(it.value, it.cas, it.seqno)
    return found
