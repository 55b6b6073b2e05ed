"""`manage.py dumpdata` and `loaddata`: the way from one database to another, SQLite to PostgreSQL too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from profiles.clients import company as company_clients
from profiles.clients import lifecycle, tokens
from profiles.events import append_only
from profiles.models import AccessToken, AccountEvent, ClientSecret, KeyEvent, OAuthApplication, User
from profiles.origin import Origin

from .conftest import PASSWORD, KeyPair, make_client, make_key, make_token, sign_in, works
from .server import ROOT, Server, postgres_url, running, sqlite_url
from .visitor import Visitor

NATURAL = ("--natural-foreign", "--natural-primary")


def counts() -> dict[str, int]:
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "options",
    [(), NATURAL, NATURAL[:1], ("--all",), ("--all", *NATURAL)],
    ids=["plain", "natural", "natural foreign", "all", "all natural"],
)
def test_what_is_dumped_is_loaded_into_an_empty_database(
    client, user, other_user, admin_user, manager, client_profile, api_client, tmp_path, options
):
    sign_in(client, user)
    by_staff = Origin(admin_user, KeyEvent.Via.ADMIN)
    company_clients.disable(client=api_client.key, origin=by_staff)
    resource_server = make_client(manager, client_profile, "Resource server")
    company_clients.let_introspect(client=resource_server.key, allowed=True, origin=by_staff)
    clients_token = make_token(resource_server)
    origin = Origin(actor=user, via=KeyEvent.Via.PAGE)
    dead = [make_token(make_key(user)), make_token(make_key(other_user))]
    lifecycle.delete(owner=user, origin=origin)
    User.objects.get(pk=other_user.pk).delete()
    key = make_key(user)
    live = make_token(key)
    assert AccessToken.objects.count() == 4
    before, events = counts(), [list(model.objects.values("action", "owner_uid")) for model in (KeyEvent, AccountEvent)]

    # The permissions and names of tables that `migrate` makes have other numbers in another database.
    elsewhere = [] if set(NATURAL) <= set(options) else ["--exclude=contenttypes", "--exclude=auth.permission"]
    call_command("dumpdata", *options, *elsewhere, output=str(tmp_path / "dump.json"))
    append_only.lift(connection)  # by whom the tables belong to; to all others no event ever goes
    call_command("flush", interactive=False)
    # Numbers are not what they were, so that a row which keeps one by mistake belongs to nobody, or to somebody else.
    if "--natural-primary" in options:
        User.objects.create_user("first@example.com", PASSWORD, name="First").delete()
    call_command("loaddata", str(tmp_path / "dump.json"), verbosity=0)

    assert counts() == before
    assert [list(model.objects.values("action", "owner_uid")) for model in (KeyEvent, AccountEvent)] == events
    assert AccessToken.objects.count() == 2
    assert_api_clients_are_as_they_were(api_client, resource_server, clients_token)
    found = tokens.find(live)
    assert found is not None
    assert (found.owner.email, found.client_id) == (user.email, key.client_id)
    assert [tokens.find(token) for token in dead] == [None, None]
    assert works(key.client_id, key.secret)
    owner = User.objects.get(email=user.email)
    assert KeyEvent.objects.filter(owner=owner).count() == 3
    # What is made next gets a number of its own.
    lifecycle.regenerate(owner=owner, origin=Origin(actor=owner, via=KeyEvent.Via.PAGE))
    assert tokens.find(live) is None
    assert make_token(make_key(User.objects.get(email=admin_user.email)))


def assert_api_clients_are_as_they_were(disabled: KeyPair, resource_server: KeyPair, token: str) -> None:
    one, other = OAuthApplication.objects.filter(company__name="Fleet Ltd").order_by("name")
    assert (one.client_id, one.disabled, one.may_introspect) == (disabled.client_id, True, False)
    assert (other.client_id, other.disabled, other.may_introspect) == (resource_server.client_id, False, True)
    assert {str(client.access_profile) for client in (one, other)} == {"Integration"}
    assert {str(client.maker) for client in (one, other)} == {"manager@example.com"}
    assert not ClientSecret.objects.known_outside().exists()
    found = tokens.find(token)
    assert found is not None
    assert (found.owner.uid, found.owner.name) == (resource_server.client_id, "Resource server")
    events = KeyEvent.objects.filter(client_id=resource_server.client_id).values_list("action", "client_name")
    assert set(events) == {("created", "Resource server"), ("introspection_given", "Resource server")}


@pytest.mark.django_db
def test_the_end_of_a_key_takes_one_row_however_many_tokens_there_are(key):
    statements: list[str] = []

    def note(execute, sql, params, many, context):
        statements.append(sql)
        return execute(sql, params, many, context)

    for _ in range(50):
        make_token(key)
    with connection.execute_wrapper(note):
        lifecycle.delete(owner=key.key.user, origin=Origin(actor=None, via=KeyEvent.Via.COMMAND))
    assert statements
    assert not [sql for sql in statements if "profiles_accesstoken" in sql]
    assert AccessToken.objects.count() == 50
    assert not AccessToken._default_manager.exists()
    assert not OAuthApplication.objects.exists()


@pytest.mark.server
@pytest.mark.postgres
def test_a_site_moves_from_sqlite_to_postgresql_as_the_document_says(tmp_path: Path):
    moved = (ROOT / "docs/operations.md").read_text().partition("## Move to PostgreSQL\n")[2].partition("\n## ")[0]
    dump, load = (re.findall(rf"^ +(manage {name} .*)$", moved, re.MULTILINE) for name in ("dumpdata", "loaddata"))

    def told(server: Server, command: str) -> None:
        server.manage(*command.replace("moved.json", str(tmp_path / "moved.json")).split()[1:])

    with running(tmp_path, sqlite_url(tmp_path)) as before:
        visitor = Visitor(before.url).sign_in("user@demo.example")
        pair = visitor.create()
        body = {"grant_type": "client_credentials"}
        token = requests.post(f"{before.url}/api/oauth/token", data=body, auth=pair, timeout=60).json()["access_token"]
        Visitor(before.url).sign_in("other@demo.example").create()
        before.manage("revokekeys", "--owner", "other@demo.example", "--reason", "x", "--yes")
    told(before, dump[0])
    assert str(visitor.session.cookies["session"]) not in (tmp_path / "moved.json").read_text()

    with postgres_url() as url:
        after = Server(tmp_path, url, SECRET_KEY=before.environment["SECRET_KEY"])
        after.manage("migrate", "--verbosity", "0")
        after.manage("createcachetable")
        told(after, load[0])
        after.start()
        try:
            headers = {"Authorization": f"Bearer {token}"}
            call = requests.get(f"{after.url}/api/v1/users/current", headers=headers, timeout=60)
            assert call.json()["email"] == "user@demo.example"
            assert requests.post(f"{after.url}/api/oauth/token", data=body, auth=pair, timeout=60).ok
            assert Visitor(after.url).sign_in("user@demo.example").has_key()
        finally:
            after.stop()
