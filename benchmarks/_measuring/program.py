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

from .harness import Run
from .machine import OtherPrograms, machine, versions
from .results import JSON, Answer, as_json, save
from .table import show

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import TypeAlias

    from .harness import Figure

    Tell: TypeAlias = Callable[[str, float], None]


@dataclass(frozen=True)
class Question:
    """What one asks of ewb, and what answers it."""

    title: str
    measure: Callable[[Run], list[Figure]]
    weight: float = 1.0
    """Of its share in the program's time."""
    parts: int = 1
    """How often it calls `interleaved`."""


@dataclass(frozen=True)
class Budget:
    """Seconds that a whole program may take, what it sets up included."""

    full: float
    quick: float


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
    budget: Budget | None = None
    """None: as long as it takes."""


def run(program: Program) -> None:
    """Answer its questions, as the command line asks, one after the other."""
    options = parse(program, sys.argv[1:])
    console = Console(width=None if sys.stdout.isatty() else 140)
    started, others = perf_counter(), OtherPrograms()
    about: dict[str, JSON] = {"quick": options.quick}
    if not options.part:
        about |= {"machine": {**machine()}, "versions": {**versions()}}
        describe(console, about)
    answers: list[Answer] = []
    try:
        for one in answered(program, options, Teller(console)):
            answers.append(one)  # noqa: PERF402 - kept if interrupted
    except (KeyboardInterrupt, BaseExceptionGroup):  # Trio puts it into a group
        about["interrupted"] = True
        console.print("Interrupted: this is what there is so far.")
    if not options.part:
        show(console, answers)
    seconds, percent = perf_counter() - started, others.percent()
    about |= {"seconds": seconds, "percent of processors used by other programs": percent}
    took = f"Took {seconds:.0f} s. Other programs used {percent:.0f} % of the processors meanwhile."
    console.print(took, highlight=False)
    if options.json:
        save(options.json, {**about, "questions": as_json(answers)})


def answered(program: Program, options: argparse.Namespace, teller: Teller) -> Generator[Answer]:
    """Answer one question after the other; each has its part of the time that is left."""
    end = None
    if program.budget:
        end = perf_counter() + (program.budget.quick if options.quick else program.budget.full)
    names = list(options.only or program.questions)
    all_weights = sum(question.weight for question in program.questions.values())
    weights = [program.questions[name].weight for name in names]
    if end is not None:  # some of the questions have some of the time
        end -= (end - perf_counter()) * (1 - sum(weights) / all_weights)
    for place, name in enumerate(names):
        share = weights[place] / sum(weights[place:])
        seconds = None if end is None else share * max(0.0, end - perf_counter())
        yield answer(name, program.questions[name], options, teller, seconds)


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
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)  # of the whole run
    parser.add_argument(
        "--json", type=writable, metavar="FILE", help="write every value to this file, too"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=program.questions,
        metavar="NAME",
        help="answer these questions only, see below",
    )
    parser.add_argument(
        "--repetitions",
        type=_positive,
        metavar="N",
        help="how often each is measured, after a warm-up, and however long that takes",
    )
    return parser.parse_args(arguments)


def writable(text: str) -> Path:
    """A file that can be written: one wants to know that before the measurements."""
    file = Path(text)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("a").close()
    except OSError as error:
        msg = f"{text} cannot be written: {error.strerror}"
        raise argparse.ArgumentTypeError(msg) from error
    return file


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


def answer(
    name: str, question: Question, options: argparse.Namespace, teller: Teller, seconds: float | None
) -> Answer:
    """Measure what one question asks. One that fails leaves the others be, and a line in the table."""
    with teller.telling(question.title) as tell:
        run = Run(
            quick=options.quick,
            repetitions=options.repetitions,
            tell=tell,
            seconds=seconds,
            parts=question.parts,
        )
        try:
            return Answer(name, question.title, question.measure(run))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            traceback.print_exc()
            return Answer(name, question.title, error=shorten(repr(error), 150))
