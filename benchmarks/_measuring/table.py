"""The table for the terminal: figures, their spread, and whether targets were reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from .harness import Figure
    from .results import Answer

KIB, MIB = 1024, 1024 * 1024


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
    note = f": {figure.note}" if figure.note else ""
    spread = f"{number(min(figure.values))} … {number(max(figure.values))}"
    return (
        Text(f"  {figure.name}{note}", style=style),
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


def size_of(count: int) -> str:
    """So many bytes, in words."""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            return f"{count // unit} {name}"
    return f"{count} B"
