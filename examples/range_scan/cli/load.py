"""`load`: documents from the world's cities, or from a file."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from itertools import islice
from time import perf_counter
from typing import IO, TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from examples.range_scan.client import ClientError

from .documents import cities, json_lines
from .options import not_empty, with_connect
from .remarks import console, counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from examples.range_scan.client import Client

    from .documents import Document
    from .options import Connect

_COLUMNS = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()


class _Input(click.File):
    """A file, or the standard input, if there is one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "-" and sys.stdin is None:
            msg = "there is no standard input to read from: give it one, or use --file FILE"
            raise click.ClickException(msg)
        return super().convert(value, param, ctx)


@click.command()
@click.option("--file", type=_Input("rb"), help="JSON lines; - is the standard input.")
@click.option("--key", "field", help="Which field of a line is its key; needed with --file.")
@click.option(
    "--collection", callback=not_empty, metavar="SCOPE.NAME", help="The collection to load into."
)
@click.option("--limit", type=click.IntRange(1), help="Load no more documents than this.")
@with_connect
def load(
    connect: Connect,
    *,
    file: IO[bytes] | None,
    field: str | None,
    collection: str | None,
    limit: int | None,
) -> None:
    """Load documents: the cities of the world, or JSON lines.

    The keys of cities are COUNTRY:NAME:NUMBER: a prefix such as DE: or DE:Ber is a useful range. All
    lines of a file are checked before the first is loaded. Of documents with the same key, the last
    stays.
    """
    if (file is None) != (field is None):
        msg = "--file and --key go together: the file has the documents, the field in each is its key"
        raise click.UsageError(msg)
    with connect() as client:
        number = 0 if collection is None else client.collection_id(collection)
        source = nullcontext(cities()) if file is None or field is None else json_lines(file, field)
        with source as documents:
            _load(client, documents, limit, number)


def _load(client: Client, documents: Iterable[Document], limit: int | None, collection: int) -> None:
    """Check all documents, store them, and say how it went."""
    with Progress(*_COLUMNS, console=console()) as progress:
        task = progress.add_task("Checking", total=None)
        count = size = 0
        for _, value in progress.track(islice(documents, limit), task_id=task):
            count, size = count + 1, size + len(value)
        progress.reset(task, total=count, description="Loading")
        began, stored = perf_counter(), 0
        try:
            for acknowledged in client.store(islice(documents, limit), collection=collection):
                stored += acknowledged
                progress.advance(task, acknowledged)
        except ClientError as error:  # others may be stored, of which the client does not know
            msg = f"only {stored:,} of {counted(count)} are surely on the disk: {error}"
            raise click.ClickException(msg) from error
    seconds = perf_counter() - began
    click.echo(
        f"{counted(count)}, {size / 1e6:.1f} MB, in {seconds:.2f} s: "
        f"{count / seconds:,.0f} documents/s; each is on the disk"
    )
