"""What a user may set, checked where it is given.

Each error names the setting, what was given, and what would do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

HIGH_WATER: Final = 1024 * 1024
"""Bytes that a channel buffers by default."""

MAX_CHUNKS: Final = 16_384
"""Chunks that a channel buffers by default."""

THREADS: Final = 4
"""Worker threads by default."""

MEMORY: Final = 64 * 1024 * 1024
"""Bytes that all channels of a pool of workers may buffer together by default."""

TIME_SLICE: Final = 0.01
"""Seconds that a producer may run before another one has its turn, by default."""

MODERATION: Final = 0.001
"""Seconds for which chunks may wait for a front end that keeps up, by default."""


def _at_least(least: int) -> Callable[[object, attrs.Attribute[int], int], None]:
    def check(_: object, attribute: attrs.Attribute[int], value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            msg = f"{attribute.name} must be a whole number, not {value!r}"
            raise TypeError(msg)
        if value < least:
            msg = f"{attribute.name} must be {least} or more, not {value}"
            raise ValueError(msg)

    return check


def seconds(least: float, most: float) -> Callable[[object, attrs.Attribute[float], float], None]:
    """A validator of a time in this range."""

    def check(_: object, attribute: attrs.Attribute[float], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            hint = " (math.inf: no limit)" if value is None and most == math.inf else ""
            msg = f"{attribute.name} must be a number of seconds, not {value!r}{hint}"
            raise TypeError(msg)
        if math.isnan(value) or not least <= value <= most:
            msg = f"{attribute.name} must be from {least:g} to {most:g} seconds, not {value:g}"
            raise ValueError(msg)

    return check


def _true_or_false(_: object, attribute: attrs.Attribute[bool], value: object) -> None:
    check_flag(attribute.name, value)


def check_flag(name: str, value: object) -> None:
    """Is it True or False, and not something that one would take for either?

    Raises:
        TypeError: no.
    """
    if not isinstance(value, bool):
        msg = f"{name} must be True or False, not {value!r}"
        raise TypeError(msg)


@attrs.frozen
class Bounds:
    """How much one channel may buffer; the producer stops at whichever comes first."""

    high_water: int = attrs.field(default=HIGH_WATER, validator=_at_least(1))
    """Bytes (or whatever `size` counts)."""

    max_chunks: int = attrs.field(default=MAX_CHUNKS, validator=_at_least(1))
    """Chunks."""


@attrs.frozen
class ChannelSettings(Bounds):
    """What `open_channel` was asked for."""

    moderation: float = attrs.field(default=MODERATION, validator=seconds(0, 1))
    """Seconds for which chunks may wait for a front end that keeps up."""


@attrs.frozen
class FrontEndSettings:
    """What a `FrontEnd` was asked for; each bound is explained there."""

    max_connections: int = attrs.field(validator=_at_least(1))
    max_commands: int = attrs.field(validator=_at_least(1))
    max_in_flight: int = attrs.field(validator=_at_least(1))
    commands_per_turn: int = attrs.field(validator=_at_least(1))
    max_unsent: int = attrs.field(validator=_at_least(1))
    max_frame: int = attrs.field(validator=_at_least(1))
    frame_timeout: float = attrs.field(validator=seconds(1e-3, math.inf))
    write_timeout: float = attrs.field(validator=seconds(1e-3, math.inf))
    command_timeout: float = attrs.field(validator=seconds(1e-3, math.inf))
    idle_timeout: float = attrs.field(validator=seconds(1e-3, math.inf))
    half_close_timeout: float = attrs.field(validator=seconds(0, math.inf))

    @property
    def shortest_timeout(self) -> float:
        """Seconds; infinite if nothing has a time limit."""
        return min(
            self.frame_timeout,
            self.write_timeout,
            self.command_timeout,
            self.idle_timeout,
            self.half_close_timeout or math.inf,
        )


@attrs.frozen
class WorkerSettings:
    """What `open_workers` was asked for."""

    threads: int = attrs.field(validator=_at_least(1))
    memory: int | None = attrs.field(validator=attrs.validators.optional(_at_least(1)))
    moderation: float = attrs.field(validator=seconds(0, 1))
    time_slice: float = attrs.field(validator=seconds(1e-4, 10))
    switch_interval: float | None = attrs.field(validator=attrs.validators.optional(seconds(1e-6, 1)))
    courtesy: bool = attrs.field(validator=_true_or_false)
