"""The range-scan server, and the clients that come with it.

python -m examples.range_scan serve --data cities
python -m examples.range_scan load
python -m examples.range_scan scan --prefix DE: --limit 10
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

import click

from examples.range_scan.cli.load import load
from examples.range_scan.cli.scan import scan
from examples.range_scan.cli.serve import serve
from examples.range_scan.cli.stats import stats
from examples.range_scan.demo.command import demo


class _Commands(click.Group):
    """Says in one line, too, that a command cannot write, or read, its files or its output."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # who read the output has enough, as `head` does: click knows
            _forget_output()
            msg = f"cannot read or write: {error}; make room, or choose another file"
            raise click.ClickException(msg) from error


def _forget_output() -> None:
    """What is left of the output cannot be written: say so once, and not again at the exit."""
    with suppress(OSError, ValueError):  # it is none, but a test's
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


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
    main(prog_name="python -m examples.range_scan")
