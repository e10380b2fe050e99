"""Fills a template of Markdown from a run's figures.

Between double braces a template has one of these:

    program/question/figure              its median, with its unit
    target program/question/figure       what it should be, and that it is not, if it is not
    share program/question/figure        its median, in percent
    figures program/question [… …]       a table of all figures of these questions
    machine, versions, run, targets      what it ran on, how it went, all figures with a target
    plot NAME: TEXT                      a picture from the folder of pictures
    flame NAME                           a flame graph, and what it shows most of
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benchmarks._measuring.results import load

from .document import ABSENT, BAD, spread, target, verdict, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .document import Document

FIELD = re.compile(r"\{\{(.+?)\}\}", re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->\n*", re.DOTALL)


class Filler:
    """Fills templates from one document.

    Args:
        document: where figures are from.
        pictures: the folder of plots and flame graphs.
        address: of that folder, as seen from what is written.
    """

    def __init__(self, document: Document, pictures: Path, address: str) -> None:
        self._document = document
        self._pictures = pictures
        self._address = address
        profiles = pictures / "profiles.json"
        self._profiles: dict[str, Any] = load(profiles) if profiles.exists() else {}
        self._fields: dict[str, Callable[[str], str]] = {
            "target": self._target,
            "share": self._share,
            "figures": self._figures,
            "machine": self._machine,
            "versions": self._versions,
            "run": self._run,
            "targets": self._targets,
            "plot": self._plot,
            "flame": self._flame,
        }

    def fill(self, template: str) -> str:
        """The text. What stands in the template's comments is for its authors."""
        return FIELD.sub(self._field, COMMENT.sub("", template))

    def _field(self, match: re.Match[str]) -> str:
        text = " ".join(match[1].split())
        word, _, rest = text.partition(" ")
        field = self._fields.get(word)
        return self._figure(text) if field is None else field(rest)

    def _figure(self, key: str) -> str:
        figure = self._document.find(key)
        return ABSENT if figure is None else written(figure)

    def _target(self, key: str) -> str:
        figure = self._document.find(key)
        if figure is None:
            return ABSENT
        return target(figure) if figure["reached"] else f"{target(figure)}: {BAD}"

    def _share(self, key: str) -> str:
        figure = self._document.find(key)
        return ABSENT if figure is None else f"{figure['median']:.0%}".replace("%", " %")

    def _figures(self, places: str) -> str:
        return "\n\n".join(self._table(place) for place in places.split())

    def _table(self, place: str) -> str:
        question = self._document.question(place)
        if question is None:
            return ABSENT
        if question["error"]:
            return f"*{question['title']}: not measured, {question['error']}*"
        rows = [
            [
                _cell(figure["name"], figure["note"]),
                written(figure),
                spread(figure),
                target(figure),
                verdict(figure),
            ]
            for figure in question["figures"]
        ]
        heads = ["figure", "median", "lowest … highest (of)", "asked for", ""]
        return f"*{question['title']}*\n\n{_markdown_table(heads, rows, '<>>><')}"

    def _machine(self, _: str) -> str:
        machine = self._document.data["machine"]
        system, python = machine["system"].partition("-with")[0], machine["python"]
        return f"{machine['processor']}, {machine['memory']}; {system}; {python}"

    def _versions(self, _: str) -> str:
        return ", ".join(f"{name} {of}" for name, of in self._document.data["versions"].items())

    def _run(self, _: str) -> str:
        data = self._document.data
        kind = "A quick run, which measures less and less often" if data["quick"] else "A full run"
        stopped = ", interrupted" if data.get("interrupted") else ""
        busy = data["percent of processors used by other programs"]
        when = f"{data['started'][:10]}, {data['seconds'] / 60:.0f} minutes"
        others = f"other programs used {busy:.0f} % of the processors meanwhile"
        return f"{kind}{stopped}: {when}; {others}"

    def _targets(self, _: str) -> str:
        rows: list[list[str]] = []
        before = ""
        for program, question, figure in self._document.with_target():
            asked = f"`{program}`: {question['title']}"
            cells = [written(figure), target(figure), verdict(figure)]
            rows.append([asked if asked != before else "", figure["name"], *cells])
            before = asked
        reached = sum(row[-1] != BAD for row in rows)
        heads = ["question", "figure", "median", "asked for", ""]
        table = _markdown_table(heads, rows, "<<>><")
        return f"{reached} of {len(rows)} are reached.\n\n{table}"

    def _plot(self, rest: str) -> str:
        name, _, text = rest.partition(": ")
        if not (self._pictures / f"{name}.svg").exists():
            return ABSENT
        return f"![{text}]({self._address}/{name}.svg)"

    def _flame(self, name: str) -> str:
        found = self._profiles.get(name)
        if found is None:
            return f"`{name}`: {ABSENT}"
        roles = [f"{role} {hottest}" for role, of in found.items() if (hottest := _hottest(of))]
        address = f"{self._address}/flame-{name}.svg"
        return f"`{name}`: {'; '.join(roles)}.\n\n[![Flame graph of {name}]({address})]({address})"


def _hottest(functions: list[tuple[str, float]]) -> str:
    """As words."""
    return ", ".join(
        f"`{name.partition(' (')[0]}` {share:.0%}" for name, share in functions if share >= 0.02
    )


def _cell(name: str, note: str | None) -> str:
    return f"{name}: {note}" if note else name


def _markdown_table(heads: list[str], rows: list[list[str]], sides: str) -> str:
    lines = [heads, ["---:" if side == ">" else "---" for side in sides], *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("  |", " |") for line in lines)
