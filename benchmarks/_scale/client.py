"""A process with many connections, which asks on all of them what it reads from its input, a line each.

It waits for all answers, says so, and reads the next line. The first line has it open the connections,
and the end of its input has it close them.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack

from benchmarks._front_end.command_client import SPARE_FILES, Load, allow_open_files, connect

DONE = b"."
"""What it says when it has done what it was told."""


def say_done() -> None:
    """To whoever started it."""
    sys.stdout.buffer.write(DONE)
    sys.stdout.buffer.flush()


def main(*, port: int, connections: int) -> None:
    """Be the client."""
    allow_open_files(connections + SPARE_FILES)
    with ExitStack() as stack:
        sys.stdin.readline()
        opened = [stack.enter_context(connect(port)) for _ in range(connections)]
        say_done()
        for line in sys.stdin:
            ask = json.loads(line)
            load = Load(opened, ask["request"].encode(), ask["answer"].encode(), depth=1)
            load.begin()
            load.end()
            say_done()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
