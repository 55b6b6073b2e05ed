"""The product as `script/server` runs it, for tests: two processes, a database of its own."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg
import requests

ROOT = Path(__file__).resolve().parent.parent
DEMO_PASSWORD = "A long enough demo password"
START_WITHIN = 30  # seconds
# The demo user holds all that an API Client with one of the profiles Operator and Viewer may do.
MAKE_CLIENT = """
import uuid
from profiles.clients import company
from profiles.models import AccessProfile, KeyEvent, User
from profiles.origin import Origin
maker = User.objects.get(email="user@demo.example")
about = company.About(f"Client {uuid.uuid4().hex}", "", AccessProfile.objects.get(name=PROFILE))
client, secret = company.create(company=maker.company, about=about, origin=Origin(maker, KeyEvent.Via.COMMAND))
print(client.client_id, secret)
"""
HELD_AT_MOST = 5000
IMPATIENT = (
    "from airvantage_keys import exchange, server; exchange.BODY_WITHIN = 1; "
    f"exchange.HELD_AT_MOST = {HELD_AT_MOST}; server.main()"
)


class Server:
    """One running site. `folder` holds its log, its mail, and its database where that is SQLite; `code` its source."""

    code = ROOT

    def __init__(self, folder: Path, database_url: str, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "SECRET_KEY": uuid.uuid4().hex * 2,
            "BASE_URL": self.url,
            "DATABASE_URL": database_url,
            "DEMO_PASSWORD": DEMO_PASSWORD,
            "MEDIA_ROOT": str(folder / "media"),
            "EMAIL_URL": f"filemail:///{folder / 'mail'}",
            "RATE_LIMITS": "off",
            **environment,
        }
        self.environment.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)  # set by the browser tests
        self._process: subprocess.Popen[bytes] | None = None

    def manage(self, *arguments: str, **environment: str) -> str:
        """Run a management command on this site's database; its output."""
        command, variables = [sys.executable, "manage.py", *arguments], self.environment | environment
        done = subprocess.run(command, cwd=self.code, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement directly on this site's database; `%s` stands for a value. Returns the rows."""
        address = self.environment["DATABASE_URL"]
        if address.startswith("sqlite"):
            with closing(
                sqlite3.connect(unquote(urlsplit(address).path), timeout=60, isolation_level=None)
            ) as database:
                return database.execute(statement.replace("%s", "?"), values).fetchall()
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def make_client(self, profile: str) -> tuple[str, str]:
        """A new API Client of the demo company with this access profile: its Client ID and its Secret key."""
        client_id, secret = self.manage("shell", "-c", f"PROFILE = {profile!r}{MAKE_CLIENT}").split()[-2:]
        return client_id, secret

    def prepare(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        self.manage("createcachetable")
        self.manage("demodata", TRUSTED_PROXIES="0")  # behind a proxy there are no demo users

    def start(self, workers: int = 2, *, impatient: bool = False) -> None:
        """Start it as script/server does; if `impatient`, a body has one second, and all that are on their way 5 kB."""
        run = ["-c", IMPATIENT] if impatient else ["-m", "airvantage_keys.server"]
        command = [sys.executable, *run, "--host", "127.0.0.1", "--port", str(self.port), "--workers", str(workers)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.code, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self.url}/readyz", timeout=5).ok:
                    return
            except requests.ConnectionError:
                assert self._process.poll() is None, self.log.read_text()
                time.sleep(0.05)  # until it listens
        raise AssertionError(self.log.read_text())

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> None:
        """End it, all its processes at once; with SIGKILL as a power cut would."""
        if self._process is None:
            return
        os.killpg(self._process.pid, sent)
        self._process.wait(timeout=30)
        self._process = None

    @property
    def log(self) -> Path:
        return self.folder / "server.log"


@contextmanager
def running(folder: Path, database_url: str, **environment: str) -> Iterator[Server]:
    """A prepared and started site, with the demo data."""
    server = Server(folder, database_url, **environment)
    server.prepare()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'db.sqlite3'}"


@contextmanager
def postgres_url() -> Iterator[str]:
    """A new database on the PostgreSQL server of TEST_POSTGRES_URL, gone afterwards."""
    address = os.environ["TEST_POSTGRES_URL"]
    name = f"keys_{uuid.uuid4().hex}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(address)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
