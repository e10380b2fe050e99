"""What is kept: strings and lists, in memory. All of it is the front end's.

Invariants: no list is empty. Each key stands in one slot, always the same: so a SCAN that goes from
slot to slot meets every key that was there from its beginning to its end, whatever comes and goes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from .outcome import Outcome, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

SLOTS: Final = 1024

Stored: TypeAlias = bytes | deque[bytes]


class Store:
    """Keys and their values."""

    def __init__(self) -> None:
        self._values: dict[bytes, Stored] = {}
        self._slots: list[set[bytes]] = [set() for _ in range(SLOTS)]
        self._pushed: list[bytes] = []

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: bytes) -> bool:
        return key in self._values

    # -- any value --------------------------------------------------------------------------------

    def type_of(self, key: bytes) -> bytes:
        """As Redis names it."""
        match self._values.get(key):
            case None:
                return b"none"
            case bytes():
                return b"string"
            case _:
                return b"list"

    def delete(self, key: bytes) -> bool:
        """Was it there?"""
        if key not in self._values:
            return False
        del self._values[key]
        self._slots[hash(key) % SLOTS].remove(key)
        return True

    def clear(self) -> None:
        """Delete all."""
        self._values.clear()
        for slot in self._slots:
            slot.clear()

    def snapshot(self) -> list[bytes]:
        """All keys, as they are now."""
        return list(self._values)

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Keys of some slots, about `count`; and the cursor to go on with, which is 0 at the end."""
        found: list[bytes] = []
        while cursor < SLOTS and len(found) < count:
            found += self._slots[cursor]
            cursor += 1
        return cursor if cursor < SLOTS else 0, found

    def _put(self, key: bytes, value: Stored) -> None:
        if key not in self._values:
            self._slots[hash(key) % SLOTS].add(key)
        self._values[key] = value

    # -- strings ----------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """The string, or None.

        Raises:
            RefusedError: it is no string.
        """
        value = self._values.get(key)
        if isinstance(value, deque):
            raise wrong_type()
        return value

    def set(self, key: bytes, value: bytes) -> None:
        """Whatever was there before."""
        self._put(key, value)

    # -- lists ------------------------------------------------------------------------------------

    def list_at(self, key: bytes) -> deque[bytes] | None:
        """The list, for reading, or None.

        Raises:
            RefusedError: it is no list.
        """
        value = self._values.get(key)
        if isinstance(value, bytes):
            raise wrong_type()
        return value

    def push(self, key: bytes, values: Iterable[bytes], *, left: bool) -> int:
        """Add elements, one after the other; returns how many there are now.

        Raises:
            RefusedError: it is no list.
        """
        found = self.list_at(key)
        if found is None:
            found = deque[bytes]()
            self._put(key, found)
        if left:
            found.extendleft(values)
        else:
            found.extend(values)
        self._pushed.append(key)
        return len(found)

    def pop(self, key: bytes, *, left: bool) -> bytes | None:
        """Take an element; None: there is none.

        Raises:
            RefusedError: it is no list.
        """
        found = self.list_at(key)
        if found is None:
            return None
        value = found.popleft() if left else found.pop()
        if not found:
            self.delete(key)
        return value

    def take_pushed(self) -> list[bytes]:
        """The keys of lists that were pushed to since this was asked last."""
        if not self._pushed:
            return self._pushed
        pushed, self._pushed = self._pushed, []
        return pushed


def wrong_type() -> RefusedError:
    """A string is wanted where there is a list, or the other way round."""
    text = "Operation against a key holding the wrong kind of value"
    return RefusedError(text, Outcome.WRONG_TYPE)
