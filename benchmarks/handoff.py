"""Measures what ewb promises: cost of a chunk, throughput, courtesy, latency, slow clients, memory.

Every figure stands beside what it is compared with, measured in the same run. What is compared runs in
turn, again and again; a figure is the median of these repetitions, and beside it stand the lowest and
the highest. A ratio is taken within each repetition. "NO" in the last column is a target that was
missed on this machine, in this run; the numbers after it say in how many repetitions it was reached.

Give it a machine that has nothing else to do: on a busy one the spread will be wide.
"""

from __future__ import annotations

from benchmarks._handoff import chunks, courtesy, latency, memory, slow_clients, to_socket
from benchmarks._measuring.program import Budget, Program, Question, run

QUESTIONS = {
    "chunks": Question("A chunk of 64 B, from a worker to the front end", chunks.measure, weight=40),
    "socket": Question(
        "To a loopback socket that another process reads", to_socket.measure, weight=50, parts=4
    ),
    "courtesy": Question(
        "A neighbour's echo, while 4 producers compute 200 µs a chunk in one thread",
        courtesy.measure,
        weight=65,
    ),
    "latency": Question("A producer that computes 20 µs a chunk", latency.measure, weight=25),
    "slow-clients": Question(
        "5,000 producers with slow clients (a quick run: 1,250), 20 chunks each",
        slow_clients.measure,
        weight=40,
    ),
    "memory": Question("1,000 suspended producers, chunks of 1 KiB", memory.measure, weight=20),
}

EXAMPLES = """
examples:
  python -m benchmarks.handoff --quick                      under two minutes
  python -m benchmarks.handoff --json results.json          all of it, every value kept
  python -m benchmarks.handoff --only courtesy latency      two questions
  python -m benchmarks.handoff --only chunks --repetitions 31

The exit code is 0 whether or not the targets were reached: read the table.
"""

if __name__ == "__main__":
    run(Program("handoff", __doc__, QUESTIONS, EXAMPLES, "four", Budget(full=210, quick=28)))
