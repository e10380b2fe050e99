"""Draws the report's pictures: on no background, in colours for light pages and dark ones."""

from __future__ import annotations

import re
from contextlib import contextmanager
from math import log10
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks._measuring.harness import FRACTION
from benchmarks._measuring.table import size_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from .document import Document, Figure

GREY = "#868686"
COLOURS = {"ewb": "#1f9d76", "one buffer": "#3b87d0", "round trip": "#d97a26"}
OTHERS = "#9a86cf"
LOOKS: Any = {
    "svg.fonttype": "none",  # text stays text, and small
    "svg.hashsalt": "ewb",  # the same figures give the same file
    "font.size": 9,
    "axes.titlesize": 9,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GREY,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
SWEPT = {
    "rate": "MB/s",
    "wake-ups": "wake-ups a MB",
    "system calls": "system calls a MB",
    "neighbour p50": "neighbour's p50, ms",
    "neighbour p99": "neighbour's p99, ms",
    "memory": "memory, MiB",
}
NEIGHBOURS = {
    "handoff/courtesy": "echo, 4 producers computing",
    "front_end/neighbours": "short command, 8 streams",
    "front_end/reorder": "short command on a stream's connection",
    "range_scan/designs": "GET, 16 scans at once",
    "range_scan/neighbour": "GET, 8 full scans",
}
AROUND = re.compile(r"^\d+ \w+: |: p\d+$")
"""What the names of bars have in common."""
PERCENTILE = re.compile(r"(?P<name>.*): .*(?P<percentile>p50|p99)")


def draw_all(document: Document, folder: Path) -> None:
    """All pictures for which there are figures; those that are there already are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(LOOKS):
        draw_designs(document, "chunk", folder / "designs-chunk.svg")
        draw_designs(document, "buffer", folder / "designs-buffer.svg")
        draw_neighbours(document, folder / "neighbours.svg")
        draw_scale(document, folder / "scale.svg")
        draw_fractions(document, folder / "fractions.svg")
        draw_peers(document, folder / "peers.svg")


@contextmanager
def _picture(file: Path, count: int, columns: int, size: tuple[float, float]) -> Generator[list[Axes]]:
    """So many panels, each of this size in inches; written to the file after the block."""
    columns = min(columns, count)
    rows = -(-count // columns)
    picture = Picture(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    panels = list(picture.subplots(rows, columns, squeeze=False).flat)
    yield panels[:count]
    for unused in panels[count:]:
        unused.set_axis_off()
    picture.savefig(file, transparent=True, metadata={"Date": None})


def draw_designs(document: Document, swept: str, file: Path) -> None:
    """A panel for each of what was measured, a line for each design."""
    curves = {
        what: {
            design: [
                figure
                for _, figure in document.with_curve(f"{what} by {swept}: {design}")
                if figure["x"] is not None
            ]
            for design in reversed(COLOURS)
        }
        for what in SWEPT
    }
    curves = {what: lines for what, lines in curves.items() if any(lines.values())}
    if not curves:
        return
    with _picture(file, len(curves), 3, (3.1, 2.4)) as panels:
        for panel, (what, lines) in zip(panels, curves.items(), strict=True):
            for design, points in lines.items():
                if points:
                    _line(panel, points, COLOURS[design], design)
            sizes = sorted({figure["x"] for points in lines.values() for figure in points})
            panel.set(title=f"{SWEPT[what]}, by size of {swept}", xscale="log", yscale="log")
            panel.set_xticks(sizes, [size_of(size).replace(" ", "\n") for size in sizes], minor=False)
            panel.xaxis.set_minor_formatter(NullFormatter())
            _plain(panel.yaxis)
            panel.grid(visible=True)
        panels[0].legend()


def draw_scale(document: Document, file: Path) -> None:
    """A panel for each curve, with the growth that was fitted to it."""
    figures = [one for question in document.questions("scale") for one in question["figures"]]
    points: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure["curve"] is not None and figure["x"] is not None:
            points.setdefault(figure["curve"], []).append(figure)
    points = {curve: of for curve, of in points.items() if len(of) > 1}
    if not points:
        return
    fitted = {one["curve"]: one["median"] for one in figures if one["x"] is None}
    with _picture(file, len(points), 3, (3.1, 2.4)) as panels:
        for panel, (curve, of) in zip(panels, points.items(), strict=True):
            _line(panel, of, COLOURS["ewb"], None)
            growth = f"\ngrows as n to the power of {fitted[curve]:.2f}" if curve in fitted else ""
            panel.set(title=f"{curve}{growth}", xscale="log", yscale="log", ylabel=of[0]["unit"])
            _plain(panel.xaxis)
            panel.xaxis.set_major_formatter(lambda n, _: f"{n / 1000:g}k" if n >= 1000 else f"{n:g}")
            _plain(panel.yaxis)
            panel.grid(visible=True)


def _line(panel: Axes, figures: Sequence[Figure], colour: str, label: str | None) -> None:
    """Medians, and the spread behind them."""
    figures = sorted(figures, key=lambda figure: float(figure["x"]))
    places = [figure["x"] for figure in figures]
    panel.plot(places, [f["median"] for f in figures], "o-", color=colour, label=label, markersize=3.5)
    lowest, highest = ([side(f["values"]) for f in figures] for side in (min, max))
    panel.fill_between(places, lowest, highest, color=colour, alpha=0.2, linewidth=0)


def draw_neighbours(document: Document, file: Path) -> None:
    """How long a neighbour waits: p50 and p99 of each way."""
    tables = {NEIGHBOURS[place]: _percentiles(document, place) for place in NEIGHBOURS}
    tables = {title: table for title, table in tables.items() if table}
    if not tables:
        return
    with _picture(file, len(tables), 2, (4.8, 2.2)) as panels:
        for panel, (title, table) in zip(panels, tables.items(), strict=True):
            for place, (name, (p50, p99)) in enumerate(reversed(table.items())):
                colour = _colour(name)
                panel.plot([p50, p99], [place, place], color=colour, linewidth=2, alpha=0.6)
                panel.plot([p50], [place], "o", color=colour, markersize=4)
                panel.plot([p99], [place], "D", color=colour, markersize=5)
            panel.set_yticks(range(len(table)), list(reversed(table)))
            panel.set_title(f"{title}: p50 ● to p99 ◆, ms", loc="right")
            panel.set_xscale("log")
            _plain(panel.xaxis)
            panel.margins(y=0.15)
            panel.grid(visible=True, axis="x")


def _percentiles(document: Document, place: str) -> dict[str, tuple[float, float]]:
    """By way, in milliseconds."""
    question: Any = document.question(place)
    seen: dict[str, dict[str, float]] = {}
    for figure in question["figures"] if question else ():
        match = PERCENTILE.fullmatch(figure["name"])
        if match and figure["unit"] == "ms":
            seen.setdefault(match["name"], {})[match["percentile"]] = figure["median"]
    return {name: (of["p50"], of["p99"]) for name, of in seen.items() if len(of) == 2}


def draw_fractions(document: Document, file: Path) -> None:
    """What share of its limit each figure of ours is."""
    figures = document.with_curve(FRACTION)
    if not figures:
        return
    names = [_readable(key, figure) for key, figure in figures]
    with _picture(file, 1, 1, (9.3, 0.5 + 0.24 * len(figures))) as (panel,):
        _bars(panel, names, [figure for _, figure in figures])
        panel.axvline(1, color=GREY, linewidth=1, linestyle="--")
        panel.set_title("share of the limit that is reached (1: all of it)")


def draw_peers(document: Document, file: Path) -> None:
    """A panel for each of what was measured, a point for each way."""
    curves: dict[str, list[Figure]] = {}
    for question in document.questions("peers"):
        for figure in question["figures"]:
            if figure["curve"] is not None:
                curves.setdefault(figure["curve"], []).append(figure)
    if not curves:
        return
    with _picture(file, len(curves), 2, (4.8, 2.9)) as panels:
        for panel, (curve, figures) in zip(panels, curves.items(), strict=True):
            names = [AROUND.sub("", figure["name"]) for figure in figures]
            places = range(len(figures), 0, -1)
            colours = [_colour(name) for name in names]
            panel.scatter([figure["median"] for figure in figures], places, c=colours, s=22)
            panel.set_yticks(places, names)
            panel.set_title(curve, loc="right")
            panel.set_xscale("log")
            _plain(panel.xaxis)
            panel.margins(y=0.02)
            panel.grid(visible=True)


def _readable(key: str, figure: Figure) -> str:
    program, question, _ = key.split("/", 2)
    return f"{program} {question}: {figure['name']}"


def _bars(panel: Axes, names: Sequence[str], figures: Iterable[Figure]) -> None:
    medians = [figure["median"] for figure in figures]
    places = range(len(medians), 0, -1)
    panel.barh(places, medians, color=COLOURS["ewb"], height=0.6)
    for place, median in zip(places, medians, strict=True):
        panel.annotate(
            f"{median:.2f}", (median, place), xytext=(3, 0), textcoords="offset points", va="center"
        )
    panel.set_yticks(places, names)
    panel.margins(x=0.08, y=0.01)


def _plain(axis: Axis) -> None:
    """Numbers as one writes them, on a scale of powers of ten; more of them where these are few."""
    low, high = sorted(axis.get_view_interval())
    decades = log10(high / low) if low > 0 else 1.0
    within = (1.0,) if decades > 2 else (1.0, 3.0) if decades > 1 else (1.0, 2.0, 3.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=within))
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.set_minor_formatter(NullFormatter())


def _colour(name: str) -> str:
    for known, colour in COLOURS.items():
        if name.startswith(known.partition(" ")[0]):
            return colour
    return OTHERS
