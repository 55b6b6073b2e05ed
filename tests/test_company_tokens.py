"""An API Client at the OAuth endpoints and the API: it acts for its company, with its access profile, as nobody."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.utils import timezone

from profiles.clients import company as company_clients
from profiles.models import AccessProfile, ClientSecret, Company, KeyEvent, OAuthApplication, User
from profiles.origin import Origin

from .api import ALL_NEEDED, CLIENTS, CURRENT, PROFILES, RIGHTS, USERS, assert_api_error, get
from .conftest import KeyPair, make_client, make_key, make_token, use
from .oauth import GRANT, INTROSPECT, REVOKE, TOKEN, ask, assert_oauth_error, post
from .test_openapi import check_answer

pytestmark = pytest.mark.django_db


@pytest.fixture
def client_token(api_client: KeyPair) -> str:
    return make_token(api_client)


@pytest.fixture
def allowed(client_profile: AccessProfile) -> AccessProfile:
    """The profile of the API Client, with all rights that the API asks for."""
    client_profile.rights = ALL_NEEDED
    client_profile.save()
    return client_profile


@pytest.fixture
def stranger(db) -> KeyPair:
    """The key of somebody of another company."""
    company = Company.objects.create(name="Else Ltd")
    return make_key(User.objects.create_user("s@else.example", name="Stella Stranger", company=company))


@pytest.fixture
def resource_server(api_client: KeyPair, admin_user: User) -> KeyPair:
    """The API Client, after a superuser has let it introspect."""
    let_introspect(api_client, admin_user, allowed=True)
    return api_client


def let_introspect(pair: KeyPair, by: User, *, allowed: bool) -> None:
    origin = Origin(by, KeyEvent.Via.ADMIN)
    company_clients.let_introspect(client=pair.key, allowed=allowed, origin=origin)


def introspect(pair: KeyPair, token: str) -> dict[str, object]:
    response = post(INTROSPECT, [("token", token)], pair.basic)
    assert response.status_code == 200
    check_answer(response, INTROSPECT, "post")
    found: dict[str, object] = response.json()
    return found


# --- Who it is ---------------------------------------------------------------------------------------------


def test_it_asks_for_a_token_as_a_key_does(api_client):
    response = ask(api_client)
    check_answer(response, TOKEN, "post")
    token = response.json().pop("access_token")
    assert get(CURRENT, token).status_code == 200
    assert {key: value for key, value in response.json().items() if key != "access_token"} == {
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "inherit",
    }


def test_current_is_the_client_in_this_form(client_token, api_client, company, client_profile):
    response = get(CURRENT, client_token)
    check_answer(response, CURRENT)
    assert response.content.decode() == json.dumps(
        {
            "company": {"uid": company.uid, "name": "Fleet Ltd"},
            "uid": api_client.client_id,
            "email": None,
            "name": "Nightly export",
            "phoneNumber": "",
            "profile": {"uid": client_profile.uid, "name": "Integration"},
            "picture": None,
        },
        separators=(",", ":"),
    )


def test_it_is_never_its_maker(client_token, manager):
    said = get(CURRENT, client_token).content.decode() + get(RIGHTS, client_token).content.decode()
    assert not any(of_maker in said for of_maker in (manager.uid, manager.email, manager.name, "apiClients"))


def test_its_rights_are_those_of_its_profile_as_of_now(client_token, client_profile):
    assert get(RIGHTS, client_token).json() == ["entities.systems.view"]
    client_profile.rights = ["entities.alerts.rule.view", "entities.spaceships.view"]
    client_profile.save()
    assert get(RIGHTS, client_token).json() == ["entities.alerts.rule.view"]


def test_another_profile_counts_at_the_next_request(client_token, api_client, manager):
    weaker = AccessProfile.objects.create(name="Weaker", rights=[])
    origin = Origin(manager, KeyEvent.Via.CLIENTS)
    about = company_clients.About("Nightly export", "", weaker)
    company_clients.edit(company=manager.company, client_id=api_client.client_id, about=about, origin=origin)
    assert get(RIGHTS, client_token).json() == []
    assert get(CURRENT, client_token).json()["profile"] == {"uid": weaker.uid, "name": "Weaker"}


def test_a_scope_is_of_its_profile(api_client, allowed):
    token = ask(api_client, ("scope", "accountNetwork.users.view")).json()["access_token"]
    assert get(RIGHTS, token).json() == ["accountNetwork.users.view"]
    assert_api_error(get(PROFILES, token), 403, "right.missing")


@pytest.mark.parametrize("scope", ["entities.systems.edit", "accountNetwork.apiClients.create", "nothing"])
def test_a_right_that_its_profile_lacks_is_no_scope_though_its_maker_holds_it(api_client, manager, scope):
    response = ask(api_client, ("scope", f"entities.systems.view {scope}"))
    assert "owner" not in assert_oauth_error(response, 400, "invalid_scope")


# --- What it sees ------------------------------------------------------------------------------------------


def test_the_lists_see_its_company(client_token, allowed, api_client, manager, user, stranger):
    def uids(path: str) -> set[str]:
        response = get(path, client_token)
        check_answer(response, path)
        return {item["uid"] for item in response.json()["items"]}

    assert uids(USERS) == {manager.uid, user.uid}
    assert uids(CLIENTS) == {api_client.client_id}
    assert allowed.uid in uids(PROFILES)


@pytest.mark.parametrize("path", [USERS, PROFILES, CLIENTS])
def test_a_list_needs_the_right_in_its_profile(client_token, path):
    assert_api_error(get(path, client_token), 403, "right.missing")


def test_a_picture_is_seen_with_the_right_to_view_users(client_token, api_client, user, client_profile):
    path = f"/api/v1/users/{user.uid}/picture/icon"
    assert_api_error(get(path, client_token), 403, "right.missing")
    client_profile.rights = ["accountNetwork.users.view"]
    client_profile.save()
    assert_api_error(get(path, client_token), 404, "resource.unknown")  # there is none
    assert_api_error(get(path.replace(user.uid, api_client.client_id), client_token), 404, "resource.unknown")


# --- When it ends ------------------------------------------------------------------------------------------


def switch(company: Company, pair: KeyPair, by: User, *, enabled: bool) -> None:
    origin = Origin(by, KeyEvent.Via.CLIENTS)
    company_clients.switch(company=company, client_id=pair.client_id, enabled=enabled, origin=origin)


def test_disabled_it_is_refused_without_a_reason(company, api_client, client_token, manager):
    switch(company, api_client, manager, enabled=False)
    assert assert_oauth_error(ask(api_client), 401, "invalid_client") == "Client authentication failed."
    for path in (REVOKE, INTROSPECT):
        refused = post(path, [("token", client_token)], api_client.basic)
        assert assert_oauth_error(refused, 401, "invalid_client") == "Client authentication failed."
    body = assert_api_error(get(CURRENT, client_token), 401, "token.invalid")
    assert body["error_description"] == "The access token is malformed, unknown, expired or revoked."
    switch(company, api_client, manager, enabled=True)
    assert get(CURRENT, client_token).status_code == ask(api_client).status_code == 200


def test_a_company_that_is_off_is_refused_the_same_way(company, api_client, client_token, key, token):
    company.is_active = False
    company.save()
    for pair, of_pair in ((api_client, client_token), (key, token)):
        assert assert_oauth_error(ask(pair), 401, "invalid_client") == "Client authentication failed."
        assert_api_error(get(CURRENT, of_pair), 401, "token.invalid")
    company.is_active = True
    company.save()
    assert get(CURRENT, client_token).status_code == get(CURRENT, token).status_code == 200


def test_its_maker_can_leave(api_client, client_token, manager):
    manager.is_active, manager.company = False, None
    manager.save()
    assert get(CURRENT, client_token).status_code == ask(api_client).status_code == 200
    manager.delete()
    assert get(CURRENT, client_token).status_code == ask(api_client).status_code == 200


def regenerate(pair: KeyPair, by: User) -> None:
    origin = Origin(by, KeyEvent.Via.CLIENTS)
    assert by.company
    company_clients.regenerate(company=by.company, client_id=pair.client_id, origin=origin)


def revoke(pair: KeyPair, by: User) -> None:
    company_clients.revoke(client=pair.key, origin=Origin(by, KeyEvent.Via.ADMIN), reason="Found")


@pytest.mark.parametrize(
    ("end", "of_secret", "of_token"),
    [
        (regenerate, "The client secret was replaced on", "The access token ended when the secret key was regenerated"),
        (revoke, "The client secret ended with its client,", "The access token ended when its client was revoked"),
    ],
)
def test_what_has_ended_is_told_to_who_shows_it(
    api_client, client_token, manager, end: Callable[[KeyPair, User], None], of_secret, of_token
):
    end(api_client, manager)
    assert assert_oauth_error(ask(api_client), 401, "invalid_client").startswith(of_secret)
    body = assert_api_error(get(CURRENT, client_token), 401, "token.invalid")
    assert body["error_description"].startswith(of_token)


def test_it_ends_its_own_tokens_and_no_other(api_client, client_token, token):
    for shown in (client_token, token):
        assert post(REVOKE, [("token", shown)], api_client.basic).status_code == 200
    assert_api_error(get(CURRENT, client_token), 401, "token.invalid")
    assert get(CURRENT, token).status_code == 200


# --- Introspection ----------------------------------------------------------------------------------------


def test_it_learns_about_its_own_token_that_it_has_no_user(api_client, client_token, company):
    found = introspect(api_client, client_token)
    assert found.pop("exp", 0) > found.pop("iat", 0)  # type: ignore[operator]
    assert found == {
        "active": True,
        "scope": "inherit",
        "client_id": api_client.client_id,
        "token_type": "Bearer",
        "sub": api_client.client_id,
        "companyId": company.uid,
    }


def test_of_any_other_token_it_learns_nothing(api_client, manager, client_profile, token, stranger):
    beside = make_client(manager, client_profile, "Another one of the company")
    for other in (token, make_token(beside), make_token(stranger)):
        assert introspect(api_client, other) == {"active": False}


def test_a_key_learns_nothing_about_a_client_of_its_company(key, client_token):
    assert introspect(key, client_token) == {"active": False}


def test_a_resource_server_learns_about_every_active_token(
    resource_server, manager, client_profile, token, stranger, user, admin_user
):
    beside = make_client(manager, client_profile, "Another one of the company")
    alone = make_key(admin_user)
    for shown, of, username, company in (
        (token, user.uid, "user@example.com", user.company.uid),
        (make_token(stranger), stranger.key.owner.uid, "s@else.example", stranger.key.owner.company.uid),
        (make_token(beside), beside.client_id, None, manager.company.uid),
        (make_token(alone), admin_user.uid, "admin@example.com", None),
    ):
        found = introspect(resource_server, shown)
        assert (found["active"], found["sub"], found["companyId"]) == (True, of, company)
        assert found.get("username") == username
        assert ("username" in found) == (username is not None)


def test_a_resource_server_learns_nothing_about_what_is_not_active(resource_server, stranger, token, company):
    ended = make_token(stranger)
    stranger.key.owner.company.is_active = False
    stranger.key.owner.company.save()
    User.objects.filter(email="user@example.com").update(is_active=False)
    for shown in (ended, token, "nonsense"):
        assert introspect(resource_server, shown) == {"active": False}


def test_it_sees_the_scope_as_of_now(resource_server, user, key):
    token = make_token(key, "accountNetwork.users.view entities.systems.view")
    user.access_profile.rights = ["entities.systems.view"]
    user.access_profile.save()
    assert introspect(resource_server, token)["scope"] == "entities.systems.view"


def test_a_resource_server_ends_no_token_but_its_own(resource_server, token):
    assert post(REVOKE, [("token", token)], resource_server.basic).status_code == 200
    assert get(CURRENT, token).status_code == 200


def test_what_a_superuser_takes_is_gone_at_the_next_request(resource_server, admin_user, token):
    assert introspect(resource_server, token)["active"] is True
    let_introspect(resource_server, admin_user, allowed=False)
    assert introspect(resource_server, token) == {"active": False}


@pytest.mark.parametrize("off", ["client", "company"])
def test_a_resource_server_that_is_off_learns_nothing(resource_server, company, manager, stranger, off):
    if off == "client":
        switch(company, resource_server, manager, enabled=False)
    else:
        company.is_active = False
        company.save()
    refused = post(INTROSPECT, [("token", make_token(stranger))], resource_server.basic)
    assert_oauth_error(refused, 401, "invalid_client")


def test_it_takes_one_statement(resource_server, token, django_assert_num_queries):
    use(resource_server)
    with django_assert_num_queries(1):
        introspect(resource_server, token)


# --- When it was used ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["token", "call", "introspect"])
def test_each_use_is_noted(api_client, client_token, what):
    before = timezone.now()
    sent = {"REMOTE_ADDR": "198.51.100.9", "HTTP_USER_AGENT": "export/1"}
    if what == "token":
        ask(api_client, **sent)
    elif what == "call":
        get(CURRENT, client_token, **sent)
    else:
        post(INTROSPECT, [("token", client_token)], api_client.basic, **sent)
    for row in (OAuthApplication.objects.get(), ClientSecret.objects.get()):
        assert row.last_used
        assert row.last_used >= before
        assert (row.last_used_address, row.last_used_agent) == ("198.51.100.9", "export/1")


def test_a_token_of_it_takes_one_statement(api_client, django_assert_num_queries):
    use(api_client)
    with django_assert_num_queries(1):
        assert post(TOKEN, [GRANT], api_client.basic).status_code == 200
