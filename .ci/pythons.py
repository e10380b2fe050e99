"""Run the tests on each CPython that is asked for and that this machine has: pythons.py 3.11 3.12 ...

Each has an environment of its own, `.venvs/3.x/`, with what the tests need, from the lock file. Also
with `-X dev`, and with a switch interval of a microsecond, under which races show.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def find(version: str) -> str | None:
    """An interpreter of this version that runs: on the PATH, or one of pyenv's."""
    candidates = [shutil.which(f"python{version}")]
    if root := os.environ.get("PYENV_ROOT"):
        candidates += sorted(map(str, Path(root).glob(f"versions/{version}.*/bin/python3")))
    for candidate in candidates:
        if candidate is not None and runs(candidate, version):
            return candidate
    return None


def runs(python: str, version: str) -> bool:
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version


def test(python: str, version: str) -> bool:
    home = ROOT / ".venvs" / version
    binary = home / "bin" / "python"
    lock = ROOT / "requirements.lock"
    stamp = home / ".made"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        print(f"preparing .venvs/{version} ...", flush=True)
        subprocess.run([python, "-m", "venv", "--clear", str(home)], check=True)
        install = [str(binary), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)]
        subprocess.run(install, check=True)
        stamp.write_bytes(lock.read_bytes())
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EWB_SWITCH_INTERVAL": "1e-6"}
    command = [
        str(binary),
        "-X",
        "dev",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
    ]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def main() -> int:
    failed: list[str] = []
    missing: list[str] = []
    for version in sys.argv[1:]:
        python = find(version)
        if python is None:
            missing.append(version)
            continue
        print(f"-- Python {version}: {python}", flush=True)
        if not test(python, version):
            failed.append(version)
    if missing:
        print(f"not on this machine: {', '.join(missing)}")
    if failed:
        print(f"failed on: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
