"""Measures what ewb promises: cost of a chunk, throughput, courtesy, latency, slow clients, memory.

Every figure stands beside what it is compared with, measured in the same run. What is compared runs in
turn, again and again; a figure is the median of these repetitions, and beside it stand the lowest and
the highest. A ratio is taken within each repetition. "NO" in the last column is a target that was
missed on this machine, in this run; the numbers after it say in how many repetitions it was reached.

Give it a machine that has nothing else to do: on a busy one the spread will be wide.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from . import _chunks, _courtesy, _latency, _memory, _slow_clients, _to_socket
from ._harness import Run
from ._report import JSON, Answer, OtherPrograms, machine, save, show, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import TypeAlias

    from ._harness import Figure

    Tell: TypeAlias = Callable[[str, float], None]


@dataclass(frozen=True)
class Question:
    """What one asks of ewb, and what answers it."""

    title: str
    measure: Callable[[Run], list[Figure]]


QUESTIONS = {
    "chunks": Question("A chunk of 64 B, from a worker to the front end", _chunks.measure),
    "socket": Question("To a loopback socket that another process reads", _to_socket.measure),
    "courtesy": Question(
        "A neighbour's echo, while 4 producers compute 200 µs a chunk in one thread", _courtesy.measure
    ),
    "latency": Question("A producer that computes 20 µs a chunk", _latency.measure),
    "slow-clients": Question(
        "5,000 producers with slow clients, 20 chunks each", _slow_clients.measure
    ),
    "memory": Question("1,000 suspended producers, chunks of 1 KiB", _memory.measure),
}

EXAMPLES = """
examples:
  python -m benchmarks.handoff --quick                      under two minutes
  python -m benchmarks.handoff --json results.json          all of it, every value kept
  python -m benchmarks.handoff --only courtesy latency      two questions
  python -m benchmarks.handoff --only chunks --repetitions 31

The exit code is 0 whether or not the targets were reached: read the table.
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What the user asks for."""
    questions = "\n".join(f"  {name:<14} {question.title}" for name, question in QUESTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.handoff",
        description=__doc__,
        epilog=f"questions:\n{questions}\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="measure less and less often: under two minutes, not twenty",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value to this file, too")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=QUESTIONS,
        metavar="NAME",
        help="answer these questions only, see below",
    )
    parser.add_argument(
        "--repetitions", type=_positive, metavar="N", help="how often each is measured, after a warm-up"
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is not a whole number from 1 up"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


class Teller:
    """Shows how far the run is, and only between measurements.

    A bar that moves by itself would take the GIL in the midst of what is measured.
    """

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self._console = console

    @contextmanager
    def telling(self, title: str) -> Generator[Tell]:
        """Gives what to call before each measurement of this question."""
        self._console.print(title, highlight=False)
        if not self._console.is_terminal:  # a line each: whoever reads a log wants to see it go on
            yield lambda what, share: self._console.print(f"  {share:4.0%}  {what}", highlight=False)
            return
        task = self._bar.add_task("", total=1)

        def tell(what: str, share: float) -> None:
            self._bar.update(task, description=f"  {what}", completed=share, refresh=True)

        with self._bar:
            try:
                yield tell
            finally:
                self._bar.remove_task(task)


def answer(name: str, options: argparse.Namespace, teller: Teller) -> Answer:
    """Measure what one question asks. One that fails leaves the others be, and a line in the table."""
    question = QUESTIONS[name]
    with teller.telling(question.title) as tell:
        run = Run(quick=options.quick, repetitions=options.repetitions, tell=tell)
        try:
            return Answer(name, question.title, question.measure(run))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            traceback.print_exc()
            return Answer(name, question.title, error=shorten(repr(error), 150))


def main() -> None:
    """Answer the questions, one after the other."""
    options = parse(sys.argv[1:])
    console = Console(width=None if sys.stdout.isatty() else 140)
    started, others = perf_counter(), OtherPrograms()
    about: dict[str, JSON] = {
        "quick": options.quick,
        "machine": {**machine()},
        "versions": {**versions()},
    }
    describe(console, about)
    answers: list[Answer] = []
    teller = Teller(console)
    try:
        for name in options.only or QUESTIONS:
            answers.append(answer(name, options, teller))  # noqa: PERF401 - kept if interrupted
    except KeyboardInterrupt:
        console.print("Interrupted: this is what there is so far.")
    show(console, answers)
    seconds, percent = perf_counter() - started, others.percent()
    about |= {"seconds": seconds, "percent of processors used by other programs": percent}
    took = f"Took {seconds:.0f} s. Other programs used {percent:.0f} % of the processors meanwhile."
    console.print(took, highlight=False)
    if options.json:
        save(options.json, answers, about)


def describe(console: Console, about: dict[str, JSON]) -> None:
    """What all this runs on."""
    for heading in ("machine", "versions"):
        described = about[heading]
        if isinstance(described, dict):
            for name, value in described.items():
                console.print(f"{name:<24}{value}", highlight=False)
    console.print()


if __name__ == "__main__":
    main()
