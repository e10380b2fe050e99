"""The range-scan server, and the clients that come with it.

python -m examples.range_scan serve --data cities
python -m examples.range_scan load
python -m examples.range_scan scan --prefix DE: --limit 10
"""

from __future__ import annotations

import click

from examples.range_scan.cli.load import load
from examples.range_scan.cli.scan import scan
from examples.range_scan.cli.serve import serve
from examples.range_scan.cli.stats import stats
from examples.range_scan.demo.command import demo


@click.group(context_settings={"show_default": True, "max_content_width": 100})
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
