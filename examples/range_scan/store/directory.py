"""The directory of a store: one process at a time, and LMDB's environment in it.

The map is reserved here, once, sparse, and never resized: that would end every open scan. It is larger
than `max_size`, since LMDB needs new pages for deleting, too, and old scans keep pages from being used
again.

`store.lock` says whether there is data. Data without that note was not written here: it is a copy of a
store, which may be older than what clients remember. So the note comes last, when founding is on disk,
and where the files are is: else a power failure could take the directory, and all that is in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import lmdb

from .errors import StoreOpenError
from .room import FULL

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from .settings import Settings

_HAS_DATA = b"has data\n"  # a line in store.lock
_SPARE_READERS = 64  # threads that read a document, beside the scans
_NOT_SYNCED = frozenset({errno.EINVAL, errno.EROFS, errno.EOPNOTSUPP, errno.ENOSYS})  # directories
_DAMAGED = (
    lmdb.InvalidError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
    struct.error,  # what the store notes of itself is garbled, as it is with a ValueError
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that is locked, and LMDB's environment in it."""

    directory: Path
    environment: lmdb.Environment
    had_data: bool
    """Whether a store was opened here before."""
    _lock: int

    def note_data(self) -> None:
        """From now on there is data: note that, unless it is noted. Thread: any."""
        if not self.had_data:
            _sync_entries(self.directory)
            os.pwrite(self._lock, _HAS_DATA, os.fstat(self._lock).st_size)
            os.fsync(self._lock)


@contextmanager
def open_environment(directory: Path, settings: Settings) -> Generator[Place]:
    """Lock the directory, and open LMDB in it. Thread: any. Raises StoreOpenError."""
    with ExitStack() as stack:
        stack.enter_context(_explained(directory))
        directory.mkdir(parents=True, exist_ok=True)
        lock, had_data = _lock(directory)
        stack.callback(os.close, lock)
        if had_data:
            _check_there(directory)
        environment = lmdb.open(
            os.fspath(directory),
            map_size=_map_size(settings),
            max_dbs=3,
            max_readers=settings.max_scans + _SPARE_READERS,
            max_spare_txns=_SPARE_READERS,
            sync=settings.sync,
        )
        stack.callback(environment.close)
        environment.reader_check()  # scans of a process that was killed would keep pages for ever
        _check_length(directory, environment)
        yield Place(directory, environment, had_data, lock)


def file_size(environment: lmdb.Environment) -> int:
    """How long the file is, to the end of the last page that was ever used."""
    return (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]


def _map_size(settings: Settings) -> int:
    size = settings.max_size + settings.max_growth + settings.max_size // 4
    return size + -size % (1 << 20)


def _lock(directory: Path) -> tuple[int, bool]:
    """Take the directory for this process. The lock ends with the descriptor, so with the process.

    Returns:
        the descriptor, and whether there has been data in the directory.
    """
    with ExitStack() as undo:
        descriptor = os.open(directory / "store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        undo.callback(os.close, descriptor)
        said = os.pread(descriptor, 64, 0)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner, _, _ = said.decode("ascii", "replace").partition("\n")
            msg = f"{directory} is in use by process {owner}: stop that, or use another directory"
            raise StoreOpenError(msg) from None
        had_data = _HAS_DATA in os.pread(descriptor, 64, 0)
        # Written before it is cut, so that no end of this process loses what it says.
        note = b"%d\n" % os.getpid() + (_HAS_DATA if had_data else b"")
        os.pwrite(descriptor, note, 0)
        os.ftruncate(descriptor, len(note))
        undo.pop_all()
        return descriptor, had_data


def _check_there(directory: Path) -> None:
    """Refuse a store whose file is gone, or empty: LMDB would begin a new one."""
    file = directory / "data.mdb"
    if not file.exists() or file.stat().st_size == 0:
        raise StoreOpenError(_damaged(directory, "its data.mdb is gone, or empty"))


def _check_length(directory: Path, environment: lmdb.Environment) -> None:
    """Refuse a file that was cut short: to read a page beyond its end would kill the process."""
    length, expected = (directory / "data.mdb").stat().st_size, file_size(environment)
    if length < expected:
        raise StoreOpenError(_damaged(directory, f"has {length} bytes of {expected}"))


def _sync_entries(directory: Path) -> None:
    """Bring to the disk what is in the directory, and that it is where it is.

    All parents, as it is not known who made them: it may have been killed before it came here.
    """
    path = directory.resolve()
    for each in (path, *path.parents):
        try:
            descriptor = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:  # then it was not made by this user
            continue
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NOT_SYNCED:
                raise
        finally:
            os.close(descriptor)


def _damaged(directory: Path, what: str) -> str:
    return f"the store in {directory} is damaged ({what}): restore a copy, or use another directory"


def _no_room(directory: Path, error: Exception) -> str:
    return f"no room on the disk for the store in {directory}: make room, or use another ({error})"


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
        elif error.code in FULL:
            msg = _no_room(directory, error)
        else:
            msg = f"cannot open the store in {directory}: {error}"
        raise StoreOpenError(msg) from error
    except OSError as error:
        reason = error.strerror or error
        if error.errno in FULL:
            msg = _no_room(directory, error)
        else:
            msg = f"cannot write to {directory} ({reason}): change its permissions, or use another"
        raise StoreOpenError(msg) from error
