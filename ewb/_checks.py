"""How what a user gave is named in messages, and whether it is of the right kind at all."""

from __future__ import annotations

import inspect
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


def check_function(asked_by: str, fn: object) -> None:
    """Is what a worker is to call a function, and not what one has returned? Thread: any.

    Raises:
        TypeError: no, and what would do.
    """
    if callable(fn):
        return
    how = "give the function, and its arguments after it"
    if inspect.isgenerator(fn) or inspect.iscoroutine(fn):
        is_named = fn.__name__.isidentifier()
        how = f"give {fn.__name__}, and not {fn.__name__}()" if is_named else "give lambda: (...)"
    if inspect.iscoroutine(fn):
        fn.close()
    msg = f"{asked_by} needs a function, not {brief(fn)}: {how}"
    raise TypeError(msg)


def check_plain(owner: object, *methods: str) -> None:
    """Is none of these methods async? One that is not there is not. Thread: any.

    Raises:
        TypeError: which one is.
    """
    for name in methods:
        method = getattr(owner, name, None)
        if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            msg = f"{name} must be a plain function, which does not block: it is async"
            raise TypeError(msg)
