"""The error map: what clients are to do about each status."""

from __future__ import annotations

from typing import Final

from .codes import Status

VERSION: Final = 2
REVISION: Final = 1

_MEANINGS: Final[dict[Status, tuple[str, tuple[str, ...]]]] = {
    Status.SUCCESS: ("It was done", ("success",)),
    Status.NOT_FOUND: ("There is no such thing", ("item-only",)),
    Status.EXISTS: ("It exists, or its CAS is another one", ("item-only",)),
    Status.TOO_BIG: ("It is too big", ("item-only", "invalid-input")),
    Status.INVALID: ("The request is wrong", ("internal", "invalid-input")),
    Status.NOT_STORED: ("It was not stored", ("item-only",)),
    Status.NOT_A_NUMBER: ("The document is no number", ("item-only", "invalid-input")),
    Status.NOT_MY_VBUCKET: ("There is no such vBucket here", ("fetch-config", "invalid-input")),
    Status.NO_BUCKET: ("No bucket was selected", ("conn-state-invalidated",)),
    Status.AUTH_ERROR: ("The login failed", ("conn-state-invalidated", "auth")),
    Status.AUTH_CONTINUE: ("The login goes on", ("special-handling",)),
    Status.NO_ACCESS: ("This is not allowed", ("support",)),
    Status.UNKNOWN_FRAME_INFO: ("The framing extras are not known", ("support",)),
    Status.UNKNOWN_COMMAND: ("The command is not known", ("support",)),
    Status.NO_MEMORY: ("The store is full", ("temp", "retry-later")),
    Status.NOT_SUPPORTED: ("This is not supported", ("support",)),
    Status.INTERNAL: ("The server failed", ("internal", "conn-state-invalidated")),
    Status.BUSY: ("It is busy", ("temp", "retry-now")),
    Status.TEMPORARY_FAILURE: ("This may succeed later", ("temp", "retry-later")),
    Status.UNKNOWN_COLLECTION: ("There is no such collection", ("invalid-input",)),
    Status.SCAN_CANCELLED: ("The scan was cancelled", ("success",)),
    Status.SCAN_MORE: ("The scan has more", ("success",)),
    Status.SCAN_COMPLETE: ("The scan is complete", ("success",)),
    Status.VBUCKET_UUID_DIFFERS: ("The vBucket has another uuid", ("invalid-input",)),
}


def error_map(version: int) -> dict[str, object]:
    """The error map, as JSON, in this version or an earlier one."""
    errors = {
        f"{status:x}": {"name": status.name, "desc": description, "attrs": attributes}
        for status, (description, attributes) in _MEANINGS.items()
    }
    return {"version": min(version, VERSION), "revision": REVISION, "errors": errors}
