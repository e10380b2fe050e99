"""The report is made of the figures that are kept, and of nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import profiles, report
from benchmarks._measuring import harness, results
from benchmarks._measuring.harness import at_most, figure, ratio
from benchmarks._measuring.results import Answer
from benchmarks._reporting import flame, plots, profiled
from benchmarks._reporting.document import Document
from benchmarks._reporting.markdown import Filler

pytestmark = pytest.mark.tree

ROOT = Path(__file__).parent.parent

# -- the report ---------------------------------------------------------------------------------------


def a_document(*, quick: bool = False) -> Document:
    """Of two programs with one question each."""
    figures = [
        figure("ewb", [2.0, 1.0, 4.0], "µs", at_most(3), curve=harness.FRACTION),
        ratio("ewb / other", [3.0], [2.0], at_most(1)),
        figure("ewb: echo p50", [1.0], "ms", curve="rate by chunk: ewb", x=64),
        figure("ewb: echo p99", [2.0], "ms", curve="rate by chunk: ewb", x=1024),
        figure("growth", [1.02], "", curve="rate by chunk: ewb"),
    ]
    questions = results.as_json([Answer("courtesy", "How?", figures)])
    programs = [{"name": name, "questions": questions} for name in ("handoff", "scale")]
    return Document(
        {
            "quick": quick,
            "started": "2026-01-02T03:04+00:00",
            "seconds": 600,
            "percent of processors used by other programs": 1.4,
            "machine": {"processor": "A", "memory": "1 GiB", "system": "L", "python": "P"},
            "versions": {"trio": "1"},
            "programs": programs,
        }
    )


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("handoff/courtesy/ewb", "2 µs"),
        ("handoff/courtesy/ewb / other", "1.50 \N{MULTIPLICATION SIGN}"),
        ("target handoff/courtesy/ewb", "≤ 3 µs"),
        ("target handoff/courtesy/ewb / other", "≤ 1 \N{MULTIPLICATION SIGN}: **missed**"),
        ("share handoff/courtesy/ewb / other", "150 %"),
        (
            "run",
            "A full run: 2026-01-02, 10 minutes; other programs used 1 % of the processors meanwhile",
        ),
        ("machine", "A, 1 GiB; L; P"),
        ("versions", "trio 1"),
        ("handoff/courtesy/nothing", "\N{EN DASH}"),
        ("figures handoff/nothing", "\N{EN DASH}"),
        ("flame nothing", "`nothing`: \N{EN DASH}"),
    ],
)
def test_a_field_of_a_template_is_filled(field: str, text: str, tmp_path: Path) -> None:
    """By a figure, as one writes it; by a dash if there is none."""
    filler = Filler(a_document(), tmp_path, "pictures")
    assert filler.fill("<!-- for authors -->\n\na {{" + field + "}} b") == f"a {text} b"


def test_what_is_not_in_a_document_is_noted(tmp_path: Path) -> None:
    """So that a figure that was renamed is found."""
    document = a_document()
    Filler(document, tmp_path, "").fill("{{handoff/courtesy/ewb}} {{a/b/c}} {{figures a/b}}")
    assert document.missing == {"a/b/c", "a/b"}


def test_tables_tell_what_was_asked_for_and_missed(tmp_path: Path) -> None:
    """That of one question, and that of all targets."""
    filler = Filler(a_document(), tmp_path, "")
    table = filler.fill("{{figures handoff/courtesy}}")
    assert "| ewb | 2 µs | 1 … 4 (3) | ≤ 3 µs | reached |" in table
    assert (
        "| ewb / other | 1.50 \N{MULTIPLICATION SIGN} | | ≤ 1 \N{MULTIPLICATION SIGN} | **missed** |"
        in table
    )
    targets = filler.fill("{{targets}}")
    assert "2 of 4 are reached." in targets
    assert "| `scale`: How? | ewb | 2 µs | ≤ 3 µs | reached |" in targets


def test_all_pictures_are_drawn_that_there_are_figures_for(tmp_path: Path) -> None:
    """And the same again from the same figures."""
    before: dict[str, bytes] = {}
    for _ in range(2):
        plots.draw_all(a_document(), tmp_path)
        drawn = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        assert set(drawn) == {"designs-chunk.svg", "neighbours.svg", "scale.svg", "fractions.svg"}
        assert not before or drawn == before
        before = drawn
    assert b"to the power of 1.02" in before["scale.svg"]


def test_the_readme_keeps_what_is_not_between_its_markers(tmp_path: Path) -> None:
    """Without markers there is no place."""
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter"
    made = report.readme(text, a_document(), tmp_path)
    assert made.startswith(f"before\n{report.BEGIN}\n\nA, 1 GiB")
    assert made.endswith(f"\n\n{report.END}\nafter")
    assert "old" not in made
    assert report.readme(made, a_document(), tmp_path) == made
    with pytest.raises(ValueError, match="no place for figures"):
        report.readme("before", a_document(), tmp_path)


def test_the_report_is_the_one_that_is_made_of_the_kept_figures() -> None:
    """Nobody has edited it, nor the README's tables; and it knows all that it asks for."""
    pictures = ROOT / "docs" / "benchmarks"
    document = Document.of(pictures / "full.json")
    assert report.page(document, pictures) == pictures.with_suffix(".md").read_text(encoding="utf-8")
    if not document.data["quick"]:  # the README has figures of full runs only
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        assert report.readme(text, document, pictures) == text
        assert not document.missing


