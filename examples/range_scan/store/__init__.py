"""A durable store of documents with scans of snapshots, over LMDB. It knows no ewb and no wire.

    store                                   all of it, as its users see it; from any thread
    founding, directory, room, settings     how it is opened, and what it may take
    writer, turns, batch, apply, drafts,    writing: one thread, one commit for all that waits
    waiters
    scanning, scan, walk, snapshots         reading on in a snapshot; any thread, one at a time
    layout, blocks, records, tables, state  what is where, on the disk and in memory
    mutations, requests, errors             what is asked for, and what comes of it

Import from here only.
"""

from .errors import (
    EmptyScanError,
    KeyTooLongError,
    NotPersistedError,
    ScanBusyError,
    ScanCancelledError,
    ScanError,
    SeqnoMissingError,
    StoreClosedError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreOpenError,
    TooManyScansError,
    UnknownCollectionError,
    UnknownVBucketError,
    WrongVBucketUuidError,
)
from .layout import MAX_KEY, MAX_VBUCKETS, Tally, VBucket
from .mutations import Mutation, Op, Outcome, Status
from .records import MAX_VALUE, Document
from .requests import NO_LIMITS, Limits, Range, Requirement, Sample, ScanEnd, ScanRequest
from .scan import Scan, ScanStatistics
from .settings import Settings
from .store import Store, StoreStatistics
from .waiters import Waiter

__all__ = [
    "MAX_KEY",
    "MAX_VALUE",
    "MAX_VBUCKETS",
    "NO_LIMITS",
    "Document",
    "EmptyScanError",
    "KeyTooLongError",
    "Limits",
    "Mutation",
    "NotPersistedError",
    "Op",
    "Outcome",
    "Range",
    "Requirement",
    "Sample",
    "Scan",
    "ScanBusyError",
    "ScanCancelledError",
    "ScanEnd",
    "ScanError",
    "ScanRequest",
    "ScanStatistics",
    "SeqnoMissingError",
    "Settings",
    "Status",
    "Store",
    "StoreClosedError",
    "StoreDamagedError",
    "StoreError",
    "StoreFullError",
    "StoreOpenError",
    "StoreStatistics",
    "Tally",
    "TooManyScansError",
    "UnknownCollectionError",
    "UnknownVBucketError",
    "VBucket",
    "Waiter",
    "WrongVBucketUuidError",
]
