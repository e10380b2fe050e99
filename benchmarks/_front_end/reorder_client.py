"""A client that asks short questions on the connection on which it reads an endless stream.

Its messages are chunks of one size, and answers; it finds these by the first byte of each message.
It asks a millisecond after the last answer, and notes how long each took, and how much of the stream
came before.
"""

from __future__ import annotations

import json
import socket
import sys
from time import perf_counter, sleep

EVERY = 0.001
"""Seconds from an answer to the next question."""


class Reader:
    """Finds the answers in what comes."""

    def __init__(self, connection: socket.socket, chunk_size: int, answer: bytes) -> None:
        """A message that does not begin like `answer` is a chunk."""
        self._connection = connection
        self._chunk_size = chunk_size
        self._answer = answer
        self._buffer = bytearray(256 * 1024)
        self._left = 0  # bytes of the last message that have not come yet
        self.position = 0
        """Bytes that came."""

    def find_answer(self) -> int | None:
        """Read once. Returns the position of an answer that came."""
        size = self._connection.recv_into(self._buffer)
        if not size:
            msg = "the server has ended the stream"
            raise RuntimeError(msg)
        found, at = None, self._left
        while at < size:
            if self._buffer[at] == self._answer[0]:
                found = self.position + at
                at += len(self._answer)
            else:
                at += self._chunk_size
        self._left = at - size
        self.position += size
        return found


def ask(
    connection: socket.socket, reader: Reader, request: bytes, seconds: float, *, streaming: bool
) -> dict[str, object]:
    """Ask again and again, for so long."""
    times: list[float] = []
    before: list[int] = []
    started = now = due = perf_counter()
    begin = reader.position
    while now < started + seconds:
        if not streaming:
            sleep(EVERY)
        while streaming and perf_counter() < due:
            reader.find_answer()
        asked, position = perf_counter(), reader.position
        connection.sendall(request)
        while (found := reader.find_answer()) is None:
            pass
        now = perf_counter()
        times.append(now - asked)
        before.append(found - position)
        due = now + EVERY
    return {"times": times, "before": before, "rate": (reader.position - begin) / (now - started) / 1e6}


def main(*, port: int, stream: str, chunk_size: int, request: str, answer: str, seconds: float) -> None:
    """Be the client, and print what it saw. An empty `stream`: there is none."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(connection, chunk_size, answer.encode())
        if stream:
            connection.sendall(stream.encode())
            while reader.position < 64 * chunk_size:  # it is under way
                reader.find_answer()
        seen = ask(connection, reader, request.encode(), seconds, streaming=bool(stream))
        print(json.dumps(seen))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
