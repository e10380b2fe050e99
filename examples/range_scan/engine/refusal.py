"""How a handler says no."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from examples.range_scan import store as stores
from examples.range_scan.wire import ErrorContext, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

logger: Final = logging.getLogger(__name__)


class RefusalError(Exception):
    """Ends a command with a status that says what is wrong.

    Args:
        status: what the client is answered.
        context: why, in a few words, for people.
        more: further members of the error's JSON object.
    """

    def __init__(self, status: Status, context: str, more: Mapping[str, object] | None = None) -> None:
        super().__init__(context)
        self.status = status
        self.context = ErrorContext(context, more or {})


def unknown_collection(context: str) -> RefusalError:
    """There is no such collection; clients then look at the manifest with this uid."""
    return RefusalError(Status.UNKNOWN_COLLECTION, context, {"manifest_uid": "1"})


_REFUSALS: Final[tuple[tuple[type[Exception], Status], ...]] = (
    (stores.EmptyScanError, Status.NOT_FOUND),
    (stores.UnknownVBucketError, Status.NOT_MY_VBUCKET),
    (stores.SeqnoMissingError, Status.NOT_STORED),
    (stores.TooManyScansError, Status.TEMPORARY_FAILURE),  # at BUSY, the SDK would try again at once
    (stores.NotPersistedError, Status.TEMPORARY_FAILURE),
    (stores.WrongVBucketUuidError, Status.VBUCKET_UUID_DIFFERS),
    (stores.ScanCancelledError, Status.SCAN_CANCELLED),
)


def of_store(error: BaseException | None) -> RefusalError:
    """What the store's error is on the wire. One that is not a client's business is logged."""
    if isinstance(error, stores.UnknownCollectionError):
        return unknown_collection(str(error))
    for kind, status in _REFUSALS:
        if isinstance(error, kind):
            return RefusalError(status, str(error))
    logger.error("a command failed", exc_info=error)
    return RefusalError(Status.INTERNAL, "the server failed; its log says more")
