"""What a program is told whose secret or token has ended: why, if it has it; and nothing to anybody else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from profiles import credentials
from profiles.clients import lifecycle
from profiles.models import AccessToken, ClientSecret, KeyEvent, OldSecret, User
from profiles.origin import Origin

from .api import CURRENT, get
from .conftest import basic, make_key, make_token
from .oauth import GRANT, INTROSPECT, REVOKE, TOKEN, ask, assert_oauth_error, post
from .page import PROFILE, html, words

pytestmark = pytest.mark.django_db

UNKNOWN = "Client authentication failed."


def by(user: User) -> Origin:
    return Origin(actor=user, via=KeyEvent.Via.PAGE)


def regenerate(user: User, old_secret: OldSecret = OldSecret.NOW) -> None:
    lifecycle.regenerate(owner=user, origin=by(user), old_secret=old_secret)


def end(verb: str, user: User, admin: User) -> None:
    if verb == "regenerate":
        regenerate(user)
    elif verb == "end":
        regenerate(user, OldSecret.DAY)
        lifecycle.end_old_secret(owner=user, origin=by(user))
    elif verb == "delete":
        lifecycle.delete(owner=user, origin=by(user))
    else:
        lifecycle.revoke(owner=user, origin=by(admin), reason="Found")


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("regenerate", "The client secret was replaced on"),
        ("end", "The client secret was ended on"),
        ("delete", "The client secret ended with its client, which was deleted on"),
        ("revoke", "The client secret ended with its client, which an administrator revoked on"),
    ],
)
@pytest.mark.parametrize("path", [TOKEN, REVOKE, INTROSPECT])
def test_an_ended_secret_that_is_proven_is_told(user, admin_user, key, path, verb, said):  # security 46
    end(verb, user, admin_user)
    response = post(path, [GRANT, ("token", "x")], key.basic)
    description = assert_oauth_error(response, 401, "invalid_client")
    assert description.startswith(said), description
    assert f"{timezone.now():%Y-%m-%d at }" in description


def test_so_is_one_that_asks_for_a_narrower_scope(user, key):
    regenerate(user)
    description = assert_oauth_error(ask(key, ("scope", "accountNetwork.users.view")), 401, "invalid_client")
    assert "was replaced on" in description


def test_nobody_else_learns_anything(user, other_user, key):  # security 46
    stranger = make_key(other_user)
    regenerate(user)
    for shown in (
        basic(key.client_id, credentials.new_secret()),
        basic(credentials.new_client_id(), key.secret),
        basic(stranger.client_id, key.secret),
        basic(key.client_id, stranger.secret),
    ):
        assert assert_oauth_error(post(TOKEN, [GRANT], shown), 401, "invalid_client") == UNKNOWN


def test_the_owner_sees_that_it_was_tried(signed_in, user, key):  # security 28
    regenerate(user)
    ask(key, REMOTE_ADDR="198.51.100.9", HTTP_USER_AGENT="cron/1")
    row = ClientSecret.objects.exclude(ends=None).get()
    assert (row.last_refused_address, row.last_refused_agent) == ("198.51.100.9", "cron/1")
    text = words(signed_in.get(PROFILE))
    assert "198.51.100.9" in text
    assert "cron/1" in text
    assert key.secret not in html(signed_in.get(PROFILE))


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("regenerate", "The access token ended when the secret key was regenerated, at "),
        ("end", "The access token ended when the old secret key was ended, at "),
        ("delete", "The access token ended when its client was deleted, at "),
        ("revoke", "The access token ended when its client was revoked, at "),
    ],
)
def test_a_token_says_why_it_has_ended(user, admin_user, key, token, verb, said):
    end(verb, user, admin_user)
    response = get(CURRENT, token)
    assert response.status_code == 401
    description = response.json()["error_description"]
    assert description.startswith(said), description
    assert f'error_description="{description}"' in response["WWW-Authenticate"]
    assert 'error="invalid_token"' in response["WWW-Authenticate"]


def test_a_token_says_when_it_has_expired(key, token):
    at = timezone.now() - timedelta(seconds=1)
    AccessToken.objects.update(expires=at)
    description = get(CURRENT, token).json()["error_description"]
    assert description == f"The access token expired at {at:%Y-%m-%dT%H:%M:%SZ}."


def test_of_an_inactive_owner_no_reason_is_told(user, token):
    unknown = get(CURRENT, credentials.new_token())
    User.objects.filter(pk=user.pk).update(is_active=False)
    response = get(CURRENT, token)
    assert (response.status_code, response.content) == (unknown.status_code, unknown.content)


def test_introspection_says_no_more_than_inactive(user, key, token):
    regenerate(user, OldSecret.DAY)
    other = make_token(key)
    AccessToken.objects.update(expires=timezone.now())
    for dead in (token, other, credentials.new_token()):
        assert post(INTROSPECT, [("token", dead)], key.basic).json() == {"active": False}


def test_the_first_token_of_the_new_secret_ends_the_old_one(user, key, token):  # security 27
    new, secret = lifecycle.regenerate(owner=user, origin=by(user), old_secret=OldSecret.FIRST_USE)
    assert ask(key).status_code == 200
    assert post(TOKEN, [GRANT], basic(new.client_id, secret)).status_code == 200
    assert_oauth_error(ask(key), 401, "invalid_client")
    assert get(CURRENT, token).status_code == 401


@pytest.mark.parametrize("path", [REVOKE, INTROSPECT])
def test_so_does_any_use_of_it(user, key, path):
    new, secret = lifecycle.regenerate(owner=user, origin=by(user), old_secret=OldSecret.FIRST_USE)
    assert post(path, [("token", "x")], basic(new.client_id, secret)).status_code == 200
    assert_oauth_error(ask(key), 401, "invalid_client")
