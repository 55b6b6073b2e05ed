"""script/backup and script/restore, as docs/operations.md tells to use them."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from .server import ROOT, Server, running
from .test_promises import ask, call
from .visitor import Visitor

pytestmark = pytest.mark.server

RESTORE = (ROOT / "docs/operations.md").read_text().partition("\n## Restore\n")[2].partition("\n## ")[0]
SPECIAL = "p@s/s%w o#r?d:$'\"&=+"


@contextmanager
def role_of_its_own(address: str) -> Iterator[str]:
    """A database with a blank in its name and an order of its own, of a role with a password that has to be encoded in
    its address.
    """
    name = f"keys {uuid.uuid4().hex}"
    role = sql.Identifier(name)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(role, SPECIAL))
        made = "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'fr-FR'"
        connection.execute(sql.SQL(made).format(role, role))
        parts = urlsplit(address)
        place = f"{quote(name)}:{quote(SPECIAL, safe='')}@{parts.hostname}:{parts.port}"
        try:
            yield urlunsplit(parts._replace(netloc=place, path=f"/{quote(name)}", query="sslmode=prefer"))
        finally:
            owned = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = %s"
            for (database,) in connection.execute(owned, [name]).fetchall():
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/a%20%23b.sqlite3"
    else:
        with role_of_its_own(os.environ["TEST_POSTGRES_URL"]) as found:
            yield found


def script(server: Server, name: str, *arguments: str, good: bool = True) -> str:
    """Run it in the folder of the server; all that it says."""
    done = subprocess.run(
        [ROOT / "script" / name, *arguments],
        cwd=server.folder,
        env=server.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == good, done.stdout
    assert "p@s/s" not in done.stdout
    return done.stdout


def clients_that_ended(server: Server, events: str) -> str:
    """The file that the document's command makes of the exported events."""
    (command,) = re.findall(r"^ +(python3 -c .*) > client-ids\.txt$", RESTORE, re.MULTILINE)
    found = subprocess.run(
        ["bash", "-c", command.replace("lost.csv", events)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    file = server.folder / "client-ids.txt"
    file.write_text(found.stdout)
    return str(file)


def token(server: Server, pair: tuple[str, str]) -> str:
    return str(ask(server.url, *pair).json()["access_token"])


def databases(server: Server) -> list[str]:
    """Where there is more than one: what a restore has left beside the database."""
    if server.environment["DATABASE_URL"].startswith("sqlite"):
        return sorted(path.name for path in server.folder.iterdir() if ".sqlite3." in path.name)
    mine = server.sql("SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = current_user")
    return sorted({name for (name,) in mine} - {name for (name,) in server.sql("SELECT current_database()")})


def kind_of_database(server: Server) -> list[tuple[str, ...]]:
    """Encoding, collation and owner of one of PostgreSQL."""
    if server.environment["DATABASE_URL"].startswith("sqlite"):
        return []
    return server.sql(
        "SELECT to_jsonb(d) - 'oid' - 'datfrozenxid' - 'datminmxid' FROM pg_database d"
        " WHERE datname = current_database()"
    )


def test_a_backup_is_restored_and_what_had_ended_since_stays_dead(address, tmp_path):
    with running(tmp_path, address) as server:
        people = {name: Visitor(server.url).sign_in(f"{name}@demo.example") for name in ("user", "other", "admin")}
        before = {name: visitor.create() for name, visitor in people.items()}
        people["user"].regenerate()  # so that the backup has a secret that ended
        before["user"] = people["user"].regenerate()
        tokens = {name: token(server, pair) for name, pair in before.items()}
        kind, since = kind_of_database(server), datetime.now(UTC).isoformat()
        backup = script(server, "backup", "a backup").strip()
        assert backup == f"{tmp_path}/a backup"
        assert Path(backup).stat().st_mode & 0o777 == 0o600
        assert "is there already" in script(server, "backup", "a backup", good=False)

        replaced = people["user"].regenerate()
        people["other"].delete()
        made_since = people["other"].create()
        server.manage("exportevents", "--since", since, "--output", f"{tmp_path}/lost.csv")
        assert "stop the site" in script(server, "restore", "a backup", good=False)
        assert ask(server.url, *replaced).ok
        assert databases(server) == []

        server.stop()
        assert "is kept as" in script(server, "restore", "a backup")
        ended = clients_that_ended(server, f"{tmp_path}/lost.csv")
        server.manage("revokekeys", "--listed", ended, "--yes", "--reason", "Restored from a backup")
        server.start()
        answers = {name: ask(server.url, *pair).status_code for name, pair in before.items()}
        assert answers == {"user": 401, "other": 401, "admin": 200}
        assert [ask(server.url, *pair).status_code for pair in (replaced, made_since)] == [401, 401]
        assert {call(server.url, token).status_code for token in tokens.values()} == {401}
        assert people["admin"].get("/profile/").url.startswith(f"{server.url}/accounts/login/")
        assert Visitor(server.url).sign_in("admin@demo.example").has_key()
        assert len(databases(server)) == 1
        assert kind_of_database(server) == kind
        assert server.manage("check", "--database", "default", "--fail-level", "WARNING")


def test_a_restore_that_fails_half_way_leaves_all_as_it_was(address, tmp_path):
    server = Server(tmp_path, address)
    server.prepare()
    pair = [line.split("=")[1] for line in server.manage("createkey", "user@demo.example").splitlines()]
    backup = Path(script(server, "backup", "whole").strip())
    whole = backup.read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) * 9 // 10])
    (tmp_path / "none").write_bytes(b"no backup at all" * 1000)
    (tmp_path / "empty").touch()
    for name in ("half", "none", "empty", "not there"):
        script(server, "restore", name, good=False)
        assert databases(server) == []
    assert server.sql("SELECT client_id FROM profiles_oauthapplication") == [(pair[0],)]


@pytest.mark.parametrize("name", ["backup", "restore"])
def test_wrong_arguments_are_told_how_it_is_used(name, tmp_path):
    server = Server(tmp_path, f"sqlite:///{tmp_path}/none.sqlite3")
    for arguments in ([], [""], ["a", "b"]):
        assert f"Usage: script/{name} [--environment FILE] FILE" in script(server, name, *arguments, good=False)
    assert f"Usage: script/{name} [--environment FILE] FILE" in script(server, name, "--help")
    assert list(tmp_path.iterdir()) == []


def test_migrate_goes_past_the_pooler(tmp_path):
    """DATABASE_URL leads nowhere: what is migrated is the direct address."""
    direct = f"sqlite:///{tmp_path}/direct.sqlite3"
    server = Server(tmp_path, f"sqlite:///{tmp_path}/pooled.sqlite3", MAINTENANCE_DATABASE_URL=direct)
    server.manage("migrate", "--verbosity", "0")
    server.manage("createcachetable")
    assert (tmp_path / "direct.sqlite3").exists()
    assert not (tmp_path / "pooled.sqlite3").exists()
    assert script(server, "backup", "of the direct one")
    assert not (tmp_path / "pooled.sqlite3").exists()
