"""Makes the report of a run of all benchmarks: docs/benchmarks.md, its plots, and README.md's table.

Text stands in `prose.md` and `readme.md` in `_reporting/`; figures are from the JSON of the run, which
is kept beside the plots as `full.json`. Nothing of what is made is to be edited by hand.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._reporting.document import Document
from benchmarks._reporting.markdown import Filler
from benchmarks._reporting.plots import draw_all

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
ROOT = HERE.parent
PROSE, README = HERE / "_reporting" / "prose.md", HERE / "_reporting" / "readme.md"
BEGIN = "<!-- figures: begin; made by `python -m benchmarks.report`, not by hand -->"
END = "<!-- figures: end -->"
BUSY = "percent of processors used by other programs"
NEEDED = {"programs", "quick", "started", "seconds", "machine", "versions", BUSY}
"""What the JSON of a run has, and the report asks for."""

EXAMPLES = """
examples:
  python -m benchmarks --json results.json            measure everything
  python -m benchmarks.report results.json            keep these figures, and make the report of them
  python -m benchmarks.report                         make it of those that are kept
"""


def page(document: Document, pictures: Path) -> str:
    """docs/benchmarks.md."""
    return Filler(document, pictures, "benchmarks").fill(PROSE.read_text(encoding="utf-8"))


def readme(text: str, document: Document, pictures: Path) -> str:
    """README.md, with the figures of this document between its markers.

    Raises:
        ValueError: it has no markers.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        msg = f"there is no place for figures: it needs the lines\n{BEGIN}\n{END}"
        raise ValueError(msg)
    filler = Filler(document, pictures, "docs/benchmarks")
    return (
        f"{before}{BEGIN}\n\n{filler.fill(README.read_text(encoding='utf-8')).strip()}\n\n{END}{after}"
    )


def main() -> None:
    """Make all of it."""
    options = parse(sys.argv[1:])
    pictures = options.folder / "docs" / "benchmarks"
    kept = pictures / "full.json"
    given: Path = options.results or kept
    if options.results is None and not kept.exists():
        sys.exit(f"{kept} is not there: say where the JSON of a run is")
    document = read(given)  # before it takes the place of what is kept
    make_folder(pictures)
    if given.resolve() != kept.resolve():
        shutil.copyfile(given, kept)
    draw_all(document, pictures)
    report = pictures.with_suffix(".md")
    report.write_text(page(document, pictures), encoding="utf-8")
    made = [report]
    file = options.folder / "README.md"
    if document.data["quick"]:
        print("A quick run: README.md keeps its figures, which are of a full one.", file=sys.stderr)
    elif file.exists():
        text = readme(file.read_text(encoding="utf-8"), document, pictures)
        file.write_text(text, encoding="utf-8")
        made.append(file)
    for key in sorted(document.missing):
        print(f"not measured: {key}", file=sys.stderr)
    print(*made, sep="\n")


def read(file: Path) -> Document:
    """The figures of a whole run; or else this ends the program, with a line that says why."""
    try:
        document = Document.of(file)
        absent = NEEDED - set(document.data)
    except OSError as error:
        sys.exit(f"cannot read {file}: {error.strerror}")
    except (ValueError, TypeError, KeyError):  # no JSON, or of something else
        absent = NEEDED
    if absent:
        sys.exit(
            f"{file} is not the JSON of a run of all benchmarks: python -m benchmarks --json makes it"
        )
    return document


def make_folder(folder: Path) -> None:
    """Have it there; or else this ends the program, with a line that says why."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"cannot make {folder}: {error.strerror}; choose another --folder")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "results", nargs="?", type=Path, metavar="FILE", help="the JSON of a run of all benchmarks"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT, help="where docs/ and README.md are; by default, here"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
