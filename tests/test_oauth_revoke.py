"""POST /api/oauth/revoke (RFC 7009)."""

import pytest

from profiles import credentials
from profiles.clients import tokens
from profiles.models import User

from .conftest import basic, make_key, make_token
from .oauth import REVOKE, assert_oauth_error, post

pytestmark = pytest.mark.django_db

WELL_FORMED = "avt_000000000000000000000000000000000000000000007wdPq"


def test_a_revoked_token_is_refused_at_once(key, token):  # security 53
    response = post(REVOKE, [("token", token)], key.basic)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert response.json() == {}
    assert response["Cache-Control"] == "no-store"
    assert tokens.find(token) is None


def test_credentials_may_stand_in_the_form(key, token):
    fields = [("token", token), ("client_id", key.client_id), ("client_secret", key.secret)]
    assert post(REVOKE, fields).status_code == 200
    assert tokens.find(token) is None


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
def test_a_hint_changes_nothing(key, token, hint):
    assert post(REVOKE, [("token", token), ("token_type_hint", hint)], key.basic).status_code == 200
    assert tokens.find(token) is None


@pytest.mark.parametrize("unknown", ["x", "\x00", "é", "x" * 900, WELL_FORMED])
def test_an_unknown_token_is_revoked_already(key, unknown):  # security 53
    assert post(REVOKE, [("token", unknown)], key.basic).status_code == 200


def test_done_twice_is_done(key, token):
    for _ in range(2):
        assert post(REVOKE, [("token", token)], key.basic).status_code == 200


def test_the_token_of_another_key_stays(other_user, key, token):  # security 53
    stranger = make_key(other_user)
    assert post(REVOKE, [("token", token)], stranger.basic).status_code == 200
    assert tokens.find(token)


def test_the_other_tokens_of_the_key_stay(key, token):
    other = make_token(key)
    post(REVOKE, [("token", token)], key.basic)
    assert tokens.find(other)


def test_without_a_token_it_says_so(key):
    assert "token" in assert_oauth_error(post(REVOKE, [], key.basic), 400, "invalid_request")
    assert_oauth_error(post(REVOKE, [("token", "")], key.basic), 400, "invalid_request")


def test_only_a_proven_client_revokes(key, token):  # security 53
    wrong = basic(key.client_id, credentials.new_secret())
    assert_oauth_error(post(REVOKE, [("token", token)]), 401, "invalid_client")
    assert_oauth_error(post(REVOKE, [("token", token)], wrong), 401, "invalid_client")
    assert_oauth_error(post(REVOKE, [("token", token)], f"Bearer {token}"), 401, "invalid_client")
    assert tokens.find(token)


def test_an_inactive_owner_is_no_client(user, key, token):
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert_oauth_error(post(REVOKE, [("token", token)], key.basic), 401, "invalid_client")


def test_the_address_takes_no_token(key, token):  # security 37
    assert_oauth_error(post(f"{REVOKE}?token={token}", [], key.basic), 400, "invalid_request")
    assert tokens.find(token)
