"""A version as an operator has it: a folder that is built, and then read by a user who can write nothing in it."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .server import ROOT

PRODUCT = ["airvantage_keys", "profiles", "templates", "static", "locale", "script", "manage.py", "requirements.txt"]
# Who may read all (Python itself may be in a folder of root), but write only what belongs to nobody.
NOBODY = (
    [
        "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
        "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--no-new-privs",
    ]
    if os.geteuid() == 0
    else []
)  # fmt: skip


def copy_product(folder: Path) -> None:
    for name in PRODUCT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)


def make_environment(folder: Path) -> None:
    """A virtual environment in this folder, with what is installed in ours."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    [packages] = (folder / ".venv/lib").glob("*/site-packages")
    (packages / "here.pth").write_text(site.getsitepackages()[0])
    shutil.copy2(folder / "requirements.txt", folder / ".venv/installed-requirements.txt")


def run(folder: Path, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the version there, as its operator."""
    return subprocess.run(
        [folder / "script" / script, *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def built() -> Iterator[Path]:
    """The folder of a version, after script/build; nobody can write there."""
    # Not in a folder of pytest, which only its own user may enter.
    folder = Path(tempfile.mkdtemp(prefix="airvantage-keys-version."))
    folder.chmod(0o755)
    try:
        copy_product(folder)
        make_environment(folder)
        done = run(folder, "build")
        assert done.returncode == 0, done.stderr
        yield folder
    finally:
        shutil.rmtree(folder)


def contents(folder: Path) -> dict[str, float]:
    """Every file there, and when it was changed."""
    return {str(path): path.lstat().st_mtime for path in folder.rglob("*")}
