"""A process that writes to a store until it is killed, and says what was acknowledged.

    python -m tests.range_scan.store_victim DIRECTORY FIRST COUNT

It submits the mutations FIRST, FIRST + 1, ... which the test knows, and prints a line for each: its
number and CAS when it is acknowledged, or how it failed.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
from pathlib import Path
from threading import Semaphore

from examples.range_scan.store import Mutation, Op, Outcome, Settings, Status, Store

VBUCKETS = 4
IN_FLIGHT = 64


def mutation(number: int, size: int = 30) -> Mutation:
    """One of an endless series, each of which succeeds if all before it did."""
    kind = number % 7
    if kind == 4:
        return Mutation(op=Op.INCR, key=b"counter", delta=1, initial=1)
    if kind == 5:
        return Mutation(op=Op.SET, key=b"passing", value=b"%d" % number)
    if kind == 6:
        return Mutation(op=Op.DELETE, key=b"passing")
    place = number * 31 % 200
    return Mutation(op=Op.SET, vb=place % VBUCKETS, key=b"k%d" % place, value=b"%d" % number * size)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--no-sync", action="store_true")
    parser.add_argument("--one-by-one", action="store_true")
    parser.add_argument("--file-size", type=int)
    parser.add_argument("--size", type=int, default=30)
    options = parser.parse_args()
    if options.file_size:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_size, options.file_size))
    places = Semaphore(1 if options.one_by_one else IN_FLIGHT)
    store = Store.open(options.directory, Settings(vbuckets=VBUCKETS, sync=not options.no_sync))
    for number in range(options.first, options.first + options.count):

        def acknowledge(outcome: Outcome, number: int = number) -> None:
            good = outcome.status is Status.OK
            said = f"{number} {outcome.cas}" if good else outcome.error or outcome.status
            os.write(1, f"{said}\n".encode())
            places.release()

        places.acquire()
        store.submit(mutation(number, options.size), acknowledge)
    store.close()


if __name__ == "__main__":
    main()
