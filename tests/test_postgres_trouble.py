"""PostgreSQL is away, read-only or full: a clear 503 that says when to come back, nothing half done, and all is well
again without a restart as soon as the database is.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
import requests

from .cluster import Cluster, programs_of_postgres
from .server import Server, running
from .trouble import OWNER, Site, assert_503_json, assert_503_oauth, assert_503_page, site_on, until
from .visitor import form_on, secret_in

pytestmark = [pytest.mark.server, pytest.mark.postgres]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    programs = programs_of_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL server here")
    cluster = Cluster(programs)
    cluster.start()
    try:
        # No superuser: that one is let in whatever the limits are.
        cluster.sql("CREATE ROLE site LOGIN")
        cluster.sql("CREATE DATABASE site OWNER site")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def cluster_server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("trouble"), cluster.url("site", "site")) as server:
        yield server


@pytest.fixture
def on_postgres(cluster_server: Server) -> Site:
    return site_on(cluster_server)


def changes_of_the_key(server: Server) -> int:
    """How many there are events of."""
    ((number,),) = server.sql(
        "SELECT count(*) FROM profiles_keyevent JOIN profiles_user u ON owner_id = u.id WHERE email = %s"
        " AND action IN ('created', 'regenerated', 'deleted', 'revoked')",
        OWNER,
    )
    return int(number)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_stopped_and_started_again(cluster, on_postgres, mode):
    cluster.stop(mode)
    try:
        on_postgres.assert_away()
    finally:
        cluster.start()
    until(lambda: on_postgres.get("/readyz").ok)
    on_postgres.assert_well()


def test_a_restart_of_postgres_that_nobody_noticed_costs_nobody_an_error(cluster, on_postgres):
    """Connections that were kept are dead, and are replaced without a word."""

    def use_all_connections() -> set[int]:
        """Of every thread of every process, as far as chance lets us."""
        pages = [on_postgres.visitor.copy() for _ in range(10)]
        sends = [*[on_postgres.ask] * 20, *[on_postgres.call] * 20, *[page.has_key for page in pages]]
        with ThreadPoolExecutor(10) as pool:
            return {int(getattr(done, "status_code", 200 if done else 500)) for done in pool.map(lambda f: f(), sends)}

    assert use_all_connections() == {200}
    cluster.stop("fast")
    cluster.start()
    assert use_all_connections() == {200}
    on_postgres.assert_well()


def test_postgres_stopped_under_fire_leaves_nothing_half_done(cluster, on_postgres):
    before = changes_of_the_key(on_postgres.server)
    over = Event()
    sent = 0
    seen: Counter[int] = Counter()
    secrets: list[str] = []

    def note(response: requests.Response) -> requests.Response:
        seen[response.status_code] += 1
        if response.status_code == 503:
            assert int(response.headers["Retry-After"]) > 0
        return response

    def ask_on() -> None:
        while not over.is_set():
            note(on_postgres.ask())

    def regenerate_on() -> None:
        nonlocal sent
        path = "/profile/api-key/regenerate/"
        while not over.is_set():
            if (page := note(on_postgres.visitor.get(path))).ok:
                sent += 1
                answer = note(on_postgres.visitor.send(form_on(page.text, path), path))
                secrets.extend([secret_in(answer.text) or "none"] if answer.ok else [])

    with ThreadPoolExecutor(5) as pool:
        loops = [pool.submit(ask_on) for _ in range(4)] + [pool.submit(regenerate_on)]
        try:
            for mode in ("fast", "immediate", "fast"):
                time.sleep(0.5)
                cluster.stop(mode)
                time.sleep(0.3)
                cluster.start()
            until(lambda: on_postgres.get("/readyz").ok)
            changes = len(secrets)
            until(lambda: len(secrets) > changes + 1)
        finally:
            over.set()
        for loop in loops:
            loop.result()

    assert seen[503]
    assert set(seen) <= {200, 401, 503}, seen
    on_postgres.secret = secrets[-1]
    assert on_postgres.ask().ok
    # Each change that was answered has its event; one that was not may have been made, with its event, or not at all.
    shown = len([secret for secret in secrets if secret != "none"])
    assert shown <= changes_of_the_key(on_postgres.server) - before <= sent


def threads_of(server: Server) -> int:
    """How many threads its processes have."""
    assert server._process is not None
    children = Path(f"/proc/{server._process.pid}/task/{server._process.pid}/children").read_text().split()
    return sum(len(list(Path(f"/proc/{child}/task").iterdir())) for child in children)


def test_postgres_that_hangs_is_told_in_time_and_by_one_thread(cluster, on_postgres):  # security 89
    """It takes connections and says nothing. Nothing else is asked meanwhile: only the probes."""
    until(lambda: on_postgres.get("/readyz").ok)

    def probe(_: int) -> float:
        begun = time.monotonic()
        assert_503_json(on_postgres.get("/readyz"))
        return time.monotonic() - begun

    cluster.freeze()
    try:
        with ThreadPoolExecutor(8) as pool:
            took = list(pool.map(probe, range(64)))
        assert max(took) < 4  # two are promised, on a machine that does nothing else
        # The server starts its own threads as they are needed, five in each process; more probes do not add to them.
        assert threads_of(on_postgres.server) < 40
        assert on_postgres.get("/livez").ok
    finally:
        cluster.thaw()
    until(lambda: on_postgres.get("/readyz").ok)
    on_postgres.assert_well()


def test_probes_are_answered_while_requests_hang_in_postgres(cluster, on_postgres):  # security 89
    """More of them than the processes have threads."""
    until(lambda: on_postgres.get("/readyz").ok)
    with ThreadPoolExecutor(32) as pool:
        cluster.freeze()
        try:
            calls = [pool.submit(on_postgres.call) for _ in range(32)]
            until(lambda: all(call.running() for call in calls))
            for _ in range(10):
                assert on_postgres.get("/livez").ok
                assert_503_json(on_postgres.get("/readyz"))
            assert not any(call.done() for call in calls)
        finally:
            cluster.thaw()
    until(lambda: on_postgres.get("/readyz").ok)
    on_postgres.assert_well()


def test_an_outage_is_two_lines_of_the_log_of_each_process(cluster, on_postgres):
    def lines(kind: str) -> list[str]:
        return re.findall(kind, on_postgres.server.log.read_text()[before:])

    def is_over() -> bool:
        return len(lines("database unavailable: ")) == len(lines("database available again, after "))

    before = 0
    until(is_over)  # what the other tests did
    before = len(on_postgres.server.log.read_text())
    cluster.stop("immediate")
    try:
        on_postgres.assert_away()
        refused = [on_postgres.ask() for _ in range(10)] + [on_postgres.visitor.get("/profile/") for _ in range(10)]
        assert {answer.status_code for answer in refused} == {503}
    finally:
        cluster.start()
    until(is_over)
    assert 1 <= len(lines("ERROR profiles.http.outages database unavailable: ")) <= 2
    assert not lines("Traceback")
    assert sum(map(int, lines(r"available again, after \d+ s: requests refused=(\d+)"))) >= 20
    on_postgres.assert_well()


@pytest.mark.parametrize(
    ("take", "give"),
    [
        ("ALTER DATABASE site ALLOW_CONNECTIONS false", "ALTER DATABASE site ALLOW_CONNECTIONS true"),
        ("ALTER DATABASE site CONNECTION LIMIT 0", "ALTER DATABASE site CONNECTION LIMIT -1"),
    ],
    ids=["closed", "too many connections"],
)
def test_postgres_lets_nobody_in(cluster, on_postgres, take, give):
    cluster.sql(take)
    cluster.end_connections()
    try:
        on_postgres.assert_away()
    finally:
        cluster.sql(give)
    on_postgres.assert_well()


def test_postgres_made_read_only_still_reads(cluster, on_postgres):
    cluster.sql("ALTER DATABASE site SET default_transaction_read_only = on")
    cluster.end_connections()
    try:
        assert_503_json(on_postgres.get("/readyz"), "server.read.only")
        assert_503_oauth(on_postgres.ask())
        for page in (
            on_postgres.regenerate(),
            on_postgres.visitor.copy().post("/accounts/logout/", on_postgres.fields),
        ):
            assert_503_page(page, page.text)
        assert on_postgres.call().status_code == 200
        assert on_postgres.introspect().json()["active"] is True
        assert on_postgres.visitor.get("/profile/").status_code == 200
    finally:
        cluster.sql("ALTER DATABASE site RESET default_transaction_read_only")
        cluster.end_connections()
    on_postgres.assert_well()


@pytest.mark.parametrize("write", ["UPDATE ON profiles_oauthapplication", "INSERT ON profiles_keyevent"])
def test_postgres_full_in_the_middle_of_a_change_undoes_it(on_postgres, write):
    sql = on_postgres.server.sql
    sql(
        "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END$$"
    )
    sql(f"CREATE TRIGGER full_disk BEFORE {write} EXECUTE FUNCTION full_disk()")
    try:
        page = on_postgres.regenerate()
        assert_503_page(page, page.text)
    finally:
        sql(f"DROP TRIGGER full_disk {write.partition(' ')[2]}")
    on_postgres.assert_well()
