"""What one connection has encoded and not sent, and who made it.

Invariant: `unsent` is the bytes put in since the last time that all which was taken was sent. What of
these are chunks is lent by their producers, each of which is told once it is sent, or never will be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._send import bytes_in

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def put(self, buffers: Sequence[Buffer]) -> None:
        """Have these sent.

        Raises:
            TypeError: they are one buffer, not several.
        """
        if isinstance(buffers, (bytes, bytearray, memoryview)):
            msg = "encode_batch and encode_end must return a list of buffers, not one buffer"
            raise TypeError(msg)
        self.buffers += buffers
        self.unsent += bytes_in(buffers)

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
