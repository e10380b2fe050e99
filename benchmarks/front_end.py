"""Measures ewb's front end: commands a second, cost of a would-block, courtesy of streams.

Every figure stands beside what it is compared with, measured in the same run: servers written by hand
on Trio, and with a blocking thread for each connection. Clients are processes of their own. What is
compared runs in turn, again and again; a figure is the median of these repetitions, and beside it stand
the lowest and the highest. A ratio is taken within each repetition. "NO" in the last column is a target
that was missed on this machine, in this run; the numbers after it say in how many repetitions it was
reached.

Give it a machine that has nothing else to do: on a busy one the spread will be wide.
"""

from __future__ import annotations

from benchmarks._front_end import (
    connections,
    pipelining,
    redis,
    reordering,
    stream_neighbours,
    would_block,
)
from benchmarks._measuring.program import Budget, Program, Question, run

QUESTIONS = {
    "pipelining": Question(
        "Commands answered at once, on 8 connections", pipelining.measure, 32, parts=3
    ),
    "connections": Question(
        "Commands answered at once, one in flight each", connections.measure, 38, parts=3
    ),
    "would-block": Question(
        "Commands that block in the background, one in flight each", would_block.measure, 42, parts=3
    ),
    "neighbours": Question(
        "A short command, while 8 other connections stream", stream_neighbours.measure, 36
    ),
    "reorder": Question(
        "A short command on the connection of an endless stream", reordering.measure, 20
    ),
    "redis": Question("The Redis example, on 50 connections", redis.measure, 42, parts=6),
}

EXAMPLES = """
examples:
  python -m benchmarks.front_end --quick                    under two minutes
  python -m benchmarks.front_end --json results.json        all of it, every value kept
  python -m benchmarks.front_end --only would-block         one question
  python -m benchmarks.front_end --only pipelining --repetitions 31

The exit code is 0 whether or not the targets were reached: read the table.
"""

if __name__ == "__main__":
    run(Program("front_end", __doc__, QUESTIONS, EXAMPLES, "four", Budget(full=190, quick=20)))
