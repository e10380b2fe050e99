"""What can go wrong in the demo itself."""

from __future__ import annotations


class DemoError(Exception):
    """A part of the demo cannot go on. The message is one line."""
