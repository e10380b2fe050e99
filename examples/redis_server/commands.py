"""The commands that are answered at once: a table of functions of the store.

A function has the words after the command's name, as many as its decorator allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from .outcome import RefusedError
from .resp import OK, Simple, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Store

F = TypeVar("F")

Run: TypeAlias = "Callable[[Store, list[bytes]], Value]"

INT64: Final = range(-(2**63), 2**63)
VERSION: Final = b"7.0.0"
"""Of the Redis whose commands these are: clients ask for it."""
SETTINGS: Final[dict[bytes, bytes]] = {b"save": b"", b"appendonly": b"no", b"maxmemory": b"0"}

is_integer = re.compile(rb"0|-?[1-9]\d{0,18}").fullmatch


@dataclass(frozen=True)
class Command(Generic[F]):
    """What runs it, and how many words it takes."""

    run: F
    least: int
    most: int | None

    def check(self, name: bytes, args: list[bytes]) -> None:
        """Are there as many words as it takes?

        Raises:
            RefusedError: no.
        """
        if len(args) < self.least or (self.most is not None and len(args) > self.most):
            text = f"wrong number of arguments for '{readable(name.lower())}' command"
            raise RefusedError(text)


COMMANDS: Final[dict[bytes, Command[Run]]] = {}


def command(name: bytes, least: int, most: int | None) -> Callable[[Run], Run]:
    """Put a function into the table; `most` None: it takes any number of words."""

    def put(run: Run) -> Run:
        COMMANDS[name] = Command(run, least, most)
        return run

    return put


# -- words ------------------------------------------------------------------------------------------


def readable(word: bytes) -> str:
    """For messages."""
    return word[:128].decode("utf-8", "replace")


def integer(word: bytes) -> int:
    """A word as a number of 64 bits.

    Raises:
        RefusedError: it is none.
    """
    if not is_integer(word) or int(word) not in INT64:
        text = "value is not an integer or out of range"
        raise RefusedError(text)
    return int(word)


def syntax_error() -> RefusedError:
    """The words make no sense together."""
    return RefusedError("syntax error")


def matcher(pattern: bytes) -> Callable[[bytes], object]:
    r"""Does a key match a pattern of Redis? As a shell's, but for `[^a]` and `\*`."""

    def as_shell(match: re.Match[str]) -> str:
        escaped = match[1]
        if escaped is None:
            return "[!"
        return f"[{escaped}]" if escaped in "*?[" else escaped

    # Latin-1 has a character for each byte. fnmatch's translations do not backtrack.
    shells = re.sub(r"\\(.)|\[\^", as_shell, pattern.decode("latin-1"), flags=re.DOTALL)
    return re.compile(translate(shells).encode("latin-1")).match


# -- the server -------------------------------------------------------------------------------------


@command(b"PING", 0, 1)
def ping(_: Store, args: list[bytes]) -> Value:
    """PING [message]: is somebody there?"""
    return args[0] if args else Simple(b"PONG")


@command(b"ECHO", 1, 1)
def echo(_: Store, args: list[bytes]) -> Value:
    """ECHO message: says it again."""
    return args[0]


@command(b"SELECT", 1, 1)
def select(_: Store, args: list[bytes]) -> Value:
    """SELECT index: there is one database."""
    if integer(args[0]) != 0:
        text = "DB index is out of range"
        raise RefusedError(text)
    return OK


@command(b"CLIENT", 1, None)
def client(_: Store, args: list[bytes]) -> Value:
    """CLIENT SETNAME name | SETINFO attribute value: who connects says who it is."""
    if args[0].upper() not in {b"SETNAME", b"SETINFO"}:
        text = f"unknown subcommand '{readable(args[0])}'. Try CLIENT HELP."
        raise RefusedError(text)
    return OK


@command(b"CONFIG", 1, None)
def config(_: Store, args: list[bytes]) -> Value:
    """CONFIG GET pattern ...: a map of settings, none of which can be set."""
    if args[0].upper() != b"GET":
        text = f"unknown subcommand '{readable(args[0])}'. Try CONFIG HELP."
        raise RefusedError(text)
    wanted = [matcher(pattern.lower()) for pattern in args[1:]]
    return {name: value for name, value in SETTINGS.items() if any(match(name) for match in wanted)}


@command(b"COMMAND", 0, None)
def describe(_: Store, args: list[bytes]) -> Value:
    """COMMAND [COUNT | DOCS]: tools that ask do without an answer."""
    return len(COMMANDS) if args and args[0].upper() == b"COUNT" else []


@command(b"INFO", 0, None)
def info(store: Store, _: list[bytes]) -> Value:
    """INFO [section ...]: what clients look for."""
    text = b"# Server\r\nredis_version:%b\r\nredis_mode:standalone\r\n\r\n# Keyspace\r\n" % VERSION
    return text + (b"db0:keys=%d,expires=0,avg_ttl=0\r\n" % len(store) if len(store) else b"")


@command(b"DBSIZE", 0, 0)
def dbsize(store: Store, _: list[bytes]) -> Value:
    """DBSIZE: how many keys there are."""
    return len(store)


