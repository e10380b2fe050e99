"""Draws the state diagram of a cookie, from its table: the directive `cookie-states`, and any block of
Mermaid that holds that diagram. As SVG, in the colours of the page, without a script.
"""  # noqa: D205, INP001 - an extension of Sphinx, found by its path

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, TypeAlias

from docutils import nodes
from docutils.parsers.rst import Directive
from pygments.lexers.special import TextLexer

from ewb._life import diagram

if TYPE_CHECKING:
    from sphinx.application import Sphinx

Point: TypeAlias = tuple[float, float]

WIDTH, HEIGHT = 112, 38  # of a state's box
PLACES: Final[dict[str, Point]] = {
    "WAITING": (212, 44),
    "EXECUTING": (212, 146),
    "READY": (70, 246),
    "PARKED": (212, 346),
    "COMPLETE": (354, 246),
    "DONE": (354, 440),
    "DROPPED": (120, 440),
}
BENDS: Final = {("WAITING", "COMPLETE"): (354, 44)}
"""What a line is drawn towards, if it is not straight."""
LOST: Final = "DROPPED"
"""What any state may become that is in the frame: drawn once, and not for each."""
FRAME: Final = (4, 8, 416, 374)  # x, y, width, height

TIP: Final = (
    '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
    'orient="auto"><path d="M0 0 10 5 0 10z"/></marker></defs>'
)


def text(kind: str, middle: Point, words: str) -> str:
    """Words around a point."""
    return f'<text class="{kind}" x="{middle[0]:.0f}" y="{middle[1] + 5:.0f}">{words}</text>'


def edge_of_box(centre: Point, towards: Point) -> Point:
    """Where a line from the middle of a box leaves it."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    scale = min(
        (WIDTH / 2 + 3) / abs(dx) if dx else math.inf,
        (HEIGHT / 2 + 3) / abs(dy) if dy else math.inf,
    )
    return centre[0] + dx * scale, centre[1] + dy * scale


def arrow(source: str, target: str, label: str) -> str:
    """One step: a line from state to state, with its name."""
    a, b = PLACES[source], PLACES[target]
    bend = BENDS.get((source, target), ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2))
    (x1, y1), (x2, y2) = edge_of_box(a, bend), edge_of_box(b, bend)
    x, y = (x1 + 2 * bend[0] + x2) / 4, (y1 + 2 * bend[1] + y2) / 4
    curve = f"M{x1:.0f} {y1:.0f}Q{bend[0]:.0f} {bend[1]:.0f} {x2:.0f} {y2:.0f}"
    return f'<path class="step" d="{curve}" marker-end="url(#tip)"/>{text("label", (x, y), label)}'


def frame(label: str) -> str:
    """All states that may be lost, and the step that loses them."""
    x, y, width, height = FRAME
    centre, below = PLACES[LOST][0], y + height
    return (
        f'<rect class="frame" x="{x}" y="{y}" width="{width}" height="{height}" rx="14"/>'
        f'<path class="step drop" d="M{centre} {below}V{PLACES[LOST][1] - HEIGHT / 2 - 3:.0f}" '
        f'marker-end="url(#tip)"/>{text("label", (centre + 32, below + 20), label)}'
    )


def box(name: str, *, is_end: bool) -> str:
    """One state."""
    x, y = PLACES[name]
    kind = " end" if is_end else ""
    return (
        f'<rect class="state{kind}" x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{WIDTH}" '
        f'height="{HEIGHT}" rx="9"/>{text("name", (x, y), name)}'
    )


def drawing(mermaid: str) -> str:
    """The diagram as a figure in HTML."""
    steps = re.findall(r"(\w+) --> (\w+): (\w+)", mermaid)
    (lose,) = {label for _, b, label in steps if b == LOST}
    ends = set(re.findall(r"(\w+) --> \[\*\]", mermaid))
    told = "; ".join(f"{a} to {b} by {label}" for a, b, label in steps)
    return "".join(
        [
            '<figure class="states"><svg viewBox="0 0 424 466" role="img">',
            f"<title>The states of a cookie: {told}</title>",
            TIP,
            frame(lose),
            *(arrow(*step) for step in steps if step[1] != LOST),
            *(box(name, is_end=name in ends) for name in PLACES),
            "</svg></figure>",
        ]
    )


class CookieStates(Directive):
    """`cookie-states`: the diagram, as it is in the table now."""

    def run(self) -> list[nodes.Node]:
        """Docutils calls this."""
        text = diagram()
        return [nodes.literal_block(text, text, language="mermaid")]


def draw(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Put drawings in the place of blocks."""
    del page
    if app.builder.format == "html":
        for block in list(doctree.findall(nodes.literal_block)):
            if block.get("language") == "mermaid" and block.astext().strip() == diagram().strip():
                block.replace_self(nodes.raw("", drawing(block.astext()), format="html"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_lexer("mermaid", TextLexer)
    app.add_directive("cookie-states", CookieStates)
    app.connect("doctree-resolved", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
