"""LMDB's environment and the three databases in it, together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lmdb

_FIXED_PAGES = 3  # LMDB's two meta pages, and the one with the names of the databases


@dataclass(frozen=True, slots=True)
class Tables:
    """Handles; see layout.py for what is where."""

    environment: lmdb.Environment
    documents: lmdb._Database
    expiries: lmdb._Database
    state: lmdb._Database

    @classmethod
    def open(cls, environment: lmdb.Environment, txn: lmdb.Transaction[bytes]) -> Tables:
        """Open the databases, and create those that are missing."""
        names = (b"documents", b"expiries", b"state")
        documents, expiries, state = (environment.open_db(name, txn=txn) for name in names)
        return cls(environment, documents, expiries, state)

    def used_size(self, txn: lmdb.Transaction[Any]) -> int:
        """How many bytes of pages are in use, as `txn` sees it, without LMDB's list of free ones."""
        pages = _FIXED_PAGES
        for database in (self.documents, self.expiries, self.state):
            stat = txn.stat(database)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * self.environment.stat()["psize"]
