"""A blocking generator through a janus queue, on asyncio."""

import asyncio

import janus

from .source import lines, write


async def main() -> None:
    """A thread puts each line, the event loop gets each line."""
    queue: janus.Queue[bytes | None] = janus.Queue(maxsize=100)

    def feed() -> None:
        try:
            for line in lines():
                queue.sync_q.put(line)
        finally:
            queue.sync_q.put(None)

    feeding = asyncio.create_task(asyncio.to_thread(feed))
    while (line := await queue.async_q.get()) is not None:
        write(line)
    await feeding
    await queue.aclose()


if __name__ == "__main__":
    asyncio.run(main())
