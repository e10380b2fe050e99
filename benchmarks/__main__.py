"""Measures everything that backs a claim of ewb's, one program after the other.

Each program answers some questions, has its own time, and can be run alone (`python -m
benchmarks.NAME`). At the end stand all figures in one table, each with its target if it has one; "NO"
in the last column is a target that was missed on this machine, in this run. Ctrl-C ends the run, and
keeps what there is.

Give it a machine that has nothing else to do: on a busy one the spread will be wide.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmarks._measuring.machine import OtherPrograms, machine, versions
from benchmarks._measuring.program import describe, writable
from benchmarks._measuring.results import JSON, Answer, from_json, load, save
from benchmarks._measuring.table import show

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAMS = ("handoff", "front_end", "range_scan", "designs", "peers", "limits", "scale")
"""In this order."""
PACKAGE = "benchmarks"
"""Where they are."""
TO_END = 30.0
"""Seconds that a program has to write down what it has, when it was interrupted."""

EXAMPLES = f"""
programs: {", ".join(PROGRAMS)}

examples:
  python -m benchmarks --quick                        under two minutes
  python -m benchmarks --json results.json            under twenty; every value kept
  python -m benchmarks --only handoff limits          two programs
  python -m benchmarks.handoff --only chunks          one question of one of them
  python -m benchmarks.report results.json            a report of it, in docs/

The exit code is 0 whether or not the targets were reached: read the table.
"""


def main() -> None:
    """Run the programs that the command line asks for, and tell what all of them measured."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the former may have been ignored until now
        signal.signal(number, signal.default_int_handler)
    options = parse(sys.argv[1:])
    console = Console(width=None if sys.stdout.isatty() else 140)
    started, others = perf_counter(), OtherPrograms()
    document: dict[str, JSON] = {
        "quick": options.quick,
        "started": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": {**machine()},
        "versions": {**versions()},
    }
    describe(console, document)
    done: list[Any] = []
    names = options.only or PROGRAMS
    for place, name in enumerate(names, 1):
        console.rule(f"{place} of {len(names)}: {name}", align="left")
        done.append(measured_by(name, quick=options.quick))
        if done[-1].get("interrupted"):
            document["interrupted"] = True
            break
    show(console, [answer for one in done for answer in answers_of(one)])
    seconds, percent = perf_counter() - started, others.percent()
    console.print(
        f"Took {seconds:.0f} s. Other programs used {percent:.0f} % of the processors meanwhile.",
        highlight=False,
    )
    document |= {"seconds": seconds, "percent of processors used by other programs": percent}
    if options.json:
        save(options.json, {**document, "programs": done})


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="measure less and less often")
    parser.add_argument(
        "--json", type=writable, metavar="FILE", help="write every value to this file, too"
    )
    parser.add_argument(
        "--only", nargs="+", choices=PROGRAMS, metavar="NAME", help="run these programs only"
    )
    return parser.parse_args(arguments)


def measured_by(name: str, *, quick: bool) -> Any:
    """Run one program to its end. Returns what it wrote down; `interrupted` is in it if it was."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "results.json")
        command = [sys.executable, "-m", f"{PACKAGE}.{name}", "--part", "--json", str(file)]
        # A process group of its own: Ctrl-C is for us, and it is told once.
        process = subprocess.Popen([*command, *["--quick"] * quick], process_group=0)
        interrupted = False
        try:
            process.wait()
        except KeyboardInterrupt:
            interrupted = True
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(TO_END)
        finally:
            process.kill()
            process.wait()
        if file.exists() and file.stat().st_size:
            found = {"name": name, **load(file)}
        else:
            error = f"{name} ended with exit code {process.returncode}"
            found = {"name": name, "error": error, "questions": []}
        return {**found, "interrupted": True} if interrupted else found


def answers_of(program: Any) -> list[Answer]:
    """What a program found out; that it failed, if it did."""
    if "error" in program:
        return [Answer(program["name"], program["name"], error=program["error"])]
    return from_json(program["questions"])


if __name__ == "__main__":
    main()
