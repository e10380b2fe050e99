"""The soak itself: it runs, it finds what is wrong, and it does not cry wolf."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.soak.judging import MEBIBYTE, not_flat

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent


def samples(
    memory: Callable[[int], float] = lambda _: 0.0, descriptors: Callable[[int], float] = lambda _: 0.0
) -> list[dict[str, float]]:
    """Five minutes of a server, on a busy machine: `memory`, in MiB, and `descriptors` come on top."""
    random = Random(1)  # noqa: S311 - no secret
    return [
        {
            "seconds": float(second),
            "memory": (40 + random.random() * 10 + memory(second)) * MEBIBYTE,
            "descriptors": 25 + random.randrange(10) + descriptors(second),
            "threads": 3.0,
            "used": 80.0 * MEBIBYTE,
            "file": 100.0 * MEBIBYTE,
        }
        for second in range(300)
    ]


@pytest.mark.parametrize(
    "memory",
    [
        lambda _: 0.0,
        lambda second: min(second, 100) * 0.5,  # warming up
        lambda second: 60.0 if second % 20 < 6 else 0.0,  # now and then a large scan
        lambda second: 200.0 if 250 < second < 270 else 0.0,  # once a crowd
        lambda second: second * 0.01,  # a little
    ],
)
def test_what_varies_is_flat(memory: Callable[[int], float]) -> None:
    """Warming up, peaks and noise are no leak."""
    assert not_flat(samples(memory)) == []


def test_a_leak_of_memory_is_not_flat() -> None:
    """A line says what grew, by how much, and what the bound is."""
    (line,) = not_flat(samples(memory=lambda second: second * 0.5))
    assert line.startswith("not flat: memory grew by 7")
    assert " MiB in the last 149 s" in line
    assert line.endswith("MiB is the bound")


def test_a_leak_of_descriptors_is_not_flat() -> None:
    """One in five seconds is enough."""
    (line,) = not_flat(samples(descriptors=lambda second: second // 5))
    assert line.startswith("not flat: descriptors grew by")


def test_too_short_a_time_is_not_judged() -> None:
    """There is nothing to say yet."""
    assert not_flat(samples(memory=lambda second: second * 10.0)[:10]) == []


@pytest.mark.tree
def test_a_document_that_is_wrong_is_found() -> None:
    """A scan may give no older version, no newer one, nothing else; and nothing may be missing."""
    from tests.soak.model import Keys, Mismatch, Window, value_of  # noqa: PLC0415

    keys = Keys(0, 4)
    mine = next(iter(Window([keys], 0)._told))
    keys.told[mine] = 9
    keys.tried[mine] = 10
    window = Window([keys], 0)
    keys.tried[mine] = 11
    window.close()

    def found(version: int) -> dict[bytes, bytes]:
        value = value_of(mine, version)
        assert value is not None
        return {mine: value}

    for version in (9, 10, 11):
        window.check(found(version))
    wrong: list[dict[bytes, bytes]] = [
        {},
        found(7),
        found(12),
        {mine: b"something"},
        {mine: found(9)[mine] + b"x"},
        {**found(9), b"soak-9-0000": b"of nobody"},
    ]
    for one in wrong:
        with pytest.raises(Mismatch):
            window.check(one)


@pytest.mark.tree
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_soak(tmp_path: Path) -> None:
    """As a user runs it: verified, recorded, drawn."""
    command = [sys.executable, "-m", "tests.soak", "--seconds", "10", "--seed", "1"]
    files = ["--record", f"{tmp_path / 'record'}", "--plot", f"{tmp_path / 'plot.png'}"]
    soak = subprocess.run(
        [*command, *files], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert (soak.returncode, soak.stderr) == (0, "")
    assert soak.stdout.splitlines()[-1].startswith("flat and right: ")
    record = [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]
    assert record
    assert all(sample["memory"] > 0 for sample in record)
    assert record[-1]["all get"] > 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
