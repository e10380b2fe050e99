"""What clients ask for, as typed objects.

They are not frozen because making them is a good part of what a small command costs, and attrs' frozen
objects take twice as long to make. What is set later: parsing sets `quiet` and `barrier` of a head once
it knows them, and the engine sets `ContinueScan.keys_only`.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from .codes import Opcode, Status


@attrs.define
class Head:
    """What all frames of requests have."""

    opcode: int
    opaque: int = 0
    vbucket: int = 0
    cas: int = 0
    quiet: bool = False
    barrier: bool = False
    """It must not run beside others, says its client."""


@attrs.define
class Request:
    """What all requests have."""

    silent: ClassVar[Status] = Status.SUCCESS
    """The status that is not answered if the request is quiet."""

    head: Head


@attrs.define
class Malformed(Request):
    """A whole frame with something wrong in it."""

    status: Status
    context: str


# -- the connection -----------------------------------------------------------------------------------


@attrs.define
class Hello(Request):
    """Who the client is, and what it can do."""

    agent: str
    features: tuple[int, ...]


@attrs.define
class ListMechanisms(Request):
    """Which ways to log in are there?"""


@attrs.define
class Authenticate(Request):
    """The first step of logging in, or a further one."""

    mechanism: str
    payload: bytes = attrs.field(repr=False)  # PLAIN has the password in it


@attrs.define
class GetErrorMap(Request):
    """What do the statuses mean?"""

    version: int


@attrs.define
class SelectBucket(Request):
    """Use this bucket."""

    name: str


@attrs.define
class GetClusterConfig(Request):
    """Where is what?"""


@attrs.define
class Noop(Request):
    """Are you there?"""


@attrs.define
class Version(Request):
    """What are you?"""


@attrs.define
class Quit(Request):
    """Close the connection."""


@attrs.define
class Stat(Request):
    """A group of statistics."""

    group: str


# -- collections --------------------------------------------------------------------------------------


@attrs.define
class GetManifest(Request):
    """Which scopes and collections are there?"""


@attrs.define
class GetCollectionId(Request):
    """The id of a collection, which is named by `scope.collection`."""

    path: str


# -- documents ----------------------------------------------------------------------------------------


@attrs.define
class DocumentRequest(Request):
    """A command for one document."""

    collection: int
    key: bytes


@attrs.define
class Get(DocumentRequest):
    """Read a document."""

    silent: ClassVar[Status] = Status.NOT_FOUND
    with_key: bool


@attrs.define
class GetAndTouch(DocumentRequest):
    """Read a document, and set its expiry."""

    silent: ClassVar[Status] = Status.NOT_FOUND
    with_key: bool
    expiry: int


@attrs.define
class GetMeta(DocumentRequest):
    """Read all of a document but its value."""

    with_datatype: bool


@attrs.define
class Store(DocumentRequest):
    """Write a whole document: SET, ADD or REPLACE, as `kind` says."""

    kind: Opcode
    flags: int
    expiry: int
    datatype: int
    value: bytes


@attrs.define
class Concatenate(DocumentRequest):
    """Write at the end of a document or at its beginning: APPEND or PREPEND."""

    kind: Opcode
    datatype: int
    value: bytes


@attrs.define
class Count(DocumentRequest):
    """Change a counter: INCREMENT or DECREMENT."""

    kind: Opcode
    delta: int
    initial: int | None
    """None: do not make one that is not there."""
    expiry: int


@attrs.define
class Delete(DocumentRequest):
    """Remove a document."""


@attrs.define
class Touch(DocumentRequest):
    """Set a document's expiry."""

    expiry: int


@attrs.define
class Flush(Request):
    """Remove all documents."""

    delay: int


# -- range scans --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class KeyRange:
    """The keys from one to another."""

    start: bytes
    end: bytes
    start_inclusive: bool = True
    end_inclusive: bool = True


@attrs.frozen(kw_only=True)
class Sampling:
    """About so many documents, chosen by chance."""

    samples: int
    seed: int = 0


@attrs.frozen(kw_only=True)
class SnapshotRequirements:
    """What a scan's snapshot must have in it."""

    vbucket_uuid: int
    seqno: int
    seqno_exists: bool = False
    timeout: float | None = None
    """Seconds to wait for it; None: not at all."""


@attrs.define
class CreateScan(Request):
    """Take a snapshot, to be scanned."""

    pick: KeyRange | Sampling
    collection: int = 0
    keys_only: bool = False
    name: str = ""
    snapshot: SnapshotRequirements | None = None


@attrs.define
class ContinueScan(Request):
    """Send the next part of a scan."""

    uuid: bytes
    items: int
    """At most; of limits, 0 is none."""
    milliseconds: int
    bytes: int
    keys_only: bool = False
    """Set by the engine, who knows the scan: its answers say what they consist of."""


@attrs.define
class CancelScan(Request):
    """Drop a scan."""

    uuid: bytes
