"""The database is away, read-only, locked or full: a clear 503 that says when to come back, nothing half done, and all
is well again without a restart as soon as the database is.
"""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
from django.db import connection
from django.test import Client

from profiles import credentials
from profiles.clients import tokens

from .conftest import basic, sign_in
from .oauth import GRANT, TOKEN, ask, post
from .server import Server, running
from .visitor import Visitor, form_on, secret_in

OWNER = "user@demo.example"
BACK_WITHIN = 15  # seconds, for a database that was started again


# --- Without processes: what SQLite and the cache say -------------------------------------------------------


def assert_503_json(response) -> None:
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["error"] == "server.unavailable"
    assert int(response.headers["Retry-After"]) > 0


def assert_503_page(response, text: str) -> None:
    assert response.status_code == 503
    assert response.headers["Content-Type"].startswith("text/html")
    assert int(response.headers["Retry-After"]) > 0
    assert "no-store" in response.headers["Cache-Control"]
    assert "The site is not available at the moment</h1>" in text
    assert "Traceback" not in text


@contextmanager
def pragma(name: str, value: object, back_to: object) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name} = {value}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA {name} = {back_to}")


@contextmanager
def read_only() -> Iterator[None]:
    if connection.vendor == "sqlite":
        with pragma("query_only", "ON", "OFF"):
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")


