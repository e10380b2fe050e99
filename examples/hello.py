"""The smallest use: what a blocking generator yields, received in batches.

Run it: `python -m examples.hello`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

import ewb

if TYPE_CHECKING:
    from collections.abc import Generator


def numbers(last: int) -> Generator[bytes, None, str]:
    """Blocking code in a plain generator. Yours may read a file, or a database."""
    for number in range(1, last + 1):
        yield b"%d\n" % number
    return f"counted to {last:,}"


async def main() -> None:
    """Run the generator on a worker, and take what it yields."""
    lines = batches = 0
    async with ewb.open_workers(threads=1) as workers, workers.produce(numbers, 1_000_000) as chunks:
        async for batch in chunks.batches():  # all that was buffered since the last one
            lines += len(batch)
            batches += 1
    print(f"{lines:,} chunks came in {batches:,} batches. The generator returned: {chunks.result}.")


if __name__ == "__main__":
    trio.run(main)
