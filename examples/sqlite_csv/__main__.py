"""`python -m examples.sqlite_csv`: serve, fetch, measure."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import httpx
import trio
from rich.console import Console

from .app import create_app
from .fetch import fetch as fetch_file
from .measure import MeasureError, measure, show
from .rows import check_query, make_database
from .server import listen, serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from hypercorn.typing import ASGIFramework

T = TypeVar("T")

QUERY = "select * from readings"
HOST = "127.0.0.1"


class _Seconds(click.FloatRange):
    """In a range, in which click takes nan to be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if isnan(seconds):
            self.fail(f"{value} is not in the range {self.min}<=x<={self.max}.", param, ctx)
        return seconds


@click.group(context_settings={"show_default": True})
def cli() -> None:
    """Stream a database query as CSV over HTTP, by ewb and by Starlette's own response.

    `serve` it in one terminal and `curl -N` it in another; or `measure` what each way is worth.
    """


@cli.command("serve")
@click.option(
    "--database", type=click.Path(path_type=Path), help="A SQLite file.  [default: a new one]"
)
@click.option("--query", default=QUERY, help="What to export.")
@click.option("--rows", default=1_000_000, type=click.IntRange(0), help="How many a new database has.")
@click.option("--host", default=HOST, help="The address to listen at.")
@click.option("--port", default=0, type=click.IntRange(0, 65_535), help="0: any that is free.")
@click.option("--threads", default=2, type=click.IntRange(1), help="Workers that run queries.")
@click.option(
    "--stall-timeout",
    default=30.0,
    type=_Seconds(0.1, 3_600),
    metavar="SECONDS",
    help="Cut a client off that has not read for so long (Linux).",
)
def serve_command(
    *,
    database: Path | None,
    query: str,
    rows: int,
    host: str,
    port: int,
    threads: int,
    stall_timeout: float,
) -> None:
    """Serve the rows of a query, until Ctrl-C or SIGTERM; exits with 0.

    Ctrl-C lets responses go on for three seconds. A client that does not read holds the end up, for as
    long as --stall-timeout says.
    """
    with ExitStack() as stack:
        try:
            listener = listen(host, port, stall_timeout)
        except OSError as error:
            why, _, _ = str(error.strerror).partition(" (")  # the rest says the address again
            remedy = "choose another --host or --port; 0 is any port that is free"
            msg = f"cannot listen at {host}:{port}: {why}; {remedy}"
            raise click.ClickException(msg) from None
        stack.callback(listener.close)
        if database is None:
            click.echo(
                f"Making a database of {rows:,} rows; --database FILE serves yours ...", err=True
            )
            database = stack.enter_context(_new_database(rows))
        try:
            check_query(database, query)
        except sqlite3.Error as error:
            msg = f"{database}: {error}. The query was: {query}"
            raise click.ClickException(msg) from None

        def say_that_it_stops() -> None:
            click.echo(
                "Stopping: answers that are under way have three seconds, "
                f"clients that do not read {stall_timeout:g}.",
                err=True,
            )

        app = cast("ASGIFramework", create_app(database, query, threads))
        failure: BaseException | None = None
        try:
            trio.run(serve, app, listener, _say_where, say_that_it_stops)
        except* click.ClickException as errors:
            failure = _first(errors)
        if failure is not None:
            raise failure


def _say_where(address: str) -> None:
    try:
        click.echo(f"listening on {address}; try: curl -N {address}/ewb.csv")
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # lest the exit try it again
        msg = f"cannot write to the standard output: {error.strerror}"
        raise click.ClickException(msg) from None


@cli.command("fetch")
@click.argument("url")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Say how it went as JSON.")
def fetch_command(url: str, file: Path, *, as_json: bool) -> None:
    """Download with httpx; exits with 1 if the answer is not whole."""
    try:
        download = fetch_file(url, file)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        msg = f"{url}: {error}"
        raise click.ClickException(msg) from None
    size = file.stat().st_size
    said = (
        f"{size:,} bytes in {download.seconds:.3f} s, the first after {download.first_byte or 0:.3f} s"
    )
    click.echo(json.dumps(asdict(download)) if as_json else said)


@cli.command("measure")
@click.option("--rows", default=20_000, type=click.IntRange(1), help="How many the query has.")
@click.option("--repeat", default=3, type=click.IntRange(1), help="How often all is measured.")
@click.option("--seconds", default=1.0, type=_Seconds(0, 3_600), help="How long each way each time.")
def measure_command(rows: int, repeat: int, seconds: float) -> None:
    """Compare the ways: rows/s with curl and httpx, the first byte, what a neighbour waits.

    Server, client and neighbour are a process each. The ways take turns, so that what else this machine
    does meets all of them, and the ratios are those within each turn. Every byte is checked.

    It takes a minute; a quick look: --rows 2000 --repeat 1. Exits with 1 if anything arrived that the
    query does not give, and with 130 at Ctrl-C or SIGTERM.
    """
    console = Console(highlight=False)
    try:
        with _new_database(rows) as database, console.status("Measuring ..."):
            measuring = partial(measure, database, QUERY, repeat=repeat, seconds=seconds)
            ways, alone = trio.run(_until_terminated, measuring)
        code = 0
        show(ways, alone, console)
    except* MeasureError as errors:
        code = 1
        click.echo(f"Error: {_first(errors)}", err=True)
    except* KeyboardInterrupt:
        code = 130
        click.echo("Interrupted: the server was stopped, nothing is left running.", err=True)
    sys.exit(code)


async def _until_terminated(measuring: Callable[[], Awaitable[T]]) -> T:
    """Have SIGTERM do in Trio, too, what Ctrl-C does: so that the server ends with this."""

    async def interrupt() -> None:
        await anext(signals)
        raise KeyboardInterrupt

    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            measured = await measuring()
            nursery.cancel_scope.cancel()
    return measured


def _first(errors: BaseExceptionGroup[Exception]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextmanager
def _new_database(rows: int) -> Generator[Path]:
    with TemporaryDirectory(prefix="ewb-sqlite-csv-") as directory:
        database = Path(directory, "readings.db")
        make_database(database, rows)
        yield database


if __name__ == "__main__":
    # As Ctrl-C: where nothing else is done about it, a database that was made has to be removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli(prog_name="python -m examples.sqlite_csv")
