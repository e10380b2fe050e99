"""Send a directory to whoever connects, as a zip that is made on the way: never on disk, nor in memory.

A worker walks through the directory and compresses; Trio's thread sends what has come out so far. When
a client reads slowly, its compression is suspended; when one leaves, it is closed. What cannot be read
is left out, and listed in the archive's comment (unzip -z). Symbolic links are stored as links, and not
followed. If something goes wrong half-way, the archive has no end, and no program takes it for whole.

Run it: python -m examples.compress_directory docs
and in another terminal what it says: nc 127.0.0.1 PORT > directory.zip
"""

from __future__ import annotations

import argparse
import io
import os
import stat
import sys
import time
import zipfile
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import trio

import ewb

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from typing_extensions import Buffer

BLOCK = 64 * 1024
HIGH_WATER = 256 * 1024
PORTS = 65_535
STALL_TIMEOUT = 60.0
"""Seconds in which a client has to take a batch, which is hardly more than `HIGH_WATER`."""

# A name may have become something else since it was looked at: a link that leads elsewhere, or a pipe,
# whose plain open waits for a writer.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


# -- blocking code, on a worker -----------------------------------------------------------------------


class Outbox(io.RawIOBase):
    """The file that `zipfile` writes to. It cannot seek: what was taken out is on its way."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        """Called by `zipfile`."""
        return True

    def write(self, data: Buffer) -> int:
        """Called by `zipfile`."""
        piece = bytes(data)
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        """All that was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


@dataclass
class Summary:
    """What an archive has, and what it has not."""

    files: int = 0
    bytes: int = 0
    """Before they were compressed."""
    left_out: list[str] = field(default_factory=list[str])
    """The name of each, and why."""


