"""Measures how the cost of chunks, producers, connections and threads grows with their number.

Each is measured for one, ten, a hundred and so on. Then comes the exponent of the power that fits the
cost best: 1 is growth in proportion; see `benchmarks/_scale_growth.py` for what counts as such.
And what has nothing to do must cost nothing: the processor's time is measured while 10,000
connections are idle.
"""

from __future__ import annotations

from . import _scale_connections, _scale_idle, _scale_streams
from ._program import Budget, Program, Question, run

QUESTIONS = {
    "chunks": Question("One stream of n chunks", _scale_streams.measure_chunks, weight=0.5),
    "producers": Question(
        "n streams of 10 chunks at once, on 4 threads", _scale_streams.measure_producers, weight=2.0
    ),
    "threads": Question(
        "n threads, started and ended, with a stream of 10,000 chunks each",
        _scale_streams.measure_threads,
    ),
    "connections": Question(
        "n connections of another process: opened, asked, idle, closed",
        _scale_connections.measure,
        weight=6.0,
    ),
    "idle": Question("CPU, while many producers are suspended", _scale_idle.measure),
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
