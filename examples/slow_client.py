"""A producer whose client is slow: it fills its buffer, and is suspended.

While it is suspended it holds no thread. There is only one thread here, and a second producer runs on
it half-way, as if the first one were not there.

Run it: `python -m examples.slow_client` (three seconds)
"""

from __future__ import annotations

import signal
import sys
from time import perf_counter
from typing import TYPE_CHECKING

import trio

import ewb

if TYPE_CHECKING:
    from collections.abc import Generator

KIB = 1024
CHUNK = 16 * KIB


def blocks(count: int) -> Generator[bytes]:
    """Yield blocks as fast as they are wanted."""
    for number in range(count):
        yield bytes([number % 256]) * CHUNK


async def read_slowly(chunks: ewb.ChunkReceiver[bytes, None]) -> None:
    """Take a chunk each 50 ms."""
    async for _ in chunks:
        await trio.sleep(0.05)


async def show(workers: ewb.Workers, chunks: ewb.ChunkReceiver[bytes, None]) -> None:
    """Print a line each 200 ms."""
    print("  time   buffer of the slow client              producer was suspended    threads held")
    started = perf_counter()
    while True:
        now, channel, pool = perf_counter() - started, chunks.statistics(), workers.statistics()
        level = channel.buffered_bytes
        bar = "█" * (level // CHUNK) + "░" * ((channel.high_water - level) // CHUNK)
        print(
            f"{now:4.1f} s   {bar} {level // KIB:>3} of {channel.high_water // KIB} KiB"
            f"   {channel.suspensions:>3} times, {channel.seconds_suspended:4.2f} s"
            f"     {len(pool.running)} of {pool.threads}",
            flush=True,
        )
        await trio.sleep(0.2)


async def run_another(workers: ewb.Workers) -> float:
    """Read all that a second producer yields, at once. Returns the seconds that it took."""
    started = perf_counter()
    async with workers.produce(blocks, 1_000) as chunks:
        async for _ in chunks.batches():
            pass
    return perf_counter() - started


async def main() -> None:
    """Show the slow client from beginning to end, and half-way a fast one."""
    async with ewb.open_workers(threads=1) as workers:
        async with (
            workers.produce(blocks, 60, high_water=16 * CHUNK) as chunks,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(show, workers, chunks)
            with trio.move_on_after(1.5):
                await read_slowly(chunks)
            seconds = await run_another(workers)
            print(f"         on the same thread, another producer: 1,000 chunks in {seconds:.3f} s")
            await read_slowly(chunks)
            nursery.cancel_scope.cancel()
        end = chunks.statistics()
    print(
        f"The slow client received all {end.chunks} chunks, and never did more than "
        f"{end.peak_bytes // KIB} KiB wait for it.\n"
        f"For {end.seconds_suspended:.1f} s its producer was suspended, and held no thread."
    )


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who has read enough, as `head`, ends it
    try:
        trio.run(main)
    except* KeyboardInterrupt:
        sys.exit(130)
