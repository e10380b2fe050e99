"""What an author of a server writes: statuses, orders, errors, and what they may leave out."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from ewb import Engine, Order, Protocol, ProtocolError, Status

if TYPE_CHECKING:
    from ewb import Cookie


class Inheriting(Protocol[bytes, Status, bytes, object]):
    """A protocol that leaves the order to ewb."""

    def receive_data(self, data: bytes) -> None:
        """Take nothing."""

    def next_request(self) -> bytes | None:
        """There is none."""
        return None

    def encode_batch(self, request: bytes, batch: list[bytes]) -> list[bytes]:
        """As they are."""
        return [request, *batch]

    def encode_end(self, request: bytes, status: Status, reply: object) -> list[bytes]:
        """In short."""
        return [b"%s %s %r" % (request, status.name.encode(), reply)]


class Inherits(Engine[bytes, Status]):
    """An engine that says so."""

    def execute(self, cookie: Cookie[bytes, Status]) -> Status:
        """Do nothing."""
        return cookie.status


def test_commands_are_serial_unless_a_protocol_says_otherwise() -> None:
    """The order that is always right is the default."""
    assert Inheriting().order(b"any") is Order.SERIAL


def test_both_parts_may_be_inherited_from() -> None:
    """They are structural: to inherit is for the type checker's sake, and does no harm."""
    assert Inheriting().encode_batch(b"a", [b"b"]) == [b"a", b"b"]
    assert callable(Inherits().execute)


@pytest.mark.parametrize("kind", [Protocol, Engine])
def test_the_parts_themselves_are_no_classes_to_make(kind: type) -> None:
    """They say what is to be written, and are nothing by themselves."""
    with pytest.raises(TypeError, match="Protocols cannot be instantiated"):
        kind()


def test_an_error_carries_a_message_for_the_log_and_a_reply_for_the_client() -> None:
    """Without a reply, nothing is written before the end."""
    assert str(ProtocolError("too long", b"ERR")) == "too long"
    assert ProtocolError("too long", b"ERR").reply == b"ERR"
    assert ProtocolError("too long").reply == b""


def test_a_reply_that_is_no_bytes_is_refused_where_it_is_given() -> None:
    """The traceback then shows who raised it, and not who would have sent it."""
    with pytest.raises(TypeError, match=r"^the reply of a ProtocolError must be bytes, not 'ERR'$"):
        ProtocolError("too long", "ERR")  # type: ignore[arg-type]  # a mistake


def test_an_error_can_be_copied() -> None:
    """As exceptions can, which some tools rely on: its message survives that."""
    assert str(pickle.loads(pickle.dumps(ProtocolError("too long")))) == "too long"  # noqa: S301 - ours


def test_ewbs_own_statuses_and_orders_are_these() -> None:
    """They are the names that engines and protocols rely on."""
    own = ["OK", "WOULD_BLOCK", "FAILED", "CANCELLED", "TIMED_OUT", "BUSY"]
    assert [status.name for status in Status] == own
    assert [order.name for order in Order] == ["SERIAL", "OVERLAP", "REORDER"]
