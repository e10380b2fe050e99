"""Remarks: how far a command is, and how it went, on the standard error.

What a command does is right whether they can be written or not, so an error of theirs is none of its.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import IO, Any, cast

import click
from rich.console import Console


def remark(text: str) -> None:
    """Say a line."""
    click.echo(text, file=_remarks())


def counted(count: int) -> str:
    """So many documents, in words."""
    return f"{count:,} document{'' if count == 1 else 's'}"


def console() -> Console:
    """Where to show progress."""
    return Console(file=_remarks(), stderr=True)


def forget(stream: IO[str]) -> None:
    """What is left of an output cannot be written: do not try it again at the exit."""
    with suppress(AttributeError, OSError, ValueError):  # there is none, or it is a test's
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _remarks() -> IO[str]:
    return cast("IO[str]", _Remarks(sys.stderr))


class _Remarks:
    """The standard error, which becomes nothing when it cannot be written."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            forget(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            forget(self._stream)
