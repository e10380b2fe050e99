"""A blocking generator through ewb, on Trio."""

import trio

import ewb

from .source import lines, write


async def main() -> None:
    """A worker runs the generator, the front end takes all lines that there are."""
    async with ewb.open_workers(threads=1) as workers, workers.produce(lines) as chunks:
        async for batch in chunks.batches():
            for line in batch:
                write(line)


if __name__ == "__main__":
    trio.run(main)
