"""The doorbell: one way into Trio, rung once for many, and no more when the run is over."""

from __future__ import annotations

import gc
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ewb._doorbell import Doorbell, current_doorbell
from ewb._handoff import Handoff
from ewb._settings import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable

GUARD = 20  # seconds: only a bug takes so long


def rings_of(doorbell: Doorbell, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What `run_sync_soon` is asked for, which is done as well."""
    rings: list[Callable[[], object]] = []
    token = doorbell._token

    class Token:
        def run_sync_soon(self, call: Callable[[], object]) -> None:
            rings.append(call)
            token.run_sync_soon(call)

    monkeypatch.setattr(doorbell, "_token", Token())
    return rings


async def test_a_run_has_one_doorbell() -> None:
    """All channels of a run share a doorbell."""
    assert current_doorbell() is current_doorbell()


def test_each_run_has_its_own() -> None:
    """A doorbell is not used for another run than its own."""

    async def doorbell() -> Doorbell:
        return current_doorbell()

    assert trio.run(doorbell) is not trio.run(doorbell)


def test_outside_of_trio_there_is_none() -> None:
    """A doorbell is made on the front end."""
    with pytest.raises(RuntimeError):
        current_doorbell()


async def test_calls_what_was_posted_by_a_thread() -> None:
    """What a thread posts is called in Trio's thread."""
    called = trio.Event()
    threads: list[int] = []

    def call() -> None:
        threads.append(threading.get_ident())
        called.set()

    assert await trio.to_thread.run_sync(current_doorbell().post, call)
    with trio.fail_after(GUARD):
        await called.wait()
    assert threads == [threading.get_ident()]


async def test_many_posts_ring_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a doorbell is out, others are added to it; they are called in their order."""
    doorbell = current_doorbell()
    rings = rings_of(doorbell, monkeypatch)
    called: list[int] = []
    done = trio.Event()
    for n in range(100):
        assert doorbell.post(partial(called.append, n))
    doorbell.post(done.set)
    assert called == []
    await done.wait()
    assert called == list(range(100))
    assert len(rings) == 1
    doorbell.post(done.set)
    assert len(rings) == 2


async def test_what_is_posted_by_a_call_is_called_too() -> None:
    """A call may post: that one is called soon after, not within it."""
    doorbell = current_doorbell()
    order: list[str] = []
    done = trio.Event()

    def first() -> None:
        doorbell.post(second)
        order.append("first")

    def second() -> None:
        order.append("second")
        done.set()

    doorbell.post(first)
    with trio.fail_after(GUARD):
        await done.wait()
    assert order == ["first", "second"]


async def test_no_post_of_many_threads_is_lost() -> None:
    """Whatever threads post while the front end answers is called, once, in each thread's order."""
    doorbell = current_doorbell()
    called: list[tuple[int, int]] = []
    done = trio.Event()
    total, threads = 500, 4

    def call(thread: int, n: int) -> None:
        called.append((thread, n))
        if len(called) == total * threads:
            done.set()

    def post(thread: int) -> None:
        for n in range(total):
            assert doorbell.post(partial(call, thread, n))

    with trio.fail_after(GUARD):
        async with trio.open_nursery() as nursery:
            for thread in range(threads):
                nursery.start_soon(trio.to_thread.run_sync, post, thread)
        await done.wait()
    for thread in range(threads):
        assert [n for which, n in called if which == thread] == list(range(total))


async def test_a_post_while_it_is_being_answered_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes between the answer and the first of its calls rings again."""
    doorbell = current_doorbell()
    rings = rings_of(doorbell, monkeypatch)
    done = trio.Event()
    assert doorbell.post(lambda: doorbell.post(done.set))
    with trio.fail_after(GUARD):
        await done.wait()
    assert len(rings) == 2


def test_after_the_run_nobody_answers() -> None:
    """Whoever posts too late is told so, the second time too."""

    async def doorbell() -> Doorbell:
        return current_doorbell()

    late = trio.run(doorbell)
    for _ in range(2):
        assert not late.post(lambda: None)
    assert "0 calls waiting" in repr(late)


class Lock:
    """A lock, within which the collector runs as soon as it is held."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.acquire()
        gc.collect()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Dropped:
    """Garbage that posts when it is collected, as a sender does that was dropped unclosed."""

    def __init__(self, doorbell: Doorbell, call: Callable[[], object]) -> None:
        self.myself = self
        self._doorbell, self._call = doorbell, call

    def __del__(self) -> None:
        self._doorbell.post(self._call)


@pytest.mark.parametrize("where", ["post", "answer"])
def test_the_collector_may_post_in_the_midst_of_it(where: str) -> None:
    """The collector may run anywhere, within the doorbell too: nothing hangs and nothing is lost."""
    called: list[str] = []

    async def main() -> None:
        doorbell = current_doorbell()
        done = trio.Event()
        doorbell._lock = Lock(doorbell._lock)  # type: ignore[assignment]
        gc.disable()
        if where == "post":
            Dropped(doorbell, partial(called.append, "dropped"))
            doorbell.post(partial(called.append, "posted"))
        else:
            doorbell.post(partial(called.append, "posted"))
            Dropped(doorbell, partial(called.append, "dropped"))
            doorbell._answer()
        doorbell.post(done.set)
        await done.wait()

    # In a thread, for if it hangs, the test does not.
    thread = threading.Thread(target=trio.run, args=[main], daemon=True)
    thread.start()
    thread.join(GUARD)
    gc.enable()
    assert not thread.is_alive()
    assert sorted(called) == ["dropped", "posted"]


def make_handoff(doorbell: Doorbell) -> Handoff[bytes]:
    return Handoff(Bounds(), size=None, moderation=0.001, post=doorbell.post, on_room=lambda: None)


def test_channels_are_closed_with_the_run() -> None:
    """A channel that asked for it is closed when its Trio run is over, whatever ended it."""
    handoffs: list[Handoff[bytes]] = []

    async def main() -> None:
        handoffs.append(make_handoff(current_doorbell()))
        current_doorbell().close_with_run(handoffs[0])
        await trio.lowlevel.checkpoint()
        assert not handoffs[0].closed
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trio.run(main)
    assert handoffs[0].closed


async def test_a_dropped_channel_is_forgotten() -> None:
    """The doorbell keeps no channel alive."""
    doorbell = current_doorbell()
    handoff = make_handoff(doorbell)
    doorbell.close_with_run(handoff)
    assert len(doorbell._channels) == 1
    del handoff
    gc.collect()
    assert len(doorbell._channels) == 0


async def test_says_how_much_waits() -> None:
    """Its repr shows how many calls are not answered yet."""
    doorbell = current_doorbell()
    done = trio.Event()
    doorbell.post(done.set)
    assert "1 calls waiting" in repr(doorbell)
    await done.wait()
    assert "0 calls waiting" in repr(doorbell)
