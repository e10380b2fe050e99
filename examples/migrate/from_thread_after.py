"""The same lines by ewb: the thread goes on, and the front end is woken once for many of them."""

import trio

import ewb

from .source import lines, write


async def main() -> None:
    """What the thread has called is a loop now."""
    async with ewb.open_workers(threads=1) as workers, workers.produce(lines) as chunks:
        async for batch in chunks.batches():
            for line in batch:
                await handle(line)


async def handle(line: bytes) -> None:
    """As it was."""
    write(line)
    await trio.lowlevel.checkpoint()


if __name__ == "__main__":
    trio.run(main)
