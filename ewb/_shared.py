"""What all connections of a front end share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from ._counters import Counters
    from ._hooks import Hooks
    from ._protocol import Engine
    from ._settings import FrontEndSettings
    from ._turns import Turns
    from ._watchdog import Watchdog
    from ._workers import Workers

Req = TypeVar("Req")
S = TypeVar("S")


@attrs.frozen(kw_only=True)
class Shared(Generic[Req, S]):
    """What all connections of a front end share. Thread: front end."""

    engine: Engine[Req, S]
    workers: Workers
    settings: FrontEndSettings
    hooks: Hooks[Req, S]
    counters: Counters
    watchdog: Watchdog
    turns: Turns
