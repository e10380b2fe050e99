"""The programs in README.md run as they stand there."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def programs() -> list[str]:
    """The Python in it, in order."""
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def free_port() -> int:
    """A port of the system's choice, which nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.tree
def test_its_server_serves() -> None:
    """What a reader copies out of the README counts for a client, as its comment says."""
    _, program = programs()
    port = free_port()
    assert program.count("4000") == 2
    assert 'host="127.0.0.1"' in program  # who tries it does not serve the whole network
    command = [sys.executable, "-W", "error", "-c", program.replace("4000", str(port))]
    with subprocess.Popen(command, cwd=ROOT) as server:
        try:
            assert ask(port, b"5\n2\n") == b"0\n1\n2\n3\n4\nOK\n0\n1\nOK\n"
        finally:
            server.terminate()


def ask(port: int, requests: bytes) -> bytes:
    """What a server answers that may not listen yet."""
    while True:
        try:
            client = socket.create_connection(("127.0.0.1", port), timeout=60)
        except ConnectionRefusedError:
            sleep(0.01)
            continue
        with client:
            client.sendall(requests)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as answers:
                return answers.read()


@pytest.mark.tree
def test_the_smallest_program_runs() -> None:
    """What a reader copies out of the README prints what it says."""
    program, _ = programs()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout == "588890 bytes: that was all\n"


@pytest.mark.tree
def test_every_file_that_it_links_to_exists() -> None:
    """No link of the README leads nowhere."""
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
