"""The range-scan server, and the clients that come with it.

python -m examples.range_scan serve --data cities
python -m examples.range_scan load
python -m examples.range_scan scan --prefix DE: --limit 10
"""

from __future__ import annotations

import os
import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    # The imports below take a while, and to interrupt one would be a traceback.

    def _end(*_: object) -> None:
        os._exit(130)  # as a shell expects it after Ctrl-C; there is nothing to clean up

    signal.signal(signal.SIGINT, _end)

import errno
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from examples.range_scan.cli.load import load
from examples.range_scan.cli.remarks import forget
from examples.range_scan.cli.scan import scan
from examples.range_scan.cli.serve import serve
from examples.range_scan.cli.stats import stats
from examples.range_scan.demo.command import demo

if TYPE_CHECKING:
    from collections.abc import Generator


class _Commands(click.Group):
    """Says in one line, too, that a command cannot write, or read, its files or its output."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with _explained():  # --help is done here
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> object:
        with _explained():
            return super().invoke(ctx)


@contextmanager
def _explained() -> Generator[None]:
    """Make one line of what cannot be read or written."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # who read the output has enough, as `head` does: click knows
        forget(sys.stdout)
        msg = f"cannot read or write: {error}; make room, or choose another file"
        raise click.ClickException(msg) from error


@click.group(cls=_Commands, context_settings={"show_default": True, "max_content_width": 100})
def main() -> None:
    """A key-value server with snapshot range scans, which a stock Couchbase SDK can use.

    Begin with `serve` in one terminal. In another, `load` fills it with the cities of the world, `scan`
    reads them, and `stats` shows how the server is.
    """


main.add_command(serve)
main.add_command(load)
main.add_command(scan)
main.add_command(stats)
main.add_command(demo)

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.stderr is None:  # or click would say to the standard output what goes wrong
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as it runs
    main(prog_name="python -m examples.range_scan")
