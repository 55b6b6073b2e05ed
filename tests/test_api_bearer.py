"""Who gets in: each address of the API climbs the same ladder."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client, RequestFactory
from django.utils import timezone

from profiles import credentials
from profiles.api.bearer import ApiCall, bearer
from profiles.clients import lifecycle, tokens
from profiles.http import calls
from profiles.http.calls import Answer, Call
from profiles.models import AccessProfile, AccessToken, KeyEvent, OAuthApplication, User
from profiles.origin import Origin

from .api import ALL_NEEDED, CURRENT, NEEDS, RIGHTS, USERS, assert_api_error, call, challenge, get
from .conftest import make_key, make_token

pytestmark = pytest.mark.django_db
every_address = pytest.mark.parametrize("address", NEEDS)
METADATA = f"{settings.BASE_URL}/.well-known/oauth-protected-resource"


@pytest.fixture
def full_token(token: str, access_profile: AccessProfile) -> str:
    """The token, its owner now holding each right that some address needs."""
    access_profile.rights = ALL_NEEDED
    access_profile.save()
    return token


@every_address
def test_a_live_token_gets_in(address, full_token):
    response = get(address, full_token)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    assert response["Vary"] == "Authorization"


@every_address
@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param("", None, id="empty"),
        pytest.param("Basic dTpw", None, id="another scheme"),
        pytest.param("TOKEN", None, id="no scheme"),
        pytest.param("Bearer", "invalid_token", id="no token"),
        pytest.param("Bearer TOKENx", "invalid_token", id="one character more"),
        pytest.param("Bearer TOKEN, Bearer TOKEN", "invalid_token", id="twice"),
        pytest.param("Bearer TOKEN\u00e9\x00", "invalid_token", id="not ASCII"),
        pytest.param("Bearer " + "x" * 100_000, "invalid_token", id="100 kB"),
        pytest.param(f"Bearer {credentials.new_token()}", "invalid_token", id="unknown"),
        pytest.param(f"Bearer {credentials.new_secret()}", "invalid_token", id="a secret"),
    ],
)
def test_without_a_good_token_401(address, authorization, error, full_token):  # security 48, 51
    extra = {} if authorization is None else {"HTTP_AUTHORIZATION": authorization.replace("TOKEN", full_token)}
    response = get(address, **extra)
    assert_api_error(response, 401, "token.invalid" if error else "token.missing")
    shown = challenge(response)
    assert shown.get("error") == error
    assert shown["resource_metadata"] == METADATA
    assert shown["realm"]


@every_address
def test_a_truncated_token_is_refused(address, full_token):
    assert_api_error(get(address, full_token[:-1]), 401, "token.invalid")


@every_address
@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "BeArEr"])
def test_the_scheme_is_good_in_any_case(address, scheme, full_token):  # security 47
    assert get(address, HTTP_AUTHORIZATION=f"{scheme} {full_token}").status_code == 200


@every_address
@pytest.mark.parametrize("with_header", [False, True])
@pytest.mark.parametrize("name", ["access_token", "access%5ftoken", "client_secret", "refresh_token"])
def test_a_token_in_the_query_string_is_refused(address, with_header, name, full_token):  # security 47
    response = get(address, full_token if with_header else None, f"{name}={full_token}")
    body = assert_api_error(response, 400, "token.misplaced")
    assert challenge(response)["error"] == "invalid_request"
    assert full_token not in str(body)


@every_address
@pytest.mark.parametrize("with_header", [False, True])
def test_a_token_in_the_body_is_refused(address, with_header, full_token):  # security 47
    form = f"a=b&access_token={full_token}".encode()
    kind = "application/x-www-form-urlencoded"
    response = get(address, full_token if with_header else None, data=form, content_type=kind)
    assert_api_error(response, 400, "token.misplaced")


def test_another_body_is_not_read(token):
    body = b'{"access_token": "x"}'
    assert get(CURRENT, token, data=body, content_type="application/json").status_code == 200


@every_address
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "MAKE"])
def test_only_get_and_head(address, method, full_token):
    response = call(method, address, full_token)
    body = assert_api_error(response, 405, "method.not.allowed")
    assert body["errorParameters"] == [method]
    assert response["Allow"] == "GET, HEAD"


@every_address
def test_head_is_a_get_without_its_body(address, full_token):
    response = call("HEAD", address, full_token)
    assert (response.status_code, response.content) == (200, b"")


every_right = pytest.mark.parametrize(
    ("address", "right"), [(address, right) for address, right in NEEDS.items() if right]
)


@every_right
def test_without_the_right_403(address, right, full_token, access_profile):  # security 48
    access_profile.rights = [other for other in ALL_NEEDED if other != right]
    access_profile.save()
    response = get(address, full_token)
    body = assert_api_error(response, 403, "right.missing")
    assert body["errorParameters"] == [right]
    shown = challenge(response)
    assert (shown["error"], shown["scope"]) == ("insufficient_scope", right)


@every_right
def test_a_narrower_token_is_held_to_its_scope(address, right, key, access_profile):
    access_profile.rights = ALL_NEEDED
    access_profile.save()
    assert get(address, make_token(key, scope=right)).status_code == 200
    others = " ".join(other for other in ALL_NEEDED if other != right)
    assert_api_error(get(address, make_token(key, scope=others)), 403, "right.missing")


@every_address
def test_a_browser_session_opens_nothing(address, full_token, signed_in):  # security 50
    assert_api_error(signed_in.get(address), 401, "token.missing")


@every_address
def test_an_expired_token_is_refused(address, full_token):
    AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert_api_error(get(address, full_token), 401, "token.invalid")


@every_address
@pytest.mark.parametrize("change", [lifecycle.regenerate, lifecycle.delete])
def test_a_token_ends_with_its_key(address, change, full_token, user):  # security 19, 20
    change(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))
    assert_api_error(get(address, full_token), 401, "token.invalid")


@every_address
def test_an_inactive_owner_is_refused_at_the_next_request(address, full_token, user):  # security 21
    assert get(address, full_token).status_code == 200
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert_api_error(get(address, full_token), 401, "token.invalid")
    User.objects.filter(pk=user.pk).update(is_active=True)
    assert get(address, full_token).status_code == 200


def test_rights_are_read_at_each_request(token, access_profile, user):  # security 23
    assert get(RIGHTS, token).json() == ["accountNetwork.users.view", "entities.systems.view"]
    access_profile.rights = ["entities.systems.view"]
    access_profile.save()
    assert get(RIGHTS, token).json() == ["entities.systems.view"]
    assert_api_error(get(USERS, token), 403, "right.missing")
    User.objects.filter(pk=user.pk).update(access_profile=None)
    assert get(RIGHTS, token).json() == []


def test_rights_are_those_of_scope_and_owner_both(key, access_profile):
    token = make_token(key, scope="entities.systems.view accountNetwork.users.view")
    access_profile.rights = ["entities.systems.view", "entities.systems.edit"]
    access_profile.save()
    assert get(RIGHTS, token).json() == ["entities.systems.view"]


def test_a_superuser_without_a_profile_has_no_rights(admin_user):  # security 49
    token = make_token(make_key(admin_user))
    assert get(RIGHTS, token).json() == []
    assert_api_error(get(USERS, token), 403, "right.missing")


def test_the_call_is_the_owners_and_has_the_token(token, user):  # security 49
    seen: list[ApiCall] = []

    @bearer()
    def operation(call: ApiCall) -> Answer:
        seen.append(call)
        return calls.json({})

    operation(Call(RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"}).META))
    assert (seen[0].owner.pk, seen[0].owner.uid) == (user.pk, user.uid)
    assert isinstance(seen[0].token, tokens.ActiveToken)


@pytest.mark.parametrize(
    ("method", "page"),
    [
        ("GET", "/profile/"),
        ("POST", "/profile/api-key/create/"),
        ("POST", "/profile/api-key/regenerate/"),
        ("POST", "/profile/api-key/delete/"),
        ("GET", "/admin/"),
    ],
)
def test_a_token_opens_no_page(method, page, token, user):  # security 35
    response = Client().generic(method, page, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 302
    assert "/login/" in response["Location"]
    assert get(CURRENT, token).status_code == 200


def last_used() -> object:
    return OAuthApplication.objects.values_list("last_used", flat=True).get()


@pytest.mark.parametrize(
    ("address", "query"),
    [
        pytest.param("/api/v1/profiles", "", id="without the right"),
        pytest.param(USERS, "size=0", id="bad parameter"),
        pytest.param(CURRENT, "access_token=x", id="misplaced token"),
    ],
)
def test_a_refused_call_is_no_use_of_the_key(address, query, token):  # security 62
    assert get(address, token, query).status_code in (400, 403)
    assert last_used() is None


def test_an_answered_call_is_a_use_of_the_key(token):  # security 62
    get(CURRENT, token, HTTP_USER_AGENT="robot/1", REMOTE_ADDR="203.0.113.7")
    key = OAuthApplication.objects.get()
    assert key.last_used is not None
    assert (key.last_used_address, key.last_used_agent) == ("203.0.113.7", "robot/1")


def test_a_use_that_cannot_be_noted_is_answered(token, monkeypatch):  # security 62
    def fail(*args: object, **values: object) -> None:
        raise OperationalError("read-only")

    monkeypatch.setattr("django.db.models.query.QuerySet.update", fail)
    assert get(CURRENT, token).status_code == 200


def test_queries_of_a_bearer_call(token, django_assert_num_queries):
    # 1. the token with its secret, key, owner, company and profile  2., 3. last used, of the secret and of the key
    with django_assert_num_queries(3):
        get(CURRENT, token)
    # 1. the token: last used was noted within the minute
    for address in (CURRENT, RIGHTS):
        with django_assert_num_queries(1):
            get(address, token)


def test_a_malformed_token_costs_no_query(token, django_assert_num_queries):  # security 12
    with django_assert_num_queries(0):
        get(CURRENT, token[:-1] + ("x" if token[-1] != "x" else "y"))


def test_a_refused_token_is_logged_without_it(caplog, full_token):  # security 59
    dead = credentials.new_token()
    with caplog.at_level(logging.DEBUG):
        get(CURRENT, dead, REMOTE_ADDR="203.0.113.7")
    assert "token refused: path=/api/v1/users/current address=203.0.113.7" in caplog.text
    assert dead not in caplog.text
