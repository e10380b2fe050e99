"""Workers: background threads that run blocking generators and stream what these yield."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload

import trio
from trio.lowlevel import enable_ki_protection

from ._backstop import time_is_real
from ._block import Block
from ._brief_lock import BriefLock
from ._budget import Budget
from ._checks import check_function
from ._courtesy import Courtesy
from ._doorbell import current_doorbell
from ._from_thread import Portal, portals
from ._handoff import Handoff
from ._producer import Producer, name_of
from ._settings import (
    HIGH_WATER,
    MAX_CHUNKS,
    MEMORY,
    MODERATION,
    THREADS,
    TIME_SLICE,
    Bounds,
    WorkerSettings,
    check_flag,
)
from ._sizes import check_size
from ._statistics import WorkersStatistics
from ._switch_interval import switch_interval as held_switch_interval
from ._threads import Threads, Worker
from ._waiting import wait_whatever_comes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable
    from contextlib import AbstractAsyncContextManager

    from ._job import Job
    from ._receiver import ChunkReceiver

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

# Lest a Ctrl-C come when the lock is taken, and nobody is to give it back yet. It is said here because
# the handoff, whose budget has such a lock, knows nothing of Trio.
enable_ki_protection(BriefLock.__enter__)


class Workers:
    """A fixed number of threads that run any number of producers. From `open_workers`."""

    def __init__(self, settings: WorkerSettings, nursery: trio.Nursery) -> None:
        self._settings = settings
        self._nursery = nursery
        self._doorbell = current_doorbell()
        self._budget = Budget(settings.memory)
        self._courtesy = Courtesy(
            wanted=settings.courtesy,
            when_lowered=partial(self._doorbell.post, self._relax_later),
        )
        self._threads = Threads(settings.threads, settings.time_slice)
        # Made once: of what each producer holds, the collector visits every piece again and again.
        self._schedule = self._threads.schedule
        self._forget = self.forget
        self._leave = self.leave
        self._channel: Callable[..., Handoff[Any]] = partial(
            Handoff,
            moderation=settings.moderation,
            post=self._doorbell.post,
            budget=self._budget,
        )
        self._jobs: set[Job] = set()  # front end only
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{state} Workers: {self._settings.threads} threads, {len(self._jobs)} producers>"

    @overload
    def produce(  # type: ignore[overload-overlap]  # of a generator it is known what it returns
        self,
        fn: Callable[[*Ts], Generator[T, None, R]],
        *args: *Ts,
        high_water: int = ...,
        max_chunks: int = ...,
        size: Callable[[T], int] | None = ...,
        same_thread: bool = ...,
    ) -> AbstractAsyncContextManager[ChunkReceiver[T, R]]: ...

    @overload
    def produce(
        self,
        fn: Callable[[*Ts], Iterable[T]],
        *args: *Ts,
        high_water: int = ...,
        max_chunks: int = ...,
        size: Callable[[T], int] | None = ...,
        same_thread: bool = ...,
    ) -> AbstractAsyncContextManager[ChunkReceiver[T, None]]: ...

    def produce(
        self,
        fn: Callable[[*Ts], Iterable[T]],
        *args: *Ts,
        high_water: int = HIGH_WATER,
        max_chunks: int = MAX_CHUNKS,
        size: Callable[[T], int] | None = None,
        same_thread: bool = True,
    ) -> AbstractAsyncContextManager[ChunkReceiver[T, Any]]:
        """Run `fn(*args)` on a worker, and receive what it yields: `async with` this.

        Thread: front end.

        The producer reads ahead of the receiver up to the bounds, then it is suspended and holds no
        thread. It runs in a copy of the caller's context. Leaving the block closes it, on its worker,
        and waits for that: its `finally` has run by then.

        Args:
            fn: a generator function, or a function that returns any iterator, of blocking code.
                A chunk belongs to ewb once it is yielded: do not reuse its buffer.
            args: positional arguments for it; for others use `functools.partial`.
            high_water: bytes that are buffered at most, plus one chunk.
            max_chunks: chunks that are buffered at most.
            size: how much of `high_water` a chunk takes; not given: its bytes.
            same_thread: always resume the producer on the worker that it started on, as thread-bound
                objects need (a sqlite3 connection, an RLock); False: on whichever is free.

        Raises:
            TypeError, ValueError: `fn` or `size` is no function, a bound no positive whole number.
            trio.ClosedResourceError: on entry: the block of `open_workers` was left.
            BaseException: on leaving: what the producer raises while it is being closed.
        """
        check_function("produce", fn)
        check_size(size)
        check_flag("same_thread", same_thread)
        bounds = Bounds(high_water, max_chunks)
        start = partial(fn, *args)
        begin = partial(self.begin, start, name_of(fn), bounds, size, same_thread=same_thread)
        return Block[T](begin, self._leave)

    def post(self, call: Callable[[], object]) -> bool:
        """Have the front end call something soon; False if its run is over. Thread: any."""
        return self._doorbell.post(call)

    # -- one producer's life, for `produce` and for the front end's cookies -----------------------

    def begin(
        self,
        start: Callable[[], Iterable[T]],
        name: str,
        bounds: Bounds,
        size: Callable[[T], int] | None,
        *,
        same_thread: bool,
    ) -> Producer:
        """Start a producer, see `start`."""
        producer = Producer(
            start,
            name=name,
            same_thread=same_thread,
            channel=partial(self._channel, bounds, size=size),
            portal=self.new_portal(),
            courtesy=self._courtesy,
            schedule=self._schedule,
            on_finished=self._forget,
        )
        self.start(producer)
        return producer

    def new_portal(self) -> Portal:
        """A way into Trio for a job of these workers. Thread: front end."""
        return Portal(self._doorbell, self._nursery)

    def start(self, job: Job) -> None:
        """Have a job run; it must be left when its end is not waited for. Thread: front end.

        Raises:
            trio.ClosedResourceError: the block of `open_workers` was left.
        """
        if self._closed:
            msg = "these workers were closed: produce within the block of open_workers"
            raise trio.ClosedResourceError(msg)
        self._jobs.add(job)
        self._threads.schedule(job)

    def forget(self, job: Job) -> None:
        """It has finished. Thread: front end."""
        self._jobs.discard(job)

    def leave(self, job: Job) -> None:
        """Its reader wants no more of it: have it closed; `finished` says when. Thread: front end."""
        job.close()
        if job.ended:
            return
        job.portal.leave()
        if self._threads.withdraw(job):
            job.abandon(trio.ClosedResourceError())

    def statistics(self) -> WorkersStatistics:
        """What the workers do now, and who holds them. Thread: front end."""
        threads, idle, queued, running = self._threads.snapshot()
        live = [job for job in self._jobs if not job.ended]
        return WorkersStatistics(
            threads=threads,
            idle=idle,
            producers=len(live),
            queued=queued,
            suspended=sum(job.suspended for job in live),
            running=running,
            buffered_bytes=self._budget.used,
            memory=self._budget.limit,
        )

    # -- their own life, by open_workers ----------------------------------------------------------

    async def _start(self) -> None:
        for worker in self._threads.workers:
            # Not nursery.start: if that is cancelled, or interrupted, just as the thread begins, the
            # nursery never learns of the task that waits for it.
            begun = trio.Event()
            failure: list[RuntimeError] = []
            self._nursery.start_soon(
                self._run, worker, begun, failure, name=f"ewb worker {worker.number}"
            )
            await wait_whatever_comes(begun)
            if failure:
                msg = (
                    f"only {worker.number} of {self._settings.threads} worker threads could be "
                    f"started: give open_workers fewer ({failure[0]})"
                )
                raise RuntimeError(msg) from failure[0]

    @enable_ki_protection
    async def _run(self, worker: Worker, begun: trio.Event, failure: list[RuntimeError]) -> None:
        """A worker's task: as structured as any, so the nursery waits for the thread."""

        def main() -> None:
            self._doorbell.post(begun.set)
            with portals():
                self._threads.run(worker)

        try:
            # Shielded until the thread runs, and a limiter of its own: the default one limits threads
            # that come and go.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(
                    main, thread_name=f"ewb-{worker.number}", limiter=trio.CapacityLimiter(1)
                )
        except RuntimeError as error:
            if begun.is_set():
                raise
            failure.append(error)
        finally:
            begun.set()

    def _relax_later(self) -> None:
        """A producer computes, so the switch interval is low. Thread: front end."""
        if time_is_real() and not self._closed:  # else the end of these workers will have to do
            trio.lowlevel.spawn_system_task(self._relax)

    async def _relax(self) -> None:
        while seconds := self._courtesy.relax():  # noqa: ASYNC110 - it is but a time to wait for
            await trio.sleep(seconds)

    async def _stop(self) -> None:
        self._closed = True
        jobs = tuple(self._jobs)
        for job in jobs:
            job.cut_short()
            job.portal.leave()
            if self._threads.withdraw(job):
                job.abandon(trio.BrokenResourceError("the workers of this producer are gone"))
        try:
            await wait_whatever_comes(*(job.finished for job in jobs))
        finally:
            self._threads.stop()
            self._courtesy.end()


