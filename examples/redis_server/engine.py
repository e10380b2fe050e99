"""Executes commands: those of the table at once, and those that would block. On the front end."""

from __future__ import annotations

from contextlib import suppress
from math import isfinite
from typing import TYPE_CHECKING, Final, TypeAlias

import ewb

from .commands import COMMANDS, VERSION, Command, elements_between, integer, matcher, readable
from .outcome import Outcome, RefusedError
from .resp import OK, array_header, bulk, protocol_of
from .store import Store
from .waiters import Cookie, Waiters

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import trio

    from .resp import Value

    Run: TypeAlias = Callable[[Cookie, list[bytes]], Outcome | ewb.Status]

AT_ONCE: Final = 512
"""Elements of an array that the front end encodes itself, or that a worker puts into one chunk."""


class RedisEngine:
    """All clients' commands, on one store."""

    def __init__(self, timers: trio.Nursery) -> None:
        """The time limits of BLPOP run in that nursery."""
        self._store = Store()
        self._waiters = Waiters(self._store, timers)
        self._commands: dict[bytes, Command[Run]] = {
            b"BLPOP": Command(self._blpop, 2, None),
            b"HELLO": Command(self._hello, 0, None),
            b"KEYS": Command(self._keys, 1, 1),
            b"LRANGE": Command(self._lrange, 3, 3),
            b"QUIT": Command(self._quit, 0, None),
        }

    # -- what the front end calls -----------------------------------------------------------------

    def execute(self, cookie: Cookie) -> Outcome | ewb.Status:
        """Execute a command, or resume one that would block."""
        if cookie.resumed:
            return self._resume(cookie)
        name, *args = cookie.request
        try:
            return self._run(cookie, name.upper(), args)
        except RefusedError as refused:
            cookie.reply = refused.text
            return refused.outcome
        finally:
            for key in self._store.take_pushed():
                self._waiters.serve(key)

    def disconnect(self, connection: ewb.Connection) -> None:
        """A client is gone. What it was given and cannot take goes back."""
        waiter = self._waiters.remove(connection)
        if waiter is not None and waiter.given is not None:
            key, element = waiter.given
            with suppress(RefusedError):  # there is a string meanwhile: the list was overwritten
                self._store.push(key, [element], left=True)
                self._waiters.serve(key)

    def close(self) -> None:
        """The server ends: whoever waits is answered."""
        self._waiters.cancel_all()

    # -- commands ---------------------------------------------------------------------------------

    def _run(self, cookie: Cookie, name: bytes, args: list[bytes]) -> Outcome | ewb.Status:
        at_once = COMMANDS.get(name)
        if at_once is not None:
            at_once.check(name, args)
            cookie.reply = at_once.run(self._store, args)
            return ewb.Status.OK
        command = self._commands.get(name)
        if command is None:
            raise unknown_command(cookie.request)
        command.check(name, args)
        return command.run(cookie, args)

    def _keys(self, cookie: Cookie, args: list[bytes]) -> ewb.Status:
        """KEYS pattern: a stream."""
        return cookie.produce(matching_keys, self._store.snapshot(), args[0])

    def _lrange(self, cookie: Cookie, args: list[bytes]) -> ewb.Status:
        """LRANGE key start stop: a stream, if it is long."""
        elements = elements_between(self._store, args)
        if len(elements) > AT_ONCE:
            return cookie.produce(array_of, elements)
        cookie.reply = elements
        return ewb.Status.OK

    def _blpop(self, cookie: Cookie, args: list[bytes]) -> ewb.Status:
        """BLPOP key ... timeout: waits until an element is pushed."""
        *keys, timeout = args
        seconds = seconds_of(timeout)
        for key in keys:
            element = self._store.pop(key, left=True)
            if element is not None:
                cookie.reply = [key, element]
                return ewb.Status.OK
        self._waiters.add(cookie, keys, seconds)
        return ewb.Status.WOULD_BLOCK

    def _resume(self, cookie: Cookie) -> Outcome | ewb.Status:
        """A stream has ended, or what BLPOP waited for is there."""
        waiter = self._waiters.remove(cookie.connection)
        if waiter is not None:
            cookie.reply = waiter.given
        elif cookie.status is not Outcome.STREAMED:
            cookie.connection.abort()  # nothing can be said within half an array
        return cookie.status

    def _hello(self, cookie: Cookie, args: list[bytes]) -> ewb.Status:
        """HELLO [version]: which RESP is spoken from here on."""
        protocol = protocol_of(cookie.connection)
        version = integer(args[0]) if args else protocol.version
        if version not in {2, 3}:
            text = "unsupported protocol version"
            raise RefusedError(text, Outcome.NO_PROTOCOL)
        if len(args) > 1:
            text = "HELLO takes no option here: there is no password"
            raise RefusedError(text)
        protocol.version = version
        hello: dict[bytes, Value] = {b"server": b"redis", b"version": VERSION, b"proto": version}
        cookie.reply = hello | {b"mode": b"standalone", b"role": b"master", b"modules": []}
        return ewb.Status.OK

    def _quit(self, cookie: Cookie, _: list[bytes]) -> ewb.Status:
        """QUIT: answered, and then the connection is closed."""
        cookie.connection.close()
        cookie.reply = OK
        return ewb.Status.OK


def array_of(values: list[bytes]) -> Generator[bytes, None, Outcome]:
    """A producer of the whole answer, an array. It runs on a worker."""
    yield array_header(len(values))
    for first in range(0, len(values), AT_ONCE):
        yield b"".join(map(bulk, values[first : first + AT_ONCE]))
    return Outcome.STREAMED


def matching_keys(keys: list[bytes], pattern: bytes) -> Generator[bytes, None, Outcome]:
    """A producer of an array of the keys that match. All are found first: their number comes first.

    It runs on a worker, and knows nothing of the store.
    """
    matches = matcher(pattern)
    return array_of([key for key in keys if matches(key)])


def seconds_of(timeout: bytes) -> float:
    """A time limit; 0 is none.

    Raises:
        RefusedError: it is no number of seconds.
    """
    try:
        seconds = float(timeout)
    except ValueError:
        seconds = float("nan")
    if not isfinite(seconds):
        text = "timeout is not a float or out of range"
        raise RefusedError(text)
    if seconds < 0:
        text = "timeout is negative"
        raise RefusedError(text)
    return seconds


def unknown_command(request: list[bytes]) -> RefusedError:
    """In the words of Redis."""
    name, *args = map(readable, request[:20])
    begin = "".join(f"'{arg}' " for arg in args)[:128]
    return RefusedError(f"unknown command '{name}', with args beginning with: {begin}")
