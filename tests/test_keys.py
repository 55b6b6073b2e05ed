"""The life of a key, by its three verbs and the one of staff."""

import random
import re

import pytest
from django.db import IntegrityError, transaction

from profiles import credentials
from profiles.clients import changes, lifecycle, tokens
from profiles.models import AccessToken, KeyEvent, OAuthApplication, User
from profiles.origin import Origin

from .conftest import make_key, make_token, works

pytestmark = pytest.mark.django_db


def by(user: User) -> Origin:
    return Origin(actor=user, via=KeyEvent.Via.PAGE, address="203.0.113.7", user_agent="Browser/1")


def actions(owner: User) -> list[str]:
    return [event.action for event in owner.key_events.order_by("id")]


def test_create_makes_a_key_that_works(user):
    key, secret = lifecycle.create(owner=user, origin=by(user))
    assert key.user == user
    assert tokens.issue(client_id=key.client_id, secret=secret, scope="inherit").token


def test_formats_are_those_published(user):  # security 1, 2, 12
    key, secret = lifecycle.create(owner=user, origin=by(user))
    assert re.fullmatch(r"[0-9a-f]{32}", key.client_id)
    assert re.fullmatch(r"avs_[0-9A-Za-z]{49}", secret)
    assert credentials.is_secret(secret)


def test_only_a_plain_digest_is_stored(user):  # security 4
    key, secret = lifecycle.create(owner=user, origin=by(user))
    key.refresh_from_db()
    stored = key.secrets.values().get()
    assert (stored["digest"], stored["hint"]) == (credentials.digest(secret), secret[-4:])
    assert secret not in str(stored)


def test_a_second_create_is_refused_and_changes_nothing(user, key):  # security 13
    before = OAuthApplication.objects.values().get(), lifecycle.version(user)
    with pytest.raises(lifecycle.KeyExists):
        lifecycle.create(owner=user, origin=by(user))
    assert (OAuthApplication.objects.values().get(), lifecycle.version(user)) == before
    assert actions(user) == ["created"]


def test_the_database_refuses_a_second_key(user, key):  # security 13
    with pytest.raises(IntegrityError), transaction.atomic():
        OAuthApplication.objects.create(user=user)


@pytest.mark.parametrize(
    "fields",
    [
        {"client_type": "public"},
        {"authorization_grant_type": "password"},
        {"hash_client_secret": False},
    ],
)
def test_the_database_refuses_a_client_of_another_kind(key, fields):  # security 42
    with pytest.raises(IntegrityError), transaction.atomic():
        OAuthApplication.objects.update(**fields)


def test_regenerate_replaces_the_secret_and_keeps_the_client_id(user, key):
    changed, secret = lifecycle.regenerate(owner=user, origin=by(user))
    assert changed.client_id == key.client_id
    assert secret != key.secret
    assert works(key.client_id, secret)
    assert not works(key.client_id, key.secret)


def test_regenerate_ends_every_access_token(user, key):  # security 20
    old = [make_token(key) for _ in range(3)]
    lifecycle.regenerate(owner=user, origin=by(user))
    assert [tokens.find(token) for token in old] == [None, None, None]


def test_delete_ends_the_secret_and_every_access_token(user, key, token):  # security 19
    lifecycle.delete(owner=user, origin=by(user))
    assert lifecycle.of(user) is None
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None


def test_a_client_id_is_made_of_nothing_that_comes_again(user):  # security 1, 26
    """Not of the owner, and not of Python's own random numbers, which begin anew with the same seed."""
    made = set()
    for _ in range(3):
        random.seed(7)
        pair = make_key(user)
        made |= {pair.client_id, pair.secret}
        lifecycle.delete(owner=user, origin=by(user))
    assert len(made) == 6


def test_a_new_key_after_delete_revives_nothing(user, key, token):  # security 19, 26
    lifecycle.delete(owner=user, origin=by(user))
    make_key(user)
    assert tokens.find(token) is None
    assert not works(key.client_id, key.secret)


@pytest.mark.parametrize("verb", [lifecycle.regenerate, lifecycle.delete])
def test_without_a_key_there_is_nothing_to_change(user, verb):
    with pytest.raises(lifecycle.NoKey):
        verb(owner=user, origin=by(user))
    assert lifecycle.version(user) == 0
    assert actions(user) == []


