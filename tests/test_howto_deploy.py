"""The systemd units of the range-scan server do what they say, as far as one can see without systemd.

What they would run is run here: the same command lines, in folders of the test's own.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from examples.range_scan.client import Client, Login

from .helpers import GUARD

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.tree

ROOT = Path(__file__).resolve().parent.parent
UNITS = ROOT / "examples/range_scan/deploy"
SERVER = UNITS / "range-scan@.service"
BACKUP = UNITS / "range-scan-backup@.service"
TIMER = UNITS / "range-scan-backup@.timer"
PYTHON = "/opt/range-scan/.venv/bin/python"
PASSWORD = "correct horse"  # noqa: S105 - for a server that lives for a second


def settings_of(unit: Path, name: str) -> list[str]:
    """What a unit says of it, once for each time it says so."""
    text = unit.read_text().replace("\\\n", "")
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def environment() -> dict[str, str]:
    """The settings that come with the unit, but for where it listens."""
    lines = (UNITS / "environment").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {**found, "HOST": "127.0.0.1", "PORT": "0"}


class Machine:
    """The folders that systemd would make, with a certificate and a password."""

    def __init__(self, folder: Path) -> None:
        self.state, self.credentials = folder / "state", folder / "credentials"
        for made in ("range-scan", "range-scan-backup/cities"):
            (self.state / made).mkdir(parents=True)
        self.credentials.mkdir()
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(self.credentials / "tls-cert")
        issued.private_key_pem.write_to_path(self.credentials / "tls-key")
        (self.credentials / "password").write_text(f"{PASSWORD}\n")
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        self.backups = self.state / "range-scan-backup/cities"

    def command(self, line: str) -> list[str]:
        """What systemd would run for a line."""
        for sign, value in (("%S", self.state), ("%d", self.credentials), ("%i", "cities")):
            line = line.replace(sign, str(value))
        for name, value in environment().items():
            line = line.replace(f"${{{name}}}", value).replace(f"${name}", value)
        return [sys.executable if word == PYTHON else word for word in shlex.split(line)]

    @contextmanager
    def server(self, data: Path | None = None) -> Iterator[Client]:
        """The server, by a client of it; it must end well. On other data than its own, if told so."""
        (line,) = settings_of(SERVER, "ExecStart")
        if data is not None:
            line = line.replace("%S/range-scan/%i", str(data))
        process = subprocess.Popen(
            self.command(line),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("listening on 127.0.0.1:")
            port, login = int(said.rpartition(":")[2]), Login("Administrator", PASSWORD)
            with Client.connect("127.0.0.1", port, login, tls=self.trust, timeout=GUARD) as client:
                yield client
            process.send_signal(signal.SIGTERM)
            assert process.wait(GUARD) == 0
        finally:
            process.kill()
            process.communicate()

    def back_up(self) -> None:
        """What the backup's unit runs."""
        for line in [*settings_of(BACKUP, "ExecStartPre"), *settings_of(BACKUP, "ExecStart")]:
            subprocess.run(
                self.command(line.removeprefix("-")),
                cwd=self.backups,
                check=not line.startswith("-"),
                capture_output=True,
            )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Folders of the test's own."""
    return Machine(tmp_path)


def write(client: Client, key: bytes, value: bytes) -> None:
    """Store a document; it is on disk then."""
    assert sum(client.store([(key, value)])) == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    """Each key is one it knows, each value one it takes."""
    units = []
    for unit in (SERVER, BACKUP, TIMER):
        copy = tmp_path / unit.name.replace("@", "@cities")
        text = unit.read_text().replace(PYTHON, sys.executable)
        copy.write_text(text)
        (tmp_path / unit.name).write_text(text)
        units.append(str(copy))
    done = subprocess.run(
        ["systemd-analyze", "verify", *units],  # noqa: S607 - it may be anywhere
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "range-scan" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_settings_are_those_that_the_unit_asks_for() -> None:
    """No more, no less."""
    (line,) = settings_of(SERVER, "ExecStart")
    assert set(re.findall(r"\$\{?([A-Z_]+)\}?", line)) == set(environment())


def test_the_credentials_are_those_that_the_server_is_told_of() -> None:
    """What is loaded is used, and the other way round."""
    (line,) = settings_of(SERVER, "ExecStart")
    loaded = {entry.partition(":")[0] for entry in settings_of(SERVER, "LoadCredential")}
    assert loaded == set(re.findall(r"%d/(\S+)", line))


def test_there_are_descriptors_for_all_connections() -> None:
    """It accepts 10,000, and needs some for itself."""
    (limit,) = settings_of(SERVER, "LimitNOFILE")
    assert int(limit) > 10_000 + 1000


@pytest.mark.slow
def test_the_server_of_the_unit_serves_over_tls_and_ends_well(machine: Machine) -> None:
    """With the very command line; and what was stored is there when it comes again."""
    with machine.server() as client:
        write(client, b"DE:Berlin", b"3426354")
        assert client.vbuckets == 64
    with machine.server() as client:
        assert client.get(b"DE:Berlin") == b"3426354"


@pytest.mark.slow
def test_a_backup_is_of_one_moment_and_can_be_served(machine: Machine) -> None:
    """It is made while the server goes on; the last but one is kept."""
    with machine.server() as client:
        write(client, b"key", b"1")
        machine.back_up()
        write(client, b"key", b"2")
        machine.back_up()
        write(client, b"key", b"3")
    for name, value in (("previous", b"1"), ("latest", b"2")):
        with machine.server(machine.backups / name) as client:
            assert client.get(b"key") == value
    assert not (machine.backups / "new").exists()


@pytest.mark.slow
def test_a_store_has_one_server(machine: Machine) -> None:
    """The second one is refused, in a line that says by whom."""
    (line,) = settings_of(SERVER, "ExecStart")
    with machine.server():
        second = subprocess.run(
            machine.command(line),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert "is in use by process" in second.stderr
