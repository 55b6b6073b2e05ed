"""The probe `/readyz`: red, with a code of its own, for each thing that keeps a server from serving."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
import requests
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.test import Client

from profiles.http import errors, impatient, readiness

from .server import Server
from .trouble import assert_503_json

CODES = {it.code: it for it in errors.NOT_READY.codes}


def assert_red(response, code: str) -> None:
    assert_503_json(response, code)
    assert response.json()["error_description"] == CODES[code].meaning


def get(server: Server) -> requests.Response:
    return requests.get(f"{server.url}/readyz", timeout=60)


@contextmanager
def changed(server: Server, do: str, undo: str) -> Iterator[None]:
    server.sql(do)
    try:
        yield
    finally:
        server.sql(undo)
    assert get(server).json() == {"status": "ok"}


@pytest.mark.django_db
def test_it_is_green_where_all_is_there(client):
    assert client.get("/readyz").json() == {"status": "ok"}


@pytest.mark.server
def test_pending_migrations(server):  # security 89
    with changed(
        server,
        "UPDATE django_migrations SET name = 'not yet' WHERE app = 'profiles' AND name = '0012_api_clients'",
        "UPDATE django_migrations SET name = '0012_api_clients' WHERE name = 'not yet'",
    ):
        assert_red(get(server), "server.migrations.pending")


@pytest.mark.server
def test_a_database_without_anything(server):
    with changed(
        server, "ALTER TABLE django_migrations RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO django_migrations"
    ):
        assert_red(get(server), "server.migrations.pending")


@pytest.mark.server
def test_migrations_of_a_newer_version_do_no_harm(server):
    """While versions replace each other, and on the way back."""
    with changed(
        server,
        "INSERT INTO django_migrations (app, name, applied) VALUES ('profiles', '9999_next', '2026-01-01')",
        "DELETE FROM django_migrations WHERE name = '9999_next'",
    ):
        assert get(server).ok


@pytest.mark.server
def test_the_table_of_the_cache_is_missing(server):  # security 89
    with changed(server, "ALTER TABLE cache RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO cache"):
        assert_red(get(server), "server.cache.unavailable")


@pytest.mark.server
@pytest.mark.postgres
def test_a_lock_on_what_it_reads(postgres_server):  # security 89
    with psycopg.connect(postgres_server.environment["DATABASE_URL"]) as other:
        other.execute("LOCK TABLE django_migrations IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        assert_red(get(postgres_server), "server.unavailable")
        assert time.monotonic() - begun < 4  # two are promised, on a machine that does nothing else
    assert get(postgres_server).ok


@pytest.mark.django_db
@pytest.mark.parametrize("when", ["when it began", "now"])
def test_the_manifest_of_static_files_is_missing(client, monkeypatch, tmp_path, when):  # security 89
    manifest = tmp_path / "staticfiles.json"
    if when == "now":
        manifest.write_text('{"version": "1.1", "paths": {"a.css": "a.0.css"}}')
    monkeypatch.setattr(readiness, "staticfiles_storage", ManifestStaticFilesStorage(location=tmp_path))
    if when == "now":
        assert client.get("/readyz").status_code == 200
        manifest.unlink()
    else:
        manifest.write_text('{"version": "1.1", "paths": {"a.css": "a.0.css"}}')
    assert_red(client.get("/readyz"), "server.static.missing")


@pytest.mark.django_db
def test_a_sqlite_file_that_may_not_be_written(tmp_path, monkeypatch):
    """Root may write to any file, so the answer of the system is replaced."""
    file = str(tmp_path / "db.sqlite3")
    settings = connections.configure_settings({"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": file}})
    with closing(DatabaseWrapper(settings["default"])) as database:
        assert not impatient.is_read_only(database)
        monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (file, os.W_OK))
        assert impatient.is_read_only(database)


def test_probes_share_one_look_and_a_look_that_hangs_is_answered_at_once(client, monkeypatch):  # security 89
    goes_on = threading.Event()
    looks: list[readiness.Look] = []

    def hang(look: readiness.Look) -> None:
        looks.append(look)
        goes_on.wait()

    monkeypatch.setattr(readiness, "DEADLINE", 0.2)
    monkeypatch.setattr(readiness.Look, "_look", hang)
    try:
        answers = [client.get("/readyz") for _ in range(5)]
        begun = time.monotonic()
        answers += [client.get("/readyz") for _ in range(20)]
        assert time.monotonic() - begun < 0.2 * 20 / 2
    finally:
        goes_on.set()
    assert len(looks) == 1
    for answer in answers:
        assert_red(answer, "server.unavailable")


def test_what_is_unexpected_is_a_500_that_says_nothing(monkeypatch):
    def fail(_: object) -> None:
        raise ValueError("hunter2")

    monkeypatch.setattr(readiness.Look, "_look", fail)
    response = Client(raise_request_exception=False).get("/readyz")
    assert response.status_code == 500
    assert "hunter2" not in response.content.decode()
