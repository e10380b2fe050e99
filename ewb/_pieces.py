"""A batch as pieces for the system: small chunks joined, large ones as they are, in few system calls.

Invariants: the bytes keep their order, and none is left out; copies of some `MOST_JOINED` bytes of
them are held.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    Chunk: TypeAlias = bytes | bytearray | memoryview

SMALL: Final = 8 * 1024
"""Bytes up to which copying a chunk costs less than a place of its own in `writev`."""
JOINED: Final = 64 * 1024
"""Bytes that are joined to one piece: allocators give larger ones back, which costs page faults."""
MOST_JOINED: Final = 256 * 1024
"""Bytes of copies that are held at a time, at most, but for one piece."""
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


class Vectors:
    """Writes chunks to a socket of the system's, as many at a time as it takes.

    `writev` is `sendmsg` without its flags. Trio's own `sendmsg` would be a checkpoint for each call,
    which costs as much as the call.
    """

    def __init__(
        self, descriptor: Callable[[], int], chunks: Sequence[Chunk], progress: Callable[[int], object]
    ) -> None:
        self._descriptor = descriptor
        self._progress = progress
        self._to_come = in_pieces(chunks)
        self._pieces: list[Chunk] = []
        self._first = 0
        self.all_sent = not self._has_more()

    def write(self, most: int) -> bool:
        """Write about `most` bytes, or all there are. Returns whether that went without blocking.

        Raises:
            OSError: the peer is gone.
        """
        written = 0
        while written < most and not self.all_sent:
            try:
                sent = os.writev(self._descriptor(), share(self._pieces, self._first, most))
            except BlockingIOError:
                return False
            self._progress(sent)
            written += sent
            self._go_on_behind(sent)
        return True

    def _go_on_behind(self, sent: int) -> None:
        pieces = self._pieces
        while self._first < len(pieces) and sent >= len(pieces[self._first]):
            sent -= len(pieces[self._first])
            self._first += 1
        if sent:
            pieces[self._first] = memoryview(pieces[self._first])[sent:]
        self.all_sent = not self._has_more()

    def _has_more(self) -> bool:
        if self._first == len(self._pieces):
            nothing: list[Chunk] = []
            self._pieces, self._first = next(self._to_come, nothing), 0
        return bool(self._pieces)


def in_pieces(batch: Sequence[Chunk]) -> Iterator[list[Chunk]]:
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


def share(pieces: list[Chunk], first: int, most: int) -> list[Chunk]:
    """The pieces from `first` on that one system call may take: about `most` bytes."""
    last, size = first, 0
    for last in range(first, min(len(pieces), first + IOV_MAX)):
        size += len(pieces[last])
        if size >= most:
            break
    if last == first and size > 2 * most:
        return [memoryview(pieces[first])[:most]]
    return pieces[first : last + 1]


def _join(chunks: Sequence[Chunk]) -> Chunk:
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
