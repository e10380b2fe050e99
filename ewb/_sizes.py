"""How large a chunk is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def size_in_bytes(chunk: object) -> int:
    """The bytes in a bytes-like chunk. Thread: any.

    A memoryview counts its `nbytes`: its `len` counts items, of whatever width.

    Raises:
        TypeError: the chunk is not bytes-like, so `size=` has to say how large it is.
    """
    if isinstance(chunk, (bytes, bytearray)):
        return len(chunk)
    try:
        with memoryview(chunk) as view:  # type: ignore[arg-type]  # the TypeError is the answer
            return view.nbytes
    except TypeError:
        encode = " (text.encode())" if isinstance(chunk, str) else ""
        msg = (
            f"a chunk of type {type(chunk).__name__!r} is not bytes-like: yield bytes{encode}; or, if "
            "the chunks are not for a socket, give size=, a function of a chunk that says how much of "
            "high_water it takes (size=len, or size=lambda chunk: 1)"
        )
        raise TypeError(msg) from None


def check_size(size: object) -> None:
    """Is it something to ask for the size of a chunk, or None?

    Raises:
        TypeError: no.
    """
    if size is not None and not callable(size):
        msg = f"size must be a function of a chunk, as len is, not {size!r}"
        raise TypeError(msg)


def checked_size(size: Callable[..., int]) -> Callable[[object], int]:
    """A user's `size`, whose mistakes become errors that say so.

    A negative size would undo the bound, and a `StopIteration` would look like the producer's end.

    Raises:
        TypeError: it is no function.
    """
    check_size(size)

    def checked(chunk: object) -> int:
        try:
            result = size(chunk)
        except StopIteration as error:
            msg = f"size {size!r} raised StopIteration"
            raise RuntimeError(msg) from error
        if not isinstance(result, int):
            msg = f"size {size!r} must return an int, not {result!r}"
            raise TypeError(msg)
        if result < 0:
            msg = f"size {size!r} must not be negative, as {result} is"
            raise ValueError(msg)
        return result

    return checked
