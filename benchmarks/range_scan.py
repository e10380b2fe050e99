"""Measures the range-scan server of the examples: rates, neighbours, and crowds of slow clients.

A raw client in another process reads, which only counts and checksums; all that it gets is compared
with what the store has. Peers run on this machine in the same run, if they are installed. What is
compared runs in turn, again and again; a figure is the median of these repetitions, and beside it stand
the lowest and the highest. A ratio is taken within each repetition. "NO" in the last column is a target
that was missed on this machine, in this run; the numbers after it say in how many repetitions it was
reached.

Give it a machine that has nothing else to do: on a busy one the spread will be wide.
"""

from __future__ import annotations

import os
import signal
from functools import partial

from benchmarks._measuring.program import Budget, Program, Question, run
from benchmarks._range_scan import compared, crowd, neighbour, rates
from benchmarks._range_scan.data import Workspace

EXAMPLES = """
examples:
  python -m benchmarks.range_scan --quick                   under two minutes
  python -m benchmarks.range_scan --json results.json       all of it, every value kept
  python -m benchmarks.range_scan --only rates              one question
  python -m benchmarks.range_scan --only designs --repetitions 31

PostgreSQL and Redis take part if their servers are installed.
The exit code is 0 whether or not the targets were reached: read the table.
"""


def main() -> None:
    """Answer what the command line asks, and leave nothing behind."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the former may have been ignored until now
        signal.signal(number, signal.default_int_handler)
    with Workspace() as workspace:
        questions = {
            "rates": Question(
                "One range of 1,000,000 documents of 400 B (a quick run: 100,000), to a raw client",
                partial(rates.measure, workspace),
                weight=80,
            ),
            "designs": Question(
                "16 vBuckets with 1,050,000 documents (105,000), scanned at once, in three designs",
                partial(compared.measure, workspace),
                weight=95,
            ),
            "neighbour": Question(
                "A GET on another connection, while 8 others scan everything",
                partial(neighbour.measure, workspace),
                weight=60,
            ),
            "crowd": Question(
                "2,000 scans (500) by clients that do not read",
                partial(crowd.measure, workspace),
                weight=110,
            ),
        }
        run(
            Program("range_scan", __doc__ or "", questions, EXAMPLES, "six", Budget(full=330, quick=26))
        )
    print(f"Load average: {os.getloadavg()[0]:.1f} in the last minute.")


if __name__ == "__main__":
    main()
