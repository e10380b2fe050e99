"""A server, its clients, and a sample every second."""

from __future__ import annotations

import json
import time
from random import Random
from threading import Thread
from typing import TYPE_CHECKING, Final, TextIO

from examples.range_scan import wire
from examples.range_scan.client import ClientError, Range
from tests.faults.looking import Observer
from tests.faults.proxy import Fault, Way, What, proxying
from tests.faults.server import running

from .clients import Leaver, Owner, Scanner, World, plain
from .model import (
    BALLAST,
    SCAN_LIFETIME,
    VBUCKETS,
    Keys,
    Mismatch,
    Window,
    ballast_key,
    ballast_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.faults.server import ServerProcess

OWNERS: Final = 6
THROUGH_PROXY: Final = 2
"""Of them, those whose connections are lost now and then."""
KEYS_EACH: Final = 300
MEBIBYTE: Final = 1024 * 1024
LOSING: Final = (What.CUT, What.RESET, What.HALF_CLOSE)

Sample = dict[str, float]


class Soak:
    """One run. `samples` and `mismatches` are what came of it."""

    def __init__(self, seed: int, record: TextIO | None, say: Callable[[str], object]) -> None:
        self.samples: list[Sample] = []
        self.mismatches: list[str] = []
        self._seed = seed
        self._record = record
        self._say = say
        self._done_before: dict[str, int] = {}

    def run(self, data: Path, seconds: float) -> None:
        """Load a new server in `data` for so long, then look that nothing is left."""
        with running(data, vbuckets=VBUCKETS, scan_lifetime=SCAN_LIFETIME) as server:
            world = World(server.port, [Keys(owner, KEYS_EACH) for owner in range(OWNERS)])
            self._say(f"writing {BALLAST:,} documents that nobody changes")
            fill(world)
            with Observer(server) as observer, proxying(server.port, self._faults_of) as proxy:
                threads = [self._start(do, world) for do in self._clients(world, proxy.port)]
                self._watch(world, server, observer, seconds)
                world.stop.set()
                for thread in threads:
                    thread.join()
                if not self.mismatches:
                    self._check_end(world, observer)

    def _faults_of(self, number: int) -> Sequence[Fault]:
        random = Random(f"{self._seed} {number}")  # noqa: S311 - no secret
        way = random.choice(list(Way))
        after = random.randrange(2_000, 3_000_000)
        delay = Fault(What.DELAY, way, after // 2, seconds=random.random())
        return [delay, Fault(random.choice(LOSING), way, after)]

    def _clients(self, world: World, proxy: int) -> list[Callable[[], None]]:
        randoms = (Random(f"{self._seed}-{number}") for number in range(100))  # noqa: S311 - no secret
        with_ports = [proxy] * THROUGH_PROXY + [world.port] * (OWNERS - THROUGH_PROXY)
        owners = [
            Owner(world, keys, next(randoms), port)
            for keys, port in zip(world.all_keys, with_ports, strict=True)
        ]
        scanners = [
            Scanner(world, next(randoms)),
            Scanner(world, next(randoms), ballast=True),
            Scanner(world, next(randoms), ballast=True, pause=0.05),
        ]
        leavers = [Leaver(world, next(randoms)) for _ in range(2)]
        runs = [client.run for client in owners]
        runs += [client.run for client in scanners]
        return runs + [client.run for client in leavers]

    def _start(self, do: Callable[[], None], world: World) -> Thread:
        def guarded() -> None:
            try:
                do()
            except (Mismatch, ClientError, ValueError) as error:
                self.mismatches.append(f"mismatch: {error}")
                world.stop.set()

        thread = Thread(target=guarded, name=f"soak {do.__qualname__}")
        thread.start()
        return thread

    # -- watching -------------------------------------------------------------------------------------

    def _watch(self, world: World, server: ServerProcess, observer: Observer, seconds: float) -> None:
        """Take a sample every second, until it is over or something is wrong."""
        began = time.monotonic()
        while not world.stop.wait(1) and (now := time.monotonic() - began) < seconds:
            sample = self._sample(world, server, observer, now)
            self.samples.append(sample)
            if self._record is not None:
                print(json.dumps(sample), file=self._record, flush=True)
            if len(self.samples) % 5 == 0:
                self._say(_line(sample))

    def _sample(
        self, world: World, server: ServerProcess, observer: Observer, seconds: float
    ) -> Sample:
        told, held, done = observer.statistics(), server.held(), dict(world.tallies.done)
        sample: Sample = {
            "seconds": round(seconds, 3),
            "memory": server.memory(),
            "descriptors": held.descriptors,
            "threads": held.threads,
            "file": int(told["store:file_size"]),
            "used": int(told["store:used_size"]),
            "connections": int(told["front_end:connections"]),
            "scans": int(told["store:scans"]),
            "buffered": int(told["workers:buffered_bytes"]),
            "gets": done.get("get", 0) - self._done_before.get("get", 0),
            "sets": done.get("set", 0) - self._done_before.get("set", 0),
            **{f"all {name}": number for name, number in sorted(done.items())},
        }
        self._done_before = done
        for name, times in world.tallies.take().items():
            for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                place = min(int(len(times) * share), len(times) - 1)
                sample[f"{name}_{label}"] = round(times[place], 6) if times else 0.0
        return sample

    # -- the end --------------------------------------------------------------------------------------

    def _check_end(self, world: World, observer: Observer) -> None:
        """All documents are as was acknowledged last, and nothing is left of those who have gone."""
        try:
            check_all(world)
            observer.assert_as_before()
        except (Mismatch, AssertionError) as error:
            self.mismatches.append(f"at the end: {error}")


def fill(world: World) -> None:
    """Write what nobody changes."""
    keys = map(ballast_key, range(BALLAST))
    with world.connect() as client:
        for _ in client.store(((key, ballast_value(key)) for key in keys), datatype=0):
            pass


def check_all(world: World) -> None:
    """Whether all documents are as was acknowledged last, while nobody writes. Raises Mismatch."""
    with world.connect() as client:
        for vbucket in range(VBUCKETS):
            window = Window(world.all_keys, vbucket)
            window.close()
            parts = client.scan(vbucket, Range.prefix(b"soak-"))
            window.check({it.key: plain(it) for part in parts for it in wire.documents_in(part)})


def _line(sample: Sample) -> str:
    """A sample, for a person."""
    mebibytes = {name: sample[name] / MEBIBYTE for name in ("memory", "file")}
    return (
        f"{sample['seconds']:6.0f} s  {sample['gets']:5.0f} gets, {sample['sets']:4.0f} sets a second, "
        f"p99 {sample['get_p99'] * 1000:6.1f} and {sample['set_p99'] * 1000:6.1f} ms;  "
        f"{mebibytes['memory']:4.0f} MiB, file {mebibytes['file']:4.0f} MiB, "
        f"{sample['descriptors']:3.0f} descriptors, {sample['scans']:3.0f} scans"
    )
