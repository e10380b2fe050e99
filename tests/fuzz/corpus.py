"""The kept corpus: a folder for each target, of files named by what is in them."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = Path(__file__).with_name("corpus")
LARGEST: Final = 4096
"""Bytes of an input."""
_PARSERS: Final = tuple(str(ROOT / part) for part in ("examples", "ewb"))


def kept(name: str) -> list[bytes]:
    """What is kept for a target."""
    return [path.read_bytes() for path in sorted((FOLDER / name).glob("*"))]


def keep(name: str, inputs: Iterable[bytes]) -> int:
    """Keep those of them that reach what no kept one reaches, the shortest first; how many."""
    reached: set[object] = set()
    for data in kept(name):
        reached |= reach(name, data)
    added = 0
    for data in sorted(inputs, key=lambda data: (len(data), data)):
        if len(data) <= LARGEST and not (new := reach(name, data)) <= reached:
            reached |= new
            write(FOLDER / name, data)
            added += 1
    return added


def write(folder: Path, data: bytes) -> Path:
    """Write an input under the name that it has everywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def reach(name: str, data: bytes) -> set[object]:
    """The steps that parsers take with it, from line to line."""
    found: set[object] = set()

    def enter(frame: FrameType, _event: str, _argument: object) -> object:
        code = frame.f_code
        if not code.co_filename.startswith(_PARSERS):
            return None
        last = 0

        def step(frame: FrameType, _event: str, _argument: object) -> object:
            nonlocal last
            found.add((code.co_filename, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    before = sys.gettrace()
    sys.settrace(enter)  # type: ignore[arg-type]
    try:
        TARGETS[name](data)
    finally:
        sys.settrace(before)
    return found
