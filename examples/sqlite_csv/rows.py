"""A query of a SQLite database as lines of CSV: blocking code, in plain generators."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

STEPS = 100_000
"""After so many of its steps SQLite asks whether to go on: each few milliseconds."""


class _Line:
    """What `csv.writer` writes to: it gives back each line as the result of `writerow`."""

    def write(self, line: str) -> str:
        return line


def csv_lines(
    database: Path, query: str, *, check_same_thread: bool = True
) -> Generator[bytes, None, int]:
    """Yield the names of the columns, then each row; return how many rows. Thread: worker.

    Raises:
        sqlite3.Error: the database does not open, or the query fails, perhaps half-way.
    """
    with closing(_connect(database, check_same_thread=check_same_thread)) as connection:
        # Has the client left? Then this raises, and SQLite gives the query up, though no row was found.
        connection.set_progress_handler(trio.from_thread.check_cancelled, STEPS)
        cursor = connection.execute(query)
        to_line = csv.writer(_Line()).writerow
        yield to_line(column[0] for column in cursor.description).encode()
        count = 0
        for row in cursor:
            yield to_line(row).encode()
            count += 1
        return count


def in_blocks(lines: Iterable[bytes], size: int = 65_536) -> Generator[bytes]:
    """Join lines to blocks of about `size` bytes: for whom each chunk is dear. Thread: worker."""
    block: list[bytes] = []
    held = 0
    for line in lines:
        block.append(line)
        held += len(line)
        if held >= size:
            yield b"".join(block)
            block, held = [], 0
    if block:
        yield b"".join(block)


def check_query(database: Path, query: str) -> None:
    """Compile a query, and do not run it. Thread: any.

    Raises:
        sqlite3.Error: the database does not open, or has not what the query names.
    """
    with closing(_connect(database)) as connection:
        connection.execute(f"explain {query}")


def make_database(database: Path, rows: int) -> None:
    """Make a database with a table `readings` of so many rows, always the same ones. Thread: any."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table readings (id integer primary key, sensor, celsius, remark)")
        connection.execute(
            """
            with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < ?)
            insert into readings
            select n, 'sensor ' || n % 97, round(20 + (n * 7919 % 1000) / 100.0, 2), 'said "ok", twice'
            from numbers
            """,
            (rows,),
        )


def _connect(database: Path, *, check_same_thread: bool = True) -> sqlite3.Connection:
    address = f"{database.resolve().as_uri()}?mode=ro"  # without that, a wrong name makes a new file
    return sqlite3.connect(address, uri=True, check_same_thread=check_same_thread)
