"""What one connection has encoded and not sent, and who made it.

Invariant: `unsent` is the bytes put in since the last time that all which was taken was sent. What of
these are chunks is lent by their producers, each of which is told once it is sent, or never will be.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._checks import brief
from ._send import bytes_in

if TYPE_CHECKING:
    from ._background import Background
    from ._protocol import Buffer


class Outbox:
    """Thread: front end, for all of it."""

    __slots__ = ("_lenders", "buffers", "unsent")

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        """To be sent, and not taken yet."""
        self.unsent = 0
        """Bytes: of `buffers`, and of what was taken and is being sent."""
        self._lenders: list[Background] = []

    def put(self, buffers: Sequence[Buffer], made_by: str) -> None:
        """Have these sent, which a method of the protocol has returned.

        Raises:
            TypeError: they are no list of buffers.
        """
        if not isinstance(buffers, (list, tuple)):
            _check_is_a_list(buffers, made_by)
        try:
            size = bytes_in(buffers)
        except TypeError:
            _check_are_buffers(buffers, made_by)
            raise
        self.buffers += buffers
        self.unsent += size

    def borrow(self, background: Background) -> list[object]:
        """Its chunks, which are to be encoded and `put`."""
        self._lenders.append(background)
        return background.take()

    def take(self) -> list[Buffer]:
        """What is to be sent now; then call `sent`."""
        taken, self.buffers = self.buffers, []
        return taken

    def sent(self) -> None:
        """All that was taken is sent."""
        self.unsent = bytes_in(self.buffers)
        self.give_back()

    def give_back(self) -> None:
        """Nothing is lent any more: it is sent, or there is nothing, or nobody, to send."""
        lenders, self._lenders = self._lenders, []
        for lender in lenders:
            lender.returned()


def _check_is_a_list(made: object, made_by: str) -> None:
    kind = type(made)
    if issubclass(kind, Sequence) and not issubclass(kind, (str, bytes, bytearray, memoryview)):
        return
    if inspect.iscoroutine(made):
        made.close()
    nothing = "no answer" if made_by == "encode_end" else "nothing to send"
    msg = f"{made_by} returned {brief(made)}: return a list of buffers, [] for {nothing}"
    raise TypeError(msg)


def _check_are_buffers(made: Sequence[object], made_by: str) -> None:
    for one in made:
        try:
            memoryview(one).release()  # type: ignore[arg-type]  # the TypeError is the answer
        except TypeError:
            msg = f"{made_by} returned a list with {brief(one)} in it: each must be bytes-like"
            raise TypeError(msg) from None
