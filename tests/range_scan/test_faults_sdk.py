"""The stock SDK over a bad network: what it says was written is, and what it reads is right.

It holds the GIL while it scans, and the proxy is in this process; so it does not scan here.
"""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest
from couchbase.auth import PasswordAuthenticator
from couchbase.cluster import Cluster
from couchbase.exceptions import CouchbaseException
from couchbase.options import ClusterOptions, ClusterTimeoutOptions

from tests.faults import sabotage
from tests.faults.looking import Observer, scanned
from tests.faults.looking import connect as raw_client
from tests.faults.proxy import Fault, Proxy, Way, What, proxying
from tests.faults.server import PASSWORD, USER, running

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [pytest.mark.tree, pytest.mark.slow]

PATIENCE = timedelta(seconds=30)
SHORT = timedelta(seconds=2)


def faults_of(number: int) -> Sequence[Fault]:
    """Of the n-th connection: each ends after a while, but not before it has begun."""
    random = Random(number)  # noqa: S311 - no secret
    what = random.choice([What.CUT, What.RESET, What.HALF_CLOSE])
    return [Fault(What.DRIBBLE, Way.UP, 0), Fault(what, Way.DOWN, random.randrange(10_000, 25_000))]


def connect(proxy: Proxy) -> Cluster:
    """Log in."""
    patience = ClusterTimeoutOptions(
        connect_timeout=PATIENCE, bootstrap_timeout=PATIENCE, kv_timeout=SHORT
    )
    options = ClusterOptions(PasswordAuthenticator(USER, PASSWORD), timeout_options=patience)
    return Cluster.connect(f"couchbase://127.0.0.1:{proxy.port}", options)


def test_the_sdk_over_a_bad_network(tmp_path: Path) -> None:
    """Connections end again and again: each document is as it was written last, or tried to be."""
    with proxying(0, faults_of) as proxy:
        tell = partial(sabotage.advertise, proxy.port)
        with running(tmp_path / "store", sabotage=tell) as server, Observer(server) as observer:
            proxy.upstream = server.port
            cluster = connect(proxy)
            collection = cluster.bucket("default").default_collection()
            possible: dict[str, set[int]] = {}
            random = Random(1)  # noqa: S311 - no secret
            for number in range(120):
                key = f"k{number % 40:02}"
                try:
                    collection.upsert(key, {"number": number, "text": random.randbytes(700).hex()})
                    possible[key] = {number}
                except CouchbaseException:
                    possible[key] = {number, *possible.get(key, ())}
                with contextlib.suppress(CouchbaseException):
                    assert collection.get(key).content_as[dict]["number"] in possible[key]
            cluster.close()
            assert proxy.connections > 4
            with raw_client(server) as client:
                found = {
                    key.decode(): json.loads(value)["number"]
                    for key, value in scanned(client).items()
                    if key.startswith(b"k")
                }
            assert found.keys() == possible.keys()
            assert all(found[key] in numbers for key, numbers in possible.items())
            observer.assert_as_before()
