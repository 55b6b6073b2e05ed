"""POST /api/oauth/introspect (RFC 7662)."""

from datetime import timedelta

import pytest
from django.utils import timezone

from profiles import credentials
from profiles.clients import lifecycle
from profiles.models import AccessToken, KeyEvent
from profiles.origin import Origin

from .conftest import basic, make_key, use
from .oauth import INTROSPECT, assert_oauth_error, post

pytestmark = pytest.mark.django_db

WELL_FORMED = "avt_000000000000000000000000000000000000000000007wdPq"


def introspect(pair, token):
    response = post(INTROSPECT, [("token", token)], pair.basic)
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    return response.json()


def test_a_key_learns_about_its_own_live_token(user, key, token):  # security 54
    row = AccessToken.objects.get()
    assert introspect(key, token) == {
        "active": True,
        "scope": "inherit",
        "client_id": key.client_id,
        "username": user.email,
        "token_type": "Bearer",
        "exp": int(row.expires.timestamp()),
        "iat": int(row.created.timestamp()),
        "sub": user.uid,
        "companyId": user.company.uid,
    }


def test_of_a_foreign_token_it_learns_nothing(other_user, token):  # security 54
    assert introspect(make_key(other_user), token) == {"active": False}


@pytest.mark.parametrize("unknown", ["x", "\x00", "é", "x" * 900, WELL_FORMED])
def test_of_an_unknown_token_it_learns_nothing(key, unknown):
    assert introspect(key, unknown) == {"active": False}


def test_of_an_expired_token_it_learns_nothing(key, token):  # security 54
    AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert introspect(key, token) == {"active": False}


def test_of_a_token_from_before_a_regenerate_it_learns_nothing(user, key, token):  # security 54
    _, secret = lifecycle.regenerate(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))
    response = post(INTROSPECT, [("token", token)], basic(key.client_id, secret))
    assert response.json() == {"active": False}


def test_only_a_proven_client_asks(key, token):  # security 54
    wrong = basic(key.client_id, credentials.new_secret())
    assert_oauth_error(post(INTROSPECT, [("token", token)]), 401, "invalid_client")
    assert_oauth_error(post(INTROSPECT, [("token", token)], wrong), 401, "invalid_client")
    assert_oauth_error(post(INTROSPECT, [("token", token)], f"Bearer {token}"), 401, "invalid_client")


def test_without_a_token_it_says_so(key):
    assert_oauth_error(post(INTROSPECT, [], key.basic), 400, "invalid_request")


def test_it_takes_one_statement(key, token, django_assert_num_queries):
    use(key)
    with django_assert_num_queries(1):  # the client, and the token with its owner
        introspect(key, token)
