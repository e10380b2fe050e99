"""What a benchmark program is: questions, each with what answers it, and a table at the end.

It measures the questions one after the other, shows how far it is, and tells it all: to the terminal,
and to a file if asked to.
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

from ._harness import Run
from ._report import JSON, Answer, OtherPrograms, machine, save, show, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import TypeAlias

    from ._harness import Figure

    Tell: TypeAlias = Callable[[str, float], None]


@dataclass(frozen=True)
class Question:
    """What one asks of ewb, and what answers it."""

    title: str
    measure: Callable[[Run], list[Figure]]


@dataclass(frozen=True)
class Program:
    """Questions that belong together, and what a user is told of them."""

    name: str
    """Of its module, in this folder."""
    about: str
    questions: Mapping[str, Question]
    examples: str
    """Ways to start it, and remarks."""
    minutes: str
    """How long a full run takes at most, in words."""


def run(program: Program) -> None:
    """Answer its questions, as the command line asks, one after the other."""
    options = parse(program, sys.argv[1:])
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
        for name in options.only or program.questions:
            answers.append(answer(name, program.questions[name], options, teller))  # noqa: PERF401 - kept if interrupted
    except (KeyboardInterrupt, BaseExceptionGroup):  # Trio puts it into a group
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


def parse(program: Program, arguments: Sequence[str]) -> argparse.Namespace:
    """What the user asks for."""
    questions = "\n".join(
        f"  {name:<14} {question.title}" for name, question in program.questions.items()
    )
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{program.name}",
        description=program.about,
        epilog=f"questions:\n{questions}\n{program.examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"measure less and less often: under two minutes, not {program.minutes}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value to this file, too")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=program.questions,
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


def answer(name: str, question: Question, options: argparse.Namespace, teller: Teller) -> Answer:
    """Measure what one question asks. One that fails leaves the others be, and a line in the table."""
    with teller.telling(question.title) as tell:
        run = Run(quick=options.quick, repetitions=options.repetitions, tell=tell)
        try:
            return Answer(name, question.title, question.measure(run))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            traceback.print_exc()
            return Answer(name, question.title, error=shorten(repr(error), 150))
