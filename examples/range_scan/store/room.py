"""Room on the disk, allocated before it is needed.

Invariants:

- The file is as long as its last used page needs, and longer. A file that is shorter was cut.
- Growing writes leave `KEPT_FREE` bytes behind the last page, so that deleting works on a full disk.
- When it is full, and something was deleted, they leave half of that: LMDB may not find the room that
  they need among the free pages, and then they go behind the last one.

To run out of room inside a commit would not do: a write that LMDB finds cut short it reports as EIO,
which could as well be a failing disk. Nor would it do to run out of descriptors, of which connections
may have taken all; so the file is opened once for all.
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
_PLENTY = 2  # times as many bytes free as needed: then LMDB rarely takes new ones
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Room:
    """The end of the file, and what is allocated behind it. Thread: writer; its making and end, any."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        self._allocated = os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Nothing will be written any more."""
        os.close(self._descriptor)

    def reserve(self, end: int, needed: int, *, growing: bool, free: int) -> None:
        """See that `needed` bytes can be written behind `end`. Raises StoreFullError.

        Before `end` there are `free` bytes that nothing uses.
        """
        kept = KEPT_FREE if growing else 0
        if end + needed + kept <= self._allocated:
            return
        for more in (_STEP, 0):  # a generous step, so that it is seldom done; or what is left
            try:
                self._allocate(end + needed + kept + more)
            except OSError as error:
                if error.errno in _UNSUPPORTED:
                    return
                failed = error
            else:
                return
        if failed.errno not in FULL:
            raise failed
        if free >= _PLENTY * needed and end + needed + kept // 2 <= self._allocated:
            return
        # Clients are told this, so it does not say where the store is.
        msg = f"no room on the disk for the store ({failed.strerror}): delete something, or make room"
        raise StoreFullError(msg) from failed

    def _allocate(self, length: int) -> None:
        os.posix_fallocate(self._descriptor, self._allocated, length - self._allocated)
        self._allocated = length
