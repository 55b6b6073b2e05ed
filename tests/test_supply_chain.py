"""What is installed: pinned by hash, and under licences that somebody has agreed to."""

from __future__ import annotations

import re
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, metadata

import pytest

from profiles import credentials

from .server import ROOT

# LGPL: used as they come, by import, and replaceable by pip; nothing of theirs is copied here.
ALLOWED = {
    "Apache-2.0",
    "Apache-2.0 AND BSD-2-Clause",
    "Apache-2.0 OR BSD-3-Clause",
    "BSD",
    "BSD License",
    "BSD-3-Clause",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
}
LOCKS = ["requirements.txt", "requirements-dev.txt"]


def entries(lock: str) -> list[str]:
    """The requirements of a lock file, each with its hashes, on one line each."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def licence(name: str) -> str:
    """What the distribution says of itself, in its shortest form."""
    about = metadata(name)
    [said, *_] = about.get_all("License-Expression") or about.get_all("License") or [""]
    if said and "\n" not in said and len(said) < 40:
        return said
    classifiers = [value for value in about.get_all("Classifier") or [] if value.startswith("License ::")]
    return classifiers[0].rpartition(" :: ")[2] if classifiers else "none"


def installed() -> dict[str, set[str]]:
    """The licences of what runs the product here, each with its packages."""
    found = defaultdict(set)
    for entry in entries("requirements.txt"):
        name = entry.partition("==")[0]
        try:
            found[licence(name)].add(name)
        except PackageNotFoundError:
            assert ";" in entry, f"{name} is not installed"  # else it is for another platform
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_with_hashes(lock):
    assert len(entries(lock)) > 20
    for entry in entries(lock):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][^\s;]*( ; .+?)?(\s+--hash=sha256:[0-9a-f]{64})+", entry), entry


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_that_was_asked_for_is_in_the_lock(lock):
    locked = {entry.partition("==")[0] for entry in entries(lock)}
    asked = (ROOT / lock.replace(".txt", ".in")).read_text()
    for name in re.findall(r"^[A-Za-z][A-Za-z0-9-]*", asked, re.MULTILINE):
        assert name.lower() in locked


def test_installing_demands_the_hashes():
    installs = re.findall(r".*pip install.*", (ROOT / "script/lib.sh").read_text())
    assert installs
    assert all("--require-hashes" in line for line in installs)


def test_every_licence_is_one_that_is_allowed():
    unknown = {licence: names for licence, names in installed().items() if licence not in ALLOWED}
    assert not unknown


def test_the_licences_told_are_those_there_are():
    rows = re.findall(r"^\| ([^|]+) \| ([a-z0-9, -]+) \|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    told = {licence: set(names.split(", ")) for licence, names in rows if licence in ALLOWED}
    for licence, names in installed().items():
        assert names <= told[licence], licence


def test_the_patterns_told_are_those_in_use():  # security 12
    told = re.findall(r"^\| .* \| `(av[cst]_.*)` \|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    personal, companys, token = told
    assert [personal[:4], companys[:4]] == [credentials.SECRET_PREFIX, credentials.COMPANY_SECRET_PREFIX]
    assert f"(?:{personal[:4]}|{companys[:4]})" + personal[4:] == credentials.SECRET_PATTERN
    assert (companys[4:], token) == (personal[4:], credentials.TOKEN_PATTERN)


def test_every_file_that_the_promises_rest_on_is_there():
    for name in re.findall(
        r"`((?:profiles|airvantage_keys|templates|tests|docs)/[\w./]*)`", (ROOT / "SECURITY.md").read_text()
    ):
        assert (ROOT / name).exists(), name
