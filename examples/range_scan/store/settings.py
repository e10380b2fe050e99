"""How a store is opened."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .layout import MAX_VBUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes are in bytes, times in seconds. Raises ValueError for what is out of range."""

    vbuckets: int | None = None
    """None: as many as the store was made with; 64 for a new one."""
    collections: Sequence[str] = ()
    """Names, as "scope.collection", of those to create where they are missing."""
    max_size: int = 64 << 30
    """Address space that is reserved, once. The file grows up to it; then only deleting works."""
    max_growth: int = 1 << 30
    """What one old scan may keep from being used again before it is cancelled."""
    max_scans: int = 4096
    sync: bool = True
    """False: writes are acknowledged before they are on disk. A power failure may lose them, or damage
    the store; after an unclean stop each vBucket has a new uuid."""
    purge_interval: float = 1.0
    """How often expired documents are looked for."""
    clock: Callable[[], float] = time.time
    inflate: Callable[[bytes], bytes] | None = None
    """Makes a compressed value plain before it is changed, on the writer's thread. It may raise."""
    plain_size: Callable[[bytes], int] | None = None
    """Says how large a compressed value would be, so that too large a one need not be inflated."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.vbuckets is not None and not 1 <= self.vbuckets <= MAX_VBUCKETS:
            msg = f"vbuckets must be from 1 to {MAX_VBUCKETS}, not {self.vbuckets}"
            raise ValueError(msg)
        for name in ("max_size", "max_growth", "max_scans", "purge_interval"):
            if getattr(self, name) <= 0:
                msg = f"{name} must be more than 0, not {getattr(self, name)}"
                raise ValueError(msg)
