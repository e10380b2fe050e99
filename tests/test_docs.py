"""The pages of docs/ are true: programs run, names exist and are all there, links lead somewhere."""

from __future__ import annotations

import inspect
import os
import re
import signal
import socket
import subprocess
import sys
from math import inf
from pathlib import Path
from subprocess import PIPE
from time import sleep
from typing import TYPE_CHECKING, Final

import pytest

import ewb
import ewb.testing
from ewb._life import State

from .docs_blocks import blocks_of, compiled, run_page
from .helpers import until_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.tree

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
REFERENCE: Final = DOCS / "reference"
PAGES: Final = sorted(
    page for page in DOCS.rglob("*.md") if not any(part.startswith("_") for part in page.parts)
)
PROSE: Final = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
SEES_EWB: Final = {**os.environ, "PYTHONPATH": str(ROOT)}

NAMES: Final = [f"ewb.{name}" for name in ewb.__all__] + [
    f"ewb.testing.{name}" for name in ewb.testing.__all__
]
# Objects that nobody makes by their name: how an example comes by one.
SEEN_AS: Final = {
    "ewb.ChannelStatistics": "chunks.statistics()",
    "ewb.ChunkReceiver": "as chunks",
    "ewb.ChunkSender": "sender.send(",
    "ewb.Connection": "cookie.connection",
    "ewb.Cookie": "cookie.produce(",
    "ewb.Engine": "def execute(self, cookie)",
    "ewb.FrontEndStatistics": "front_end.statistics()",
    "ewb.Workers": "workers.produce(",
    "ewb.WorkersStatistics": "workers.statistics()",
}
# Methods without an underscore that are not for users: what other modules of ewb call, or what a
# stream and an engine have anyway.
NOT_FOR_USERS: Final = {
    "ewb.ChunkReceiver": {"unread_exit"},
    "ewb.SlowCommands": set(vars(ewb.Hook)),
    "ewb.Workers": {"account", "begin", "forget", "leave", "new_portal", "post", "start"},
    "ewb.testing.RecordingStream": {
        "send_all",
        "wait_send_all_might_not_block",
        "send_eof",
        "receive_some",
        "aclose",
    },
    "ewb.testing.WouldBlockEngine": {"execute", "connect", "disconnect"},
}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- programs -------------------------------------------------------------------------------------


def has_programs(page: Path) -> bool:
    return any(block.is_program for block in blocks_of(page))


