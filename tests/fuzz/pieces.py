"""Bytes in pieces, and what protocols make of them."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias
from zlib import crc32

import ewb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Pieces: TypeAlias = list[bytes]


def cut(data: bytes, places: Iterable[int]) -> Pieces:
    """The data, cut there."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def splits(data: bytes) -> Iterator[Pieces]:
    """Ways to cut data that follow from it alone: byte by byte, and by chance."""
    random = Random(crc32(data))  # noqa: S311 - no secret
    yield cut(data, range(0, len(data), 1 + len(data) // 2000))
    for places in (1, 4):
        yield cut(data, [random.randrange(len(data) + 1) for _ in range(places)])


def however_split(parse: Callable[[Pieces], object]) -> Callable[[bytes], None]:
    """A target of a parser that takes pieces: what comes of them must be the same."""

    def target(data: bytes) -> None:
        found = parse([data])
        for pieces in splits(data):
            again = parse(pieces)
            assert again == found, (pieces, again, found)

    return target


def pull(protocol: ewb.Protocol[Any, Any, Any, Any], piece: bytes) -> list[Any]:
    """Feed a piece, and pull all requests. ewb.ProtocolError."""
    protocol.receive_data(piece)
    found: list[Any] = []
    while (request := protocol.next_request()) is not None:
        found.append(request)
    return found


def pull_all(protocol: ewb.Protocol[Any, Any, Any, Any], pieces: Pieces) -> list[Any]:
    """All requests in these pieces, and what the protocol complained of at the end."""
    found: list[Any] = []
    most = sum(map(len, pieces))
    try:
        for piece in pieces:
            protocol.receive_data(piece)
            while (request := protocol.next_request()) is not None:
                found.append(request)
                assert len(found) <= most, "more requests than bytes: no progress"
    except ewb.ProtocolError as error:
        found += [str(error), error.reply]
    return found