def test_revoke_by_staff_needs_no_version_and_keeps_the_reason(user, admin_user, key, token):
    lifecycle.revoke(owner=user, origin=by(admin_user), reason="Found in a public repository")
    assert lifecycle.of(user) is None
    assert tokens.find(token) is None
    event = user.key_events.get(action="revoked")
    assert (event.actor, event.reason) == (admin_user, "Found in a public repository")


@pytest.mark.parametrize("verb", [lifecycle.create, lifecycle.regenerate, lifecycle.delete])
def test_a_change_asked_for_under_an_old_version_is_refused(user, key, verb):  # security 36
    seen = lifecycle.version(user)
    lifecycle.regenerate(owner=user, origin=by(user))
    before = OAuthApplication.objects.values().get()
    with pytest.raises(changes.Changed):
        verb(owner=user, origin=by(user), version=seen)
    assert OAuthApplication.objects.values().get() == before
    assert actions(user) == ["created", "regenerated"]


def test_a_form_of_before_a_delete_makes_no_key_after_it(user):  # security 36
    lifecycle.create(owner=user, origin=by(user), version=0)
    lifecycle.delete(owner=user, origin=by(user))
    with pytest.raises(changes.Changed):
        lifecycle.create(owner=user, origin=by(user), version=0)
    assert lifecycle.of(user) is None


def test_events_say_what_who_when_and_from_where(user, key):  # security 59
    lifecycle.regenerate(owner=user, origin=by(user))
    event = user.key_events.first()
    assert event is not None
    assert (event.action, event.client_id, event.owner_uid, event.actor_uid, event.via) == (
        "regenerated",
        key.client_id,
        user.uid,
        user.uid,
        "page",
    )
    assert (event.address, event.user_agent) == ("203.0.113.7", "Browser/1")


def test_a_change_without_its_event_does_not_happen(user, key, monkeypatch):  # security 16
    def no_space(event, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(KeyEvent, "save", no_space)
    with pytest.raises(OSError, match="No space"):
        lifecycle.delete(owner=user, origin=by(user))
    assert works(key.client_id, key.secret)


def test_events_are_never_changed(user, key):  # security 59
    event = user.key_events.get()
    for forbidden in (event.save, event.delete, KeyEvent.objects.all().delete):
        with pytest.raises(TypeError, match="never"):
            forbidden()
    with pytest.raises(TypeError, match="never"):
        KeyEvent.objects.update(reason="tidied up")


def test_a_deleted_user_takes_the_key_along_and_leaves_the_events(user, key, token):  # security 22
    uid = user.uid
    user.delete()
    assert not OAuthApplication.objects.exists()
    assert tokens.find(token) is None
    event = KeyEvent.objects.get()
    assert (event.owner, event.actor, event.owner_uid, event.client_id) == (None, None, uid, key.client_id)


def test_delete_leaves_the_rows_of_tokens_to_the_purge(user, key, django_assert_max_num_queries):
    """Promise 3: the time a delete takes does not grow with the number of tokens, for it touches none of them."""
    for _ in range(5):
        make_token(key)
    # lock, key, secrets, event, who is told, then the key with its secrets, its uses and the toolkit’s (empty) tables
    # that point at it
    with django_assert_max_num_queries(18):
        lifecycle.delete(owner=user, origin=by(user))
    assert AccessToken.objects.count() == 5
    assert AccessToken.objects.active().count() == 0


def test_saving_a_user_read_before_a_change_does_not_undo_it(user, key, token):
    """Promise 3: a password reset, or any form, that began before Regenerate and ends after it."""
    read_before = User.objects.get(pk=user.pk)
    lifecycle.regenerate(owner=user, origin=by(user))
    read_before.name = "Uma New"
    read_before.set_password("another long enough password")
    read_before.save()
    assert tokens.find(token) is None
    user.refresh_from_db()
    assert user.name == "Uma New"
    assert user.check_password("another long enough password")


def test_a_user_with_fields_not_loaded_can_be_saved(user):
    partly = User.objects.only("email").get(pk=user.pk)
    partly.email = "UMA@example.com"
    partly.save()
    user.refresh_from_db()
    assert (user.email, user.name) == ("uma@example.com", "Uma User")
