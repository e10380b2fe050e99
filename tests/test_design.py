"""docs/design.md says how things are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ewb._life import diagram

pytestmark = pytest.mark.tree

ROOT = Path(__file__).parent.parent
DESIGN = ROOT / "docs" / "design.md"


def test_the_cookies_diagram_is_that_of_the_table() -> None:
    """Draw it anew with `python -c "from ewb._life import diagram; print(diagram())"`."""
    (drawn,) = re.findall(r"```mermaid\n(.*?)```", DESIGN.read_text(), re.DOTALL)
    assert drawn == diagram()


def test_every_module_of_the_library_is_in_the_table_of_layers() -> None:
    """A module that is not there has no purpose, or one that nobody wrote down."""
    modules = {path.stem for path in (ROOT / "ewb").glob("_*.py")} - {"__init__"}
    named = set(re.findall(r"`(_\w+)`", DESIGN.read_text()))
    assert modules - named == set()
