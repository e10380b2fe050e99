"""Writing a batch to a stream: small chunks joined, large ones as they are, in few system calls.

Invariants: the bytes go out in order and whole, or an error is raised; one stream holds no more than
the batch, and copies of some `MOST_JOINED` bytes of it; one `send_batch` at a time is at a stream.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    Chunk: TypeAlias = bytes | bytearray | memoryview

SMALL: Final = 8 * 1024
"""Bytes up to which copying a chunk costs less than a place of its own in `writev`."""
JOINED: Final = 64 * 1024
"""Bytes that are joined to one piece: allocators give larger ones back, which costs page faults."""
MOST_JOINED: Final = 256 * 1024
"""Bytes of copies that are held at a time, at most, but for one piece."""
MOST_AT_ONCE: Final = 1024 * 1024
"""Bytes after which other tasks have their turn."""
FAIR_SHARE: Final = 256 * 1024
"""The same for a front end, which has other clients."""
MOST_LOOKED_AT: Final = 1024
"""Chunks that are joined at once: for more, `bytes.join` needs a large piece of memory itself."""


def _iov_max() -> int:
    try:
        most = os.sysconf("SC_IOV_MAX")
    except (AttributeError, ValueError, OSError):  # Windows has neither this nor writev
        return 16  # the least that POSIX allows
    return most if most > 0 else 1024  # no limit, says the system: one that is as good as none


IOV_MAX: Final = _iov_max()
"""Buffers that one `writev` takes at most."""

_PLAIN: Final = frozenset({bytes, bytearray})
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
    await send_noting_progress(stream, batch, _ignore)


async def send_noting_progress(
    stream: trio.abc.SendStream, batch: Sequence[Chunk], progress: Callable[[int], object]
) -> None:
    """`send_batch`, which says how many bytes have gone whenever some have. Thread: front end."""
    chunks = _checked(batch)
    with _alone(stream):
        if not any(chunks):
            await stream.send_all(b"")
        elif isinstance(stream, trio.SocketStream) and _has_descriptor(stream.socket):
            most = MOST_AT_ONCE if progress is _ignore else FAIR_SHARE
            with _stream_errors(stream), _conflicts_of(stream):
                await _send_vectors(stream.socket, chunks, progress, most)
        else:
            for pieces in _in_pieces(chunks):
                for part in pieces if progress is _ignore else _parts(pieces):
                    await stream.send_all(part)
                    progress(len(part))


def _parts(pieces: list[Chunk]) -> Iterator[Chunk]:
    """Pieces of any size as parts of `JOINED` bytes at most: each that has gone is progress."""
    for piece in pieces:
        if len(piece) <= JOINED:
            yield piece
        else:
            view = memoryview(piece)
            yield from (view[first : first + JOINED] for first in range(0, len(view), JOINED))


def send_at_once(
    stream: trio.abc.SendStream, batch: Sequence[Chunk], progress: Callable[[int], object]
) -> Sequence[Chunk]:
    """Send what goes without waiting, and return the rest; all of it, if the stream is no socket.

    For the one task that sends to this stream. Not a checkpoint. An error of the stream is left to who
    sends the rest. Thread: front end.
    """
    if not isinstance(stream, trio.SocketStream) or not _has_descriptor(stream.socket):
        return batch
    if len(batch) > MOST_LOOKED_AT or bytes_in(batch) > JOINED:
        return batch
    batch = _checked(batch)
    piece = b"".join(batch) if len(batch) > 1 else batch[0]
    try:
        sent = os.write(stream.socket.fileno(), piece)
    except OSError:
        return [piece]  # it would block, or whoever sends the rest finds the same error
    progress(sent)
    return [] if sent == len(piece) else [memoryview(piece)[sent:]]


def bytes_in(buffers: Sequence[Chunk]) -> int:
    """The bytes in all of them. Thread: any."""
    if len(buffers) == 1 and type(buffers[0]) is bytes:
        return len(buffers[0])
    return sum(len(b) if type(b) is bytes else memoryview(b).nbytes for b in buffers)


def _ignore(_: int) -> None:
    """Nobody asks for the progress."""


def _checked(batch: Sequence[Chunk]) -> Sequence[Chunk]:
    """The batch as something to slice, of chunks whose `len` is their bytes."""
    if set(map(type, batch)) <= _PLAIN:
        return batch if isinstance(batch, list) else list(batch)
    return [_flat(chunk, index) for index, chunk in enumerate(batch)]


def _flat(chunk: Chunk, index: int) -> Chunk:
    """A chunk as one run of bytes: a view of other items, or with gaps, is made so."""
    if type(chunk) in _PLAIN:
        return chunk
    try:
        view = memoryview(chunk)
    except TypeError:
        msg = (
            f"chunk {index} of the batch is not bytes-like: {type(chunk).__name__!r}; nothing was sent"
        )
        raise TypeError(msg) from None
    if not view.c_contiguous or view.nbytes == 0:
        return view.tobytes()
    return view.cast("B")


@cache
def _real_socket() -> type[trio.socket.SocketType]:
    """The type of Trio's sockets that the system knows; a test's virtual network has others."""
    with socket.socket() as any_socket:
        return type(trio.socket.from_stdlib_socket(any_socket))


def _has_descriptor(connection: trio.socket.SocketType) -> bool:
    """Can the system write to it, and many pieces at once? It cannot if it is closed."""
    return hasattr(os, "writev") and type(connection) is _real_socket() and connection.fileno() >= 0


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
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _in_pieces(batch: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """The batch as lists of fewer pieces, each list to be sent before the next one is made.

    Runs of small chunks are joined, large chunks are passed on as they are.
    """
    pieces: list[Chunk] = []
    copied, first, most = 0, 0, MOST_LOOKED_AT
    while first < len(batch):
        run = batch[first : first + most]
        size = sum(map(len, run))
        if size > SMALL * len(run):
            small = sum(len(chunk) for chunk in run if len(chunk) <= SMALL)
            if small > MOST_JOINED // 2 and len(run) > 1:
                most = max(1, MOST_JOINED // 2 * len(run) // small)
                continue
            pieces += _large_pieces(run)
            copied += small
        elif size <= JOINED or len(run) == 1:
            pieces.append(_join(run))
            copied += size
        else:  # of such chunks, as many as make one piece
            most = max(1, JOINED * len(run) // size)
            continue
        first += len(run)
        most = min(2 * most, MOST_LOOKED_AT)
        if copied >= MOST_JOINED // 2 or len(pieces) >= IOV_MAX:
            yield pieces
            pieces, copied = [], 0
    if pieces:
        yield pieces


def _large_pieces(run: Sequence[Chunk]) -> list[Chunk]:
    """Chunks that are large on average: those that are small all the same are joined."""
    pieces: list[Chunk] = []
    small: list[Chunk] = []
    size = 0
    for chunk in run:
        if small and (len(chunk) > SMALL or size + len(chunk) > JOINED):
            pieces.append(_join(small))
            small, size = [], 0
        if len(chunk) > SMALL:
            pieces.append(chunk)
        else:
            small.append(chunk)
            size += len(chunk)
    if small:
        pieces.append(_join(small))
    return [piece for piece in pieces if piece]


def _share(pieces: list[Chunk], first: int, most: int) -> list[Chunk]:
    """The pieces from `first` on that one system call may take: about `most` bytes."""
    last, size = first, 0
    for last in range(first, min(len(pieces), first + IOV_MAX)):
        size += len(pieces[last])
        if size >= most:
            break
    if last == first and size > 2 * most:
        return [memoryview(pieces[first])[:most]]
    return pieces[first : last + 1]


async def _send_vectors(
    connection: trio.socket.SocketType,
    chunks: Sequence[Chunk],
    progress: Callable[[int], object],
    most: int,
) -> None:
    """Send all chunks, as many at a time as the kernel takes, and let others run now and then.

    `writev` is `sendmsg` without its flags. Trio's own `sendmsg` would be a checkpoint for each call,
    which costs as much as the call.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    since_checkpoint = 0
    for pieces in _in_pieces(chunks):
        first = 0
        while first < len(pieces):
            try:
                sent = os.writev(connection.fileno(), _share(pieces, first, most))
            except BlockingIOError:
                await connection.wait_writable()
                since_checkpoint = 0
                continue
            progress(sent)
            since_checkpoint += sent
            while first < len(pieces) and sent >= len(pieces[first]):
                sent -= len(pieces[first])
                first += 1
            if sent:
                pieces[first] = memoryview(pieces[first])[sent:]
            if since_checkpoint >= most:
                await trio.lowlevel.checkpoint()
                since_checkpoint = 0
    await trio.lowlevel.checkpoint()
