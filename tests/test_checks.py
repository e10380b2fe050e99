"""What is named in messages, and what is refused because it is of the wrong kind."""

from __future__ import annotations

from ewb._checks import brief


def test_a_message_holds_no_more_than_the_beginning_of_a_thing() -> None:
    """What a client sends may be large, and is not for the log."""
    assert brief("short") == "'short'"
    assert len(brief("x" * 1_000_000)) < 300
    assert "1000002" in brief("x" * 1_000_000)
