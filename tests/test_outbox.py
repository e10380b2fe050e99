"""What a connection has yet to send: in order, in bytes, and who lent it is told when it is sent."""

from __future__ import annotations

import inspect
from array import array
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from ewb._outbox import Outbox

if TYPE_CHECKING:
    from ewb._protocol import Buffer


class Lender:
    """A producer's side of it."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks: list[object] = list(chunks)
        self.told = 0

    def take(self) -> list[object]:
        """All chunks there are."""
        return self.chunks

    def returned(self) -> None:
        """What was taken is sent, or never will be."""
        self.told += 1


def borrow(outbox: Outbox, lender: Lender) -> list[object]:
    return outbox.borrow(lender)  # type: ignore[arg-type]  # no more of a `Background` is used


def test_what_is_put_is_taken_once_and_in_order() -> None:
    """The buffers themselves, uncopied."""
    outbox = Outbox()
    first, second, third = b"first", bytearray(b"second"), memoryview(b"third")
    outbox.put([first, second], "encode_end")
    outbox.put([], "encode_end")
    outbox.put((third,), "encode_end")
    taken = outbox.take()
    assert [id(buffer) for buffer in taken] == [id(first), id(second), id(third)]
    assert outbox.take() == []


def test_what_was_taken_is_not_added_to() -> None:
    """It is being sent while the next answers are put; nor is the protocol's own list changed."""
    outbox = Outbox()
    given: list[Buffer] = [b"a"]
    outbox.put(given, "encode_end")
    outbox.put([b"b"], "encode_end")
    taken = outbox.take()
    outbox.put([b"c"], "encode_end")
    assert given == [b"a"]
    assert taken == [b"a", b"b"]
    assert outbox.buffers == [b"c"]


def test_unsent_are_the_bytes_put_since_all_that_was_taken_was_sent() -> None:
    """What is being sent counts until it is; what was put meanwhile counts on."""
    outbox = Outbox()
    assert outbox.unsent == 0
    outbox.put([b"12345", b""], "encode_end")
    outbox.put([b"678"], "encode_end")
    assert outbox.unsent == 8
    outbox.take()
    assert outbox.unsent == 8
    outbox.put([b"90"], "encode_end")
    assert outbox.unsent == 10
    outbox.sent()
    assert outbox.unsent == 2
    assert outbox.take() == [b"90"]
    outbox.sent()
    assert outbox.unsent == 0


def test_unsent_is_in_bytes_whatever_a_view_is_of() -> None:
    """The bound that it is compared with is one of memory."""
    numbers = memoryview(array("d", [1.0, 2.0, 3.0]))
    outbox = Outbox()
    outbox.put([numbers], "encode_end")
    assert outbox.unsent == 24
    outbox.put([bytearray(5), numbers], "encode_end")
    assert outbox.unsent == 53


async def answer() -> list[bytes]:
    """What an async `encode_end` would be."""
    return [b"one"]


@pytest.mark.parametrize("made_by", ["encode_batch", "encode_end"])
@pytest.mark.parametrize(
    "made",
    [None, b"one", b"", bytearray(b"one"), memoryview(b"one"), "one", {b"one"}, iter([b"one"]), 1],
    ids=lambda made: type(made).__name__,
)
def test_what_is_no_list_is_an_error_that_says_so(made: Any, made_by: str) -> None:
    """It names the method and what that returned; and nothing of it is put."""
    outbox = Outbox()
    with pytest.raises(TypeError) as caught:
        outbox.put(made, made_by)
    nothing = {"encode_batch": "nothing to send", "encode_end": "no answer"}[made_by]
    assert str(caught.value) == (
        f"{made_by} returned {made!r}: return a list of buffers, [] for {nothing}"
    )
    assert outbox.buffers == []
    assert outbox.unsent == 0


def test_a_coroutine_for_a_list_is_closed() -> None:
    """The error says it all: no warning about it comes when it is collected."""
    coroutine: Any = answer()
    with pytest.raises(TypeError, match="encode_end returned <coroutine object answer"):
        Outbox().put(coroutine, "encode_end")
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize("made", [["one"], [b"a", "one"], (b"a", None), [b"a", [b"b"]], deque([1])])
def test_a_list_of_what_is_no_buffer_is_an_error_that_says_so(made: Any) -> None:
    """It names what is wrong in it; and nothing of it is put."""
    outbox = Outbox()
    with pytest.raises(TypeError) as caught:
        outbox.put(made, "encode_end")
    assert str(caught.value) == (
        f"encode_end returned a list with {made[-1]!r} in it: each must be bytes-like"
    )
    assert outbox.buffers == []
    assert outbox.unsent == 0


def test_any_sequence_of_buffers_will_do() -> None:
    """A list is what one has most often."""
    outbox = Outbox()
    outbox.put(deque([b"a", b"b"]), "encode_end")
    assert outbox.take() == [b"a", b"b"]


def test_lenders_are_told_when_it_is_sent_and_only_once() -> None:
    """Until then their chunks count against the workers' memory, though they were taken."""
    outbox, lenders = Outbox(), [Lender(b"a", b"b"), Lender(b"c")]
    chunks = [borrow(outbox, lender) for lender in lenders]
    assert chunks == [[b"a", b"b"], [b"c"]]
    outbox.put([b"abc"], "encode_end")
    outbox.take()
    assert [lender.told for lender in lenders] == [0, 0]
    outbox.sent()
    assert [lender.told for lender in lenders] == [1, 1]
    outbox.take()
    outbox.sent()
    assert [lender.told for lender in lenders] == [1, 1]


def test_lenders_are_told_when_it_never_will_be_sent() -> None:
    """The client is gone, or the chunks were encoded as nothing: once, and not again at the end."""
    outbox, lender = Outbox(), Lender(b"a")
    borrow(outbox, lender)
    outbox.put([b"a"], "encode_end")
    outbox.give_back()
    assert lender.told == 1
    assert outbox.unsent == 1, "what there is to send is another matter"
    outbox.give_back()
    outbox.sent()
    assert lender.told == 1


def test_a_lender_whose_next_chunks_are_lent_at_once_is_not_forgotten() -> None:
    """That it is told makes room, and it may lend again in that very moment."""
    outbox = Outbox()

    class LendsAgain(Lender):
        def returned(self) -> None:
            super().returned()
            if self.told == 1:
                borrow(outbox, self)

    lender = LendsAgain(b"a")
    borrow(outbox, lender)
    outbox.sent()
    assert lender.told == 1
    outbox.sent()
    assert lender.told == 2
