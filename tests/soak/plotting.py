"""What was recorded, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

from .judging import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PANELS = (
    ("MiB", MEBIBYTE, ("memory", "file", "used")),
    ("a process has", 1, ("descriptors", "threads", "connections", "scans")),
    ("a second", 1, ("gets", "sets")),
    ("ms", 0.001, ("get_p50", "get_p99", "set_p50", "set_p99")),
)


def plot(samples: Sequence[Mapping[str, float]], file: Path) -> None:
    """Draw all of it, over time, into a PNG."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after it was told what to draw with

    figure, panels = plt.subplots(len(PANELS), sharex=True, figsize=(10, 12), layout="constrained")
    seconds = [sample["seconds"] for sample in samples]
    for panel, (label, unit, names) in zip(panels, PANELS, strict=True):
        for name in names:
            panel.plot(seconds, [sample[name] / unit for sample in samples], label=name)
        panel.set_ylabel(label)
        panel.legend(loc="upper left")
        if label == "ms":
            panel.set_yscale("log", nonpositive="clip")
        else:
            panel.set_ylim(bottom=0)
    panels[-1].set_xlabel("seconds")
    figure.savefig(file)
    plt.close(figure)
