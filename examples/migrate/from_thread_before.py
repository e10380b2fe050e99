"""A thread that enters Trio for each line."""

import trio

from .source import lines, write


async def main() -> None:
    """The thread waits for each line to be handled: a round trip for each."""

    async def handle(line: bytes) -> None:
        write(line)
        await trio.lowlevel.checkpoint()

    def feed() -> None:
        for line in lines():
            trio.from_thread.run(handle, line)

    await trio.to_thread.run_sync(feed)


if __name__ == "__main__":
    trio.run(main)
