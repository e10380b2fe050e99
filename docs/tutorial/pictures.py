"""How the tutorials' pictures look: one style, which reads on white, on black, and on a phone.

The background is left transparent, and every colour here stands out from white and from black
alike. The first four are told apart by colour-blind readers too (they are of Okabe and Ito's
palette); where two lines cross, give them different line styles as well. A title is of 50 characters
at most, or has two lines.
"""  # noqa: INP001 - the notebooks import it from their own folder

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib_inline.config import InlineBackend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

BLUE: Final = "#0072b2"  # the front end, and ewb
ORANGE: Final = "#d55e00"  # workers, and the other way
GREEN: Final = "#009e73"
PURPLE: Final = "#cc79a7"
GREY: Final = "#7a7a7a"  # text, axes, bounds, waiting

_STYLE: Final[dict[str, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": GREY,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "font.size": 12,
    "grid.alpha": 0.25,
    "grid.color": GREY,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def axes(title: str, x: str, y: str, *, height: float = 3.2) -> Axes:
    """A picture with one pair of axes: its title says what one sees, `x` and `y` have units."""
    InlineBackend.instance().figure_formats = {"svg"}
    plt.style.use(_STYLE)
    figure, ax = plt.subplots(figsize=(6, height))
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    ax.set(xlabel=x, ylabel=y)
    return ax


def legend(ax: Axes, *, columns: int = 4) -> None:
    """Say what the lines mean, below the picture, where it hides none of them."""
    ax.figure.legend(loc="outside lower center", ncols=columns)


def time_line(
    ax: Axes, lanes: Mapping[str, Sequence[tuple[float, float]]], colours: Mapping[str, str]
) -> None:
    """Draw, for each lane from the top down, when it was busy: bars from a start to an end."""
    for row, (name, busy) in enumerate(lanes.items()):
        bars = [(start, end - start) for start, end in busy]
        ax.broken_barh(bars, (row - 0.35, 0.7), color=colours[name], linewidth=0)
    ax.set_yticks(range(len(lanes)), list(lanes))
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
