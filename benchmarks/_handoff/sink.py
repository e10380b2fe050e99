"""A process that reads all that is sent to it, and answers with how many bytes that was.

It connects, again and again, and ends by itself when nobody listens any more.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress


def main(port: int) -> None:
    """Be the reader of one connection after the other."""
    buffer = bytearray(256 * 1024)
    with suppress(ConnectionError):
        while True:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                count = 0
                while size := connection.recv_into(buffer):
                    count += size
                connection.sendall(count.to_bytes(8, "big"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
