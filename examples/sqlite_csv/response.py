"""An HTTP response that streams what a producer yields. For FastAPI and Starlette, on Trio."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVarTuple

from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.types import Send

    import ewb

Ts = TypeVarTuple("Ts")


class ProducedResponse(StreamingResponse):
    """Streams the chunks that `fn(*args)` yields on a worker. Thread: front end.

    What `StreamingResponse` does around it stays: when the client leaves, it cancels `stream_response`.
    An error before the first chunk is the framework's to answer (500). After that the status is gone:
    the response is cut short, and the client sees that it is incomplete.
    """

    def __init__(
        self,
        workers: ewb.Workers,
        fn: Callable[[*Ts], Iterable[bytes]],
        *args: *Ts,
        media_type: str,
    ) -> None:
        super().__init__(content=(), media_type=media_type)
        self._produce = partial(workers.produce, fn, *args)

    async def stream_response(self, send: Send) -> None:
        """Send head and body. Called by `StreamingResponse`, in a task that it cancels if need be."""
        async with self._produce() as chunks:
            batches = chunks.batches()
            first = await anext(batches, list[bytes]())  # before the head: an error is a 500
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            await send(_part(first))
            async for batch in batches:
                await send(_part(batch))  # waits while the client does not read
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _part(batch: list[bytes]) -> dict[str, object]:
    return {"type": "http.response.body", "body": b"".join(batch), "more_body": True}
