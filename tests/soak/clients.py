"""Who does what to the server. Each is a thread, and does one thing after another until it is over."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, cast

import attrs

from examples.range_scan import wire
from examples.range_scan.client import Client, ClientError, Limits, Login, Range, RefusedError, Sample
from examples.range_scan.wire import Datatype, Frame, Opcode, Status
from tests.faults.server import PASSWORD, USER

from .model import (
    PREFIX,
    SCAN_LIFETIME,
    VBUCKETS,
    Keys,
    Mismatch,
    Window,
    ballast_value,
    value_of,
    version_of,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from random import Random

PATIENCE: Final = 60.0
"""Seconds that a client waits for the network: only a bug takes so long."""
PAUSE: Final = 0.01
"""Seconds between two commands of a client, at most."""
ATTEMPTS: Final = 20
TOO_OLD: Final = frozenset({Status.SCAN_CANCELLED, Status.NOT_FOUND})
CHANGED: Final = frozenset({Status.EXISTS, Status.NOT_FOUND})


class Tallies:
    """What all clients have done since one last asked. Thread: any."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seconds: dict[str, list[float]] = {"get": [], "set": []}
        self.done = Counter[str]()

    def note(self, what: str, seconds: float | None = None) -> None:
        """It was done, and took so long."""
        with self._lock:
            self.done[what] += 1
            if seconds is not None:
                self._seconds[what].append(seconds)

    def take(self) -> dict[str, list[float]]:
        """How long each took, since this was asked last; sorted."""
        with self._lock:
            taken, self._seconds = self._seconds, {name: [] for name in self._seconds}
        return {name: sorted(seconds) for name, seconds in taken.items()}


@attrs.define
class World:
    """What all clients know."""

    port: int
    all_keys: Sequence[Keys]
    tallies: Tallies = attrs.field(factory=Tallies)
    stop: Event = attrs.field(factory=Event)

    def connect(self, port: int | None = None) -> Client:
        """A new connection, maybe through a proxy."""
        login = Login(USER, PASSWORD)
        return Client.connect("127.0.0.1", port or self.port, login, timeout=PATIENCE)


class Owner:
    """Reads and writes its own documents, and knows at any time what they are.

    Args:
        world: what all know.
        keys: its own.
        random: what it does next.
        port: of the server, or of a proxy where connections are lost.
    """

    def __init__(self, world: World, keys: Keys, random: Random, port: int | None = None) -> None:
        self._world = world
        self._keys = keys
        self._random = random
        self._port = port
        self._cas = dict.fromkeys(keys.keys, 0)
        self._client: Client | None = None

    def run(self) -> None:
        """Until it is to stop."""
        while not self._world.stop.wait(self._random.random() * PAUSE):
            try:
                self._step()
            except RefusedError:
                raise
            except ClientError:
                self._leave("lost")
                self._settle()
        self._leave("closed")

    def _step(self) -> None:
        key = self._random.choice(self._keys.keys)
        draw = self._random.random()
        if draw < 0.005:
            self._leave("closed")
        elif draw < 0.6:
            self._read(key)
        else:
            self._write(key)

    def _settle(self) -> None:
        """Connect again, and find out what became of the write that was under way."""
        for _ in range(ATTEMPTS):
            try:
                for key in self._keys.keys:
                    if self._keys.tried[key] != self._keys.told[key]:
                        self._write(key)
            except RefusedError:
                raise
            except ClientError:
                self._leave("lost")
            else:
                return
        msg = f"no connection lasted long enough in {ATTEMPTS} attempts"
        raise Mismatch(msg)

    def _read(self, key: bytes) -> None:
        began = time.monotonic()
        version, cas = self._look(key)
        self._world.tallies.note("get", time.monotonic() - began)
        if (version, cas) != (self._keys.told[key], self._cas[key]):
            msg = f"GET of {key!r} gives version {version}, and {self._keys.told[key]} was acknowledged"
            raise Mismatch(msg)

    def _look(self, key: bytes) -> tuple[int, int]:
        """The version, as far as it can be seen, and the CAS."""
        told, tried = self._keys.told[key], self._keys.tried[key]
        try:
            reply = self._ask(Opcode.GET, key)
        except RefusedError as error:
            if error.status != Status.NOT_FOUND:
                raise
            return (tried if value_of(key, tried) is None else told), 0
        return version_of(key, reply.value), reply.cas

    def _write(self, key: bytes) -> None:
        """Write the next version; if its answer was lost, the one that it was to be."""
        wanted = self._keys.tried[key] = self._keys.told[key] + 1
        began = time.monotonic()
        for _ in range(ATTEMPTS):
            try:
                cas = self._write_once(key, wanted)
            except RefusedError as error:
                if error.status not in CHANGED:
                    raise
                version, cas = self._look(key)  # it was written already, as it seems
                if version != wanted:
                    continue
            self._keys.told[key] = wanted
            self._cas[key] = cas
            self._world.tallies.note("set", time.monotonic() - began)
            return
        msg = f"{key!r} cannot be written: it has another CAS than was acknowledged"
        raise Mismatch(msg)

    def _write_once(self, key: bytes, version: int) -> int:
        """Returns the CAS; 0 for a document that is no more."""
        value, cas = value_of(key, version), self._cas[key]
        if value is None:
            self._ask(Opcode.DELETE, key, cas=cas)
            return 0
        opcode = Opcode.SET if cas else Opcode.ADD
        return self._ask(opcode, key, cas=cas, value=value, extras=bytes(8)).cas

    def _ask(self, opcode: Opcode, key: bytes, **parts: object) -> Frame:
        if self._client is None:
            self._client = self._world.connect(self._port)
        frame = self._client._about(opcode, key, 0)
        for name, part in parts.items():
            setattr(frame, name, part)
        return self._client._connection.ask(frame)

    def _leave(self, why: str) -> None:
        if self._client is not None:
            self._world.tallies.note(why)
            self._client.close()
            self._client = None


