"""Access tokens: issue, find, revoke, count, last used. The SQL and the ORM must mean the same."""

import re
from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.utils import timezone

from profiles import credentials
from profiles.clients import lifecycle, tokens, usage
from profiles.models import AccessToken, ClientSecret, KeyEvent, User
from profiles.origin import Origin

from .conftest import make_key, make_token, use

pytestmark = pytest.mark.django_db


def test_issue_gives_a_token_of_the_published_format(key):  # security 12
    token = make_token(key)
    assert re.fullmatch(r"avt_[0-9A-Za-z]{49}", token)
    assert credentials.is_token(token)


def test_only_the_digest_of_a_token_is_stored(key, token):  # security 9
    row = AccessToken.objects.values().get()
    assert row["token_checksum"] == credentials.digest(token)
    assert row["token"] == ""
    assert token not in str(row)


def test_issue_writes_what_the_toolkit_expects(user, key):
    issued = tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")
    row = AccessToken.objects.get()
    assert (row.user, row.application, row.scope) == (user, key.key, "inherit")
    assert row.is_valid(["inherit"])
    for field in AccessToken._meta.concrete_fields:
        if field.name != "token":
            assert getattr(issued.row, field.attname) == getattr(row, field.attname), field.name


def test_a_token_lives_one_hour(key):  # security 25
    issued = tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")
    assert issued.expires_in == 3600
    assert issued.row.expires - issued.row.created == timedelta(hours=1)


def test_issue_and_find_take_one_statement_each(key, django_assert_num_queries):
    with django_assert_num_queries(1):  # check the client and its owner, write the token
        token = make_token(key)
    with django_assert_num_queries(1):  # token, key, owner, company, access profile
        found = tokens.find(token)
        assert found is not None
        assert found.owner.company is not None
        assert found.owner.access_profile is not None
        assert found.rights


def test_a_token_acts_as_the_owner(user, token):  # security 49
    found = tokens.find(token)
    assert found is not None
    assert (found.owner.pk, found.owner.uid, found.owner.email) == (user.pk, user.uid, user.email)
    assert found.owner.company == (user.company.uid, user.company.name)
    assert found.owner.access_profile == (user.access_profile.uid, user.access_profile.name)
    assert found.rights == user.rights


def test_a_later_token_does_not_end_an_earlier_one(key):  # security 18
    first, second = make_token(key), make_token(key)
    assert tokens.find(first)
    assert tokens.find(second)


def spoil(secret: str) -> dict[str, str]:
    return {
        "another secret": credentials.new_secret(),
        "shortened": secret[:-1],
        "lengthened": secret + "0",
        "digest": credentials.digest(secret),
        "empty": "",
    }


@pytest.mark.parametrize("what", spoil("x" * 53))
def test_only_the_full_secret_opens(key, what):  # security 6, 7
    wrong = spoil(key.secret)[what]
    with pytest.raises(tokens.Refused, match="wrong_secret"):
        tokens.issue(client_id=key.client_id, secret=wrong, scope="inherit")
    with pytest.raises(tokens.Refused, match="wrong_secret"):
        tokens.authenticate(client_id=key.client_id, secret=wrong)
    assert not AccessToken.objects.exists()


def test_an_unknown_client_gets_nothing(key):
    other = credentials.new_client_id()
    with pytest.raises(tokens.Refused, match="unknown_client"):
        tokens.issue(client_id=other, secret=key.secret, scope="inherit")
    with pytest.raises(tokens.Refused, match="unknown_client"):
        tokens.authenticate(client_id=other, secret=key.secret)


@pytest.mark.parametrize("stored", ["", "!", "md5$salt$0cc175b9c0f1b6a831c399e269772661", "sha256_client_secret$$ab"])
def test_a_digest_of_an_unknown_form_opens_nothing(key, stored):  # security 5
    ClientSecret.objects.update(digest=stored)
    with pytest.raises(tokens.Refused, match="wrong_secret"):
        tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")
    with pytest.raises(tokens.Refused, match="wrong_secret"):
        tokens.authenticate(client_id=key.client_id, secret=key.secret)


def expire(user: User) -> None:
    AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1))


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def regenerate(user: User) -> None:
    lifecycle.regenerate(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))


def delete(user: User) -> None:
    lifecycle.delete(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))