@pytest.mark.django_db(transaction=True)
def test_a_read_only_database_is_a_503_for_what_writes(user, client, key, token):
    sign_in(client, user)
    answers = Client(raise_request_exception=False)
    answers.cookies = client.cookies
    tokens._noted.clear()
    with read_only():
        assert_503_json(ask(key))
        assert answers.get("/api/v1/users/current", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        response = answers.post("/profile/api-key/regenerate/", {"version": "1"})
        assert_503_page(response, response.content.decode())
        response = Client(raise_request_exception=False).post("/accounts/login/", {"login": "a@b.example"})
        assert response.status_code < 500
    user.refresh_from_db()
    assert user.key_version == 1
    assert ask(key).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_full_database_is_a_503_and_changes_nothing(user, client, key):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL is filled in a test below")
    sign_in(client, user)
    answers = Client(raise_request_exception=False)
    answers.cookies = client.cookies
    with connection.cursor() as cursor:
        (pages,) = cursor.execute("PRAGMA page_count").fetchone()
    with pragma("max_page_count", pages, 2**30):
        statuses = Counter(ask(key).status_code for _ in range(200))
        assert set(statuses) == {200, 503}, statuses
        response = ask(key)
        assert_503_json(response)
    assert ask(key).status_code == 200
    user.refresh_from_db()
    assert user.key_version == 1


@pytest.mark.django_db
def test_without_the_cache_the_right_secret_gets_in_and_a_wrong_one_waits(key, user, settings):
    away = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    settings.CACHES = {"default": away}
    assert ask(key).status_code == 200
    assert_503_json(post(TOKEN, [GRANT], basic(key.client_id, credentials.new_secret())))
    browser = Client(raise_request_exception=False)
    # Signing in does without: its attempts are counted in the database.
    assert browser.post("/accounts/login/", {"login": user.email, "password": "x"}).status_code == 200
    response = browser.post("/accounts/password/reset/", {"email": user.email})
    assert_503_page(response, response.content.decode())


# --- With a running server ----------------------------------------------------------------------------------


@dataclass
class Site:
    """A running site whose demo user has a key and a token, and the page on which Regenerate is confirmed."""

    server: Server
    visitor: Visitor
    client_id: str
    secret: str
    token: str
    fields: dict[str, str]

    def ask(self) -> requests.Response:
        return self._oauth("token", grant_type="client_credentials")

    def introspect(self) -> requests.Response:
        return self._oauth("introspect", token=self.token)

    def revoke(self) -> requests.Response:
        return self._oauth("revoke", token=credentials.new_token())

    def call(self, path: str = "/api/v1/users/current", token: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return requests.get(self.server.url + path, headers=headers, timeout=60)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.server.url + path, timeout=60)

    def regenerate(self) -> requests.Response:
        return self.visitor.post("/profile/api-key/regenerate/", self.fields)

    def sign_in(self) -> requests.Response:
        form = {"login": OWNER, "password": "wrong", "csrfmiddlewaretoken": "c" * 32}
        return requests.post(
            f"{self.server.url}/accounts/login/",
            data=form,
            cookies={"csrf": "c" * 32},
            headers={"Origin": self.server.url},
            timeout=60,
        )

    def _oauth(self, endpoint: str, **fields: str) -> requests.Response:
        url = f"{self.server.url}/api/oauth/{endpoint}"
        return requests.post(url, data=fields, auth=(self.client_id, self.secret), timeout=60)

    def assert_well(self) -> None:
        """Nothing has changed, and all works."""
        assert self.get("/readyz").status_code == 200
        assert self.ask().status_code == 200
        assert self.call().status_code == 200
        assert self.introspect().json()["active"] is True
        assert self.visitor.has_key()
        path = "/profile/api-key/regenerate/"
        assert self.visitor.form(path, path).fields["version"] == self.fields["version"]

    def assert_away(self) -> None:
        """Whatever needs the database says so; the process is well."""
        assert self.get("/livez").status_code == 200
        for answer in (self.get("/readyz"), self.ask(), self.introspect(), self.revoke()):
            assert_503_json(answer)
        for path in ("/api/v1/users/current", "/api/v1/users/rights", "/api/v1/users?name=a", "/api/v1/profiles"):
            assert_503_json(self.call(path))
        for page in (self.visitor.get("/profile/"), self.regenerate(), self.sign_in()):
            assert_503_page(page, page.text)


def site_on(server: Server) -> Site:
    visitor = Visitor(server.url).sign_in(OWNER)
    if visitor.has_key():
        visitor.delete()
    client_id, secret = visitor.create()
    path = "/profile/api-key/regenerate/"
    site = Site(server, visitor, client_id, secret, "", visitor.form(path, path).fields)
    site.token = site.ask().json()["access_token"]
    return site


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BACK_WITHIN
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Cluster:
    """A PostgreSQL server that is only for these tests and may be stopped."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="airvantage-keys-trouble."))
        self.user = None if os.geteuid() else pwd.getpwnam("postgres").pw_name  # it refuses to run as root
        if self.user:
            shutil.chown(self.folder, self.user)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self._run("initdb", "--username", "keys", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        settings = f"listen_addresses='127.0.0.1'\nport={self.port}\nunix_socket_directories=''\nfsync=off\n"
        self._run_as("tee", "-a", str(self.folder / "data" / "postgresql.conf"), text=settings)

    def start(self) -> None:
        self._run("pg_ctl", "--log", str(self.folder / "log"), "--wait", "--silent", "start")

    def stop(self, mode: str) -> None:
        self._run("pg_ctl", "--mode", mode, "--wait", "--silent", "stop")

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def url(self, user: str, name: str) -> str:
        return f"postgres://{user}@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str) -> None:
        """As the superuser, from outside the site's database."""
        with psycopg.connect(self.url("keys", "postgres"), autocommit=True) as superuser:
            superuser.execute(statement.encode())

    def throw_out(self) -> None:
        """End the site's connections: settings of a database are read when one begins."""
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'site'")

    def _run(self, program: str, *arguments: str) -> None:
        self._run_as(str(self.programs / program), "--pgdata", str(self.folder / "data"), *arguments)

    def _run_as(self, *command: str, text: str = "") -> None:
        switch = ["runuser", "-u", self.user, "--"] if self.user else []
        done = subprocess.run(
            [*switch, *command],
            input=text,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            check=False,
        )
        assert done.returncode == 0, done.stderr


def programs_of_postgres() -> Path | None:
    """Debian keeps them out of PATH, one folder a version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    return folders[-1] if folders else Path(found).parent if found else None


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


@pytest.fixture
def on_sqlite(sqlite_server: Server) -> Site:
    return site_on(sqlite_server)


@pytest.mark.server
@pytest.mark.postgres
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_stopped_and_started_again(cluster, on_postgres, mode):
    cluster.stop(mode)
    try:
        on_postgres.assert_away()
    finally:
        cluster.start()
    until(lambda: on_postgres.get("/readyz").ok)
    on_postgres.assert_well()


@pytest.mark.server
@pytest.mark.postgres
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


@pytest.mark.server
@pytest.mark.postgres
def test_postgres_stopped_under_fire_leaves_nothing_half_done(cluster, on_postgres):
    over = Event()
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
        path = "/profile/api-key/regenerate/"
        while not over.is_set():
            if (page := note(on_postgres.visitor.get(path))).ok:
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
    ((version, events),) = on_postgres.server.sql(
        "SELECT key_version, (SELECT count(*) FROM profiles_keyevent WHERE owner_id = u.id) FROM profiles_user u"
        " WHERE email = %s",
        OWNER,
    )
    assert version == events


@pytest.mark.server
@pytest.mark.postgres
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
    cluster.throw_out()
    try:
        on_postgres.assert_away()
    finally:
        cluster.sql(give)
    on_postgres.assert_well()


@pytest.mark.server
@pytest.mark.postgres
def test_postgres_made_read_only_still_reads(cluster, on_postgres):
    cluster.sql("ALTER DATABASE site SET default_transaction_read_only = on")
    cluster.throw_out()
    try:
        assert_503_json(on_postgres.get("/readyz"))
        assert_503_json(on_postgres.ask())
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
        cluster.throw_out()
    on_postgres.assert_well()


@pytest.mark.server
@pytest.mark.postgres
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


@pytest.mark.server
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
        assert_503_json(token)
        assert_503_page(page, page.text)
        other.execute("ROLLBACK")
    on_sqlite.assert_well()


@pytest.mark.server
def test_sqlite_on_a_full_disk(on_sqlite):
    with no_file_may_grow(on_sqlite.server):
        assert_503_json(on_sqlite.ask())
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
