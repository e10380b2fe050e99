"""Whatever happens between a client and the server: it serves, nothing is wrong, nothing is left."""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.faults.conversation import NEW, OLD, Conversation, offsets
from tests.faults.looking import Observer
from tests.faults.proxy import Fault, Way, What, proxying
from tests.faults.server import running
from tests.faults.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.proxy import Proxy
    from tests.faults.server import ServerProcess

pytestmark = pytest.mark.tree

LOSING = (What.CUT, What.RESET, What.HALF_CLOSE)
"""Faults that lose bytes."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One for all tests here: each must leave it as it was."""
    with running(tmp_path_factory.mktemp("faults") / "store") as server:
        Conversation(server.port).fill()
        yield server


@pytest.fixture
def observer(server: ServerProcess) -> Iterator[Observer]:
    """A client beside, which nothing happens to; it looks after the server at the end."""
    assert Conversation(server.port).run()  # so that all is there that is made at first use
    with Observer(server) as observer:
        observer.assert_as_before()
        yield observer
        observer.assert_served()
        observer.assert_as_before()


@pytest.fixture
def proxy(server: ServerProcess) -> Iterator[Proxy]:
    """What is between the other clients and the server."""
    with proxying(server.port) as proxy:
        yield proxy


@pytest.fixture
def whole(proxy: Proxy) -> Conversation:
    """A conversation that nothing happens to."""
    conversation = Conversation(proxy.port)
    assert conversation.run()
    return conversation


def all_faults(proxy: Proxy) -> list[Fault]:
    """Each kind, both ways, at and in each frame of the conversation that passed last."""
    return [
        Fault(what, way, after)
        for way, passed in proxy.passed.items()
        for after in sorted(set(offsets(bytes(passed))))
        for what in LOSING
    ]


def converse_through(
    proxy: Proxy, faults: list[Fault], whole: Conversation, observer: Observer
) -> None:
    """A conversation for each fault: it hears the beginning of the whole one, and then nothing."""
    for fault in faults:
        proxy.plan(fault)
        conversation = Conversation(proxy.port)
        came_through = conversation.run()
        heard = conversation.heard
        assert heard == whole.heard[: len(heard)], fault
        assert came_through == (len(heard) == len(whole.heard)), fault
        observer.assert_as_before()
        assert_old_or_new(proxy.upstream, conversation)


def assert_old_or_new(port: int, after: Conversation) -> None:
    """The document is as it was acknowledged, or as what was written next, and never anything else."""
    value = Conversation(port).document()
    assert value in ((OLD, NEW) if after.acknowledged != NEW else (NEW,))


def test_connections_that_are_lost_at_any_frame(
    proxy: Proxy, whole: Conversation, observer: Observer
) -> None:
    """Cut, reset, or half-closed, either way: some of all places, chosen by a seed."""
    random = Random(7)  # noqa: S311 - no secret
    converse_through(proxy, random.sample(all_faults(proxy), 40), whole, observer)


@pytest.mark.slow
def test_connections_that_are_lost_at_every_frame(
    proxy: Proxy, whole: Conversation, observer: Observer
) -> None:
    """As above, at and in each frame."""
    converse_through(proxy, all_faults(proxy), whole, observer)


@pytest.mark.parametrize("what", LOSING)
def test_scans_whose_client_is_lost(proxy: Proxy, observer: Observer, what: What) -> None:
    """While the server sends, or waits for room to do so: what came is right, and the scan is gone."""
    whole = Conversation(proxy.upstream)
    assert whole.scan_large()
    random = Random(7)  # noqa: S311 - no secret
    for _ in range(4):
        proxy.plan(Fault(what, Way.DOWN, random.randrange(1000, 8_000_000)))
        conversation = Conversation(proxy.port)
        assert not conversation.scan_large()
        heard = conversation.heard
        assert heard == whole.heard[: len(heard)]
        observer.assert_as_before()


@pytest.mark.parametrize("way", Way)
def test_bytes_that_come_one_by_one(
    proxy: Proxy, whole: Conversation, observer: Observer, way: Way
) -> None:
    """In pieces of a few bytes, and after pauses: it makes no difference to what is heard."""
    places = sorted(set(offsets(bytes(proxy.passed[way]))))
    pauses = [Fault(What.DELAY, way, after, seconds=0.005) for after in places]
    for faults in (
        pauses,
        [Fault(What.DRIBBLE, way, 0)],
        [*pauses[1::5], Fault(What.DRIBBLE, way, 600)],
    ):
        proxy.plan(*faults)
        conversation = Conversation(proxy.port)
        assert conversation.run()
        assert conversation.heard == whole.heard
    observer.assert_as_before()


@pytest.mark.parametrize("way", Way)
def test_a_connection_that_stalls_goes_on(
    proxy: Proxy, whole: Conversation, observer: Observer, way: Way
) -> None:
    """At a few places, each in the midst of a frame: others are served, and then all is as it was."""
    random = Random(7)  # noqa: S311 - no secret
    places = random.sample(range(len(proxy.passed[way])), 6)
    for after in places:
        proxy.plan(Fault(What.STALL, way, after))
        conversation = Conversation(proxy.port)
        thread = threading.Thread(target=conversation.run)
        thread.start()
        wait_for(lambda: not proxy.stalled, "no stall")
        observer.assert_served()
        assert len(conversation.heard) < len(whole.heard)
        proxy.go_on()
        thread.join()
        assert conversation.heard == whole.heard, after
    observer.assert_as_before()


def test_many_at_once_through_a_bad_network(
    proxy: Proxy, whole: Conversation, observer: Observer
) -> None:
    """Thirty clients, a fault for two thirds: all hear what is right, and those that had none, all."""
    random = Random(7)  # noqa: S311 - no secret
    faults = all_faults(proxy)
    for number in range(30):
        proxy.plan(*([random.choice(faults)] if number % 3 else []))
    conversations = [Conversation(proxy.port) for _ in range(30)]
    threads = [threading.Thread(target=conversation.run) for conversation in conversations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # All write the same document, so what a GET finds may be another's.
    expected = [one[:2] for one in whole.heard]
    heard = [[one[:2] for one in conversation.heard] for conversation in conversations]
    assert all(one == expected[: len(one)] for one in heard)
    assert sum(one == expected for one in heard) >= 10
    observer.assert_as_before()