def zipped(directory: Path) -> Generator[bytes, None, Summary]:
    """Yield a zip of all that is in a directory, as it is made. Thread: worker.

    Raises:
        OSError: a file could not be read to its end, when its beginning was sent already.
    """
    outbox, summary = Outbox(), Summary()
    with zipfile.ZipFile(outbox, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in walk(directory, summary):
            name = printable(os.path.relpath(path, directory))
            try:
                info, source = look_at(path, name)
            except OSError as error:
                summary.left_out.append(f"{name}: {error.strerror}")
                continue
            if info.is_dir():
                archive.mkdir(info)
                continue
            summary.files += 1
            left = info.file_size  # a file that is written to as we read must have an end all the same
            with source, archive.open(info, "w") as target:
                while block := source.read(min(left, BLOCK)):
                    left -= len(block)
                    summary.bytes += len(block)
                    target.write(block)
                    if piece := outbox.take():
                        yield piece
        if summary.left_out:
            archive.comment = "\n".join(["Left out:", *summary.left_out]).encode()[:65_535]
    yield outbox.take()  # the list of all entries, without which an archive is not whole
    return summary


def walk(directory: Path, summary: Summary) -> Generator[str]:
    """Yield what is in a directory and below, always in the same order. Links are not followed."""

    def leave_out(error: OSError) -> None:
        name = printable(os.path.relpath(os.fsdecode(error.filename), directory))
        summary.left_out.append(f"{name}: {error.strerror}")

    for folder, subfolders, files in os.walk(directory, onerror=leave_out):
        subfolders.sort()
        for name in sorted(subfolders + files):
            yield os.path.join(folder, name)  # noqa: PTH118 - os.walk speaks str, and so must names


def look_at(path: str, name: str) -> tuple[zipfile.ZipInfo, BinaryIO]:
    """What to say of a name in an archive, and its content.

    Raises:
        OSError: it cannot be read, or is neither a file nor a link nor a directory.
    """
    status = os.lstat(path)
    if stat.S_ISDIR(status.st_mode):
        return entry(name + "/", status), io.BytesIO()
    if stat.S_ISLNK(status.st_mode):
        return entry(name, status), io.BytesIO(os.fsencode(Path(path).readlink()))
    if stat.S_ISREG(status.st_mode):
        source = open(os.open(path, OPEN_FLAGS), "rb")  # noqa: PTH123, SIM115 - the caller's to close
        status = os.fstat(source.fileno())
        if stat.S_ISREG(status.st_mode):
            return entry(name, status), source
        source.close()
    raise OSError(0, "neither a file nor a link nor a directory", path)


def entry(name: str, status: os.stat_result) -> zipfile.ZipInfo:
    """An entry of an archive, with the time and the permissions of a file."""
    at = time.localtime(status.st_mtime)
    year = min(max(at.tm_year, 1980), 2107)  # those that a zip can say
    info = zipfile.ZipInfo(name, (year, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec))
    info.external_attr = (status.st_mode & 0xFFFF) << 16
    info.CRC = 0  # mkdir wants it
    if not info.is_dir():
        info.compress_type = zipfile.ZIP_DEFLATED
        info.file_size = status.st_size
    return info


def printable(name: str) -> str:
    """A name as text: bytes that are not UTF-8 as escapes, for a zip has no other names."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


# -- the server, on Trio's thread ---------------------------------------------------------------------


class Server:
    """Sends the directory to each client, and says on standard error how that went."""

    def __init__(self, directory: Path, workers: ewb.Workers) -> None:
        self._directory = directory
        self._workers = workers
        self._numbers = count(1)
        self.served = trio.Event()
        """One client was served, well or not."""
        self.exit_code = 1
        """Of the client that was served last: 0, or 3 if something was left out, or 1 if it failed."""

    async def serve(self, stream: trio.SocketStream) -> None:
        """Send the directory. Thread: front end."""
        client = f"client {next(self._numbers)}"
        tell(f"{client}: connected")
        try:
            summary, sent = await self._send(stream)
        except trio.BrokenResourceError:
            tell(f"{client}: left before the end")
            self.exit_code = 1
        except trio.TooSlowError:
            tell(f"{client}: took nothing for {STALL_TIMEOUT:.0f} s, and was cut off")
            self.exit_code = 1
        except OSError as error:
            tell(f"{client}: cut off, since its archive cannot be whole: {error}")
            self.exit_code = 1
        else:
            tell(f"{client}: {summary.files:,} files, {summary.bytes:,} bytes, sent as {sent:,}")
            for line in summary.left_out:
                tell(f"{client}: left out {line}")
            self.exit_code = 3 if summary.left_out else 0
        self.served.set()

    async def _send(self, stream: trio.SocketStream) -> tuple[Summary, int]:
        sent = 0
        async with self._workers.produce(zipped, self._directory, high_water=HIGH_WATER) as chunks:
            async for batch in chunks.batches():
                with trio.fail_after(STALL_TIMEOUT):
                    await ewb.send_batch(stream, batch)
                sent += sum(map(len, batch))
        await stream.send_eof()
        return chunks.result, sent


def tell(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


async def run(directory: Path, host: str, port: int, *, once: bool) -> int:
    """Serve until Ctrl-C, or one client. Returns the exit code."""
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        remedy = "choose another --host or --port; 0 is any port that is free"
        tell(f"Error: cannot listen at {host}:{port}: {error.strerror}; {remedy}")
        return 1
    port = listeners[0].socket.getsockname()[1]
    try:
        print(f"listening on {host}:{port}; try: nc {host} {port} > directory.zip", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # lest the exit try it again
        tell(f"Error: cannot write to the standard output: {error.strerror}")
        return 1
    async with ewb.open_workers(threads=2) as workers, trio.open_nursery() as nursery:
        server = Server(directory, workers)
        nursery.start_soon(trio.serve_listeners, server.serve, listeners)
        if once:
            await server.served.wait()
        else:
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()
    return server.exit_code


# -- the command line ---------------------------------------------------------------------------------


def port_number(text: str) -> int:
    """A port, of the command line."""
    if text.isdecimal() and (number := int(text)) <= PORTS:
        return number
    msg = f"give a number up to {PORTS}, or 0 for any that is free, not {text!r}"
    raise argparse.ArgumentTypeError(msg)


def readable_directory(text: str) -> Path:
    """A directory that can be listed, of the command line."""
    try:
        with os.scandir(text):
            return Path(text)
    except OSError as error:
        msg = f"{text}: {error.strerror}"
        raise argparse.ArgumentTypeError(msg) from None


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.compress_directory",
        description=__doc__,
        epilog="Ends at Ctrl-C, with 0. With --once the exit code is 0 if all was sent,\n"
        "3 if something was left out, and 1 if the archive is not whole.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", type=readable_directory, help="what to send")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (%(default)s)")
    parser.add_argument("--port", type=port_number, default=0, help="0, the default: any that is free")
    parser.add_argument("--once", action="store_true", help="end when one client was served")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line. Returns the exit code."""
    options = parse(arguments)
    code = 0
    try:
        code = trio.run(partial(run, options.directory, options.host, options.port, once=options.once))
    except* KeyboardInterrupt:
        tell("Stopped. Whoever was not served to the end has an archive without an end, and can tell.")
    return code


if __name__ == "__main__":
    sys.exit(main())