def test_new_figures_take_the_place_of_those_that_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the report is made of them."""
    given, folder = tmp_path / "results.json", tmp_path / "here"
    results.save(given, a_document(quick=True).data)
    monkeypatch.setattr("sys.argv", ["report", str(given), "--folder", str(folder)])
    report.main()
    kept = folder / "docs" / "benchmarks" / "full.json"
    assert kept.read_bytes() == given.read_bytes()
    assert str(folder / "docs" / "benchmarks.md") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read {}: No such file or directory"),
        ("a directory", "cannot read {}: Is a directory"),
        ("{", "{} is not the JSON of a run of all benchmarks: python -m benchmarks --json makes it"),
        ("[1]", "{} is not the JSON of a run"),
        ("7", "{} is not the JSON of a run"),
        ('{"programs": [], "quick": true}', "{} is not the JSON of a run"),
        ('{"programs": [{"name": "a"}], "quick": true}', "{} is not the JSON of a run"),
    ],
)
def test_what_is_no_run_does_not_take_the_place_of_the_one_that_is_kept(
    content: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is told in a line."""
    kept = tmp_path / "docs" / "benchmarks" / "full.json"
    results.save(kept, a_document().data)
    before, given = kept.read_bytes(), tmp_path / "results.json"
    if content == "a directory":
        given.mkdir()
    elif content is not None:
        given.write_text(content)
    monkeypatch.setattr("sys.argv", ["report", str(given), "--folder", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        report.main()
    assert str(ended.value.code).startswith(said.format(given))
    assert "\n" not in str(ended.value.code)
    assert kept.read_bytes() == before


@pytest.mark.parametrize("program", ["report", "profiles"])
def test_a_folder_that_is_a_file_is_told(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By both programs, in a line, before anything is done."""
    given, folder = tmp_path / "results.json", tmp_path / "file"
    results.save(given, a_document().data)
    folder.write_text("as it was")
    names = [str(given)] if program == "report" else []
    monkeypatch.setattr("sys.argv", [program, *names, "--folder", str(folder)])
    with pytest.raises(SystemExit, match=r"^cannot make .*file.*: .*; choose another --folder$"):
        {"report": report, "profiles": profiles}[program].main()
    assert folder.read_text() == "as it was"


# -- flame graphs -------------------------------------------------------------------------------------

LOOP = "unrolled_run (trio/_core/_run.py)"
WORKER = "Threads.run (ewb/_threads.py);Handoff.fill (ewb/_handoff.py)"
RAW = f"""\
thread (1): MainThread;<module> (a.py);{LOOP};serve (ewb/_session.py);send (ewb/_send.py) 60
thread (1);<module> (a.py);{LOOP} 500
thread (2): ewb-0;work (x.py);{WORKER};<genexpr> (b&.py) 30
thread (2);work (x.py);{WORKER} 10
thread (2);work (x.py);Threads.run (ewb/_threads.py);Threads._next (ewb/_threads.py) 700
thread (3): other;wait (c.py) 1000
"""


def test_a_flame_graph_shows_front_end_and_workers_at_work() -> None:
    """Waiting, and other threads, are left out."""
    stacks = list(flame.stacks(RAW))
    assert sum(samples for _, samples in stacks) == 100
    assert flame.hottest(stacks, 1) == {
        "front end": [("send (ewb/_send.py)", 0.6)],
        "workers": [("<genexpr> (b&.py)", 0.3)],
    }
    picture = ET.fromstring(flame.svg(flame.tree(stacks), "a & b"))  # noqa: S314 - ours
    titles = [element.text for element in picture.iter() if element.tag.endswith("title")]
    assert "front end: 60.0%" in titles
    assert "Handoff.fill (ewb/_handoff.py): 40.0%" in titles
    assert "<genexpr> (b&.py): 30.0%" in titles
    assert not any("other" in (title or "") for title in titles)


@pytest.mark.parametrize("name", [*profiled.WORK, profiled.SCAN])
def test_there_is_a_flame_graph_of_each_benchmark(name: str) -> None:
    """A small one, and the report shows it."""
    folder = ROOT / "docs" / "benchmarks"
    file = folder / f"flame-{name}.svg"
    assert file.stat().st_size < 300_000
    assert file.name in folder.with_suffix(".md").read_text(encoding="utf-8")


def test_without_a_profiler_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(profiles.ProfilerError, match="py-spy is not installed"):
        profiles.sampled(["chunks"])


def test_a_profiler_that_may_not_look_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it said."""
    program = tmp_path / "py-spy"
    program.write_text("#!/bin/sh\necho Permission Denied >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: str(program))
    with pytest.raises(profiles.ProfilerError, match=r"right to ptrace\): Permission Denied"):
        profiles.sampled(["chunks"])
