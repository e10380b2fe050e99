"""The command: `python -m tests.soak --seconds 300`."""

# ruff: noqa: T201 - it is a program: it prints

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from .judging import not_flat
from .plotting import plot
from .running import Soak


def main() -> int:
    """Soak, record, judge. 0 if all is right and flat."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Load the range-scan server, verify all that it says, and see that nothing grows.",
    )
    parser.add_argument("--seconds", type=float, default=300, help="how long; an hour is 3600")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what clients do")
    parser.add_argument("--record", type=Path, help="where a line of JSON is written every second")
    parser.add_argument("--plot", type=Path, help="where a picture of it is written, as PNG")
    options = parser.parse_args()
    print(f"soaking for {options.seconds:g} seconds with --seed {options.seed}", flush=True)
    with ExitStack() as stack:
        record = stack.enter_context(options.record.open("w")) if options.record else None
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ewb-soak-")))
        soak = Soak(options.seed, record, lambda line: print(line, flush=True))
        soak.run(data / "store", options.seconds)
    if options.plot and soak.samples:
        plot(soak.samples, options.plot)
    wrong = soak.mismatches[:1] or not_flat(soak.samples)
    if wrong:
        print(wrong[0], f"(--seed {options.seed})", file=sys.stderr)
        return 1
    done = {name: number for name, number in soak.samples[-1].items() if name.startswith("all ")}
    print("flat and right:", ", ".join(f"{number:,.0f} {name[4:]}" for name, number in done.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
