"""A blocking generator by ewb, where anyio runs on Trio."""

import anyio

import ewb

from .source import lines, write


async def main() -> None:
    """Lines are read ahead, and come in batches; `async for line in chunks` gives one at a time."""
    async with ewb.open_workers(threads=1) as workers, workers.produce(lines) as chunks:
        async for batch in chunks.batches():
            for line in batch:
                write(line)


if __name__ == "__main__":
    anyio.run(main, backend="trio")
