"""Build wheel and sdist, install the wheel elsewhere, and run the tests against that.

The tests are copied out of the tree, so that nothing of it can be imported by mistake.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    # Not isolated: hatchling is in the lock file, so that is what builds.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", cwd=ROOT)
    (wheel,) = (ROOT / "dist").glob("*.whl")
    with tempfile.TemporaryDirectory(prefix="ewb-wheel-") as name:
        home = Path(name)
        run(sys.executable, "-m", "venv", "--system-site-packages", str(home / "venv"))
        python = str(home / "venv" / "bin" / "python")
        # The test dependencies are those of .venv, seen from here; only ewb comes from the wheel.
        packages = subprocess.run(
            [sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        target = next((home / "venv" / "lib").glob("python*/site-packages"))
        (target / "locked.pth").write_text(packages + "\n")
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
        shutil.copytree(ROOT / "tests", home / "tests")
        shutil.copy(ROOT / "pyproject.toml", home)
        where = "import ewb, sys; print(ewb.__file__); sys.exit('venv' not in ewb.__file__)"
        run(python, "-c", where, cwd=home)
        run(python, "-m", "pytest", "-q", "-m", "not slow and not tree", cwd=home)


def run(*command: str, cwd: Path | None = None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, cwd=cwd, env=environment, check=True)


if __name__ == "__main__":
    main()
