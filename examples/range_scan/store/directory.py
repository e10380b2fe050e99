"""The directory of a store: one process at a time, and LMDB's environment in it.

The map is reserved here, once, sparse, and never resized: that would end every open scan. It is larger
than `max_size`, since LMDB needs new pages for deleting, too, and old scans keep pages from being used
again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import lmdb

from .errors import StoreOpenError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from .settings import Settings

_SPARE_READERS = 64  # threads that read a document, beside the scans
_DAMAGED = (
    lmdb.InvalidError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
    struct.error,  # what the store notes of itself is garbled, as it is with a ValueError
    ValueError,
)


@contextmanager
def open_environment(directory: Path, settings: Settings) -> Generator[lmdb.Environment]:
    """Lock the directory, and open LMDB in it. Thread: any. Raises StoreOpenError."""
    with ExitStack() as stack:
        stack.enter_context(_explained(directory))
        directory.mkdir(parents=True, exist_ok=True)
        stack.callback(os.close, _lock(directory))
        environment = lmdb.open(
            os.fspath(directory),
            map_size=_map_size(settings),
            max_dbs=3,
            max_readers=settings.max_scans + _SPARE_READERS,
            max_spare_txns=_SPARE_READERS,
            sync=settings.sync,
        )
        stack.callback(environment.close)
        _check_length(directory, environment)
        yield environment


def file_size(environment: lmdb.Environment) -> int:
    """How long the file is, to the end of the last page that was ever used."""
    return (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]


def _map_size(settings: Settings) -> int:
    size = settings.max_size + settings.max_growth + settings.max_size // 4
    return size + -size % (1 << 20)


def _lock(directory: Path) -> int:
    """Take the directory for this process. The lock ends with the descriptor, so with the process."""
    descriptor = os.open(directory / "store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        msg = f"{directory} is in use by process {owner}: stop that, or use another directory"
        raise StoreOpenError(msg) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor


def _check_length(directory: Path, environment: lmdb.Environment) -> None:
    """Refuse a file that was cut short: to read a page beyond its end would kill the process."""
    length, expected = (directory / "data.mdb").stat().st_size, file_size(environment)
    if length < expected:
        raise StoreOpenError(_damaged(directory, f"has {length} bytes of {expected}"))


def _damaged(directory: Path, what: str) -> str:
    return f"the store in {directory} is damaged ({what}): restore a copy, or use another directory"


@contextmanager
def _explained(directory: Path) -> Generator[None]:
    """Turn what the system or LMDB raises into one line that says what to do."""
    try:
        yield
    except _DAMAGED as error:
        raise StoreOpenError(_damaged(directory, str(error))) from error
    except lmdb.Error as error:
        if error.code == errno.ENOMEM:
            msg = f"no address space for the store in {directory}: use a smaller maximal size ({error})"
        elif error.code in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            msg = (
                f"no room on the disk for the store in {directory}: make room, or use another ({error})"
            )
        else:
            msg = f"cannot open the store in {directory}: {error}"
        raise StoreOpenError(msg) from error
    except OSError as error:
        reason = error.strerror or error
        msg = (
            f"cannot write to {directory} ({reason}): change its permissions, or use another directory"
        )
        raise StoreOpenError(msg) from error
