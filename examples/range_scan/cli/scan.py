"""`scan`: a range, a prefix or a sample, to the terminal or to a file."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from time import perf_counter
from typing import IO, TYPE_CHECKING

import click
from rich.progress import Progress, SpinnerColumn, TextColumn

from examples.range_scan import wire
from examples.range_scan.client import Limits, Range, Sample, plain

from .options import not_empty, shown, with_connect
from .remarks import console, counted, remark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .options import Connect

_MOST_ITEMS = (1 << 32) - 1  # that a CONTINUE can ask for


@click.command()
@click.option("--prefix", help="The keys that begin so.")
@click.option("--start", help="The first key, or where it would be.")
@click.option("--end", help="The key before which to stop.")
@click.option("--sample", type=click.IntRange(1), help="About so many of each vBucket's documents.")
@click.option("--seed", type=int, help="Which sample: the same seed gives the same one.  [default: 0]")
@click.option("--collection", callback=not_empty, metavar="SCOPE.NAME", help="The collection to scan.")
@click.option("--keys-only", is_flag=True, help="No documents, only their keys.")
@click.option("--limit", type=click.IntRange(1), help="Stop after so many.")
@click.option(
    "--output", type=click.File("w", encoding="utf-8", lazy=True), default="-", help="A file."
)
@with_connect
def scan(
    connect: Connect,
    *,
    prefix: str | None,
    start: str | None,
    end: str | None,
    sample: int | None,
    seed: int | None,
    collection: str | None,
    keys_only: bool,
    limit: int | None,
    output: IO[str],
) -> None:
    """Scan a range of keys, a prefix, or a sample; with none of them, everything.

    A line for each: the key, or JSON with key and value. Keys are in order within each vBucket.
    """
    if output.name == "-" and sys.stdout is None:
        msg = "there is no standard output to write to: give it one, or use --output FILE"
        raise click.ClickException(msg)
    pick = _pick(prefix, start, end, sample, seed)
    found = size = 0
    columns = (SpinnerColumn(), TextColumn("Scanning: {task.fields[found]}"))
    with (
        connect() as client,
        Progress(*columns, console=console(), transient=True) as progress,
    ):
        number = 0 if collection is None else client.collection_id(collection)
        task = progress.add_task("Scanning", found=counted(0))
        began = perf_counter()
        limits = Limits(items=min(limit or 0, _MOST_ITEMS))
        for packet in client.scan_all(
            pick, collection=number, keys_only=keys_only, limits=limits, name="command line"
        ):
            lines = list(_lines(packet, keys_only=keys_only))[
                : None if limit is None else limit - found
            ]
            output.write("".join(lines))
            found, size = found + len(lines), size + len(packet)
            progress.update(task, found=counted(found))
            if found == limit:
                break
    output.flush()
    seconds = perf_counter() - began
    remark(
        f"{counted(found)}, {size / 1e6:.1f} MB received, in {seconds:.2f} s: "
        f"{found / seconds:,.0f} documents/s, {size / seconds / 1e6:.1f} MB/s"
    )


def _pick(
    prefix: str | None, start: str | None, end: str | None, sample: int | None, seed: int | None
) -> Range | Sample:
    """What the options mean."""
    is_range = start is not None or end is not None
    if [prefix is not None, is_range, sample is not None].count(True) > 1:
        msg = "choose one: --prefix, or --start and --end, or --sample"
        raise click.UsageError(msg)
    if sample is not None:
        return Sample(samples=sample, seed=seed or 0)
    if seed is not None:
        msg = "--seed says which sample: give --sample, too"
        raise click.UsageError(msg)
    if prefix is not None:
        return Range.prefix(os.fsencode(prefix))
    # As bytes that the shell gave, which need not be text.
    return Range(start=os.fsencode(start or ""), end=None if end is None else os.fsencode(end))


def _lines(packet: bytes, *, keys_only: bool) -> Iterator[str]:
    """What is shown of a packet."""
    if keys_only:
        for key in wire.keys_in(packet):
            yield shown(_text(key)) + "\n"
    else:
        for document in wire.documents_in(packet):
            name = json.dumps(_text(document.key), ensure_ascii=False)
            yield shown(f'{{"key": {name}, "value": {_value(document)}}}') + "\n"


def _value(document: wire.ScannedDocument) -> str:
    """The value: JSON as what it is, in one line; anything else as text."""
    text = _text(plain(document.value, document.datatype))
    if document.datatype & wire.Datatype.JSON:
        with suppress(ValueError, RecursionError):  # it only says that it is JSON
            return json.dumps(json.loads(text), ensure_ascii=False, allow_nan=False)
    return json.dumps(text, ensure_ascii=False)


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
