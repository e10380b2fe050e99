"""What a client scans, and how much of it at a time."""

from __future__ import annotations

from base64 import b64encode
from typing import Self

import attrs


@attrs.frozen(kw_only=True)
class Limits:
    """Where one CONTINUE ends; 0 is no limit."""

    items: int = 0
    milliseconds: int = 0
    bytes: int = 0


@attrs.frozen(kw_only=True)
class Range:
    """The keys from `start` on, and before `end`; None is without end."""

    start: bytes = b""
    end: bytes | None = None

    @classmethod
    def prefix(cls, prefix: bytes) -> Self:
        """All keys that begin so."""
        head = prefix.rstrip(b"\xff")
        return cls(start=prefix, end=head[:-1] + bytes([head[-1] + 1]) if head else None)

    def to_json(self) -> dict[str, object]:
        """As CREATE wants it."""
        last = {"end": _base64(b"\xff" * 250)} if self.end is None else {"excl_end": _base64(self.end)}
        return {"range": {"start": _base64(self.start), **last}}


@attrs.frozen(kw_only=True)
class Sample:
    """About so many documents, chosen by the seed."""

    samples: int
    seed: int = 0

    def to_json(self) -> dict[str, object]:
        """As CREATE wants it."""
        return {"sampling": {"samples": self.samples, "seed": self.seed}}


NO_LIMITS = Limits()


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
