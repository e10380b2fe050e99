"""A process that reads endless streams, each on a connection of its own, as fast as it can.

It says so when all streams have begun, and ends when its input does.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
from contextlib import ExitStack
from time import perf_counter, process_time


def main(*, port: int, connections: int, request: str) -> None:
    """Be the clients, and print what came together."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        waited_for = set()
        for _ in range(connections):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(request.encode())
            selector.register(connection, selectors.EVENT_READ)
            waited_for.add(connection)
        selector.register(sys.stdin, selectors.EVENT_READ)
        buffer = bytearray(256 * 1024)
        started = worked_before = 0.0
        size = 0
        while True:
            for key, _ in selector.select():
                stream = key.fileobj
                if not isinstance(stream, socket.socket):
                    took = perf_counter() - started
                    share = (process_time() - worked_before) / took
                    print(json.dumps({"rate": size / took / 1e6, "share": share}))
                    return
                size += stream.recv_into(buffer)
                if waited_for:
                    waited_for.discard(stream)
                    if not waited_for:
                        print("reading", flush=True)
                        started, worked_before, size = perf_counter(), process_time(), 0


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
