"""The notebooks of docs/tutorial run from their first cell to their last, and have what they should."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.tree

TUTORIAL = Path(__file__).resolve().parent.parent / "docs" / "tutorial"
NOTEBOOKS = sorted(TUTORIAL.glob("[0-9]*.md"))
CELL_TIMEOUT = 300
"""Seconds: only a cell that hangs takes so long."""
TIMES_SLOWER = 5
"""CI may be so much slower than the machine on which a notebook was to take 40 s."""
WIDEST = 91
"""Columns of code that fit on a page."""

each_notebook = pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem) for path in NOTEBOOKS]
)


def read(path: Path) -> Any:
    """A notebook, as nbformat has it."""
    from myst_nb.core.read import (  # noqa: PLC0415 - takes a second
        read_myst_markdown_notebook,
    )

    return read_myst_markdown_notebook(path.read_text("utf-8"), path=path)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_folded(cell: Any) -> bool:
    return "hide-cell" in cell.metadata.get("tags", ())


def exercises(path: Path) -> list[str]:
    """What the reader is asked, each with the solution that follows."""
    _, _, text = path.read_text("utf-8").partition("\n## Exercises\n")
    return re.findall(r"^\*\*\d\. .*?(?=^\*\*\d\. |^## |\Z)", text, re.MULTILINE | re.DOTALL)


def streams(notebook: Any, name: str) -> str:
    """All that the cells wrote to stdout, or to stderr."""
    outputs = (output for cell in code_cells(notebook) for output in cell.outputs)
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == name)


def pictures(notebook: Any) -> Iterator[str]:
    for cell in code_cells(notebook):
        for output in cell.outputs:
            yield from (kind for kind in output.get("data", ()) if kind.startswith("image/"))


def run(path: Path) -> Any:
    """Run all cells in a kernel of their own, in the notebook's folder.

    Raises:
        CellExecutionError: a cell raised; also a group, which is not among its outputs as an error.
    """
    from nbclient import NotebookClient  # noqa: PLC0415 - as above

    notebook = read(path)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=CELL_TIMEOUT, resources=resources).execute()
    return notebook


def test_all_seven_are_there() -> None:
    """The tutorial has the notebooks 1 to 7, and its index names each."""
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number}-" for number in range(1, 8)]
    index = (TUTORIAL / "index.md").read_text("utf-8")
    assert [path.name for path in NOTEBOOKS if path.name not in index] == []


@pytest.mark.slow
@pytest.mark.timeout(40 * TIMES_SLOWER + CELL_TIMEOUT)
@each_notebook
def test_it_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell runs, its solutions too; nothing is complained of, and something is drawn."""
    monkeypatch.setenv("PYTHONPATH", str(TUTORIAL.parent.parent))
    notebook = run(path)
    assert streams(notebook, "stderr") == ""
    assert list(pictures(notebook))


@each_notebook
def test_it_is_a_notebook_on_trio(path: Path) -> None:
    """Sphinx and JupyterLab know it for a notebook, and where its cells await, they may."""
    notebook = read(path)
    assert notebook.metadata.file_format == "mystnb"
    assert notebook.metadata.kernelspec.name == "python3"
    first, *others = (cell.source for cell in code_cells(notebook))
    assert first == "%autoawait trio" or not any("await " in source for source in others)
    number = path.name.partition("-")[0]
    assert notebook.cells[0].source.startswith(f"# {number}. ")


@each_notebook
def test_it_ends_with_exercises_and_their_folded_solutions(path: Path) -> None:
    """There are two to four, each is followed by its solution, and no solution is open to be seen."""
    tasks = exercises(path)
    assert 2 <= len(tasks) <= 4
    assert [task for task in tasks if "tags: [hide-cell]" not in task] == []
    assert len([cell for cell in code_cells(read(path)) if is_folded(cell)]) >= len(tasks)


@each_notebook
def test_its_code_fits_on_a_page(path: Path) -> None:
    """No line of code has to be scrolled to be read."""
    lines = [line for cell in code_cells(read(path)) for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > WIDEST] == []


@each_notebook
def test_its_links_lead_to_files(path: Path) -> None:
    """Each relative link of its text leads to a file of the tree."""
    links = re.findall(r"\]\(([^)#:]+)[^):]*\)", path.read_text("utf-8"))
    assert [link for link in links if not (TUTORIAL / link).exists()] == []


def test_no_output_is_committed() -> None:
    """What the notebooks print and draw is made anew each time: their folder holds text only."""
    kinds = {path.suffix for path in TUTORIAL.iterdir() if path.is_file()}
    assert kinds == {".md", ".py"}
    for path in NOTEBOOKS:
        assert all(cell.outputs == [] for cell in code_cells(read(path)))
        assert "base64" not in path.read_text("utf-8")


def test_an_error_in_a_nursery_fails_a_notebook(tmp_path: Path) -> None:
    """A cell whose nursery raises a group is no success, as other runners of notebooks think it is."""
    from nbclient.exceptions import CellExecutionError  # noqa: PLC0415 - as above

    path = tmp_path / "0-bad.md"
    path.write_text(BAD)
    with pytest.raises(CellExecutionError, match="ExceptionGroup"):
        run(path)


BAD = """\
---
file_format: mystnb
kernelspec:
  name: python3
---

```{code-cell} ipython3
%autoawait trio
```

```{code-cell} ipython3
import trio


async def bad():
    raise ValueError


async with trio.open_nursery() as nursery:
    nursery.start_soon(bad)
```
"""
