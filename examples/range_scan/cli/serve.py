"""`serve`: the server itself."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import click
import lmdb
import trio

from examples.range_scan import server
from examples.range_scan.settings import GIBIBYTE, MEBIBYTE, ServerError, ServerSettings

from .options import EXISTING_FILE, login_options, not_empty

_NO_PLACE = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


@click.command()
@click.option("--host", default="127.0.0.1", help="The address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=11210,
    help="The port to listen at; 0 is any that is free.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False),
    default="range-scan-data",
    callback=not_empty,
    help="The directory of the store; it is made if it is not there.",
)
@click.option(
    "--vbuckets", type=click.IntRange(1, 1024), help="How many a new store has.  [default: 64]"
)
@click.option(
    "--collection",
    "collections",
    multiple=True,
    metavar="SCOPE.NAME",
    help="A collection to make if it is not there. May be given more than once.",
)
@click.option(
    "--no-auth",
    is_flag=True,
    help="Nobody need log in; who does log in needs the right password. On loopback only.",
)
@click.option(
    "--allow-plain", is_flag=True, help="Let clients send the password as it is, without TLS."
)
@click.option("--tls-cert", type=EXISTING_FILE, help="A chain of certificates in PEM: speak TLS.")
@click.option("--tls-key", type=EXISTING_FILE, help="The key of the first of them, in PEM.")
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Workers that read for scans. More help only where the disk is what they wait for.",
)
@click.option(
    "--max-size",
    type=click.IntRange(1, 65_536),
    default=64,
    metavar="GIB",
    help="What the store may grow to; reserved at once, but not on the disk.",
)
@click.option(
    "--max-growth",
    type=click.IntRange(1, 65_536 << 10),
    default=1024,
    metavar="MIB",
    help="What old scans may make the store grow by, before the oldest is cancelled.",
)
@click.option(
    "--memory",
    type=click.IntRange(1),
    default=256,
    metavar="MIB",
    help="What all scans together may read ahead of their clients. Beyond it each of them still holds "
    "one chunk, of one document at least, however large (up to 20 MiB).",
)
@click.option(
    "--max-scans", type=click.IntRange(1, 100_000), default=4096, help="Scans open at a time."
)
@click.option(
    "--scan-lifetime",
    type=click.IntRange(1),
    default=180,
    metavar="SECONDS",
    help="How long a scan may be open.",
)
@click.option(
    "--no-sync",
    is_flag=True,
    help="Acknowledge writes before they are on disk: a power failure may lose them, or the store.",
)
@click.option("--verbose", is_flag=True, help="Log more, to standard error.")
@login_options
def serve(
    *,
    data: str,
    verbose: bool,
    no_sync: bool,
    max_size: int,
    max_growth: int,
    memory: int,
    **options: Any,
) -> None:
    """Serve a store, until Ctrl-C or SIGTERM.

    Prints `listening on HOST:PORT` when it is ready. At the end it lets commands finish, and exits with
    0; at a second Ctrl-C it does not wait for them.
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    settings = ServerSettings(
        data=Path(data),
        sync=not no_sync,
        max_size=max_size * GIBIBYTE,
        max_growth=max_growth * MEBIBYTE,
        memory=memory * MEBIBYTE,
        **options,
    )
    try:
        trio.run(server.run, settings)
    except* ServerError as errors:
        raise click.ClickException(_in_words(_first(errors), settings)) from None


def _first(errors: BaseExceptionGroup[ServerError]) -> BaseException:
    """The first: they come one at a time, in the groups of their nurseries."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _in_words(error: BaseException, settings: ServerSettings) -> str:
    """What is said of it: the store knows no options, so what they can remedy is said here."""
    match error.__cause__ and error.__cause__.__cause__:
        case OSError(errno=number, strerror=reason) if number in _NO_PLACE:
            return f"there can be no directory {settings.data} ({reason}): give another --data"
        case lmdb.MemoryError():
            size = settings.max_size // GIBIBYTE
            return f"no address space for a store of {size} GiB: give a smaller --max-size"
        case _:
            return str(error)
