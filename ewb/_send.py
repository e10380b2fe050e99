"""Writing a batch to a stream: small chunks joined, large ones as they are, in few system calls.

Invariants: the bytes go out in order and whole, or an error is raised; one stream holds no more than
the batch, and `MOST_JOINED` bytes of copies of it; only one `send_batch` is at a stream at a time.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    Chunk: TypeAlias = bytes | bytearray | memoryview

SMALL: Final = 8 * 1024
"""Bytes up to which copying a chunk costs less than a place of its own in `sendmsg`."""
MOST_JOINED: Final = 256 * 1024
"""Bytes that are copied into one piece at most."""
MOST_SMALL: Final = 4096
"""Chunks that are looked at together."""


def _iov_max() -> int:
    try:
        most = os.sysconf("SC_IOV_MAX")
    except (AttributeError, ValueError, OSError):  # Windows has neither this nor sendmsg
        return 16  # the least that POSIX allows
    return most if most > 0 else 1024  # no limit, says the system: one that is as good as none


IOV_MAX: Final = _iov_max()
"""Buffers that one `sendmsg` takes at most."""

_CLOSED: Final = frozenset({errno.EBADF, errno.ENOTSOCK})
_busy: set[int] = set()  # id() of streams that a send_batch is at; each is alive meanwhile


async def send_batch(stream: trio.abc.SendStream, batch: Sequence[Chunk]) -> None:
    """Write all chunks of a batch to a stream. Thread: front end.

    A checkpoint, also for an empty batch. If it is cancelled, some of the bytes may have been sent, as
    with `send_all`.

    Args:
        stream: any stream; `trio.SocketStream` is fastest.
        batch: bytes-like chunks, as from `ChunkReceiver.receive_batch`; empty ones are fine.

    Raises:
        trio.BusyResourceError: another task is sending to this stream.
        trio.BrokenResourceError: the peer is gone.
        trio.ClosedResourceError: the stream was closed, perhaps while this was sending.
        TypeError: a chunk is not bytes-like; nothing was sent.
    """
    with _alone(stream):
        if not batch:
            await stream.send_all(b"")
        first, most = 0, MOST_SMALL
        while first < len(batch):
            run = batch[first : first + most]
            size = sum(map(len, run))
            if size > SMALL * len(run):
                await _send_large(stream, run)
            elif size <= MOST_JOINED:
                await stream.send_all(_join(run))
            else:  # take about as many as may be joined
                most = max(1, MOST_JOINED * len(run) // size)
                continue
            first += len(run)


async def _send_large(stream: trio.abc.SendStream, run: Sequence[Chunk]) -> None:
    pieces = _pieces(run)
    if isinstance(stream, trio.SocketStream) and hasattr(stream.socket, "sendmsg"):
        with _stream_errors(stream), _conflicts_of(stream):
            await _send_vectors(stream.socket, pieces)
    else:
        for piece in pieces:
            await stream.send_all(piece)


@contextmanager
def _alone(stream: trio.abc.SendStream) -> Generator[None]:
    key = id(stream)
    if key in _busy:
        msg = "another task is sending a batch to this stream"
        raise trio.BusyResourceError(msg)
    _busy.add(key)
    try:
        yield
    finally:
        _busy.remove(key)


def _conflicts_of(stream: trio.SocketStream) -> AbstractContextManager[None]:
    """What keeps a `send_all` from writing in between. Private to Trio, so not relied on."""
    return getattr(stream, "_send_conflict_detector", None) or nullcontext()


@contextmanager
def _stream_errors(stream: trio.SocketStream) -> Generator[None]:
    """Raise for the socket's errors what `send_all` would."""
    if stream.socket.did_shutdown_SHUT_WR:
        msg = "can't send data after sending EOF"
        raise trio.ClosedResourceError(msg)
    try:
        yield
    except OSError as error:
        if error.errno in _CLOSED:
            msg = "this socket was already closed"
            raise trio.ClosedResourceError(msg) from None
        msg = f"socket connection broken: {error}"
        raise trio.BrokenResourceError(msg) from error


def _join(chunks: Sequence[Chunk]) -> Chunk:
    if len(chunks) == 1 and isinstance(chunks[0], (bytes, bytearray)):
        return chunks[0]
    try:
        return b"".join(chunks)
    except BufferError:  # a memoryview with gaps
        return b"".join([_flat(chunk) for chunk in chunks])


def _flat(chunk: Chunk) -> Chunk:
    """A chunk as one run of bytes: a memoryview of other items, or with gaps, is made so."""
    if isinstance(chunk, (bytes, bytearray)):
        return chunk
    view = memoryview(chunk)
    return view.cast("B") if view.c_contiguous else view.tobytes()


def _pieces(batch: Sequence[Chunk]) -> list[Chunk]:
    """The batch as fewer pieces: runs of small chunks joined, large chunks as they are."""
    pieces: list[Chunk] = []
    run: list[Chunk] = []
    size_of_run = 0
    for chunk in map(_flat, batch):
        size = len(chunk)
        if run and (size > SMALL or size_of_run + size > MOST_JOINED):
            pieces.append(_join(run))
            run, size_of_run = [], 0
        if size > SMALL:
            pieces.append(chunk)
        elif size:
            run.append(chunk)
            size_of_run += size
    if run:
        pieces.append(_join(run))
    return pieces


async def _send_vectors(socket: trio.socket.SocketType, pieces: list[Chunk]) -> None:
    """Send all pieces, as many at a time as the kernel takes."""
    first = 0
    while first < len(pieces):
        sent = await socket.sendmsg(pieces[first : first + IOV_MAX])
        while first < len(pieces) and sent >= len(pieces[first]):
            sent -= len(pieces[first])
            first += 1
        if sent:
            pieces[first] = memoryview(pieces[first])[sent:]
