"""A blocking generator by Starlette's `iterate_in_threadpool`: a trip to a thread for each line."""

import anyio
from starlette.concurrency import iterate_in_threadpool

from .source import lines, write


async def main() -> None:
    """The event loop asks for each line, and waits for it."""
    async for line in iterate_in_threadpool(lines()):
        write(line)


if __name__ == "__main__":
    anyio.run(main, backend="trio")
