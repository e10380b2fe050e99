"""Pieces: whatever the chunks, and however little the system takes, the bytes keep their order."""

from __future__ import annotations

from operator import attrgetter
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from ewb._pieces import IOV_MAX, JOINED, MOST_JOINED, SMALL, Vectors, in_pieces, share

sizes = st.sampled_from([1, 2, 64, 1000, SMALL, SMALL + 1, JOINED, JOINED + 1, 3 * JOINED])
runs = st.lists(st.tuples(sizes, st.integers(1, 40)), max_size=8)
batches = runs.map(
    lambda runs: [bytes([at]) * size for at, (size, count) in enumerate(runs) for _ in range(count)]
)


class System:
    """Takes what its script says, in place of `os.writev`; 0: it would block."""

    def __init__(self, takes: list[int]) -> None:
        self.takes = takes
        self.taken = bytearray()
        self.calls = 0

    def writev(self, _: int, buffers: list[bytes]) -> int:
        """As the system's."""
        self.calls += 1
        assert 0 < len(buffers) <= IOV_MAX
        takes = self.takes.pop() if self.takes else 1 << 30
        if not takes:
            raise BlockingIOError
        data = b"".join(buffers)[:takes]
        self.taken += data
        return len(data)


@given(batches)
def test_no_byte_is_lost_or_copied_without_need(batch: list[bytes]) -> None:
    """Large chunks are passed on as they are; what is copied at a time is bounded."""
    joined = bytearray()
    for pieces in in_pieces(batch):
        assert 0 < len(pieces) <= IOV_MAX + 1024
        copied = [piece for piece in pieces if not any(piece is chunk for chunk in batch)]
        assert sum(map(len, copied)) <= MOST_JOINED
        assert all(len(piece) <= JOINED for piece in copied)
        joined += b"".join(pieces)
    assert joined == b"".join(batch)


@given(batch=batches, takes=st.lists(st.sampled_from([0, 1, 100, 70_000, 1 << 30]), max_size=60))
def test_all_is_written_however_little_the_system_takes(batch: list[bytes], takes: list[int]) -> None:
    """It says how much has gone, and stops where the system would block, or the share is full."""
    system, progress, most = System(takes), list[int](), 100_000
    with patch("os.writev", system.writev):
        vectors = Vectors(lambda: 3, batch, progress.append)
        over = attrgetter("all_sent")
        while not over(vectors):
            before = len(system.taken)
            went = vectors.write(most)
            written = len(system.taken) - before
            assert written >= most or over(vectors) or not went
            assert written < 4 * most
            assert sum(progress) == len(system.taken)
        assert vectors.write(most), "nothing is left, so nothing can block"
    assert system.taken == b"".join(batch)


@given(batch=batches, first=st.integers(0, 400), most=st.sampled_from([1, 1000, 100_000]))
def test_a_share_is_about_what_was_asked_for(batch: list[bytes], first: int, most: int) -> None:
    """A piece that is much more is cut, and that costs no copy."""
    if first >= len(batch):
        return
    pieces = share(list(batch), first, most)
    size = sum(map(len, pieces))
    assert b"".join(batch[first:]).startswith(b"".join(pieces))
    assert size <= 2 * most + max(map(len, pieces[:-1]), default=0) + len(pieces[-1])
    assert size >= most or size == sum(map(len, batch[first:])) or len(pieces) == IOV_MAX
    assert len(pieces) > 1 or size <= 2 * most