@command(b"FLUSHALL", 0, 0)
def flushall(store: Store, _: list[bytes]) -> Value:
    """FLUSHALL: deletes all."""
    store.clear()
    return OK


# -- keys -------------------------------------------------------------------------------------------


@command(b"DEL", 1, None)
def delete(store: Store, args: list[bytes]) -> Value:
    """DEL key ...: how many were there."""
    return sum(map(store.delete, args))


@command(b"EXISTS", 1, None)
def exists(store: Store, args: list[bytes]) -> Value:
    """EXISTS key ...: how many are there."""
    return sum(key in store for key in args)


@command(b"TYPE", 1, 1)
def type_of(store: Store, args: list[bytes]) -> Value:
    """TYPE key: string, list or none."""
    return Simple(store.type_of(args[0]))


@command(b"SCAN", 1, 5)
def scan(store: Store, args: list[bytes]) -> Value:
    """SCAN cursor [MATCH pattern] [COUNT count]: the next cursor, and some keys."""
    if not args[0].isdigit() or len(args) % 2 == 0:
        raise syntax_error() if args[0].isdigit() else RefusedError("invalid cursor")
    match, count = matcher(b"*"), 10
    for name, value in zip(args[1::2], args[2::2], strict=True):
        if name.upper() == b"MATCH":
            match = matcher(value)
        elif name.upper() == b"COUNT" and (count := integer(value)) > 0:
            continue
        else:
            raise syntax_error()
    cursor, keys = store.scan(integer(args[0]), count)
    return [b"%d" % cursor, [key for key in keys if match(key)]]


# -- strings ----------------------------------------------------------------------------------------


@command(b"GET", 1, 1)
def get(store: Store, args: list[bytes]) -> Value:
    """GET key: its string."""
    return store.get(args[0])


@command(b"SET", 2, None)
def set_(store: Store, args: list[bytes]) -> Value:
    """SET key value: without Redis's options."""
    if len(args) > 2:  # noqa: PLR2004 - as above
        raise syntax_error()
    store.set(*args)
    return OK


@command(b"MGET", 1, None)
def mget(store: Store, args: list[bytes]) -> Value:
    """MGET key ...: of keys that have no string, None."""
    return [store.get(key) if store.type_of(key) == b"string" else None for key in args]


@command(b"MSET", 2, None)
def mset(store: Store, args: list[bytes]) -> Value:
    """MSET key value ...: all of them at once."""
    if len(args) % 2:
        text = "wrong number of arguments for 'mset' command"
        raise RefusedError(text)
    for key, value in zip(args[::2], args[1::2], strict=True):
        store.set(key, value)
    return OK


def add(store: Store, key: bytes, number: int) -> int:
    """Add a number to the one that a string is; a missing one is 0."""
    total = integer(store.get(key) or b"0") + number
    if total not in INT64:
        text = "increment or decrement would overflow"
        raise RefusedError(text)
    store.set(key, b"%d" % total)
    return total


@command(b"INCR", 1, 1)
def incr(store: Store, args: list[bytes]) -> Value:
    """INCR key: the sum."""
    return add(store, args[0], 1)


@command(b"INCRBY", 2, 2)
def incrby(store: Store, args: list[bytes]) -> Value:
    """INCRBY key increment: the sum."""
    return add(store, args[0], integer(args[1]))


@command(b"DECR", 1, 1)
def decr(store: Store, args: list[bytes]) -> Value:
    """DECR key: the difference."""
    return add(store, args[0], -1)


@command(b"DECRBY", 2, 2)
def decrby(store: Store, args: list[bytes]) -> Value:
    """DECRBY key decrement: the difference."""
    return add(store, args[0], -integer(args[1]))


# -- lists ------------------------------------------------------------------------------------------


@command(b"LPUSH", 2, None)
def lpush(store: Store, args: list[bytes]) -> Value:
    """LPUSH key element ...: how many there are now."""
    return store.push(args[0], args[1:], left=True)


@command(b"RPUSH", 2, None)
def rpush(store: Store, args: list[bytes]) -> Value:
    """RPUSH key element ...: how many there are now."""
    return store.push(args[0], args[1:], left=False)


@command(b"LPOP", 1, 1)
def lpop(store: Store, args: list[bytes]) -> Value:
    """LPOP key: its first element, which is taken."""
    return store.pop(args[0], left=True)


@command(b"RPOP", 1, 1)
def rpop(store: Store, args: list[bytes]) -> Value:
    """RPOP key: its last element, which is taken."""
    return store.pop(args[0], left=False)


@command(b"LLEN", 1, 1)
def llen(store: Store, args: list[bytes]) -> Value:
    """LLEN key: how many elements it has."""
    return len(store.list_at(args[0]) or ())


def elements_between(store: Store, args: list[bytes]) -> list[bytes]:
    """LRANGE key start stop: both count, negative ones from the end."""
    elements = store.list_at(args[0]) or ()
    start, stop = (
        index if index >= 0 else max(-1, index + len(elements)) for index in map(integer, args[1:])
    )
    return list(islice(elements, max(0, start), min(stop, len(elements)) + 1))
