"""Compares what a scan gave with what it should have given."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Document: TypeAlias = tuple[bytes, bytes]


def difference(found: Iterable[Document], expected: Mapping[bytes, bytes]) -> str | None:
    """What is wrong with these documents, in words. None: they are those expected, each once."""
    missing = dict(expected)
    for key, value in found:
        wanted = missing.pop(key, None)
        if wanted is None:
            why = "twice" if key in expected else "and is none of them"
            return f"{_name(key)} came {why}"
        if value != wanted:
            return f"{_name(key)} is not as its source"
    if missing:
        return f"{len(missing):,} of {len(expected):,} did not come, such as {_name(min(missing))}"
    return None


def _name(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