@pytest.mark.parametrize("page", [page for page in PAGES if has_programs(page)], ids=relative)
def test_each_program_runs_and_prints_what_the_page_says(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page's programs run one after another, as its reader would try them."""
    monkeypatch.chdir(ROOT)
    for block, printed in run_page(page):
        assert printed == block.text, f"{relative(page)}, line {block.line}"


@pytest.mark.parametrize("page", PROSE, ids=relative)
def test_each_fragment_is_python_and_says_that_it_is_one(page: Path) -> None:
    """What does not run on its own has a caption: that it is a fragment, or the file that it is."""
    for block in filter(lambda it: it.is_fragment, blocks_of(page)):
        where = f"{relative(page)}, line {block.line}"
        assert re.search(r"fragment|\.py", block.options.get("caption", "")), where
        compiled(page, block)


def files_to_save() -> dict[str, str]:
    """What a reader of the first page has saved, in the end."""
    return {
        block.options["caption"]: block.text
        for block in blocks_of(DOCS / "start.md")
        if block.is_fragment and "fragment" not in block.options["caption"]
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def python(folder: Path, *arguments: str) -> str:
    """What a program prints that has no complaints."""
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=SEES_EWB, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, int]:
    """A reader's folder with all files of the first page, but for the port, where nobody listens."""
    port = free_port()
    for name, text in files_to_save().items():
        (tmp_path / name).write_text(text.replace("4000", str(port)))
    return tmp_path, port


@pytest.mark.slow
def test_who_follows_the_first_page_has_a_server(folder: tuple[Path, int]) -> None:
    """It streams, adds, lets a client wait for another, and ends in order."""
    here, port = folder
    (here / "log.txt").write_text("one fish\ntwo fish\nred herring\n")
    command = [sys.executable, "-W", "error", "server.py"]
    with subprocess.Popen(command, cwd=here, env=SEES_EWB, stdout=PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == f"listening on port {port}\n"
            said = python(here, "talk.py", "find fish", "hello")
            assert said == "one fish\ntwo fish\nOK\nFAILED try: find WORD, add LINE, next\n"
            said = python(here, "talk.py", "add blue fish", "find blue")
            assert said == "OK 40 bytes\nblue fish\nOK\n"
            with socket.create_connection(("127.0.0.1", port), timeout=60) as waiting:
                waiting.sendall(b"next\n")
                waiting.settimeout(0.1)
                while True:  # until what is added comes after the server has read that
                    python(here, "talk.py", "add green fish")
                    try:
                        answer = waiting.recv(1024)
                        break
                    except TimeoutError:
                        sleep(0.01)
                assert answer == b"OK green fish\n"
            server.terminate()
            assert server.stdout.read() == "ended in order\n"
            assert server.wait() == 0
        finally:
            server.kill()


@pytest.mark.slow
def test_the_server_of_the_first_page_ends_at_once_at_a_second_ctrl_c(folder: tuple[Path, int]) -> None:
    """Quietly, though a client waits."""
    here, port = folder
    command = [sys.executable, "-W", "error", "server.py"]
    with subprocess.Popen(
        command, cwd=here, env=SEES_EWB, stdout=PIPE, stderr=PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"listening on port {port}\n"
        with socket.create_connection(("127.0.0.1", port), timeout=60) as waiting:
            waiting.sendall(b"add a fish\nnext\n")
            assert waiting.recv(1024) == b"OK 7 bytes\n"
            server.send_signal(signal.SIGINT)
            until_refused(port)
            server.send_signal(signal.SIGINT)
            assert server.communicate(timeout=60) == ("", "")
        assert server.returncode == 130


@pytest.mark.slow
def test_who_follows_the_first_page_has_a_stream_and_tests(folder: tuple[Path, int]) -> None:
    """Its first program prints what it says, and its tests pass."""
    here, _ = folder
    assert python(here, "hello.py") == "1,000,000 chunks; that was all\n"
    assert "2 passed" in python(here, "-m", "pytest", "-q", "-p", "no:cacheprovider")


# -- make help ------------------------------------------------------------------------------------


def test_make_help_has_a_column_for_the_longest_name() -> None:
    """What each does begins below the others."""
    said = subprocess.run(
        ["/usr/bin/env", "make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    begins = {len(found[0]) for found in re.finditer(r"^  make \S+ +", said.stdout, re.MULTILINE)}
    assert len(begins) == 1


# -- links ----------------------------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    """What a link may name in a page: its headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,3} (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PROSE, ids=relative)
def test_each_link_leads_somewhere(page: Path) -> None:
    """To a file that exists, and to a heading that is in it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def listed_in(page: Path) -> Iterator[Path]:
    """The pages of a page's tables of contents."""
    for block in blocks_of(page):
        if block.kind == "{toctree}":
            for line in filter(None, block.text.splitlines()):
                name = re.sub(r".*<(.*)>", r"\1", line)
                yield from (path.resolve() for path in page.parent.glob(f"{name}.md"))


def test_each_page_can_be_reached() -> None:
    """Through the tables of contents, from the first page on."""
    reached: set[Path] = set()
    new = {DOCS / "index.md"}
    while new:
        reached |= new
        new = {listed for page in new for listed in listed_in(page)} - reached
    assert [relative(page) for page in PAGES if page not in reached] == []


# -- reference ------------------------------------------------------------------------------------


def described() -> dict[str, tuple[Path, set[str]]]:
    """Each name that a page of the reference describes: the page, and which members."""
    found: dict[str, tuple[Path, set[str]]] = {}
    directive = re.compile(r"^\.\. auto\w+:: ([\w.]+).*\n((?:   :.*\n)*)", re.MULTILINE)
    for page in REFERENCE.glob("*.md"):
        for name, options in directive.findall(page.read_text()):
            members = re.search(r":members:(.*)", options)
            found[name] = page, set(re.findall(r"\w+", members[1])) if members else set()
            if members and not members[1].strip():
                found[name][1].add("*")
    return found


def test_the_reference_describes_each_public_name() -> None:
    """Neither more nor less."""
    assert set(described()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_has_an_example(name: str) -> None:
    """On the page that describes it, in a program that runs."""
    page, _ = described()[name]
    programs = "\n".join(block.text for block in blocks_of(page) if block.is_program)
    seen_as = SEEN_AS.get(name, name.rpartition(".")[2])
    assert seen_as in programs


@pytest.mark.parametrize("name", NAMES)
def test_each_public_method_is_described(name: str) -> None:
    """A class's page names all that its user may call."""
    _, members = described()[name]
    thing = getattr(ewb.testing if name.startswith("ewb.testing.") else ewb, name.rpartition(".")[2])
    if not inspect.isclass(thing) or "*" in members or issubclass(thing, Exception):
        return
    public = {
        member
        for member, value in vars(thing).items()
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    }
    assert public - members - NOT_FOR_USERS.get(name, set()) == set()


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_is_in_the_index_of_the_reference(name: str) -> None:
    assert f"`{name}`" in (REFERENCE / "index.md").read_text()


def amount(cell: str) -> object:
    """What a default in the table of settings says."""
    text = cell.strip().strip("`").replace(",", "")
    number = re.fullmatch(r"([\d.]+)( [KM]iB)?", text)
    if number:
        return float(number[1]) * {None: 1, " KiB": 1024, " MiB": 1024**2}[number[2]]
    return {"None": None, "True": True, "math.inf": inf, "()": (), "bytes": None}[text]


@pytest.mark.parametrize(
    ("heading", "takers"),
    [
        ("Of a pool of workers", [ewb.open_workers]),
        ("Of a channel", [ewb.open_channel, ewb.Workers.produce, ewb.Cookie.produce]),
        ("Of a front end", [ewb.FrontEnd.__init__, ewb.FrontEnd.serve_listeners]),
    ],
)
def test_the_table_of_settings_has_each_with_its_default(
    heading: str, takers: list[Callable[..., object]]
) -> None:
    """What a reader finds there is what they get."""
    text = (REFERENCE / "settings.md").read_text()
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    said = dict(re.findall(r"^\| `(\w+)`[^|]*\|([^|]+)\|", section, re.MULTILINE))
    settings = {
        parameter.name: parameter.default
        for taker in takers
        for parameter in inspect.signature(taker).parameters.values()
        if parameter.default is not parameter.empty and parameter.name != "task_status"
    }
    assert set(said) == set(settings)
    for name, default in settings.items():
        assert amount(said[name]) == default, name


def test_the_tables_have_each_status_and_each_state() -> None:
    statuses, engines = (REFERENCE / "statuses.md").read_text(), (REFERENCE / "engines.md").read_text()
    assert re.findall(r"^\| `([A-Z_]+)`", statuses, re.MULTILINE) == [it.name for it in ewb.Status]
    assert re.findall(r"^\| ([A-Z_]+) \|", engines, re.MULTILINE) == [it.name for it in State]


# -- all of it ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    """With each name found; the notebooks are run by `make docs`, and here only read."""
    html = tmp_path / "html"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "--keep-going"]
    # The language of a notebook is known once it has run.
    command += [
        "-D",
        "nb_execution_mode=off",
        "-D",
        "suppress_warnings=myst-nb.lexer",
        "-d",
        str(tmp_path / "trees"),
        str(DOCS),
        str(html),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr == ""
    assert done.returncode == 0
    for page in PAGES:
        assert (html / page.relative_to(DOCS)).with_suffix(".html").exists()
        if page.read_text().startswith("---\nfile_format: mystnb"):
            notebook = html / page.relative_to(DOCS).with_suffix(".ipynb")
            assert notebook.exists()
            assert f'href="{notebook.name}"' in notebook.with_suffix(".html").read_text()
