"""What the benchmarks tell at the end: the table, the JSON, and what it all ran on."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

import psutil
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from ._harness import Figure

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | float | bool | None"

PACKAGES = ("ewb", "trio", "culsans", "janus", "aiologic", "attrs")


@dataclass(frozen=True)
class Answer:
    """What was measured for one question; or why nothing was."""

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    error: str | None = None


# -- what it ran on -----------------------------------------------------------------------------------


class OtherPrograms:
    """How much of the processors they take from now on: what makes figures worse than they are."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._before = self._used()

    def percent(self) -> float:
        """Percent of all processors, since the beginning."""
        available = (perf_counter() - self._started) * (os.cpu_count() or 1)
        return max(0.0, 100 * (self._used() - self._before) / available)

    @staticmethod
    def _used() -> float:
        """Seconds that were used by others than this process and those that it started."""
        times, ours = psutil.cpu_times(), os.times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        return float(busy - sum(ours[:4]))


def machine() -> dict[str, str]:
    """This machine."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The versions of ewb and of all that it is compared with."""
    return {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from the source tree"


# -- for the terminal ---------------------------------------------------------------------------------


def show(console: Console, answers: list[Answer]) -> None:
    """The table, and beneath it, once more, what was missed."""
    table = Table(title="ewb: figures (medians of all repetitions)", title_justify="left")
    table.add_column("what", max_width=58)
    table.add_column("figure", justify="right", no_wrap=True)
    table.add_column("lowest … highest", justify="right", no_wrap=True)
    table.add_column("target", justify="right", no_wrap=True)
    table.add_column("reached", no_wrap=True)
    for answer in answers:
        table.add_row(Text(answer.title, style="bold"))
        if answer.error is not None:
            table.add_row(f"  not measured: {answer.error}", "", "", "", Text("NO", style="bold red"))
        for figure in answer.figures:
            table.add_row(*_cells(figure))
        table.add_section()
    console.print(table)
    _summarize(console, answers)


def _cells(figure: Figure) -> tuple[str | Text, ...]:
    style = "" if figure.target else "dim"
    spread = f"{number(min(figure.values))} … {number(max(figure.values))}"
    return (
        Text(f"  {figure.name}", style=style),
        Text(f"{number(figure.median)} {figure.unit}", style=style),
        Text(spread, style="dim"),
        _target(figure),
        _verdict(figure),
    )


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{figure.target.bound.value} {figure.target.value:.4g} {figure.unit}"


def _verdict(figure: Figure) -> Text:
    """Whether the median reached the target, and how many single repetitions did."""
    if figure.reached is None:
        return Text("")
    text, style = ("yes", "green") if figure.reached else ("NO", "bold red")
    return Text(f"{text:<3} ({figure.times_reached} of {len(figure.values)})", style=style)


def _summarize(console: Console, answers: list[Answer]) -> None:
    targets = [(answer, figure) for answer in answers for figure in answer.figures if figure.target]
    missed = [(answer, figure) for answer, figure in targets if not figure.reached]
    failed = [answer for answer in answers if answer.error is not None]
    unmeasured = f"; {len(failed)} questions could not be measured" if failed else ""
    reached = f"{len(targets) - len(missed)} of {len(targets)} targets reached{unmeasured}."
    console.print(reached, highlight=False)
    for answer, figure in missed:
        what = f"{answer.name}: {figure.name}: {number(figure.median)} {figure.unit}"
        console.print(Text(f"MISSED: {what}, target {_target(figure)}", style="red"))
    for answer in failed:
        console.print(Text(f"NOT MEASURED: {answer.name}: {answer.error}", style="red"))


def number(value: float) -> str:
    """A number with three digits that mean something; a whole one as it is."""
    if value == int(value):
        return f"{int(value):,}"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


# -- for other programs -------------------------------------------------------------------------------


def save(path: Path, answers: list[Answer], about: dict[str, JSON]) -> None:
    """Write it all down, every single value included."""
    document: JSON = {**about, "questions": [_as_json(answer) for answer in answers]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _as_json(answer: Answer) -> JSON:
    return {
        "name": answer.name,
        "title": answer.title,
        "error": answer.error,
        "figures": [_figure_as_json(figure) for figure in answer.figures],
    }


def _figure_as_json(figure: Figure) -> JSON:
    target: JSON = None
    if figure.target is not None:
        target = {"bound": figure.target.bound.value, "value": figure.target.value}
    return {
        "name": figure.name,
        "unit": figure.unit,
        "median": figure.median,
        "values": list(figure.values),
        "target": target,
        "reached": figure.reached,
    }
