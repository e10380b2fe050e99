"""Writing a batch to a stream, with what other tasks need of the event loop meanwhile.

Invariants: the bytes go out in order and whole, or an error is raised; one stream holds no more than
the batch, and copies of a part of it (`_pieces`); one `send_batch` at a time is at a stream.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import enable_ki_protection

from ._pieces import JOINED, MOST_LOOKED_AT, Vectors, in_pieces
from ._turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ._pieces import Chunk

MOST_AT_ONCE: Final = 1024 * 1024
"""Bytes after which other tasks have their turn."""
FAIR_SHARE: Final = 256 * 1024
"""The same for a front end, which has other clients."""
_PLAIN: Final = frozenset({bytes, bytearray})
_CLOSED: Final = frozenset({errno.EBADF, errno.ENOTSOCK})
_busy: set[int] = set()  # id() of streams that a send_batch is at; each is alive meanwhile


@enable_ki_protection
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
    await _send(stream, batch, _ignore, MOST_AT_ONCE, Turns())


async def send_in_turn(
    stream: trio.abc.SendStream,
    batch: Sequence[Chunk],
    progress: Callable[[int], object],
    turns: Turns,
) -> None:
    """`send_batch`, beside others that have the same turns. Thread: front end.

    `progress` is told how many bytes have gone, whenever some have.
    """
    await _send(stream, batch, progress, FAIR_SHARE, turns)


async def _send(
    stream: trio.abc.SendStream,
    batch: Sequence[Chunk],
    progress: Callable[[int], object],
    most: int,
    turns: Turns,
) -> None:
    chunks = _checked(batch)
    with _alone(stream):
        if not any(chunks):
            await stream.send_all(b"")
        elif isinstance(stream, trio.SocketStream) and _has_descriptor(stream.socket):
            with _stream_errors(stream), _conflicts_of(stream):
                await _write(
                    stream.socket, Vectors(stream.socket.fileno, chunks, progress), most, turns
                )
        else:
            for pieces in in_pieces(chunks):
                for part in pieces if progress is _ignore else _parts(pieces):
                    await stream.send_all(part)
                    progress(len(part))


async def _write(connection: trio.socket.SocketType, vectors: Vectors, most: int, turns: Turns) -> None:
    """Write all, `most` bytes in a turn."""
    await trio.lowlevel.checkpoint_if_cancelled()
    while not vectors.all_sent:
        await turns.take()
        try:
            would_block = not vectors.write(most)
        except BaseException:
            turns.pass_on()
            raise
        if would_block:
            turns.pass_on()
            await connection.wait_writable()
        else:
            await turns.give()


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
    if not isinstance(batch, list):
        batch = list(batch)  # whatever it is: of an iterator nothing would be left after a look
    if set(map(type, batch)) <= _PLAIN:
        return batch
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
    try:
        is_real = type(connection) is _real_socket()
    except OSError:  # no descriptor is free to find out
        return False
    return hasattr(os, "writev") and is_real and connection.fileno() >= 0


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
