"""Shows where the time goes: a flame graph of what each benchmark has ewb do.

py-spy samples a process that does only that; the pictures, and the functions that were seen most often,
go to docs/benchmarks/, where `python -m benchmarks.report` takes them from.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks._measuring.results import JSON, load, save
from benchmarks._range_scan.compared import VBUCKETS
from benchmarks._range_scan.data import Workspace
from benchmarks._reporting import flame
from benchmarks._reporting.profiled import SCAN, WORK

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
RATE = 250
"""Samples a second."""
PATIENCE = 120.0
"""Seconds that one profile may take."""
HOTTEST = 3
DOCUMENTS = 105_000
NAMES = (*WORK, SCAN)


class ProfilerError(Exception):
    """py-spy has nothing to show; the message says why."""


def main() -> None:
    """Make those that the command line asks for; the others stay as they are."""
    options = parse(sys.argv[1:])
    console, folder = Console(), options.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"cannot make {folder}: {error.strerror}; choose another --folder")
    kept = folder / "profiles.json"
    found: dict[str, JSON] = load(kept) if kept.exists() else {}
    with ExitStack() as stack:
        for name in options.names or NAMES:
            console.print(f"{name} …", highlight=False)
            arguments = _store(stack) if name == SCAN else []
            try:
                stacks = list(flame.stacks(sampled([name, *arguments])))
            except ProfilerError as error:
                sys.exit(str(error))
            picture = flame.svg(flame.tree(stacks), f"{name}: width is time; hover for shares")
            (folder / f"flame-{name}.svg").write_text(picture, encoding="utf-8")
            hottest = flame.hottest(stacks, HOTTEST)
            found[name] = {role: [[*one] for one in functions] for role, functions in hottest.items()}
            save(kept, found)


def _store(stack: ExitStack) -> list[str]:
    workspace = stack.enter_context(Workspace())
    return [str(workspace.store(DOCUMENTS, VBUCKETS).directory)]


def sampled(work: Sequence[str]) -> str:
    """What py-spy sees of a process that does this work.

    Raises:
        ProfilerError: it is not installed, or may not look.
    """
    program = shutil.which("py-spy", path=Path(sys.executable).parent) or shutil.which("py-spy")
    if program is None:
        msg = "py-spy is not installed: make setup does that"
        raise ProfilerError(msg)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "raw")
        how = ["--format", "raw", "--nolineno", "--threads", "--rate", str(RATE), "--output", str(file)]
        profiled = [sys.executable, "-m", "benchmarks._reporting.profiled", *work]
        command = [program, "record", *how, "--", *profiled]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if done.returncode or not file.exists():
            said = " ".join(done.stderr.split())
            msg = f"py-spy could not sample {work[0]} (it needs the right to ptrace): {said}"
            raise ProfilerError(msg)
        return file.read_text(encoding="utf-8")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiles", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"these only, of: {', '.join(NAMES)}")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "docs" / "benchmarks", help="where the pictures go"
    )
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in NAMES:
            parser.error(f"{name!r} is none of {', '.join(NAMES)}")
    return options


if __name__ == "__main__":
    main()
