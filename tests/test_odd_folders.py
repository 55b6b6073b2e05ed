"""A path is not an address: the clone works in a folder of any name, and keeps all it makes to itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from .server import DEMO_PASSWORD, free_port
from .version_folder import copy_product, make_environment
from .visitor import Visitor

NAMES = [
    "c#sharp",
    "what?now",
    "a+b",
    "x%2Fy",
    "with blank",
    "ünïcode",
    "per%cent",
    "a&b=c",
    "q'uote",
    'do"uble',
    "semi;colon",
    "$dollar",
    "back\\slash",
    "`tick`",
    "[brackets]{braces}",
    "*~!",
    "a@b",
    "file:x",
    "-dash",
]
ALL_IN_ONE = "c#d what?now a+b x%2Fy ü%c &=q'u\"o;$d\\`t`*[x]{y}~!@"
START_WITHIN = 300  # seconds: the first time it makes the database and compresses the static files


@pytest.fixture
def clone(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the product, in a folder of this name."""
    folder = tmp_path / "around" / request.param
    folder.mkdir(parents=True)
    copy_product(folder)
    return folder


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "SECRET_KEY": "x", **more}


def made_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "var").iterdir()}


@pytest.mark.parametrize("clone", NAMES, indirect=True)
def test_the_database_is_inside_the_clone(clone):
    subprocess.run(
        [sys.executable, "manage.py", "createcachetable"], cwd=clone, env=environment(), check=True, capture_output=True
    )
    assert "db.sqlite3" in made_in(clone)
    assert list(clone.parent.iterdir()) == [clone]


@contextmanager
def served(clone: Path, host: str) -> Iterator[str]:
    """The site as script/server runs it in this folder."""
    port = free_port()
    with (clone.parent.parent / "log").open("w+") as log:
        process = subprocess.Popen(
            [clone / "script/server"],
            env=environment(HOST=host, PORT=str(port), DEMO_PASSWORD=DEMO_PASSWORD, WEB_CONCURRENCY="1"),
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            deadline = time.monotonic() + START_WITHIN
            while not answers(address):
                assert process.poll() is None, (log.seek(0), log.read())
                assert time.monotonic() < deadline, (log.seek(0), log.read())
                time.sleep(0.1)
            yield address
            log.seek(0)
            assert f"AirVantage Keys: {address}/\n" in log.read()
        finally:
            process.terminate()
            process.wait(timeout=60)


def answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/readyz", timeout=10).ok
    except requests.ConnectionError:
        return False


@pytest.mark.server
@pytest.mark.parametrize("clone", [ALL_IN_ONE], indirect=True, ids=["all in one"])
def test_the_server_serves_from_there_by_name_and_by_address(clone):
    make_environment(clone)
    for host in ("localhost", "::1"):
        with served(clone, host) as address:
            visitor = Visitor(address).sign_in("user@demo.example")
            page = visitor.get("/profile/").text
            [style, *_] = re.findall(r'href="(/static/[^"]+\.css)"', page)
            assert visitor.get(style).ok
    assert {"db.sqlite3", "static"} <= made_in(clone)
    assert list(clone.parent.iterdir()) == [clone]
