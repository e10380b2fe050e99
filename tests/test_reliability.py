"""docs/reliability.md names tests: they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"
PAGE = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""  # the wheel has none
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
FILES = sorted(set(re.findall(r"`(tests/[\w/*]+(?:\.py|/))`", PAGE)))


def _names_in(path: Path) -> set[str]:
    """The tests of a file: functions, and classes of steps by whatever name they are given there."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda part: Path(part).name)
def test_what_is_named_exists(file: str, test: str) -> None:
    """A promise without a test is none."""
    assert test in _names_in(ROOT / file), f"docs/reliability.md names {file}::{test}"


@pytest.mark.parametrize("file", FILES)
def test_files_that_are_named_exist(file: str) -> None:
    """With all of a kind for a star."""
    assert list(ROOT.glob(file.rstrip("/"))), f"docs/reliability.md names {file}"


def test_every_promise_names_a_test() -> None:
    """Each of its parts, from one heading to the next."""
    promises = PAGE.partition("## Promises")[2].partition("## Not promised")[0]
    for promise in promises.split("\n### ")[1:]:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", promise), promise.partition("\n")[0]


def test_planted_bugs_are_told() -> None:
    """As many as there are; the page says each in other words."""
    from .interleaving.plants import PLANTS  # noqa: PLC0415 - only this needs it

    told = PAGE.partition("The bugs:")[2].partition(".")[0].split(";")
    assert len(told) == len(PLANTS)
