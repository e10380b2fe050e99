"""One target under atheris: `python -m tests.fuzz.guided NAME FOLDER... [-flag=value...]`.

It finds what is new by the lines that an input reaches, so it has to import the parsers itself.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

atheris: Any = importlib.import_module("atheris")  # for who fuzzes: it is not locked
with atheris.instrument_imports(include=["ewb", "examples"], enable_loader_override=False):
    from .targets import TARGETS


def main() -> None:
    """Fuzz until time is up; never returns."""
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
