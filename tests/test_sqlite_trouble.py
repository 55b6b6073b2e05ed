"""SQLite is locked or its disk is full: a clear 503 for what writes, reading goes on, and all is well afterwards."""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .server import Server
from .trouble import Site, assert_503_oauth, assert_503_page, site_on

pytestmark = pytest.mark.server


@pytest.fixture
def on_sqlite(sqlite_server: Server) -> Site:
    return site_on(sqlite_server)


def test_sqlite_locked_by_another_writer_for_long(on_sqlite):
    path = urlsplit(on_sqlite.server.environment["DATABASE_URL"]).path
    on_sqlite.assert_well()  # notes the use of the key, so that none is due
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(3) as pool:
            writes = [pool.submit(on_sqlite.ask), pool.submit(on_sqlite.regenerate)]
            time.sleep(0.5)
            assert on_sqlite.call().status_code == 200  # reading goes on
            assert on_sqlite.get("/readyz").status_code == 200
            token, page = (write.result() for write in writes)
        assert_503_oauth(token)
        assert_503_page(page, page.text)
        other.execute("ROLLBACK")
    on_sqlite.assert_well()


def test_sqlite_on_a_full_disk(on_sqlite):
    with no_file_may_grow(on_sqlite.server):
        assert_503_oauth(on_sqlite.ask())
        page = on_sqlite.regenerate()
        assert_503_page(page, page.text)
        assert on_sqlite.call().status_code == 200
        assert on_sqlite.visitor.get("/profile/").status_code == 200
    on_sqlite.assert_well()


@contextmanager
def no_file_may_grow(server: Server) -> Iterator[None]:
    """What the processes of this server write to any file fails from here on, as on a full disk."""
    assert server._process is not None
    everyone = list(_family(server._process.pid))
    for process in everyone:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        for process in everyone:
            resource.prlimit(process, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _family(process: int) -> Iterator[int]:
    yield process
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        yield from _family(int(child))
