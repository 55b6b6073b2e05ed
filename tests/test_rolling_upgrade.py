"""Servers of this version and of the one before run beside each other, and what one does to a key holds on both.

"Here" is the running site. "There" is `VersionBefore`: the statements of a server that knows nothing of the table of
secrets, on the same database.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from uuid import uuid4

import psycopg
import pytest
import requests

from . import api_clients, version_before
from .server import ROOT, Server, postgres_url
from .test_promises import ROUNDS, add_owner, ask, call
from .version_before import Refused, VersionBefore
from .visitor import Visitor

pytestmark = pytest.mark.server

REGENERATE = "/profile/api-key/regenerate/"
END_OLD = "/profile/api-key/end-old/"
CONNECTIONS = 4


class Owner:
    """A user of their own for each test: a browser here, and what both versions say of their key."""

    def __init__(self, server: Server) -> None:
        self.server, self.site = server, server.url
        self.there = VersionBefore(server)
        self.email = f"owner-{uuid4().hex}@demo.example"
        add_owner(server, self.email)
        self.here = Visitor(server.url).sign_in(self.email)

    def works_here(self, client_id: str, secret: str) -> bool:
        return self.ask(client_id, secret).status_code == 200

    def works_there(self, client_id: str, secret: str) -> bool:
        return self.there.issue(client_id, secret) is not None

    def ask(self, client_id: str, secret: str) -> requests.Response:
        response = ask(self.site, client_id, secret)
        assert response.status_code in (200, 401), response.text
        return response

    def token_here(self, client_id: str, secret: str) -> str:
        return str(self.ask(client_id, secret).json()["access_token"])

    def token_there(self, client_id: str, secret: str) -> str:
        token = self.there.issue(client_id, secret)
        assert token
        return token

    def accepted(self, token: str) -> tuple[bool, bool]:
        """Whether a token is accepted here, and there."""
        return call(self.site, token).status_code == 200, self.there.accepts(token)

    def secrets(self) -> list[tuple[bool, bool, str]]:
        """Of each secret, the oldest first: whether it was ended, whether it has an end, why."""
        rows = self.server.sql(
            "SELECT s.ended, s.ends IS NOT NULL, s.end_reason FROM profiles_clientsecret s"
            " JOIN profiles_oauthapplication k ON k.id = s.application_id JOIN profiles_user u ON u.id = k.user_id"
            " WHERE u.email = %s ORDER BY s.id",
            self.email,
        )
        return [(bool(ended), bool(has_end), reason) for ended, has_end, reason in rows]


@pytest.fixture
def owner(server: Server) -> Owner:
    return Owner(server)


# --- What is done there holds here ----------------------------------------------------------------------------


def test_a_key_made_there_works_here_at_once(owner):
    client_id, secret = owner.there.create(owner.email)
    assert owner.works_here(client_id, secret)
    page = owner.here.get("/profile/").text
    assert client_id in page
    assert secret[-4:] in page
    assert owner.secrets() == [(False, False, "")]
    assert owner.works_here(*owner.here.regenerate())


@pytest.mark.parametrize("old_secret", ["", "first-use", "24h"])
def test_regenerated_there_all_of_before_is_refused_here(owner, old_secret):  # security 20
    pairs = [owner.here.create()]
    tokens = [owner.token_here(*pairs[0]), owner.token_there(*pairs[0])]
    if old_secret:  # then two are good here
        pairs.append(owner.here.regenerate(old_secret))
    new = owner.there.regenerate(owner.email)
    assert [owner.works_here(*pair) for pair in pairs] == [False] * len(pairs)
    assert [owner.accepted(token) for token in tokens] == [(False, False)] * 2
    assert owner.works_here(*new)
    assert owner.secrets() == [(True, True, "replaced")] * len(pairs) + [(False, False, "")]
    assert "was replaced" in owner.ask(*pairs[-1]).json()["error_description"]


def test_regenerated_there_what_had_ended_before_keeps_its_end(owner):
    owner.here.create()
    client_id, _ = owner.here.regenerate("24h")
    an_hour_ago = owner.there.moment(-timedelta(hours=1))
    owner.server.sql(
        "UPDATE profiles_clientsecret SET ends = %s WHERE ends IS NOT NULL AND client_id = %s", an_hour_ago, client_id
    )
    owner.there.regenerate(owner.email)
    assert owner.secrets() == [(False, True, "replaced"), (True, True, "replaced"), (False, False, "")]


def test_deleted_there_it_is_refused_here(owner):  # security 19
    client_id, secret = owner.here.create()
    tokens = [owner.token_here(client_id, secret), owner.token_there(client_id, secret)]
    owner.there.delete(owner.email)
    answer = owner.ask(client_id, secret)
    assert answer.status_code == 401
    assert "was deleted" in answer.json()["error_description"]
    assert answer.json()["error_description"] == owner.ask(client_id, secret).json()["error_description"]
    assert [owner.accepted(token) for token in tokens] == [(False, False)] * 2
    assert owner.works_here(*owner.here.create())


def test_a_user_deleted_there_leaves_nothing_that_points_nowhere(owner):  # security 22
    client_id, secret = owner.here.create()
    owner.here.regenerate("24h")
    tokens = [owner.token_here(client_id, secret)]
    owner.there.delete_user(owner.email)
    assert not owner.works_here(client_id, secret)
    assert [owner.accepted(token) for token in tokens] == [(False, False)]
    rows = owner.server.sql(
        "SELECT application_id, shown_to_id, ended FROM profiles_clientsecret WHERE client_id = %s", client_id
    )
    assert [(*links, bool(ended)) for *links, ended in rows] == [(None, None, True)] * 2
    owner.server.manage("dumpdata", "--natural-foreign", "profiles")


def test_the_last_use_noted_there_is_shown_here(owner):
    owner.there.create(owner.email)
    owner.there.note_use(owner.email, "203.0.113.99")
    assert "203.0.113.99" in owner.here.get("/profile/").text


def test_of_a_form_here_and_a_change_there_the_change_stands(owner):  # security 14
    owner.there.create(owner.email)
    form = owner.here.form(REGENERATE, REGENERATE)
    client_id, secret = owner.there.regenerate(owner.email)
    assert owner.here.send(form, REGENERATE).status_code == 409
    assert owner.works_here(client_id, secret)


# --- What is done here holds there ----------------------------------------------------------------------------


def test_a_key_made_here_works_there_at_once(owner):
    assert owner.works_there(*owner.here.create())


def test_regenerated_here_the_old_secret_is_refused_there(owner):  # security 20
    old = owner.here.create()
    tokens = [owner.token_here(*old), owner.token_there(*old)]
    new = owner.here.regenerate("now")
    assert not owner.works_there(*old)
    assert owner.works_there(*new)
    assert [owner.accepted(token) for token in tokens] == [(False, False)] * 2


def test_deleted_here_it_is_refused_there(owner):  # security 19
    old = owner.here.create()
    tokens = [owner.token_here(*old), owner.token_there(*old)]
    owner.here.delete()
    assert not owner.works_there(*old)
    assert [owner.accepted(token) for token in tokens] == [(False, False)] * 2


@pytest.mark.parametrize("old_secret", ["first-use", "24h"])
def test_an_old_secret_stays_good_here_alone(owner, old_secret):  # security 27
    """A server of the version before knows one secret of a key. It refuses too much then, never too little."""
    old = owner.here.create()
    token = owner.token_here(*old)
    new = owner.here.regenerate(old_secret)
    assert owner.works_here(*old)
    assert not owner.works_there(*old)
    assert owner.works_there(*new)
    late = owner.token_here(*old)
    assert [owner.accepted(token), owner.accepted(late)] == [(True, False)] * 2
    owner.here.submit(END_OLD, END_OLD)
    assert not owner.works_here(*old)
    assert [owner.accepted(token), owner.accepted(late)] == [(False, False)] * 2
    assert owner.works_here(*new)
    assert owner.works_there(*new)


@pytest.mark.parametrize("change", ["regenerate", "delete and create"])
def test_of_a_form_there_and_a_change_here_the_change_stands(owner, change):  # security 14
    owner.here.create()
    seen = owner.there.version(owner.email)
    if change == "regenerate":
        client_id, secret = owner.here.regenerate()
    else:
        owner.here.delete()
        client_id, secret = owner.here.create()
    with pytest.raises(Refused):
        owner.there.regenerate(owner.email, seen)
    with pytest.raises(Refused):
        owner.there.delete(owner.email, seen)
    assert owner.works_here(client_id, secret)


# --- API Clients, which that version does not know ---------------------------------------------------------------


def client_in(server: Server, client_id: str) -> list[tuple[object, ...]]:
    """All that the database has of an API Client, but to whom it was shown and who has made it."""
    client = "SELECT name, note, company_id, access_profile_id, disabled, user_id, client_secret, secret_hint"
    secret = "SELECT digest, hint, application_id, ends, ended, ends_at_first_use, end_reason"
    return [
        *server.sql(f"{client} FROM profiles_oauthapplication WHERE client_id = %s", client_id),
        *server.sql(f"{secret} FROM profiles_clientsecret WHERE client_id = %s ORDER BY id", client_id),
    ]


@pytest.mark.parametrize("old_secret", ["", "FIRST_USE", "DAY"])
def test_an_api_client_is_refused_there_and_so_are_its_tokens(owner, old_secret):
    pair = api_clients.make(owner.server, uuid4().hex)
    token = owner.token_here(*pair)
    if old_secret:
        api_clients.change(owner.server, pair[0], "regenerate", f"old_secret=OldSecret.{old_secret}")
    assert not owner.works_there(*pair)
    assert owner.works_here(*pair)
    assert owner.accepted(token) == (True, False)


def test_what_is_done_there_touches_no_api_client(owner):
    pair = api_clients.make(owner.server, uuid4().hex)
    api_clients.change(owner.server, pair[0], "regenerate", "old_secret=OldSecret.DAY")
    token = owner.token_here(*pair)
    before = client_in(owner.server, pair[0])
    assert len(before) == 3
    keys = [owner.there.create(owner.email), owner.there.regenerate(owner.email)]
    owner.there.note_use(owner.email, "203.0.113.99")
    assert owner.works_here(*keys[1])
    owner.there.delete(owner.email)
    owner.there.create(owner.email)
    owner.there.delete_user(owner.email)
    assert client_in(owner.server, pair[0]) == before
    assert owner.works_here(*pair)
    assert owner.accepted(token) == (True, False)


def test_it_lives_on_when_its_maker_is_deleted_there(owner):
    pair = api_clients.make(owner.server, uuid4().hex)
    before = client_in(owner.server, pair[0])
    owner.there.delete_user("manager@demo.example")
    assert client_in(owner.server, pair[0]) == before
    assert owner.works_here(*pair)
    links = owner.server.sql(
        "SELECT k.maker_id, s.shown_to_id FROM profiles_oauthapplication k"
        " JOIN profiles_clientsecret s ON s.application_id = k.id WHERE k.client_id = %s",
        pair[0],
    )
    assert links == [(None, None)]
    owner.server.manage("dumpdata", "--natural-foreign", "profiles")


def test_a_company_that_is_off_is_off_here_alone(owner):
    """The version before knows no such company: its servers go on letting its keys in until they are stopped."""
    pair = owner.here.create()
    columns = "uid, name, name_folded, require_mfa, is_active"
    owner.server.sql(f"INSERT INTO profiles_company ({columns}) VALUES (%s, %s, %s, false, false)", *[uuid4().hex] * 3)
    owner.server.sql(
        "UPDATE profiles_user SET company_id = (SELECT max(id) FROM profiles_company) WHERE email = %s", owner.email
    )
    assert (owner.works_here(*pair), owner.works_there(*pair)) == (False, True)


# --- Tokens ---------------------------------------------------------------------------------------------------


def test_a_token_of_one_is_accepted_by_the_other(owner):
    pair = owner.here.create()
    assert owner.accepted(owner.token_here(*pair)) == (True, True)
    assert owner.accepted(owner.token_there(*pair)) == (True, True)
    assert owner.there.count_live(owner.email) == 2


def test_a_token_asked_for_there_during_a_change_here_is_dead(owner):  # security 15, 17
    for _ in range(ROUNDS):
        pair = owner.here.create() if not owner.here.has_key() else owner.here.regenerate()
        changed = Event()

        def burn(pair: tuple[str, str] = pair, changed: Event = changed) -> list[str]:
            issued = []
            while not changed.is_set():
                issued.append(owner.there.issue(*pair))
            return [token for token in issued if token]

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            burning = [pool.submit(burn) for _ in range(CONNECTIONS)]
            time.sleep(0.2)
            owner.here.regenerate()
            changed.set()
            tokens = [token for connection in burning for token in connection.result()]
        assert tokens
        assert {owner.accepted(token) for token in tokens} == {(False, False)}


# --- The migration itself, while servers of the version before run --------------------------------------------


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Server]:
    """A database as the version before had it."""
    with postgres_url() as url:
        server = Server(tmp_path, url)
        server.manage("migrate", "--verbosity", "0", "profiles", "0008")
        server.manage("migrate", "--verbosity", "0", "oauth2_provider")
        yield server


@pytest.mark.postgres
def test_what_they_have_prepared_goes_on_working(before):
    """PostgreSQL refuses a prepared statement for ever whose columns have got another type."""
    there = VersionBefore(before)
    now = there.moment()
    statements: list[tuple[str, tuple[object, ...]]] = [
        (version_before.KEY, (1,)),
        (version_before.ISSUE, ("0" * 64, "inherit", now, now, now, "0" * 32, "")),
        (version_before.AUTHENTICATE, ("0" * 32, "")),
        (version_before.FIND, ("0" * 64, now)),
        (version_before.COUNT_LIVE, (now, 1)),
    ]
    with psycopg.connect(there.url, autocommit=True, prepare_threshold=0) as connection:
        for statement, values in statements:
            connection.execute(statement, values)
        before.manage("migrate", "--verbosity", "0")
        for statement, values in statements:
            connection.execute(statement, values)


@pytest.mark.postgres
@pytest.mark.parametrize("migration", ["0009", "0010", "0012"])
def test_no_request_of_theirs_is_the_victim_of_a_deadlock(before, migration):
    """A Regenerate has the user's row and wants the key's, when the migration comes; or a Delete has its event."""
    before.manage("migrate", "--verbosity", "0", "profiles", f"{int(migration) - 1:04}")
    now = VersionBefore(before).moment()
    an_event = (version_before.EVENT, (now, "", None, "", "deleted", "", None))
    first = an_event if migration == "0012" else (version_before.NEXT_VERSION, (1, 0))
    with psycopg.connect(before.environment["DATABASE_URL"]) as connection:
        if migration != "0012":  # there the request has a later table first: the migration gives way, but not so soon
            connection.execute("SET deadlock_timeout = '10ms'")  # the first to notice is the victim
        connection.execute(*first)
        migrating = subprocess.Popen(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0", "profiles", migration],
            cwd=ROOT,
            env=before.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        waiting = (
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND datname = current_database()"  # other tests share the server
        )
        while before.sql(waiting) == [(0,)]:
            assert migrating.poll() is None, migrating.communicate()
        connection.execute(version_before.REGENERATE, (None, "", "", None, 1))
    _, said = migrating.communicate(timeout=60)
    assert (migrating.returncode, said) == (0, "")
