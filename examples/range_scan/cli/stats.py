"""`stats`: what the server says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from .options import shown, with_connect

if TYPE_CHECKING:
    from .options import Connect


@click.command()
@click.argument("group", type=click.Choice(["general", "range-scans", "vbucket"]), default="general")
@click.option("--plain", is_flag=True, help="Lines of a name and a value, for other programs.")
@with_connect
def stats(connect: Connect, *, group: str, plain: bool) -> None:
    """Show what the server says of itself.

    GROUP is general (the default), range-scans or vbucket.
    """
    with connect() as client:
        found = client.statistics(group)
    if plain:
        for name, value in found.items():
            click.echo(f"{name} {shown(value)}")
        return
    table = Table(group, "")
    for name, value in found.items():
        table.add_row(name, shown(value))
    Console(highlight=False, markup=False).print(table)
