"""Measures how the cost of chunks, producers, connections and threads grows with their number.

Each is measured for one, ten, a hundred and so on. Then comes the exponent of the power that fits the
cost best: 1 is growth in proportion; see `benchmarks/_scale/growth.py` for what counts as such.
And what has nothing to do must cost nothing: the processor's time is measured while 10,000
connections are idle.
"""

from __future__ import annotations

from benchmarks._measuring.program import Budget, Program, Question, run
from benchmarks._scale import connections, idle, streams

QUESTIONS = {
    "chunks": Question("One stream of n chunks", streams.measure_chunks, weight=0.5),
    "producers": Question(
        "n streams of 10 chunks at once, on 4 threads", streams.measure_producers, weight=2.0
    ),
    "threads": Question(
        "n threads, started and ended, with a stream of 10,000 chunks each",
        streams.measure_threads,
    ),
    "connections": Question(
        "n connections of another process: opened, asked, idle, closed",
        connections.measure,
        weight=6.0,
    ),
    "idle": Question("CPU, while many producers are suspended", idle.measure),
}

EXAMPLES = """
examples:
  python -m benchmarks.scale --quick                        up to 1,000 only; about ten seconds
  python -m benchmarks.scale --only idle
  python -m benchmarks.scale --json scale.json              all of it, with the points for plots

A server and its client have a descriptor for each connection. Where the system does not allow 10,000,
there are fewer: `ulimit -Hn` says how many.
"""

if __name__ == "__main__":
    run(Program("scale", __doc__, QUESTIONS, EXAMPLES, minutes="two", budget=Budget(78, 9)))
