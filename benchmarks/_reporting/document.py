"""The JSON of a whole run, and how its figures are found and written.

A figure's key is `program/question/figure`, each as it is called in the JSON. A figure that is not
there is written as a dash and noted: a quick run measures less than a full one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks._measuring.results import load
from benchmarks._measuring.table import number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Figure = dict[str, Any]
"""As it is in the JSON."""
ABSENT = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
GOOD, BAD = "reached", "**missed**"


class Document:
    """What one run of all programs has measured."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.missing: set[str] = set()
        """Keys that were asked for in vain."""
        self._figures = {key: figure for _, _, key, figure in self._all()}

    @classmethod
    def of(cls, file: Path) -> Document:
        """Read it from a file."""
        return cls(load(file))

    @property
    def programs(self) -> list[Any]:
        """In the order in which they ran."""
        return list(self.data["programs"])

    def _all(self) -> Iterator[tuple[Any, Any, str, Figure]]:
        for program in self.programs:
            for question in program["questions"]:
                for figure in question["figures"]:
                    key = f"{program['name']}/{question['name']}/{figure['name']}"
                    yield program, question, key, figure

    def questions(self, program: str) -> list[Any]:
        """Those of one program; none if it did not run."""
        return [q for p in self.programs if p["name"] == program for q in p["questions"]]

    def question(self, place: str) -> Any | None:
        """By `program/question`."""
        program, _, name = place.partition("/")
        found = [one for one in self.questions(program) if one["name"] == name]
        if not found:
            self.missing.add(place)
        return found[0] if found else None

    def find(self, key: str) -> Figure | None:
        """By its key."""
        if key not in self._figures:
            self.missing.add(key)
        return self._figures.get(key)

    def with_curve(self, curve: str) -> list[tuple[str, Figure]]:
        """All figures of a curve, with their keys."""
        return [(key, figure) for _, _, key, figure in self._all() if figure["curve"] == curve]

    def with_target(self) -> list[tuple[str, Any, Figure]]:
        """All figures that have one, with program and question."""
        return [(p["name"], q, figure) for p, q, _, figure in self._all() if figure["target"]]


def written(figure: Figure) -> str:
    """Its median."""
    return with_unit(number(figure["median"]), figure["unit"])


def spread(figure: Figure) -> str:
    """Its lowest and its highest value, and how many there are."""
    values = figure["values"]
    if len(values) == 1:
        return ""
    return f"{number(min(values))} … {number(max(values))} ({len(values)})"


def target(figure: Figure) -> str:
    """What it should have been."""
    asked = figure["target"]
    if asked is None:
        return ""
    value = f"{asked['value']:,.4g}"
    return f"{asked['bound']} {with_unit(value, figure['unit'])}"


def verdict(figure: Figure) -> str:
    """Whether it is that."""
    return "" if figure["target"] is None else GOOD if figure["reached"] else BAD


def with_unit(text: str, unit: str) -> str:
    """A number with its unit, as one writes them."""
    if unit == "x":
        return f"{text} {TIMES}"
    return f"{text}{unit}" if unit.startswith("/") else f"{text} {unit}".rstrip()
