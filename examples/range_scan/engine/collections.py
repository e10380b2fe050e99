"""Says which collections there are: they are fixed while the store is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from examples.range_scan.wire import Status, manifest, replies

from .refusal import unknown_collection

if TYPE_CHECKING:
    from examples.range_scan.store import Store
    from examples.range_scan.wire.requests import GetCollectionId

    from .session import Answer, Cookie, Session

MANIFEST_UID: Final = 1
SHOWN: Final = 100
"""Characters of a name that an error says: a client may send thousands, and is answered with more."""


class Collections:
    """Thread: front end."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_manifest(self, _: Session, cookie: Cookie) -> Answer:
        """All scopes and collections."""
        cookie.reply = replies.as_json(manifest(self._store.collections))
        return Status.SUCCESS

    def get_id(self, _: Session, cookie: Cookie) -> Answer:
        """The id of one; a part of its name that is left out is `_default`."""
        path = cast("GetCollectionId", cookie.request).path
        scope, _dot, name = path.partition(".")
        number = self._store.collections.get(f"{scope or '_default'}.{name or '_default'}")
        if number is None:
            msg = f"there is no collection {path[:SHOWN]!r}"
            raise unknown_collection(msg)
        cookie.reply = replies.collection_id(MANIFEST_UID, number)
        return Status.SUCCESS
