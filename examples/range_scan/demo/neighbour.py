"""A client that gets one document after another, times each, and looks whether it is the right one.

It is a process of its own, so that no other client's work is in its times. On standard input it is
given the documents, in a line of JSON. When the input is closed, it says how it went, in another one.

python -m examples.range_scan.demo.neighbour PORT USER
"""

from __future__ import annotations

import json
import os
import sys
import threading
from itertools import cycle
from time import monotonic

from examples.range_scan.cli.options import PASSWORD_VARIABLE
from examples.range_scan.client import Client, ClientError, Login

PAUSE = 0.001
"""Seconds between two GETs: enough of them for a p99, and little load."""


def get_all_the_time(client: Client, documents: list[tuple[str, str]]) -> None:
    """Get documents until standard input is closed; then print when each came, and how long it took."""
    over = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    times: list[tuple[float, float]] = []
    wrong = None
    for key, value in cycle(documents):
        began = monotonic()
        got = client.get(key.encode())
        times.append((began, monotonic() - began))
        if got != value.encode():
            wrong = key
        if over.wait(PAUSE):
            break
    print(json.dumps({"times": times, "wrong": wrong}))


def main(port: str, user: str) -> None:
    """Run until standard input is closed."""
    documents = json.loads(sys.stdin.readline())
    login = Login(user, os.environ[PASSWORD_VARIABLE])
    try:
        with Client.connect("127.0.0.1", int(port), login) as client:
            get_all_the_time(client, documents)
    except ClientError as error:
        sys.exit(f"The second client: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
