"""The worker threads, and which producer each of them runs next.

Invariants, all guarded by `_lock`:

- A producer that wants a slice is in exactly one queue: `_shared`, from which any worker takes it, or
  the `ready` of the worker that it is bound to. A suspended one is in none, and holds no thread.
- A worker is in `_idle` only while it sleeps, or is about to, and both queues it serves are empty.
  Whoever takes it out of there releases its `wake`, once.
- A worker that finds both queues filled serves them in turn, so neither starves the other.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

import trio

from ._brief_lock import BriefLock
from ._clock import clock
from ._statistics import RunningProducer

if TYPE_CHECKING:
    from ._job import Job


class Worker:
    """One thread, as its pool sees it. Guarded by the pool's lock."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ready: deque[Job] = deque()
        self.bound: set[Job] = set()
        self.running: Job | None = None
        self.since = 0.0
        self.shared_next = True
        self.dead = False
        self.wake = threading.Lock()  # taken by the worker, released by whoever wakes it
        self.wake.acquire()

    def __repr__(self) -> str:
        return f"<Worker {self.number}, {len(self.bound)} producers bound, running {self.running!r}>"


class Threads:
    """A fixed set of workers. What it is told comes from the front end; `run` is the threads'."""

    def __init__(self, count: int, time_slice: float) -> None:
        self.workers = [Worker(number) for number in range(count)]
        self._time_slice = time_slice
        # Reentrant: the collector may close a channel, and so schedule its producer, in here.
        self._lock = BriefLock()
        self._shared: OrderedDict[Job, None] = OrderedDict()  # any of which may be withdrawn
        self._owner: dict[Job, Worker] = {}
        self._idle: set[Worker] = set()
        self._stopping = False
        self._any_dead = False

    # -- front end ------------------------------------------------------------------------------

    def schedule(self, producer: Job) -> None:
        """Give it a slice soon: it is fresh, or was suspended. Thread: any."""
        with self._lock:
            if producer.ended or producer.lost:
                return
            owner = self._owner.get(producer)
            if owner is None:
                self._shared[producer] = None
                worker = self._choose(producer) if self._idle else None
            else:
                owner.ready.append(producer)
                worker = owner if owner in self._idle else None
            if worker is not None:
                self._wake(worker)
            lost = self._lost() if self._any_dead else []
        _abandon(lost)

    def withdraw(self, producer: Job) -> bool:
        """Forget a producer that no worker has begun yet; False if one has. Thread: front end."""
        with self._lock:
            if producer in self._owner or producer not in self._shared or producer.begun:
                return False
            del self._shared[producer]
        return True

    def stop(self) -> None:
        """Have all threads end. Every producer must have ended. Thread: front end."""
        with self._lock:
            self._stopping = True
            for worker in tuple(self._idle):
                self._wake(worker)

    def snapshot(self) -> tuple[int, int, int, tuple[RunningProducer, ...]]:
        """Threads alive, threads idle, producers queued, and those running. Thread: any."""
        now = clock()
        with self._lock:
            alive = [worker for worker in self.workers if not worker.dead]
            running = [
                RunningProducer(worker.running.name, worker.number, now - worker.since)
                for worker in alive
                if worker.running is not None
                # It counts as what it is by now, though its worker has yet to leave it.
                and not (worker.running.ended or worker.running.suspended)
            ]
            queued = len(self._shared) + sum(len(worker.ready) for worker in alive)
            idle = len(self._idle)
        running.sort(key=lambda producer: -producer.seconds)
        return len(alive), idle, queued, tuple(running)

    # -- worker ---------------------------------------------------------------------------------

    def run(self, worker: Worker) -> None:
        """A thread's life: slices of producers, until `stop`. Thread: that worker."""
        try:
            while (producer := self._next(worker)) is not None:
                again = producer.run(clock() + self._time_slice)
                self._done(worker, producer, again=again)
                del producer  # an idle worker keeps nothing alive
        finally:
            with self._lock:
                worker.dead = self._any_dead = True
                self._idle.discard(worker)
                lost = self._lost()
                if worker.running is not None and worker.running not in lost:
                    worker.running.lost = True
                    lost.append(worker.running)
            _abandon(lost, close=True)

    def _next(self, worker: Worker) -> Job | None:
        while True:
            with self._lock:
                producer = self._pick(worker)
                if producer is not None:
                    worker.running, worker.since = producer, clock()
                    return producer
                if self._stopping:
                    return None
                self._idle.add(worker)
            worker.wake.acquire()

    def _done(self, worker: Worker, producer: Job, *, again: bool) -> None:
        with self._lock:
            worker.running = None
            if producer.ended:
                worker.bound.discard(producer)
                self._owner.pop(producer, None)
            elif again and producer in self._owner:
                worker.ready.append(producer)
            elif again:
                self.schedule(producer)

    # -- with the lock held ---------------------------------------------------------------------

    def _pick(self, worker: Worker) -> Job | None:
        if self._shared and (worker.shared_next or not worker.ready):
            producer, _ = self._shared.popitem(last=False)
            if producer.same_thread:
                self._owner[producer] = worker
                worker.bound.add(producer)
        elif worker.ready:
            producer = worker.ready.popleft()
        else:
            return None
        worker.shared_next = not worker.shared_next
        return producer

    def _choose(self, producer: Job) -> Worker:
        """Of the idle workers, the one for a job that any may take."""
        if producer.same_thread:  # it will stay there
            return min(self._idle, key=lambda idle: len(idle.bound))
        return next(iter(self._idle))

    def _wake(self, worker: Worker) -> None:
        self._idle.remove(worker)
        worker.wake.release()

    def _lost(self) -> list[Job]:
        """Producers that no living worker can run; they are nobody's from now on."""
        lost: list[Job] = []
        for worker in self.workers:
            if worker.dead and worker.bound:
                lost += worker.bound
                for producer in worker.bound:
                    del self._owner[producer]
                worker.bound.clear()
                worker.ready.clear()
        if all(worker.dead for worker in self.workers):
            lost += self._shared
            self._shared.clear()
        for producer in lost:
            producer.lost = True  # before anybody can resume it
        return lost


def _abandon(producers: list[Job], *, close: bool = False) -> None:
    """Their thread is gone, or is about to be: then it can still close them."""
    for producer in producers:
        error = trio.BrokenResourceError("the worker thread of this producer is gone")
        producer.abandon(error, close=close)
