"""Frozen snapshots of what a channel and a pool of workers have done. Thread: any."""

from __future__ import annotations

import attrs


@attrs.frozen
class ChannelStatistics:
    """What one channel has carried and what it holds now, from `ChunkReceiver.statistics()`."""

    chunks: int
    """Chunks handed to the caller of a receive."""
    bytes: int
    """Their bytes (or whatever `size` counts)."""
    batches: int
    """Times the front end drained the buffer."""
    doorbells: int
    """Wake-ups posted to the front end."""
    suspensions: int
    """Times the producer was suspended at high water (of a user's thread: times a `send` blocked)."""
    seconds_suspended: float
    """Time spent so, in seconds, up to now."""
    buffered_chunks: int
    """Chunks produced and not yet received."""
    buffered_bytes: int
    """Their bytes; while the producer runs, the chunk it is adding may be missing."""
    peak_chunks: int
    """The most chunks that were ever buffered."""
    peak_bytes: int
    """The most bytes that were ever buffered."""
    high_water: int
    """The bound in bytes."""
    max_chunks: int
    """The bound in chunks."""


@attrs.frozen
class RunningProducer:
    """A producer that holds a worker now."""

    name: str
    """The qualified name of the function given to `produce`."""
    worker: int
    """The worker's number, from 0."""
    seconds: float
    """How long it has held the worker: far above `time_slice`, it is stuck in a blocking call."""


@attrs.frozen
class WorkersStatistics:
    """What a pool of workers does now, from `Workers.statistics()`."""

    threads: int
    """Worker threads alive."""
    idle: int
    """Worker threads with nothing to run."""
    producers: int
    """Producers whose generator is not closed yet."""
    queued: int
    """Of them, those that wait for a worker."""
    suspended: int
    """Of them, those at high water, which hold no thread."""
    running: tuple[RunningProducer, ...]
    """Of them, those that hold a worker, the longest first."""
    buffered_bytes: int
    """Bytes that all channels hold or were promised, and what front ends took and have yet to send."""
    memory: int | None
    """The budget for these, in bytes; None: no bound but each channel's own."""


@attrs.frozen
class FrontEndStatistics:
    """What a front end has done, and what it does now, from `FrontEnd.statistics()`."""

    connections: int
    """Clients that are served now."""
    accepted: int
    """Clients that were, or are, served."""
    refused: int
    """Clients that were turned away, at `max_connections` or after `shutdown`."""
    commands: int
    """Requests that were pulled from protocols."""
    waiting: int
    """Of them, those that now wait for commands before them."""
    executing: int
    """Of them, those in `execute` now: 1 if the engine itself asks, else 0."""
    parked: int
    """Of them, those that would block now."""
    ready: int
    """Of them, those about to be executed again."""
    complete: int
    """Of them, those whose answer now waits for those before it."""
    completed: int
    """Commands that got their status."""
    failed: int
    """Of them, those that ended with `Status.FAILED`."""
    busy: int
    """Of them, those that were answered `Status.BUSY` at `max_in_flight`."""
    dropped: int
    """Commands whose connection went away before they were answered."""
    timed_out: int
    """Commands, or clients, that made no progress for too long."""
    would_blocks: int
    """Times that `execute` returned `WOULD_BLOCK`."""
    resumes: int
    """Times that what a cookie waited for was there."""
    seconds_parked: float
    """Time that cookies, now resumed, were parked, in seconds."""
    doorbells: int
    """Wake-ups that the background work of commands has posted."""
    suspensions: int
    """Times that a producer of a command was suspended at high water."""
    suspended: int
    """Producers at high water now, which hold no thread."""
    bytes_received: int
    """From all clients."""
    bytes_sent: int
    """To all clients."""
    unsent_bytes: int
    """Encoded, and not sent yet."""
    writes: int
    """System calls that have sent something (of a stream that is no socket: pieces)."""
    protocol_errors: int
    """Connections closed because a client sent what its protocol does not allow."""
