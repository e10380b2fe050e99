"""Measures how near ewb comes to what no such program could pass.

Each figure of ours stands beside its limit, measured in the same repetition; a share of 1 would be the
limit itself, and less is less. A limit does less than ewb has to: it has no bound, or no event loop,
or nothing to make. So 1 is not to be reached; more than 1 is where ewb uses the second core, or joins
what the limit does not.
"""

from __future__ import annotations

from benchmarks._limits import handoff, to_socket, waking
from benchmarks._measuring.program import Budget, Program, Question, run

QUESTIONS = {
    "hand-off": Question("A chunk of 64 B, from a worker to the front end", handoff.measure),
    "socket": Question(
        "To a loopback socket that another process reads", to_socket.measure, weight=3.0
    ),
    "wake-up": Question("A chunk every 2 ms: until it is taken", waking.measure_wake_up),
    "computing": Question(
        "A producer that computes 20 µs a chunk", waking.measure_computing, weight=1.5
    ),
}

EXAMPLES = """
examples:
  python -m benchmarks.limits --quick                       about five seconds
  python -m benchmarks.limits --only socket
  python -m benchmarks.limits --json limits.json            all of it, every value kept

Limits of other questions are measured there: of many slow clients (the same sleeps alone) and of
courtesy (computing alone) by benchmarks.handoff.
"""

if __name__ == "__main__":
    run(Program("limits", __doc__, QUESTIONS, EXAMPLES, minutes="one", budget=Budget(42, 5)))
