"""What was measured, as objects and as JSON: all of it, every single value included."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from .harness import Bound, Figure, Target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | float | bool | None"


@dataclass(frozen=True)
class Answer:
    """What was measured for one question; or why nothing was."""

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    error: str | None = None


def save(path: Path, document: dict[str, JSON]) -> None:
    """Write it down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path) -> Any:
    """What was written down."""
    return json.loads(path.read_text(encoding="utf-8"))


def as_json(answers: Sequence[Answer]) -> list[JSON]:
    """A list of questions."""
    return [
        {
            "name": answer.name,
            "title": answer.title,
            "error": answer.error,
            "figures": [_figure_as_json(figure) for figure in answer.figures],
        }
        for answer in answers
    ]


def _figure_as_json(figure: Figure) -> JSON:
    target: JSON = None
    if figure.target is not None:
        target = {"bound": figure.target.bound.value, "value": figure.target.value}
    return {
        **asdict(figure),
        "values": list(figure.values),
        "median": figure.median,
        "target": target,
        "reached": figure.reached,
    }


def from_json(questions: Sequence[Any]) -> list[Answer]:
    """The objects again."""
    return [
        Answer(
            question["name"],
            question["title"],
            [_figure_from_json(figure) for figure in question["figures"]],
            question["error"],
        )
        for question in questions
    ]


def _figure_from_json(figure: Any) -> Figure:
    target = figure["target"]
    return Figure(
        figure["name"],
        tuple(figure["values"]),
        figure["unit"],
        target and Target(Bound(target["bound"]), target["value"]),
        figure["curve"],
        figure["x"],
        figure["note"],
    )
