"""What can go wrong in the store. A message is one line: the thing, the bound, and the remedy."""

from __future__ import annotations


class StoreError(Exception):
    """Any error of the store."""


class StoreOpenError(StoreError):
    """The store cannot be opened; the message says what to do."""


class StoreClosedError(StoreError):
    """The store was closed."""


class StoreDamagedError(StoreError):
    """What is on the disk, or its way there, can no longer be trusted."""


class StoreFullError(StoreError):
    """No room is left, in the store or on the disk. Deleting still works."""


class KeyTooLongError(StoreError, ValueError):
    """A key, or a bound of a range, is longer than the store takes."""


class UnknownVBucketError(StoreError):
    """The store has no vBucket of that number."""


class UnknownCollectionError(StoreError):
    """The store has no collection of that id."""


class ScanError(StoreError):
    """A scan cannot be opened, or not be read on."""


class EmptyScanError(ScanError):
    """There is no document in the range, or none to sample."""


class TooManyScansError(ScanError):
    """As many scans are open as the store has reader slots for them."""


class WrongVBucketUuidError(ScanError):
    """The vBucket has another uuid than is required: its history is not the one the client knows."""

    def __init__(self, message: str, uuid: int) -> None:
        super().__init__(message)
        self.uuid = uuid
        """The uuid that it has."""


class NotPersistedError(ScanError):
    """The vBucket has not come to the sequence number that the scan requires."""


class SeqnoMissingError(ScanError):
    """No document has the sequence number that the scan requires: it was deleted or written again."""


class ScanCancelledError(ScanError):
    """The scan was cancelled, or closed, while or before it was read."""


class ScanBusyError(ScanError):
    """The scan is being read already."""
