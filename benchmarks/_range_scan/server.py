"""The range-scan server as a process of its own, which ends when its input does.

It prints `listening on PORT` when it is ready. With designs, a scan's name says how it is read.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from examples.range_scan import server
from examples.range_scan.settings import ServerSettings

from .designs import serve as serve_designs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

GRACE = 1.0
"""Seconds that commands have when it is to end."""


async def end_of_input() -> AsyncGenerator[None]:
    """One item, when whoever started this process wants it to end, or is gone."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
        async for _ in stream:
            pass
    yield
    await trio.sleep_forever()


def main(*, data: str, memory: int, designs: bool) -> None:
    """Serve, without logins."""
    serve_with = serve_designs if designs else server.serve
    settings = ServerSettings(data=Path(data), port=0, no_auth=True, memory=memory, grace=GRACE)

    async def serve() -> None:
        await serve_with(
            settings,
            stops=end_of_input(),
            ready=lambda port: print(f"listening on {port}", flush=True),
        )

    trio.run(serve)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
