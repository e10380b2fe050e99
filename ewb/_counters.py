"""What a front end counts. All of it is the front end's."""

from __future__ import annotations

import attrs


@attrs.define
class Counters:
    """Since the front end was made, over all connections."""

    accepted: int = 0
    refused: int = 0
    commands: int = 0
    in_flight: int = 0
    completed: int = 0
    failed: int = 0
    busy: int = 0
    timed_out: int = 0
    dropped: int = 0
    would_blocks: int = 0
    resumes: int = 0
    seconds_parked: float = 0.0
    doorbells: int = 0
    suspensions: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    writes: int = 0
    protocol_errors: int = 0
