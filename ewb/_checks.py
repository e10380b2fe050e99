"""How what a user gave is named in messages, and whether it is of the right kind at all."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 200
"""Characters of one thing in a message or a log, at most."""


def brief(thing: object) -> str:
    """A request, say, as it may stand in a log: not all of what a client has sent. Never raises.

    Thread: any.
    """
    try:
        text = repr(thing)
    except Exception:  # noqa: BLE001 - the class is the user's, and the message more urgent
        return f"<{type(thing).__name__}, whose repr fails>"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"
