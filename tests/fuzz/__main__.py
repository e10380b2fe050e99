"""The command: `python -m tests.fuzz --seconds 60`. Exits with 1 if a parser does what it must not."""

# ruff: noqa: T201 - it is a program: it prints

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
import traceback
import tracemalloc
from pathlib import Path
from typing import Final

from . import corpus
from .mutation import mutations
from .targets import TARGETS

INSTALL: Final = "python -m pip install atheris==3.0.0"
ALLOWED: Final = 1 << 20
"""Bytes of memory that an input may take, and a few hundred times its own."""


def main() -> int:
    """Fuzz each target for so long, and keep what it shows."""
    options = _options()
    guided = importlib.util.find_spec("atheris") is not None and not options.by_chance
    if not (guided or options.by_chance):
        print(f"without atheris, which finds more: inputs by chance. To install it: {INSTALL}")
    names = [options.target] if options.target else list(TARGETS)
    failed = False
    for name in names:
        with tempfile.TemporaryDirectory(prefix="ewb-fuzz-") as found:
            fuzz = _by_coverage if guided else _by_chance
            crasher = fuzz(name, options.seconds / len(names), options.seed, Path(found))
            crasher = crasher or _greedy(name)
            if crasher is None:
                kept = _keep(name, Path(found)) if options.keep else 0
                print(f"{name}: nothing found", f"({kept} inputs kept)" if kept else "", flush=True)
                continue
        path = corpus.write(options.crashers / name, crasher)
        failed = True
        print(f"{name}: FAILED, with {path}: {_why(name, crasher)}", file=sys.stderr, flush=True)
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Give parsers what nobody should send: guided by coverage if atheris is installed.",
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long, for all together")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--seed", type=int, default=1, help="of what is tried")
    parser.add_argument("--by-chance", action="store_true", help="without atheris, though it is there")
    parser.add_argument("--keep", action="store_true", help="add what reaches more to the corpus")
    crashers = Path(tempfile.gettempdir()) / "ewb-crashers"
    parser.add_argument("--crashers", type=Path, default=crashers, help="where failures are written")
    return parser.parse_args()


def _by_coverage(name: str, seconds: float, seed: int, found: Path) -> bytes | None:
    """In a process of its own, which ends at the first failure. Returns that."""
    inputs, crashers = found / "inputs", found / "crashers"
    inputs.mkdir()
    crashers.mkdir()
    kept = corpus.FOLDER / name
    kept.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(inputs), str(kept)]
    flags = {
        "max_total_time": max(1, round(seconds)),
        "max_len": corpus.LARGEST,
        "seed": seed,
        "timeout": 20,
        "rss_limit_mb": 1024,
        "artifact_prefix": f"{crashers}/",
        "verbosity": 0,
    }
    command += [f"-{flag}={value}" for flag, value in flags.items()]
    ended = subprocess.run(command, cwd=corpus.ROOT, capture_output=True, check=False, text=True)
    for path in crashers.iterdir():
        return path.read_bytes()
    if ended.returncode:
        sys.exit(f"atheris did not run: {ended.stderr or ended.stdout}")
    return None


def _by_chance(name: str, seconds: float, seed: int, found: Path) -> bytes | None:
    """In this process. Returns the first input that fails."""
    end = time.monotonic() + seconds
    for number, data in enumerate(mutations(corpus.kept(name), seed)):
        try:
            TARGETS[name](data)
        except Exception:  # noqa: BLE001 - that is what is looked for
            return data
        if number % 100 == 0:  # to be kept, if it shows something
            corpus.write(found / "inputs", data)
        if time.monotonic() > end:
            return None
    return None


def _greedy(name: str) -> bytes | None:
    """A kept input for which more memory is taken than it is worth, if there is one."""
    for data in corpus.kept(name):
        TARGETS[name](data)  # what it takes once for all
        tracemalloc.start()
        try:
            TARGETS[name](data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        if peak > ALLOWED + 500 * len(data):
            return data
    return None


def _keep(name: str, found: Path) -> int:
    return corpus.keep(name, (path.read_bytes() for path in found.glob("inputs/*")))


def _why(name: str, data: bytes) -> str:
    try:
        TARGETS[name](data)
    except Exception as error:  # noqa: BLE001 - to be shown
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{error!r:.500} at {Path(where.filename).name}:{where.lineno}"
    return "it takes too long, or too much memory"


if __name__ == "__main__":
    sys.exit(main())
