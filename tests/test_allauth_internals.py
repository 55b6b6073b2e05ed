"""What is inside django-allauth is imported in one place, which says why."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
THE_ONE = ROOT / "profiles" / "account" / "allauth_internals.py"


def internals_in(source: str) -> set[str]:
    """The modules of django-allauth's inside that this source imports."""
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = {name: name.split(".") for name in imported}
    return {name for name, its in parts.items() if its[0] == "allauth" and "internal" in its}


@pytest.mark.parametrize(
    "source",
    [
        "import allauth.mfa.totp.internal.auth",
        "from allauth.mfa.totp.internal import auth",
        "def late():\n    from allauth.mfa.totp import internal",
    ],
)
def test_every_way_to_import_is_seen(source):
    assert internals_in(source)


def test_no_other_module_imports_from_inside_allauth():
    folders = [ROOT / name for name in ("airvantage_keys", "benchmarks", "profiles", "tests")]
    ours = {path for folder in folders for path in folder.rglob("*.py")}
    assert internals_in(THE_ONE.read_text())
    found = {str(path.relative_to(ROOT)): internals_in(path.read_text()) for path in ours - {THE_ONE}}
    assert {path: names for path, names in found.items() if names} == {}
