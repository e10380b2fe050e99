"""The tables at the end of the demo."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from .outcome import FIGURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .outcome import Outcome, Scan, Span


def scans_table(outcome: Outcome) -> Table:
    """What each scan gave, and how fast."""
    table = _table("client", "scan")
    for title in ("documents", "MB", "documents/s", "MB/s", "verified"):
        table.add_column(title, justify="right")
    for scan in outcome.scans:
        seconds, size = scan.span.seconds, scan.bytes / 1e6
        table.add_row(
            scan.client,
            scan.of,
            f"{scan.documents:,}",
            f"{size:.2f}",
            f"{scan.documents / seconds:,.0f}",
            f"{size / seconds:.1f}",
            "[bold red]NO" if scan.wrong else "yes",
        )
    return table


def gets_table(outcome: Outcome) -> Table:
    """What a second client's GETs took meanwhile, and what the server counted."""
    figures = {name: FIGURES[name] for name in FIGURES if name in outcome.scans[0].figures}
    table = _table("the second client, while")
    for title in ("GETs", "p50", "p99", *figures.values()):
        table.add_column(title, justify="right")
    table.add_row("nothing else goes on", *_gets_cells(outcome, [outcome.idle]), *("" for _ in figures))
    for client, scans in _by_client(outcome.scans).items():
        counted = sum((scan.figures for scan in scans), Counter[str]())
        cells = _gets_cells(outcome, [scan.span for scan in scans])
        table.add_row(f"the {client} scans", *cells, *(f"{counted[name]:,}" for name in figures))
    return table


def _table(*titles: str) -> Table:
    return Table(*titles, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)


def _by_client(scans: Sequence[Scan]) -> dict[str, list[Scan]]:
    found: dict[str, list[Scan]] = {}
    for scan in scans:
        found.setdefault(scan.client, []).append(scan)
    return found


def _gets_cells(outcome: Outcome, spans: Sequence[Span]) -> Iterator[str]:
    """How many GETs began in these spans, and the median and the 99th percentile of their times."""
    times = sorted(
        seconds
        for when, seconds in outcome.gets.times
        if any(span.began <= when < span.ended for span in spans)
    )
    yield f"{len(times):,}"
    for quantile in (0.5, 0.99):
        yield f"{times[int((len(times) - 1) * quantile)] * 1e3:.2f} ms" if times else "-"