class Scanner:
    """Scans all, or the documents of one owner, and compares with what its snapshot may hold.

    Args:
        world: what all know.
        random: what it scans next.
        pause: seconds before it reads on.
        ballast: whether it scans what nobody changes, too.
    """

    def __init__(
        self, world: World, random: Random, *, pause: float = 0, ballast: bool = False
    ) -> None:
        self._world = world
        self._random = random
        self._pause = pause
        self._ballast = ballast

    def run(self) -> None:
        """Until it is to stop."""
        with self._world.connect() as client:
            while not self._world.stop.wait(self._random.random() * PAUSE * 20):
                vbucket = self._random.randrange(VBUCKETS)
                kind = self._random.choices([self._scan_sample, self._scan_keys, self._scan], [2, 2, 6])
                began = time.monotonic()
                try:
                    kind[0](client, vbucket)
                except RefusedError as error:
                    if error.status not in TOO_OLD or time.monotonic() - began < SCAN_LIFETIME:
                        raise
                    self._world.tallies.note("scan grown too old")

    def _scan(self, client: Client, vbucket: int) -> None:
        prefix = PREFIX + self._random.choice([b"", b"0-", b"4-"])
        pick = Range() if self._ballast else Range.prefix(prefix)
        limits = Limits(items=self._random.choice([0, 0, 50]))
        window = Window(self._world.all_keys, vbucket)
        found: dict[bytes, bytes] = {}
        parts = scan(client, vbucket, pick, limits)
        for number, part in enumerate(parts):
            if number == 0:
                window.close()
            for it in wire.documents_in(part):
                self._take(found, it)
            if self._pause and self._world.stop.wait(self._pause):
                parts.close()
                return
        if not found:
            window.close()
        window.check(found, prefix)
        self._world.tallies.note("slow scan" if self._pause else "scan")

    def _take(self, found: dict[bytes, bytes], it: wire.ScannedDocument) -> None:
        value = plain(it)
        if it.key in found:
            msg = f"a scan has {it.key!r} twice"
            raise Mismatch(msg)
        if it.key.startswith(PREFIX):
            found[it.key] = value
        elif it.key.startswith(b"ballast-") and value != ballast_value(it.key):
            msg = f"a scan has {it.key!r} otherwise than it was written"
            raise Mismatch(msg)

    def _scan_keys(self, client: Client, vbucket: int) -> None:
        parts = client.scan(vbucket, Range.prefix(PREFIX), keys_only=True)
        keys = [key for part in parts for key in wire.keys_in(part)]
        if keys != sorted(set(keys)):
            msg = f"the keys of a scan of vBucket {vbucket} are not in order"
            raise Mismatch(msg)
        self._world.tallies.note("scan of keys")

    def _scan_sample(self, client: Client, vbucket: int) -> None:
        parts = client.scan(vbucket, Sample(samples=100, seed=self._random.randrange(1000)))
        for part in parts:
            for it in wire.documents_in(part):
                if it.key.startswith(PREFIX):
                    version_of(it.key, plain(it))
        self._world.tallies.note("sample")


def scan(client: Client, vbucket: int, pick: Range, limits: Limits) -> Generator[bytes]:
    """What the client's is: a generator, so it can be closed."""
    return cast("Generator[bytes]", client.scan(vbucket, pick, limits=limits))


def plain(it: wire.ScannedDocument) -> bytes:
    """The value, not compressed."""
    return wire.snappy.inflate(it.value) if it.datatype & Datatype.SNAPPY else it.value


class Leaver:
    """Begins scans, and leaves them: in their midst, between two parts, or politely."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random

    def run(self) -> None:
        """Until it is to stop."""
        while not self._world.stop.wait(self._random.random()):
            with suppress(ClientError), self._world.connect() as client:
                limits = Limits(items=self._random.choice([0, 100]))
                parts = scan(client, self._random.randrange(VBUCKETS), Range(), limits)
                for _ in range(self._random.randint(1, 4)):
                    next(parts, None)
                if self._random.random() < 0.7:
                    client.close()  # so that it cannot cancel the scan
                self._world.tallies.note("scan left")
                parts.close()
