"""From the database of the first version to that of today: keys and active tokens go on, and nothing dead comes back.

The rows are written by the statements of that time, see `version_before`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from profiles import credentials

from . import api_clients
from .server import DEMO_PASSWORD, Server, postgres_url, sqlite_url
from .test_promises import ask, call
from .version_before import VersionBefore
from .visitor import Visitor

pytestmark = pytest.mark.server

USER = """
INSERT INTO profiles_user
       (password, is_superuser, uid, email, name, job_title, phone_number, country, picture, is_active, is_staff,
        date_joined, key_version)
VALUES (%s, false, %s, %s, 'Uma User', '', '', '', '', true, false, %s, 0)
"""
HASH = f"from django.contrib.auth.hashers import make_password; print(make_password({DEMO_PASSWORD!r}))"
EVENTS = """
SELECT id, time, action, client_id, owner_id, owner_uid, actor_id, actor_uid, via, address, user_agent, reason
  FROM profiles_keyevent ORDER BY id
"""
USED, UNUSED, USED_BEFORE, KEYLESS = (f"{name}@demo.example" for name in ("used", "unused", "before", "keyless"))


@dataclass
class Upgraded:
    """A site on a database that the first version filled, with what people and programs had of it."""

    server: Server
    before: VersionBefore
    pairs: dict[str, tuple[str, str]] = field(default_factory=dict)
    ended: list[tuple[str, str]] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def opens(self, pair: tuple[str, str]) -> bool:
        return ask(self.server.url, *pair).status_code == 200

    def accepts(self, token: str) -> bool:
        return call(self.server.url, token).status_code == 200

    def issue(self, pair: tuple[str, str]) -> str:
        token = self.before.issue(*pair)
        assert token
        return token

    def secret_of(self, email: str) -> tuple[Any, ...]:
        """Hint, last used from where, whether shown to its owner, end: of the one secret that there is."""
        (row,) = self.server.sql(
            "SELECT s.hint, s.last_used_address, s.shown_to_id = u.id, s.ends FROM profiles_clientsecret s"
            " JOIN profiles_oauthapplication k ON k.id = s.application_id JOIN profiles_user u ON u.id = k.user_id"
            " WHERE u.email = %s",
            email,
        )
        return row


def fill(site: Upgraded) -> None:
    """What people and programs did with the first version."""
    before = site.before
    password = site.server.manage("shell", "--verbosity", "0", "--command", HASH).strip()
    for email in (USED, UNUSED, USED_BEFORE, KEYLESS):
        site.server.sql(USER, password, uuid4().hex, email, before.moment())
        site.pairs[email] = before.create(email)
    # One who has regenerated, and uses the key.
    site.dead.append(site.issue(site.pairs[USED]))
    site.ended.append(site.pairs[USED])
    site.pairs[USED] = before.regenerate(USED)
    before.note_use(USED, "203.0.113.9")
    expired = site.issue(site.pairs[USED])
    site.server.sql(
        "UPDATE profiles_accesstoken SET expires = %s WHERE token_checksum = %s",
        before.moment(-timedelta(minutes=1)),
        credentials.digest(expired),
    )
    site.dead.append(expired)
    site.live = [site.issue(site.pairs[USED]), site.issue(site.pairs[UNUSED])]
    # One who has used the key, and has regenerated since.
    before.note_use(USED_BEFORE, "203.0.113.10")
    site.ended.append(site.pairs[USED_BEFORE])
    site.pairs[USED_BEFORE] = before.regenerate(USED_BEFORE)
    # One who has deleted it.
    site.dead.append(site.issue(site.pairs[KEYLESS]))
    site.ended.append(site.pairs.pop(KEYLESS))
    before.delete(KEYLESS)
    site.events = site.server.sql(EVENTS)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Upgraded]:
    with ExitStack() as stack:
        url = sqlite_url(tmp_path) if request.param == "sqlite" else stack.enter_context(postgres_url())
        server = Server(tmp_path, url, REAUTHENTICATION_TIMEOUT="86400")
        site = Upgraded(server, VersionBefore(server))
        server.manage("migrate", "--verbosity", "0", "profiles", "0001_initial")
        server.manage("migrate", "--verbosity", "0", "oauth2_provider")
        fill(site)
        server.manage("migrate", "--verbosity", "0")
        server.manage("createcachetable")
        server.start(workers=1)
        stack.callback(server.stop)
        yield site


def test_what_was_there_goes_on_and_what_had_ended_stays_ended(site):  # security 19, 20, 70
    assert_known_of_each_secret(site)  # first, because each use of a key is noted
    assert_known_from_where(site)
    assert_shown(site)
    assert {email for email, pair in site.pairs.items() if site.opens(pair)} == {USED, UNUSED, USED_BEFORE}
    assert all(site.accepts(token) for token in site.live)
    assert_ended(site)
    assert_events_stay(site)


def assert_known_of_each_secret(site: Upgraded) -> None:
    for email, address in ((USED, "203.0.113.9"), (USED_BEFORE, None), (UNUSED, None)):
        hint, used_from, shown_to_owner, ends = site.secret_of(email)
        assert (hint, used_from and str(used_from), bool(shown_to_owner), ends) == (
            site.pairs[email][1][-4:],
            address,
            True,
            None,
        ), email


def assert_known_from_where(site: Upgraded) -> None:
    rows = site.server.sql(
        "SELECT u.email, f.address, f.last_used = k.last_used FROM profiles_usedfrom f"
        " JOIN profiles_oauthapplication k ON k.id = f.application_id JOIN profiles_user u ON u.id = k.user_id"
    )
    assert sorted((email, str(address), bool(same)) for email, address, same in rows) == [
        (USED_BEFORE, "203.0.113.10", True),
        (USED, "203.0.113.9", True),
    ]


def assert_shown(site: Upgraded) -> None:
    for email, used in ((USED, "from 203.0.113.9"), (USED_BEFORE, "from 203.0.113.10"), (UNUSED, "Never used")):
        page = Visitor(site.server.url).sign_in(email).get("/profile/").text
        client_id, secret = site.pairs[email]
        assert client_id in page
        assert f"…{secret[-4:]}</code>" in page
        assert used in page, email
    assert not Visitor(site.server.url).sign_in(KEYLESS).has_key()


def assert_ended(site: Upgraded) -> None:
    assert not any(site.opens(pair) for pair in site.ended)
    assert not any(site.accepts(token) for token in site.dead)


def assert_events_stay(site: Upgraded) -> None:
    assert len(site.events) == 7
    assert site.server.sql(EVENTS)[: len(site.events)] == site.events
    for statement in ("UPDATE profiles_keyevent SET action = 'created'", "DELETE FROM profiles_keyevent"):
        with pytest.raises(Exception, match="Events are never changed or deleted"):
            site.server.sql(statement)
    site.server.manage("check", "--database", "default", "--fail-level", "WARNING")


def test_api_clients_go_one_migration_back_and_forth(site):
    """What the database has beside the models stays as it is: triggers, and columns that only old servers know."""
    server = site.server
    pair = api_clients.make(server, "Nightly export")
    api_clients.change(server, pair[0], "regenerate", "old_secret=OldSecret.DAY")
    token = ask(server.url, *pair).json()["access_token"]
    api_clients.change(server, pair[0], "edit", "about=company.About('Weekly export', '', profile)")
    beside, events = besides(server), server.sql(EVENTS)
    assert len(beside) > 8
    server.stop()
    server.manage("migrate", "--verbosity", "0", "profiles", "0011")
    assert besides(server) == beside
    assert server.sql(EVENTS) == events
    assert_events_stay(site)
    server.manage("migrate", "--verbosity", "0")
    assert besides(server) == beside
    assert server.sql(EVENTS) == events
    assert_events_stay(site)
    server.start(workers=1)
    assert site.opens(pair)
    assert site.accepts(token)
    assert site.accepts(site.live[0])
    api_clients.change(server, pair[0], "end_old_secret")
    assert not site.opens(pair)
    assert not site.accepts(token)


def besides(server: Server) -> set[str]:
    """Triggers by their names, but those that name all columns of events; and the columns of the version before."""
    if server.environment["DATABASE_URL"].startswith("sqlite"):
        named = server.sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        columns = server.sql("SELECT name FROM pragma_table_info('profiles_oauthapplication')")
    else:
        named = server.sql("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
        columns = server.sql(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'profiles_oauthapplication'"
        )
    old = {"client_secret", "secret_hint", "secret_created"} & {name for (name,) in columns}
    return {name for (name,) in named} | old


def test_back_and_forth_again_nothing_is_lost(site):
    """To the version before: it works with what this one has made. And what it makes then works here."""
    server = site.server
    of_company = api_clients.make(server, "Monthly export")
    token_of_company = ask(server.url, *of_company).json()["access_token"]
    new = Visitor(server.url).sign_in(USED).regenerate()
    token = ask(server.url, *new).json()["access_token"]
    server.stop()
    server.manage("migrate", "--verbosity", "0", "profiles", "0008")
    assert site.before.issue(*site.pairs[USED]) is None
    assert site.before.issue(*of_company) is None
    assert not site.before.accepts(token_of_company)
    assert site.before.accepts(token)
    tokens = [token, site.issue(new), site.issue(site.pairs[UNUSED])]
    replaced = site.pairs[USED_BEFORE]
    site.pairs |= {USED_BEFORE: site.before.regenerate(USED_BEFORE), KEYLESS: site.before.create(KEYLESS)}
    server.manage("migrate", "--verbosity", "0")
    server.start(workers=1)
    assert all(site.accepts(token) for token in tokens)
    assert not site.opens(site.pairs.pop(USED))
    assert not site.opens(replaced)
    assert not site.opens(of_company)  # that version had no such clients
    assert not site.accepts(token_of_company)
    site.pairs[USED] = new
    assert all(site.opens(pair) for pair in site.pairs.values())
    assert_ended(site)
    assert_events_stay(site)
