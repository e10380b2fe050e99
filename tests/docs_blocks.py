"""The blocks of code in a page of Markdown, and what is said about them."""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import CodeType

_FENCE: Final = re.compile(
    r"^(?P<fence>`{3,}|:{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)[ ]*$", re.MULTILINE | re.DOTALL
)
_OPTION: Final = re.compile(r"^:(\w+):[ ]*(.*)$")


@attrs.frozen
class Block:
    """One fenced block."""

    kind: str
    """What stands after the fence: `python`, `output`, `{code-block} python` …"""
    options: dict[str, str]
    """Of a directive: `:caption: …`."""
    text: str
    line: int
    """Of the page, where its text begins."""

    @property
    def is_program(self) -> bool:
        """A program, or what continues the ones before it on the page: it runs."""
        return self.kind == "python"

    @property
    def is_fragment(self) -> bool:
        """A part of a program, or a file to save; its caption says so. It has to be Python."""
        return self.kind in {"{code-block} python", "{code} python"}


def blocks_of(page: Path) -> Iterator[Block]:
    """All of a page's, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        lines, options = match["body"].splitlines(), {}
        if match["info"].startswith("{"):
            while lines and (option := _OPTION.match(lines[0])):
                options[option[1]] = option[2]
                del lines[0]
                line += 1
        yield Block(match["info"].strip(), options, "\n".join(lines) + "\n", line)


def run_page(page: Path) -> list[tuple[Block, str]]:
    """Run the programs of a page, one after another, as if it were one file.

    Returns:
        Each program that says what it prints, with an `output` block, and what it has printed.
    """
    space: dict[str, object] = {"__name__": "__main__"}
    said: list[tuple[Block, str]] = []
    printed = ""
    for block in blocks_of(page):
        if block.is_program:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compiled(page, block), space)  # noqa: S102 - it is ours
            printed = out.getvalue()
        elif block.kind == "output":
            said.append((block, printed))
    return said


def compiled(page: Path, block: Block) -> CodeType:
    """As Python's code, whose lines are those of the page.

    Raises:
        SyntaxError: it is none.
    """
    text = textwrap.dedent(block.text) if block.is_fragment else block.text
    if block.is_fragment and _is_of_a_function(text):
        text = f"async def fragment():\n{textwrap.indent(text, '    ')}"
    return compile("\n" * (block.line - 1) + text, str(page), "exec", dont_inherit=True)


def _is_of_a_function(text: str) -> bool:
    """Does it have what stands in functions only?"""
    try:
        compile(text, "fragment", "exec", dont_inherit=True)
    except SyntaxError:
        return True
    return False
