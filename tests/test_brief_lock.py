"""The lock for a few lines: of one thread at a time, reentrant, and safe from a Ctrl-C."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import trio

import ewb  # noqa: F401 - it is what protects the lock from a Ctrl-C
from ewb import _brief_lock
from ewb._brief_lock import BriefLock

from .helpers import GUARD
from .interleaving.fields import is_held

if TYPE_CHECKING:
    import pytest

ROUNDS = 20_000


def test_one_thread_at_a_time() -> None:
    """Nothing is lost of what threads count within it, however often they lose the GIL there."""
    lock = BriefLock()
    counted = 0

    def count() -> None:
        nonlocal counted
        for _ in range(ROUNDS):
            with lock:
                before = counted
                counted = sum((before, 1))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert counted == 4 * ROUNDS


def test_it_is_reentrant() -> None:
    """The collector may run what takes it in a thread that has it."""
    lock = BriefLock()
    with lock:
        with lock:
            pass
        assert is_held(lock)
    assert not is_held(lock)


def test_it_is_given_back_after_an_error() -> None:
    """As with any lock: the next thread gets it."""
    lock = BriefLock()
    try:
        with lock:
            raise LookupError  # noqa: TRY301 - by the block
    except LookupError:
        pass
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(lock.acquire(timeout=GUARD)))
    thread.start()
    thread.join()
    assert taken == [True]


async def test_who_meets_it_taken_waits_and_no_interrupt_comes_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is taken once it is given back; a `KeyboardInterrupt` while taking it would leave it taken."""
    lock = BriefLock()
    taken, give_back = threading.Event(), threading.Event()
    protected: list[bool] = []

    def hold() -> None:
        with lock:
            taken.set()
            give_back.wait(GUARD)

    def look_again(seconds: float) -> None:
        protected.append(trio.lowlevel.currently_ki_protected())
        give_back.set()
        time.sleep(seconds)

    monkeypatch.setattr(_brief_lock, "sleep", look_again)
    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(GUARD)
    with lock:
        assert give_back.is_set()
    thread.join()
    assert protected
    assert all(protected)
