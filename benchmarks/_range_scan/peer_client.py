"""A raw client of another server: sends one request, and counts and checksums all that it answers.

It does less for a byte than the client of our own server: it does not look at what it receives, but
only for how the answer ends.
"""

from __future__ import annotations

import json
import socket
import sys
from time import perf_counter, process_time

from xxhash import xxh3_64

BUFFER_SIZE = 1024 * 1024


def read_until(connection: socket.socket, tail: bytes, buffer: bytearray) -> tuple[int, str]:
    """Receive up to this end. Returns how many bytes came, and their checksum."""
    size, checksum, end = 0, xxh3_64(), b""
    with memoryview(buffer) as view:
        while end != tail:
            received = connection.recv_into(buffer)
            if not received:
                msg = f"the server has closed the connection after {end!r}"
                raise RuntimeError(msg)
            size += received
            checksum.update(view[:received])
            end = (end + bytes(view[max(0, received - len(tail)) : received]))[-len(tail) :]
    return size, checksum.hexdigest()


def main(*, port: int, hello: str, hello_tail: str, request: str, tail: str) -> None:
    """Be the client, and print what it saw. All but the port is in hexadecimal digits."""
    buffer = bytearray(BUFFER_SIZE)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        if hello:
            connection.sendall(bytes.fromhex(hello))
            read_until(connection, bytes.fromhex(hello_tail), buffer)
        started, worked_before = perf_counter(), process_time()
        connection.sendall(bytes.fromhex(request))
        size, checksum = read_until(connection, bytes.fromhex(tail), buffer)
        seconds = perf_counter() - started
        share = (process_time() - worked_before) / seconds
    print(json.dumps({"seconds": seconds, "share": share, "bytes": size, "checksum": checksum}))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