@asynccontextmanager
@enable_ki_protection
async def open_workers(
    threads: int = THREADS,
    *,
    memory: int | None = MEMORY,
    moderation: float = MODERATION,
    time_slice: float = TIME_SLICE,
    switch_interval: float | None = None,
    courtesy: bool = True,
) -> AsyncGenerator[Workers]:
    """Start worker threads, and end them when the block is left. Thread: front end.

    Args:
        threads: how many. As many as there is blocking work to do at a time; slow readers need none.
        memory: bytes that all channels together may buffer, what front ends took of streams and
            have yet to send included; None: no bound but their own. A channel that is empty, and of
            which nothing is being sent, is always granted one chunk.
        moderation: seconds for which chunks may wait for a reader that was here a moment ago, so that
            one wake-up serves many; 0: wake it for each chunk, at many times the cost.
        time_slice: seconds that a producer may run before another one has its turn.
        switch_interval: the interpreter's switch interval for as long as these workers live, in
            seconds; None: leave it. It is process-wide: of several wishes the smallest counts, and
            the last one to end restores what was there before.
        courtesy: whether a producer that computes makes room for the front end: after a millisecond
            it gives way when it wakes its reader, and the switch interval is 20 microseconds, or
            `switch_interval` if that is less, until it has not computed for a tenth of a second.

    Raises:
        TypeError, ValueError: a setting is out of its range.
        RuntimeError: the threads could not be started.
        BaseException: whatever the block raises, or a worker thread that broke.
    """
    settings = WorkerSettings(threads, memory, moderation, time_slice, switch_interval, courtesy)
    # The nursery is not the user's, so what the block raises must not come out of it in a group: it is
    # kept, and raised behind it. Unless a worker has failed: then Trio knows what belongs together.
    kept: BaseException | None = None
    with held_switch_interval(settings.switch_interval):
        try:
            async with trio.open_nursery() as nursery:
                workers = Workers(settings, nursery)
                try:
                    try:
                        await workers._start()  # noqa: SLF001 - its life is this function's business
                        yield workers
                    finally:
                        await workers._stop()  # noqa: SLF001 - see above
                except BaseException as error:
                    if nursery.cancel_scope.cancel_called:
                        raise
                    kept = error
        except BaseExceptionGroup as group:
            kept = _joined(kept, group)
        try:
            if kept is not None:
                raise kept
        finally:
            kept = None  # break the cycle through this frame


def _joined(kept: BaseException | None, group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What to raise for what the block raised, if it did, and what the nursery did after it."""
    errors = [*group.exceptions] if kept is None else [kept, *group.exceptions]
    if all(isinstance(error, KeyboardInterrupt) for error in errors):
        return errors[0]  # a Ctrl-C, or several, while the nursery waited for the threads
    return group if kept is None else BaseExceptionGroup(group.message, errors)
