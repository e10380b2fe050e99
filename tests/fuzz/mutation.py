"""Inputs by chance: what is kept, changed. For where atheris is not installed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from .corpus import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EDGES: Final = [
    *(bytes([byte]) * size for byte in (0, 0x7F, 0x80, 0xFF) for size in (1, 2, 4, 8)),
    *(b"\n", b"\r\n", b"$-1", b"*9999999999", b"[" * 100, b"\xff\xff\xff\xff\x0f"),
]
"""Bytes that parsers stumble over."""


def mutations(seeds: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Without end: seeds, cut up, put together and changed."""
    random = Random(seed)  # noqa: S311 - no secret
    while True:
        data = bytearray(random.choice(seeds) if seeds else b"")
        for _ in range(random.choice((1, 1, 2, 4, 8))):
            _change(data, random, random.choice(seeds) if seeds else b"")
        yield bytes(data[:LARGEST])


def _change(data: bytearray, random: Random, other: bytes) -> None:
    start, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
    match random.randrange(6):
        case 0 if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        case 1 if data:
            data[random.randrange(len(data))] = random.randrange(256)
        case 2:
            del data[start : min(end, start + 8)]
        case 3:
            edge = random.choice(EDGES)
            data[start : start + random.choice((0, len(edge)))] = edge
        case 4:
            data[start:start] = data[start:end]
        case _:
            data[start:] = other[random.randrange(len(other) + 1) :]
