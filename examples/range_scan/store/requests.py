"""What a scan is to read, and how much of it at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from .errors import KeyTooLongError
from .layout import MAX_KEY


@dataclass(frozen=True, slots=True)
class Range:
    """The documents whose keys lie between two bounds. Raises KeyTooLongError, a ValueError."""

    start: bytes = b""
    end: bytes | None = None
    """None: to the end of the collection."""
    start_inclusive: bool = True
    end_inclusive: bool = True

    def __post_init__(self) -> None:
        """Check the bounds."""
        for bound in (self.start, self.end or b""):
            if len(bound) > MAX_KEY:
                msg = f"a bound of the range has {len(bound)} bytes; use at most {MAX_KEY}"
                raise KeyTooLongError(msg)


@dataclass(frozen=True, slots=True)
class Sample:
    """About `samples` documents, each as likely as any other; all, where there are no more."""

    samples: int
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the number."""
        if self.samples < 1:
            msg = f"samples must be 1 or more, not {self.samples}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What the vBucket must have come to: the history `uuid`, at least up to `seqno`."""

    uuid: int
    seqno: int = 0
    seqno_exists: bool = False
    """Moreover, some document must have `seqno`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRequest:
    """A scan of one collection in one vBucket. The name is for the statistics only."""

    vb: int
    collection: int = 0
    keys_only: bool = False
    pick: Range | Sample = Range()
    requirement: Requirement | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where one `Scan.read` stops: behind the item that reaches a limit. 0 is none."""

    items: int = 0
    bytes: int = 0
    seconds: float = 0


NO_LIMITS = Limits()


class ScanEnd(Enum):
    """How a `Scan.read` ended."""

    MORE = auto()
    """At a limit. The scan can be read on; there may be nothing left."""
    COMPLETE = auto()
