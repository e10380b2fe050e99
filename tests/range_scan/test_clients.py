"""Other real clients of the memcached binary protocol."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import bmemcached
import pytest

from .server_helpers import PASSWORD, USER, serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tree

MEMCCAPABLE = shutil.which("memccapable")


@pytest.mark.skipif(
    MEMCCAPABLE is None, reason="memccapable is not installed: it is in Debian's libmemcached-tools"
)
def test_memccapable_finds_nothing_wrong(tmp_path: Path) -> None:
    """The 27 tests that libmemcached has of the binary protocol."""
    with serving(tmp_path, no_auth=True) as port:
        ran = subprocess.run(
            [str(MEMCCAPABLE), "-b", "-h", "127.0.0.1", "-p", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.count("[pass]") == 27
    assert "All tests passed" in ran.stdout + ran.stderr


@pytest.mark.parametrize("login", [False, True], ids=["without a login", "with a login"])
def test_bmemcached_reads_and_writes(tmp_path: Path, *, login: bool) -> None:
    """It logs in with PLAIN, never says HELLO, and compresses large values itself."""
    names = {"username": USER, "password": PASSWORD} if login else {}
    with serving(tmp_path, no_auth=not login, allow_plain=login) as port:
        client = bmemcached.Client((f"127.0.0.1:{port}",), **names)
        try:
            assert client.set("key", "value")
            assert client.get("key") == "value"
            value, cas = client.gets("key")
            assert value == "value"
            assert client.cas("key", "other", cas)
            assert not client.cas("key", "third", cas)
            assert client.add("new", b"bytes")
            assert not client.add("new", b"more")
            assert client.replace("new", {"any": "object"})
            assert client.get("new") == {"any": "object"}
            large = "again and again " * 10_000
            assert client.set_multi({f"k{number}": large for number in range(20)}) == []
            assert client.get_multi([f"k{number}" for number in range(25)]) == {
                f"k{number}": large for number in range(20)
            }
            assert [
                client.incr("counter", 5),
                client.incr("counter", 5),
                client.decr("counter", 3),
            ] == [0, 5, 2]
            assert client.delete("key")
            assert client.get("key") is None
            assert client.flush_all()
            assert client.get("new") is None
            assert client.stats()[f"127.0.0.1:{port}"]["vbuckets"] == b"4"
        finally:
            client.disconnect_all()


def test_bmemcached_with_a_wrong_password_gets_nothing(tmp_path: Path) -> None:
    """Nor does it without one."""
    with serving(tmp_path, allow_plain=True) as port:
        for names in ({"username": USER, "password": "wrong"}, {}):
            client = bmemcached.Client((f"127.0.0.1:{port}",), **names)
            try:
                with pytest.raises(bmemcached.exceptions.MemcachedException):
                    client.set("key", "value")
            finally:
                client.disconnect_all()
