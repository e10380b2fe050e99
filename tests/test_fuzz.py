"""Every parser that hears strangers, with what fuzzing has found worth keeping, and changes of it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .fuzz import __main__ as program
from .fuzz.corpus import FOLDER, LARGEST, ROOT, kept
from .fuzz.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tree

targets = pytest.mark.parametrize("name", TARGETS)


@targets
def test_what_is_kept_passes(name: str) -> None:
    """Each was once the first input to reach some line."""
    inputs = kept(name)
    assert inputs
    for data in inputs:
        TARGETS[name](data)


def test_the_corpus_is_small() -> None:
    """A few small files for each target, and none for others."""
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert len(files) < 300
    assert {path.parent.name for path in files} == TARGETS.keys()
    assert all(path.stat().st_size <= LARGEST for path in files)


@targets
@settings(max_examples=25)
@given(data=st.data())
def test_what_is_kept_passes_with_noise_in_it(name: str, data: st.DataObject) -> None:
    """One input, some bytes of it replaced by any others, and the end of another."""
    one, other = (data.draw(st.sampled_from(kept(name))) for _ in range(2))
    start = data.draw(st.integers(0, len(one)))
    gone = data.draw(st.integers(0, 8))
    noise = data.draw(st.binary(max_size=12))
    end = data.draw(st.integers(0, len(other)))
    TARGETS[name](one[:start] + noise + one[start + gone :] + other[end:])


def test_a_parser_that_fails_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program writes the input down, and exits with 1."""

    def stumbles(data: bytes) -> None:
        assert b"\xff" not in data, "a byte that it does not like"

    command = ["fuzz", "--by-chance", "--seconds", "10", "--target", "items"]
    monkeypatch.setattr(sys, "argv", [*command, "--crashers", str(tmp_path)])
    monkeypatch.setitem(TARGETS, "items", stumbles)
    assert program.main() == 1
    (crasher,) = (tmp_path / "items").iterdir()
    assert b"\xff" in crasher.read_bytes()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"items: FAILED, with {crasher}: ")
    assert "a byte that it does not like" in line


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_seconds_of_fuzzing() -> None:
    """With atheris where it is installed, else by chance; memory is looked at, too."""
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "10"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("nothing found") == len(TARGETS)
