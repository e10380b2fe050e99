"""What came out of the demo, and whether all of it was right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from .processes import Gets

FIGURES: Final = {
    "front_end:would_blocks": "would-blocks",
    "front_end:doorbells": "doorbells",
    "front_end:suspensions": "suspensions",
}
"""What the server counts: its name for it, and the table's."""


@attrs.frozen
class Span:
    """From when until when, in seconds of the monotonic clock, which all processes share."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.ended - self.began


@attrs.frozen(kw_only=True)
class Scan:
    """How a scan went."""

    client: str
    of: str
    documents: int
    bytes: int
    """Of keys and values, without what the protocol adds."""
    span: Span
    figures: Counter[str]
    """What the server counted meanwhile, by its names."""
    wrong: str | None
    """In words; None: every document was as its source."""


@attrs.frozen
class Outcome:
    """How all of it went."""

    scans: Sequence[Scan]
    gets: Gets
    idle: Span

    def wrong(self) -> str | None:
        """What was wrong first, in words; None: nothing was."""
        for scan in self.scans:
            if scan.wrong is not None:
                return f"{scan.client}, {scan.of}: {scan.wrong}"
        if self.gets.wrong is not None:
            return f"a GET of the second client: {self.gets.wrong} is not as its source"
        return None
