"""A thread that feeds a culsans queue, on Trio."""

import culsans
import trio

from .source import lines, write


async def main() -> None:
    """A thread of ours puts each line, the event loop gets each line."""
    queue: culsans.Queue[bytes | None] = culsans.Queue(maxsize=100)

    def feed() -> None:
        try:
            for line in lines():
                queue.sync_q.put(line)
        finally:
            queue.sync_q.put(None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, feed)
        while (line := await queue.async_q.get()) is not None:
            write(line)


if __name__ == "__main__":
    trio.run(main)
