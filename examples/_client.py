"""The client of `export_cities`: reads all that comes, and answers with how much that was.

It is a process of its own, so that neither its hashing nor its progress bar takes any time from the
server's event loop, which is what the example measures.
"""

from __future__ import annotations

import hashlib
import signal
import socket
import sys
from contextlib import suppress

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


def read_all(connection: socket.socket, title: str, lines: int) -> str:
    """Read to the end. Returns the numbers of lines and of bytes, and the digest of the bytes."""
    count, size, digest = 0, 0, hashlib.sha256()
    texts = TextColumn("{task.description:<19}"), TextColumn("{task.fields[arrived]}")
    columns = texts[0], BarColumn(), texts[1], TimeElapsedColumn()
    # To a pipe it is of no use; and who reads that may have read enough, which would end this client.
    with Progress(*columns, disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task(title, total=lines, arrived="")
        while data := connection.recv(256 * 1024):
            count += data.count(b"\n")
            size += len(data)
            digest.update(data)
            progress.update(bar, completed=count, arrived=f"{count:,} lines")
    return f"{count} {size} {digest.hexdigest()}"


def main(port: str, title: str, lines: str) -> None:
    """Connect, read, answer."""
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", int(port))) as connection:

        def end(*_: object) -> None:
            with suppress(OSError):  # it was closed already
                connection.shutdown(socket.SHUT_RD)

        # An interrupted server ends this with SIGTERM. So reading ends, and the progress bar as ever:
        # an exception, raised anywhere, might leave the terminal without its cursor.
        signal.signal(signal.SIGTERM, end)
        answer = read_all(connection, title, int(lines))
        connection.sendall(answer.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
