"""Several hosts, or clones, prepare one empty database at once: one does the work, the others wait, all succeed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import DEMO_PASSWORD, ROOT, Server, postgres_url, sqlite_url

AT_ONCE = 4
# What script/server does to the database.
PREPARE = "set -e; for what in 'migrate --verbosity 0' createcachetable demodata; do \"$0\" manage.py $what; done"
HOLD = """
import time, django; django.setup()
from django.core.management.base import BaseCommand
from profiles.management.exclusive import one_at_a_time
with one_at_a_time(BaseCommand(), "default"):
    print("held", flush=True)
    time.sleep(600)
"""

pytestmark = pytest.mark.server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A site whose database is empty."""
    settings = {"DJANGO_SETTINGS_MODULE": "airvantage_keys.settings"}
    if request.param == "sqlite":
        yield Server(tmp_path, sqlite_url(tmp_path), **settings)
    else:
        with postgres_url() as url:
            yield Server(tmp_path, url, **settings)


def begin(site: Server, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, env=site.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_all_succeed_and_the_work_is_done_once(site):
    processes = [begin(site, "bash", "-c", PREPARE, sys.executable) for _ in range(AT_ONCE)]
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * AT_ONCE, told
    site.manage("migrate", "--check")
    assert site.sql("SELECT count(*) FROM profiles_user") == [(3,)]
    assert site.sql("SELECT count(*) FROM cache") == [(0,)]
    assert sum("Demo users made" in out for out, _ in told) == 1
    assert DEMO_PASSWORD not in "".join(out + err for out, err in told)


def test_who_is_killed_leaves_no_lock(site, tmp_path):
    holder = begin(site, sys.executable, "-c", HOLD)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waiting = begin(site, sys.executable, "manage.py", "migrate", "--verbosity", "0")
    assert waiting.stderr is not None
    assert waiting.stderr.readline().startswith("Waiting for another process")
    assert waiting.poll() is None
    assert not list(tmp_path.glob("*.sqlite3*"))  # two who make the file at once can be told that it is locked
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert waiting.communicate(timeout=60) == ("", "")
    assert waiting.returncode == 0


@pytest.mark.postgres
@pytest.mark.parametrize("site", ["postgres"], indirect=True)
def test_it_holds_where_each_transaction_may_have_another_connection(site):
    """Behind a pooler a session keeps nothing, so the lock is that of a transaction, open as long as it is held."""
    site.environment["TRANSACTION_POOLING"] = "on"
    holder = begin(site, sys.executable, "-c", HOLD)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        [(state, snapshot)] = site.sql(
            "SELECT state, backend_xmin FROM pg_stat_activity JOIN pg_locks USING (pid)"
            " WHERE locktype = 'advisory' AND datname = current_database()"  # other tests share the server
        )
        assert state == "idle in transaction"
        assert snapshot is None  # with one, it would hold up CREATE INDEX CONCURRENTLY
    finally:
        holder.kill()
        holder.communicate()
