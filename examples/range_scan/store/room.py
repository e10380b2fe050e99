"""Room on the disk, allocated before it is needed.

Invariants:

- The file is as long as its last used page needs, and longer. A file that is shorter was cut.
- Growing writes leave `KEPT_FREE` bytes behind the last page, so that deleting works on a full disk.

To run out of room inside a commit would not do: a write that LMDB finds cut short it reports as EIO,
which could as well be a failing disk.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from .errors import StoreFullError

if TYPE_CHECKING:
    from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
KEPT_FREE = 1 << 20
_STEP = 4 << 20
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Room:
    """The end of the file, and what is allocated behind it. Thread: writer."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._allocated = file.stat().st_size

    def reserve(self, end: int, needed: int, *, growing: bool) -> None:
        """See that `needed` bytes can be written behind `end`. Raises StoreFullError."""
        if growing:
            needed += KEPT_FREE
        if end + needed <= self._allocated:
            return
        for more in (_STEP, 0):  # a generous step, so that it is seldom done; or what is left
            try:
                self._allocate(end + needed + more)
            except OSError as error:
                if error.errno in _UNSUPPORTED:
                    return
                failed = error
            else:
                return
        if failed.errno not in FULL:
            raise failed
        msg = (
            f"no room on the disk for {self._file} ({failed.strerror}): delete something, or make room"
        )
        raise StoreFullError(msg) from failed

    def _allocate(self, length: int) -> None:
        descriptor = os.open(self._file, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(descriptor, self._allocated, length - self._allocated)
        finally:
            os.close(descriptor)
        self._allocated = length
