"""A thread that feeds a channel of ewb's, on Trio."""

from contextlib import suppress

import trio

import ewb

from .source import lines, write


async def main() -> None:
    """A thread of ours sends each line, the front end takes all that there are."""
    channel: tuple[ewb.ChunkSender[bytes], ewb.ChunkReceiver[bytes, None]] = ewb.open_channel()
    sender, receiver = channel

    def feed() -> None:
        with sender, suppress(trio.BrokenResourceError):  # nobody reads any more
            for line in lines():
                sender.send(line)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, feed)
        async with receiver:  # when this is left, a `send` that waits does so no longer
            async for batch in receiver.batches():
                for line in batch:
                    write(line)


if __name__ == "__main__":
    trio.run(main)