def delete_user(user: User) -> None:
    user.delete()


def nothing(user: User) -> None:
    pass


@pytest.mark.parametrize("change", [nothing, expire, deactivate, regenerate, delete, delete_user])
def test_sql_and_orm_agree_on_what_is_live(user, token, change):
    row = AccessToken.objects.get()
    change(user)
    live = change is nothing
    assert (tokens.find(token) is not None) == live
    assert AccessToken.objects.active().exists() == live
    assert row.is_expired() == (not live)


def test_an_inactive_owner_gets_no_token(user, key):  # security 21
    deactivate(user)
    with pytest.raises(tokens.Refused, match="owner_inactive"):
        tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")


def test_a_reactivated_owner_gets_the_key_back_as_it_was(user, key, token):  # security 21
    deactivate(user)
    User.objects.filter(pk=user.pk).update(is_active=True)
    assert tokens.find(token)
    assert make_token(key)


def test_a_right_taken_from_the_owner_is_gone_at_once(user, token, access_profile):  # security 23
    access_profile.rights = ["entities.systems.view"]
    access_profile.save()
    found = tokens.find(token)
    assert found is not None
    assert found.rights == {"entities.systems.view"}


def test_a_right_that_left_the_catalogue_is_no_right(user, token, access_profile):
    access_profile.rights = ["entities.systems.view", "entities.retired"]
    access_profile.save()
    found = tokens.find(token)
    assert found is not None
    assert found.rights == {"entities.systems.view"}


@pytest.mark.parametrize("fields", [{"company": None}, {"access_profile": None}])
def test_an_owner_may_be_without_company_or_access_profile(user, token, fields):
    User.objects.filter(pk=user.pk).update(**fields)
    found = tokens.find(token)
    assert found is not None
    assert [getattr(found.owner, name) for name in fields] == [None]


def test_a_malformed_token_costs_no_look_at_the_database(token, django_assert_num_queries):  # security 12
    with django_assert_num_queries(0):
        assert tokens.find(token[:-1]) is None
        assert tokens.find(token[:-1] + ("0" if token[-1] != "0" else "1")) is None
        assert tokens.find("") is None
        assert tokens.find("avt_\x00") is None


def test_revoke_ends_one_token_of_the_key(key, token):
    other = make_token(key)
    assert tokens.revoke(token, key_id=key.key.pk)
    assert tokens.find(token) is None
    assert tokens.find(other)


def test_revoke_leaves_the_tokens_of_others_alone(other_user, token):  # security 53
    stranger = make_key(other_user)
    assert not tokens.revoke(token, key_id=stranger.key.pk)
    assert tokens.find(token)


def test_count_stops_where_it_is_told(key):
    for _ in range(4):
        make_token(key)
    assert tokens.count_active(key.key) == 4
    assert tokens.count_active(key.key, at_most=3) == 3


def test_use_is_noted_with_address_and_client(key):  # security 62
    use(key)
    key.key.refresh_from_db()
    assert timezone.now() - key.key.last_used < timedelta(seconds=10)
    assert (key.key.last_used_address, key.key.last_used_agent) == ("203.0.113.7", "curl/8")


def test_use_is_noted_once_a_minute(key):  # security 62
    use(key)
    use(key, address="203.0.113.8")
    key.key.refresh_from_db()
    assert key.key.last_used_address == "203.0.113.7"


def test_another_process_does_not_note_again_within_the_minute(key):  # security 62
    use(key)
    usage._noted.clear()
    use(key, address="203.0.113.8")
    key.key.refresh_from_db()
    assert key.key.last_used_address == "203.0.113.7"


def test_use_is_noted_again_after_a_minute(key):  # security 62
    use(key)
    usage._noted.clear()
    ClientSecret.objects.update(last_used=timezone.now() - usage.EVERY)
    use(key, address="203.0.113.8")
    key.key.refresh_from_db()
    assert key.key.last_used_address == "203.0.113.8"


def test_a_failure_to_note_fails_nothing(key, monkeypatch):  # security 62
    def locked(*args, **kwargs):
        raise DatabaseError("database is locked")

    use(key)
    usage._noted.clear()
    monkeypatch.setattr("django.db.models.query.QuerySet.update", locked)
    use(key)
