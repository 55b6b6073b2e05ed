"""API Clients of companies in the admin site: found beside the keys, revoked, disabled, let introspect tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from profiles import rights
from profiles.admin.deeds import DEEDS
from profiles.admin.keys import KeyAdmin
from profiles.admin.states import State, states_of
from profiles.clients import company as company_clients
from profiles.clients import tokens
from profiles.models import (
    AccessProfile,
    AccessToken,
    ClientSecret,
    Company,
    KeyEvent,
    OAuthApplication,
    OldSecret,
    User,
)
from profiles.origin import Origin

from .admin_site import browser_of, make_staff, permit
from .conftest import KeyPair, make_client, make_key, make_token, works
from .policies import lay_down, make_older

pytestmark = pytest.mark.django_db

LIST = "/admin/profiles/oauthapplication/"
TOKENS = "/admin/profiles/accesstoken/"
EVENTS = "/admin/profiles/keyevent/"
DEEDS_TO_CLIENTS = ("disable", "introspect", "no-introspect")


@pytest.fixture
def superuser(admin_user: User) -> Client:
    return browser_of(admin_user)


@pytest.fixture
def elsewhere(client_profile: AccessProfile) -> KeyPair:
    """An API Client of another company, made by somebody of it."""
    profile = AccessProfile.objects.create(name="Everything there", rights=sorted(rights.ALL_RIGHTS))
    other = Company.objects.create(name="Other Ltd")
    maker = User.objects.create_user("max@example.net", name="Max Elsewhere", company=other, access_profile=profile)
    return make_client(maker, client_profile, "Foreign export")


def names(client: Client, address: str = LIST, **query: Any) -> list[str]:
    """What the list shows for this: owners of keys, and names of API Clients."""
    return [row.name or row.owner.email for row in client.get(address, query).context["cl"].result_list]


def page_of(pair: KeyPair) -> str:
    return f"{LIST}{pair.key.pk}/change/"


def read(client: Client, pair: KeyPair) -> str:
    return client.get(page_of(pair)).content.decode()


def do(client: Client, deed: str, *pairs: KeyPair, **more: str) -> str:
    return client.post(f"{LIST}{deed}/", {"key": [pair.key.pk for pair in pairs], **more}, follow=True).content.decode()


def last_event() -> KeyEvent:
    return KeyEvent.objects.latest("pk")


# --- The list ---------------------------------------------------------------------------------------------


def test_both_kinds_are_one_list(superuser, user, key, api_client):
    page = superuser.get(LIST).content.decode()
    assert "Keys and API Clients" in page
    for text in ("Nightly export", "Fleet Ltd", "Integration", user.email, "Operator", "Enabled"):
        assert text in page, text
    assert names(superuser) == ["Nightly export", user.email]


def test_the_index_of_the_site_names_both(superuser):
    assert "Keys and API Clients" in superuser.get("/admin/").content.decode()


def test_by_kind(superuser, user, key, api_client):
    assert names(superuser, kind="personal") == [user.email]
    assert names(superuser, kind="company") == ["Nightly export"]


def test_by_company_of_both_kinds(superuser, user, key, api_client, elsewhere, company):
    assert names(superuser, company=company.pk) == ["Nightly export", user.email]
    assert names(superuser, company=elsewhere.key.company_id) == ["Foreign export"]
    assert names(superuser, company=company.pk, kind="company") == ["Nightly export"]


def test_by_access_profile(superuser, key, api_client, client_profile, access_profile):
    assert names(superuser, access_profile=client_profile.pk) == ["Nightly export"]
    assert names(superuser, access_profile=access_profile.pk) == []


def test_an_unused_api_client_is_found_as_a_key_is(superuser, api_client):
    assert names(superuser, used="never") == ["Nightly export"]
    OAuthApplication.objects.update(last_used=timezone.now() - timedelta(days=91))
    assert names(superuser, used="not-90") == ["Nightly export"]


@pytest.mark.parametrize("word", ["nightly", "EXPORT", "fleet", "uid", "client_id", "beginning", "Fleet Nightly"])
def test_it_is_found_by_name_company_and_client_id(superuser, key, api_client, elsewhere, company, word):
    special = {"uid": company.uid, "client_id": api_client.client_id, "beginning": api_client.client_id[:14]}
    assert "Nightly export" in names(superuser, q=special.get(word, word))
    assert ("Foreign export" in names(superuser, q=word)) == (word == "EXPORT")


def in_states(client: Client) -> dict[str, list[str]]:
    """Who is on the list of each state that has any; the column says the same."""
    lists = {state: found for state in State if (found := names(client, state=state))}
    said = {row: [str(state) for state in states_of(row)] for row in client.get(LIST).context["cl"].result_list}
    assert sum(map(len, lists.values())) == sum(map(len, said.values()))
    for state, found in lists.items():
        assert all(state in states for row, states in said.items() if (row.name or row.owner.email) in found)
    return {str(state): found for state, found in lists.items()}


def test_by_state_of_an_api_client(superuser, api_client, company):
    assert in_states(superuser) == {"enabled": ["Nightly export"]}
    ClientSecret.objects.update(ended=True, ends=timezone.now())
    assert in_states(superuser) == {"no-secret": ["Nightly export"]}
    OAuthApplication.objects.update(disabled=True)
    Company.objects.update(is_active=False)
    assert in_states(superuser) == {state: ["Nightly export"] for state in ("disabled", "no-secret", "off")}
    assert "Disabled, No live secret key, Owner or company switched off" in superuser.get(LIST).content.decode()


def test_by_state_under_a_policy(superuser, admin_user, user, key, api_client, company, elsewhere):
    make_key(admin_user)  # who is of no company
    under_none = [admin_user.email, "Foreign export"]
    lay_down(company, no_keys=True)
    assert in_states(superuser) == {"enabled": [*under_none, "Nightly export"], "policy": [user.email]}
    lay_down(company, days=30)
    make_older(api_client.key, days=31)
    assert in_states(superuser) == {"enabled": [*under_none, user.email], "policy": ["Nightly export"]}
    assert "Refused by its company&#x27;s policy" in superuser.get(LIST).content.decode()
    lay_down(company, networks=("192.0.2.0/24",))
    assert "policy" not in in_states(superuser)  # from there it is accepted
    lay_down(company)
    assert list(in_states(superuser)) == ["enabled"]


def test_by_state_of_a_secret_that_has_ended_under_a_policy(superuser, user, key, api_client, company):
    """Its age does not matter any more; that there may be no key still does."""
    for pair in (key, api_client):
        make_older(pair.key, days=31)
    ClientSecret.objects.update(ended=True, ends=timezone.now())
    lay_down(company, days=30)
    assert in_states(superuser) == {"no-secret": ["Nightly export", user.email]}
    lay_down(company, no_keys=True)
    assert in_states(superuser) == {"no-secret": ["Nightly export", user.email], "policy": [user.email]}
    ClientSecret.objects.all().delete()
    assert in_states(superuser) == {"no-secret": ["Nightly export", user.email], "policy": [user.email]}


def test_by_state_of_a_key(superuser, user, key):
    assert in_states(superuser) == {"enabled": [user.email]}
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert in_states(superuser) == {"off": [user.email]}
    User.objects.filter(pk=user.pk).update(is_active=True)
    Company.objects.update(is_active=False)
    assert in_states(superuser) == {"off": [user.email]}
    ClientSecret.objects.update(ends=timezone.now() + timedelta(hours=1))
    Company.objects.update(is_active=True)
    assert in_states(superuser) == {"enabled": [user.email]}


@pytest.mark.parametrize(
    "leaves",
    [
        lambda manager: User.objects.filter(pk=manager.pk).update(is_active=False),
        lambda manager: User.objects.filter(pk=manager.pk).update(company=None),
        lambda manager: User.objects.filter(pk=manager.pk).update(company=Company.objects.create(name="Next Ltd")),
        lambda manager: manager.delete(),
    ],
    ids=["inactive", "no company", "another company", "deleted"],
)
def test_shown_to_somebody_who_has_left(superuser, manager, key, api_client, leaves):
    assert names(superuser, shown="left") == []
    assert "who has left" not in read(superuser, api_client)
    assert manager.email in read(superuser, api_client)
    leaves(manager)
    assert names(superuser, shown="left") == ["Nightly export"]
    page = read(superuser, api_client)
    assert "who has left: regenerate" in page


def test_a_secret_that_has_ended_is_nobodys_to_know(superuser, manager, company, api_client):
    second = User.objects.create_user(
        "second@example.com", name="Sue Second", company=company, access_profile=manager.access_profile
    )
    origin = Origin(second, KeyEvent.Via.CLIENTS)
    User.objects.filter(pk=manager.pk).update(is_active=False)
    secret: dict[str, Any] = {"company": company, "client_id": api_client.client_id, "origin": origin}
    company_clients.regenerate(**secret, old_secret=OldSecret.DAY)
    assert names(superuser, shown="left") == ["Nightly export"]
    page = read(superuser, api_client)
    assert "second@example.com<br>shown to Mia Manager, who has left: regenerate" in page
    company_clients.end_old_secret(**secret)
    assert names(superuser, shown="left") == []


def test_the_detail_has_what_there_is_to_know_of_an_api_client(superuser, manager, company, client_profile):
    pair = make_client(manager, client_profile, "Hourly import", note="Runs on the build server.\nAsk Mia.")
    make_token(pair)
    OAuthApplication.objects.update(last_used=timezone.now(), last_used_address="203.0.113.7")
    page = read(superuser, pair)
    for text in (
        pair.client_id,
        "Hourly import",
        "Fleet Ltd",
        "Integration",
        "Runs on the build server.<br>Ask Mia.",
        manager.email,
        "203.0.113.7",
        ">1<",
        "May introspect tokens",
    ):
        assert text in page, text
    assert 'name="may_introspect"' not in page


def test_the_list_takes_as_many_queries_with_many_api_clients(superuser, manager, client_profile, key, api_client):
    superuser.get(LIST)
    for address in (LIST, TOKENS, EVENTS):
        with CaptureQueriesContext(connection) as before:
            superuser.get(address)
        for number in range(3):
            make_token(make_client(manager, client_profile, f"{address} {number}"))
        with CaptureQueriesContext(connection) as after:
            superuser.get(address)
        assert len(after) == len(before), address


# --- Tokens and events ------------------------------------------------------------------------------------


def test_its_tokens_say_whose_they_are(superuser, key, token, api_client):
    make_token(api_client)
    page = superuser.get(TOKENS).content.decode()
    assert 'Nightly export<span class="below">Fleet Ltd</span>' in page
    assert "user@example.com" in page
    row = AccessToken.objects.get(application=api_client.key)
    assert "Nightly export" in superuser.get(f"{TOKENS}{row.pk}/change/").content.decode()
    for word in ("nightly", api_client.client_id):
        assert list(superuser.get(TOKENS, {"q": word}).context["cl"].result_list) == [row]


def test_its_events_say_whose_and_what_in_words(superuser, manager, key, api_client):
    company_clients.record_refused_password(api_client.key, origin=Origin(manager, KeyEvent.Via.CLIENTS))
    page = superuser.get(EVENTS).content.decode()
    assert "API Client created" in page
    assert "Wrong password for a change of the API Client" in page
    assert 'Nightly export<span class="below">Fleet Ltd</span>' in page
    detail = superuser.get(f"{EVENTS}{last_event().pk}/change/").content.decode()
    for text in ("Wrong password for a change of the API Client", "Nightly export", "Fleet Ltd"):
        assert text in detail, text
    assert str(last_event()).startswith("Wrong password for a change of the API Client")


def test_what_was_edited_stands_in_the_event(superuser, manager, client_profile, api_client):
    about = company_clients.About("Hourly export", "", client_profile)
    origin = Origin(manager, KeyEvent.Via.CLIENTS)
    company_clients.edit(company=manager.company, client_id=api_client.client_id, about=about, origin=origin)
    assert "name: Nightly export → Hourly export" in superuser.get(EVENTS).content.decode()


def test_its_events_are_found_and_filtered(superuser, user, key, api_client, elsewhere, company):
    def found(**query: Any) -> list[str]:
        return [event.client_name for event in superuser.get(EVENTS, query).context["cl"].result_list]

    assert found(q="nightly") == ["Nightly export"]
    assert found(q=company.uid) == ["Nightly export"]
    assert found(q="fleet") == ["Nightly export", ""]
    assert found(company=company.pk) == ["Nightly export", ""]
    assert found(company=elsewhere.key.company_id) == ["Foreign export"]
    company_clients.revoke(client=api_client.key, origin=Origin(None, KeyEvent.Via.COMMAND), reason="Over")
    assert found(q="fleet", action="revoked") == ["Nightly export"]


# --- What staff do to it ----------------------------------------------------------------------------------


def test_revoking_ends_both_kinds(superuser, admin_user, user, key, api_client):
    token = make_token(api_client)
    page = superuser.get(f"{LIST}revoke/", {"key": [key.key.pk, api_client.key.pk]}).content.decode()
    for text in ("The 2 clients are deleted", "Nightly export", user.email, api_client.client_id, "<td>1</td>"):
        assert text in page, text
    assert "2 clients were revoked." in do(superuser, "revoke", key, api_client, reason="Found in a repository")
    assert not OAuthApplication.objects.exists()
    assert tokens.find(token) is None
    event = KeyEvent.objects.get(client_id=api_client.client_id, action="revoked")
    assert (event.actor, event.via, event.reason) == (admin_user, "admin", "Found in a repository")
    assert "Revoked: Found in a repository" in LogEntry.objects.get(object_repr=api_client.client_id).change_message


def test_disabling_is_at_once_and_has_its_event(superuser, admin_user, api_client):
    token = make_token(api_client)
    assert f"{LIST}disable/?key={api_client.key.pk}" in read(superuser, api_client)
    page = superuser.get(f"{LIST}disable/", {"key": api_client.key.pk}).content.decode()
    assert "Disable this API Client?" in page
    assert works(api_client.client_id, api_client.secret)
    assert tokens.find(token)
    assert "1 API Client was disabled." in do(superuser, "disable", api_client)
    assert tokens.find(token) is None
    with pytest.raises(tokens.Refused, match="client_disabled"):
        tokens.issue(client_id=api_client.client_id, secret=api_client.secret, scope="inherit")
    assert (last_event().action, last_event().actor, last_event().via) == ("disabled", admin_user, "admin")
    assert LogEntry.objects.get(object_repr=api_client.client_id).change_message == "Disabled."
    assert f"{LIST}disable/?key={api_client.key.pk}" not in read(superuser, api_client)


def test_a_superuser_ticks_a_resource_server_and_unticks_it(superuser, admin_user, api_client):
    assert f"{LIST}introspect/?key={api_client.key.pk}" in read(superuser, api_client)
    page = superuser.get(f"{LIST}introspect/", {"key": api_client.key.pk}).content.decode()
    assert "every access token of this site" in page
    api_client.key.refresh_from_db()
    assert not api_client.key.may_introspect
    assert "1 API Client may introspect every token from now on." in do(superuser, "introspect", api_client)
    api_client.key.refresh_from_db()
    assert api_client.key.may_introspect
    assert (last_event().action, last_event().actor) == ("introspection_given", admin_user)
    assert f"{LIST}no-introspect/?key={api_client.key.pk}" in read(superuser, api_client)
    assert "introspect only its own tokens" in do(superuser, "no-introspect", api_client)
    api_client.key.refresh_from_db()
    assert not api_client.key.may_introspect
    assert (last_event().action, last_event().actor) == ("introspection_taken", admin_user)


@pytest.mark.parametrize(
    ("action", "deed", "done"),
    [
        ("revoke_selected", "revoke", "2 clients were revoked."),
        ("disable_selected", "disable", "2 API Clients were disabled."),
        ("let_introspect_selected", "introspect", "2 API Clients may introspect every token"),
        ("end_introspection_selected", "no-introspect", "2 API Clients may introspect only their own"),
    ],
)
def test_each_deed_is_an_action_too(superuser, manager, client_profile, api_client, elsewhere, action, deed, done):
    OAuthApplication.objects.update(may_introspect=deed == "no-introspect")
    selected = {"action": action, "_selected_action": [api_client.key.pk, elsewhere.key.pk]}
    asked = superuser.post(LIST, selected)
    assert asked.context["deed"].name == deed
    assert KeyEvent.objects.exclude(action="created").count() == 0
    assert done in do(superuser, deed, api_client, elsewhere, reason="x")
    assert KeyEvent.objects.exclude(action="created").count() == 2


@pytest.mark.parametrize("deed", DEEDS_TO_CLIENTS)
def test_a_personal_key_is_left_out(superuser, key, api_client, deed):
    OAuthApplication.objects.filter(pk=api_client.key.pk).update(may_introspect=deed == "no-introspect")
    for method in (superuser.get, superuser.post):
        page = method(f"{LIST}{deed}/", {"key": [key.key.pk]}, follow=True).content.decode()
        assert "1 client was left out" in page
    assert "1 client was left out" in do(superuser, deed, key, api_client)
    key.key.refresh_from_db()
    assert (key.key.disabled, key.key.may_introspect) == (False, False)
    assert last_event().client_id == api_client.client_id
    assert f"{LIST}{deed}/" not in read(superuser, key)


def test_what_is_so_already_is_left_out_and_makes_no_event(superuser, api_client):
    do(superuser, "disable", api_client)
    before = last_event()
    assert "1 client was left out" in do(superuser, "disable", api_client)
    assert last_event() == before


@pytest.mark.parametrize("deed", ["revoke", *DEEDS_TO_CLIENTS])
def test_one_made_in_the_meantime_is_not_meant(superuser, manager, client_profile, api_client, deed, monkeypatch):
    OAuthApplication.objects.update(may_introspect=deed == "no-introspect")
    original = KeyAdmin._do

    def overtaken(self: KeyAdmin, request: Any, deed: Any, client: Any, reason: str) -> bool:
        company_clients.delete(
            company=manager.company, client_id=client.client_id, origin=Origin(manager, KeyEvent.Via.CLIENTS)
        )
        make_client(manager, client_profile)  # of the same name
        return original(self, request, deed, client, reason)

    monkeypatch.setattr(KeyAdmin, "_do", overtaken)
    assert "1 of the chosen clients was gone already." in do(superuser, deed, api_client, reason="x")
    newer = OAuthApplication.objects.get()
    assert (newer.disabled, newer.may_introspect) == (False, False)
    assert last_event().action == "created"


# --- Who may ----------------------------------------------------------------------------------------------


def test_who_may_revoke_may_disable_and_nothing_short_of_a_superuser_ticks(api_client):
    staff = make_staff()
    client = permit(staff, "view_oauthapplication")
    page = read(client, api_client)
    assert "May introspect tokens" in page
    for deed in DEEDS:
        assert f"{LIST}{deed.name}/" not in page
        assert client.get(f"{LIST}{deed.name}/", {"key": api_client.key.pk}).status_code == 403
        assert client.post(f"{LIST}{deed.name}/", {"key": api_client.key.pk, "reason": "x"}).status_code == 403
    client = permit(staff, "view_oauthapplication", "revoke_oauthapplication", "view_user", "change_user")
    page = read(client, api_client) + client.get(LIST).content.decode()
    assert "introspect/" not in page
    assert "introspect_selected" not in page
    for name in ("introspect", "no-introspect"):
        assert client.get(f"{LIST}{name}/", {"key": api_client.key.pk}).status_code == 403
        assert client.post(f"{LIST}{name}/", {"key": api_client.key.pk}).status_code == 403
    action = {"action": "let_introspect_selected", "_selected_action": api_client.key.pk}
    client.post(LIST, action)
    assert "1 API Client was disabled." in do(client, "disable", api_client)
    assert "1 client was revoked." in do(client, "revoke", api_client, reason="x")
    assert not KeyEvent.objects.filter(action="introspection_given").exists()


@pytest.mark.parametrize("deed", DEEDS_TO_CLIENTS)
def test_a_deed_needs_the_csrf_token(admin_user, api_client, deed):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(f"{LIST}{deed}/", {"key": api_client.key.pk}).status_code == 403
    assert last_event().action == "created"


def test_staff_of_a_company_reach_its_api_clients_and_no_others(company, user, key, token, api_client, elsewhere):
    make_token(api_client)
    foreign = make_token(elsewhere)
    make_key(User.objects.get(email="max@example.net"))
    staff = make_staff(company=company)
    client = permit(
        staff, "view_oauthapplication", "revoke_oauthapplication", "view_accesstoken", "view_keyevent", "view_company"
    )
    assert names(client) == ["Nightly export", user.email]
    assert names(client, kind="company") == ["Nightly export"]
    assert names(client, q="Foreign") == []
    assert names(client, q="export") == ["Nightly export"]
    assert client.get(page_of(elsewhere)).status_code == 302
    pages = [client.get(address).content.decode() for address in (LIST, TOKENS, EVENTS)]
    pages.append(client.get(f"{EVENTS}export/").getvalue().decode())
    for page in pages:
        assert "Nightly export" in page
        assert "Foreign" not in page
        assert "Other Ltd" not in page
    for deed in ("disable", "revoke"):
        assert "gone already" in do(client, deed, elsewhere, reason="x")
    assert tokens.find(foreign)
    assert "1 API Client was disabled." in do(client, "disable", api_client)
