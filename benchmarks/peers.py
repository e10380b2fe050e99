"""Measures ewb beside all other ways to stream chunks from a blocking generator to an event loop.

Each way is in its best form, and runs on Trio if it can; a note says where it runs on asyncio. What is
compared runs in turn, again and again, and a ratio to ewb is taken within each repetition: more than 1
is where ewb is quicker. Two questions are answered by processes of their own, one for each way: many
slow clients at once, and what becomes of a producer whose reader is cancelled.
"""

from __future__ import annotations

from benchmarks._measuring.program import Budget, Program, Question, run
from benchmarks._peers import cancelled, crowd, latency, throughput

QUESTIONS = {
    "throughput": Question(
        "What a chunk costs, from a thread to the event loop",
        throughput.measure,
        weight=1.4,
        parts=len(throughput.SIZES),
    ),
    "first-chunk": Question(
        "Until the first chunk is taken, of a producer that waits 0.1 ms for each of 64",
        latency.measure_first,
    ),
    "idle": Question("From its yield until it is taken: a chunk every 2 ms", latency.measure_idle),
    "computing": Question(
        "From its yield until it is taken: a producer that computes 20 µs a chunk",
        latency.measure_computing,
    ),
    "slow-clients": Question(
        "1,000 and 5,000 slow clients at once, 20 chunks each",
        crowd.measure,
        weight=5.0,
        parts=len(crowd.CROWDS),
    ),
    "cancellation": Question(
        "A reader is cancelled while its producer waits: what becomes of that one",
        cancelled.measure,
        weight=0.6,
    ),
}

EXAMPLES = """
examples:
  python -m benchmarks.peers --quick                        about fifteen seconds
  python -m benchmarks.peers --only cancellation            what becomes of producers
  python -m benchmarks.peers --json peers.json              all of it, every value kept
"""

if __name__ == "__main__":
    run(Program("peers", __doc__, QUESTIONS, EXAMPLES, minutes="two", budget=Budget(120, 12)))
