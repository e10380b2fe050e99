"""What the frame of a command must have, and must not have."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import attrs

from . import snappy
from .codes import Datatype, Feature, Status

if TYPE_CHECKING:
    from collections.abc import Container

    from .frames import Frame

NEEDS: Final = {Datatype.JSON: Feature.JSON, Datatype.SNAPPY: Feature.SNAPPY}
"""What a client must have negotiated to send such values."""
VALUES: Final = Datatype.JSON | Datatype.SNAPPY
"""What a document's value may be."""
SMALL: Final = 16 * 1024
"""Bytes of a value that is taken apart, on the front end: its parts take up to fifty times as many."""

LOGIN: Final = 1024
"""Bytes of a step of a login, which strangers send: the longest name and password fit."""


class BadRequestError(ValueError):
    """What is wrong with a request, and its status."""

    def __init__(self, message: str, status: Status = Status.INVALID) -> None:
        super().__init__(message)
        self.status = status


class Key(Enum):
    """What a command may have as its key."""

    NONE = auto()
    MAYBE = auto()
    NEEDED = auto()


@attrs.frozen(kw_only=True)
class Rule:
    """What a command's frame consists of."""

    extras: tuple[int, ...] = (0,)
    """The lengths that its extras may have."""
    key: Key = Key.NONE
    value: int = 0
    """Bytes that its value may have."""
    datatypes: int = Datatype.RAW
    """What its value may be."""
    cas: bool = True
    """Whether it may have one."""

    def check(self, frame: Frame, features: Container[int]) -> None:
        """Hold a frame against this.

        Raises:
            BadRequestError: it has what it must not have, or has not what it must.
        """
        if len(frame.extras) not in self.extras:
            allowed = " or ".join(map(str, self.extras))
            msg = f"extras: {len(frame.extras)} bytes, where there must be {allowed}"
            raise BadRequestError(msg)
        if self.key is Key.NONE and frame.key:
            msg = "key: this command has none"
            raise BadRequestError(msg)
        if self.key is Key.NEEDED and not frame.key:
            msg = "key: this command needs one"
            raise BadRequestError(msg)
        if frame.value and not self.value:
            msg = "value: this command has none"
            raise BadRequestError(msg)
        if len(frame.value) > self.value:
            msg = f"value: {len(frame.value)} bytes, where there may be {self.value}"
            raise BadRequestError(msg, Status.TOO_BIG)
        if frame.cas and not self.cas:
            msg = "cas: this command has none"
            raise BadRequestError(msg)
        if frame.datatype:
            self._check_datatype(frame, features)

    def _check_datatype(self, frame: Frame, features: Container[int]) -> None:
        if frame.datatype & ~self.datatypes:
            msg = f"datatype 0x{frame.datatype:02x}: this command's value cannot be that"
            raise BadRequestError(msg)
        for datatype, feature in NEEDS.items():
            if frame.datatype & datatype and feature not in features:
                msg = f"datatype 0x{frame.datatype:02x}: HELLO has not negotiated {feature.name}"
                raise BadRequestError(msg)
        if frame.datatype & Datatype.SNAPPY:
            _check_snappy(frame.value)


def _check_snappy(value: bytes) -> None:
    try:
        snappy.plain_size(value)
    except snappy.BadSnappyError as error:
        raise BadRequestError(str(error)) from error
