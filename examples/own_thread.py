"""Follow files as they are written to, by threads of our own, which ewb did not start and does not end.

Each file has a thread that waits for lines; a library has another, and calls back. All of them feed one
channel, from which Trio takes the lines in the order in which they were sent. When the reader is slow,
a thread that may wait does so; a callback that may not drops what finds no room, and counts it.

Run it: python -m examples.own_thread FILE ...
and in another terminal: echo hello >> FILE
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import trio

import ewb

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

HIGH_WATER = 1024
"""Characters that may wait for the reader."""
POLL = 0.1
"""Seconds between two looks at a file that had nothing new."""


@dataclass(frozen=True)
class Line:
    """What a source has said."""

    source: str
    text: str
    failed: bool = False
    """It is the last of its source, and says what went wrong."""


def size_of(line: Line) -> int:
    """How much of `HIGH_WATER` a line takes."""
    return len(line.source) + len(line.text)


# -- a thread that may wait ---------------------------------------------------------------------------


def follow(file: Path, sender: ewb.ChunkSender[Line], stop: Event) -> None:
    """Send each line of a file, from its beginning, until told to stop. Thread: one of its own."""
    # The reader sees the end when all senders are closed. If it left before, `send` raises.
    with sender, suppress(trio.BrokenResourceError):
        try:
            with file.open(encoding="utf-8", errors="replace") as lines:
                begun = ""
                while not stop.is_set():
                    begun += lines.readline()
                    if begun.endswith("\n"):
                        sender.send(Line(file.name, begun[:-1]))  # waits while there is no room
                        begun = ""
                    else:
                        stop.wait(POLL)
        except OSError as error:
            sender.send(Line(file.name, str(error), failed=True))  # nobody else would learn of it


# -- a library that calls back ------------------------------------------------------------------------


class Ticker:
    """Stands for a library with a thread of its own: a serial port, a sensor, a bus of messages."""

    def __init__(self, seconds: float, callback: Callable[[int], object]) -> None:
        self._stopped = Event()
        self._thread = Thread(target=self._run, args=(seconds, callback), name="ticker")
        self._thread.start()

    def _run(self, seconds: float, callback: Callable[[int], object]) -> None:
        number = 0
        while not self._stopped.wait(seconds):
            number += 1
            callback(number)

    def stop(self) -> None:
        """Call back no more. Blocks until a call that has begun is over."""
        self._stopped.set()
        self._thread.join()


class Callback:
    """What such a library calls. It must not wait there: what finds no room is dropped, and counted."""

    def __init__(self, sender: ewb.ChunkSender[Line]) -> None:
        self._sender = sender
        self.dropped = 0

    def __call__(self, number: int) -> None:
        """Thread: the library's."""
        try:
            self._sender.send_nowait(Line("tick", str(number)))
        except (trio.WouldBlock, trio.BrokenResourceError):  # full, or nobody reads any more
            self.dropped += 1

    def close(self) -> None:
        """The library will not call any more. Thread: any."""
        self._sender.close()


# -- both, for as long as a block lasts ---------------------------------------------------------------


@dataclass
class Watch:
    """What `watching` gives."""

    lines: ewb.ChunkReceiver[Line, None]
    callback: Callback


@asynccontextmanager
async def watching(files: Sequence[Path], tick: float) -> AsyncGenerator[Watch]:
    """Follow files, with a tick each `tick` seconds, until the block is left. Thread: front end.

    By then all threads have ended. With a `tick` of 0 there is none, and the lines end with the files.
    """
    sender: ewb.ChunkSender[Line]
    sender, receiver = ewb.open_channel(high_water=HIGH_WATER, size=size_of)
    stop = Event()
    with sender:  # this one sends nothing itself: each thread has a clone, and closes that
        callback = Callback(sender.clone())
        followers = [Thread(target=follow, args=(file, sender.clone(), stop)) for file in files]
    for follower in followers:
        follower.start()
    ticker = Ticker(tick, callback) if tick else None
    if ticker is None:
        callback.close()

    def end() -> None:
        if ticker is not None:
            ticker.stop()
            callback.close()
        for follower in followers:
            follower.join()

    try:
        yield Watch(receiver, callback)
    finally:
        stop.set()  # for those that wait for their file
        with trio.CancelScope(shield=True):
            await receiver.aclose()  # for those that wait in `send`
            await trio.to_thread.run_sync(end)


# -- the program --------------------------------------------------------------------------------------


async def run(files: Sequence[Path], *, tick: float, delay: float, most: float) -> int:
    """Print lines: `most` of them, or all until Ctrl-C or the end. Returns the exit code."""
    count, code = 0, 0
    async with watching(files, tick) as watch:
        try:
            async for line in watch.lines:
                count += 1
                print(f"{line.source}: {line.text}", flush=True)
                code = 1 if line.failed else code
                if count >= most:
                    break
                await trio.sleep(delay)
        finally:
            channel = watch.lines.statistics()
            print(
                f"{count} lines; at most {channel.peak_bytes} characters waited, and threads of ours "
                f"{channel.suspensions} times; {watch.callback.dropped} ticks were dropped",
                file=sys.stderr,
            )
    return code


def number(text: str) -> float:
    """A number from 0 up, of the command line."""
    try:
        if 0 <= (value := float(text)) < math.inf:
            return value
    except ValueError:
        pass
    msg = f"give a number from 0 up, such as 0.5, not {text!r}"
    raise argparse.ArgumentTypeError(msg)


def positive(text: str) -> int:
    """A whole number from 1 up, of the command line."""
    if text.isdecimal() and (value := int(text)) > 0:
        return value
    msg = f"give a whole number from 1 up, such as 10, not {text!r}"
    raise argparse.ArgumentTypeError(msg)


def readable_file(text: str) -> Path:
    """A file that can be read, of the command line."""
    try:
        with Path(text).open("rb"):
            return Path(text)
    except OSError as error:
        msg = f"{text}: {error.strerror}"
        raise argparse.ArgumentTypeError(msg) from None


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.own_thread",
        description=__doc__,
        epilog="Ends at Ctrl-C, with 0. Exits with 1 if a file could not be read any more.\n"
        "To see threads wait and ticks dropped: --tick 0.001 --delay 0.1",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=readable_file, nargs="+", help="a file to follow")
    parser.add_argument(
        "--lines", type=positive, default=math.inf, metavar="N", help="end after N lines"
    )
    parser.add_argument(
        "--tick", type=number, default=0.0, metavar="SECONDS", help="have a library call back so often"
    )
    parser.add_argument(
        "--delay", type=number, default=0.0, metavar="SECONDS", help="be so slow with each line"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line. Returns the exit code."""
    options = parse(arguments)
    code = 0
    try:
        code = trio.run(
            partial(run, options.file, tick=options.tick, delay=options.delay, most=options.lines)
        )
    except* KeyboardInterrupt:
        pass
    except* BrokenPipeError:  # who reads what we print has seen enough: head, for one
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python will flush once more
    return code


if __name__ == "__main__":
    sys.exit(main())
