"""Two secrets of a key for a while: what was chosen at Regenerate holds, to the second, for each and its tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from profiles import credentials
from profiles.clients import changes, lifecycle, tokens, usage
from profiles.models import AccessToken, ClientSecret, KeyEvent, OAuthApplication, OldSecret, User
from profiles.origin import Origin

from .conftest import KeyPair, make_key, make_token, use, works

pytestmark = pytest.mark.django_db

CHOICES = list(OldSecret)
LATER = [OldSecret.FIRST_USE, OldSecret.DAY]
SECOND = timedelta(seconds=1)


def by(user: User) -> Origin:
    return Origin(actor=user, via=KeyEvent.Via.PAGE, address="203.0.113.7", user_agent="Browser/1")


def regenerate(user: User, old_secret: OldSecret) -> KeyPair:
    return KeyPair(*lifecycle.regenerate(owner=user, origin=by(user), old_secret=old_secret))


def row_of(pair: KeyPair) -> ClientSecret:
    return ClientSecret.objects.get(digest=credentials.digest(pair.secret))


@pytest.fixture
def at(monkeypatch) -> Callable[[datetime], None]:
    """Set the clock of the server."""

    def set_clock(moment: datetime) -> None:
        monkeypatch.setattr(timezone, "now", lambda: moment)

    return set_clock


# --- Until when the old secret is good ------------------------------------------------------------------------


@pytest.mark.parametrize("choice", CHOICES)
def test_the_new_secret_works_whatever_was_chosen(user, key, choice):
    new = regenerate(user, choice)
    assert works(new.client_id, new.secret)
    assert tokens.find(make_token(new))


def test_at_once_is_at_once(user, key, token):  # security 15, 20
    regenerate(user, OldSecret.NOW)
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None


@pytest.mark.parametrize(("choice", "time"), [(OldSecret.FIRST_USE, {"days": 7}), (OldSecret.DAY, {"hours": 24})])
def test_the_end_is_kept_to_the_second(user, key, choice, time, at):  # security 27
    regenerate(user, choice)
    end = row_of(key).ends
    assert end
    assert abs(end - timezone.now() - timedelta(**time)) < timedelta(seconds=10)
    at(end - SECOND)
    assert works(key.client_id, key.secret)
    token = make_token(key)
    assert tokens.find(token)
    at(end)
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None
    assert not AccessToken.objects.active().exists()


def test_a_token_says_truly_how_long_it_lives(user, key, at):
    regenerate(user, OldSecret.DAY)
    end = row_of(key).ends
    assert end
    at(end - timedelta(minutes=10))
    issued = tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")
    assert issued.expires_in == 600
    assert AccessToken.objects.get(pk=issued.row.pk).expires == end


@pytest.mark.parametrize("choice", LATER)
def test_the_tokens_of_the_old_secret_live_with_it(user, key, token, choice):
    regenerate(user, choice)
    assert tokens.find(token)
    assert tokens.find(make_token(key))


def test_the_first_use_of_the_new_one_ends_the_old_one(user, key, token):  # security 27
    new = regenerate(user, OldSecret.FIRST_USE)
    use(key)  # of the old one, which is not the first use that is meant
    assert works(key.client_id, key.secret)
    use(new)
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None
    event = user.key_events.first()
    assert (event.action, event.via, event.address, event.actor) == ("old_secret_ended", "oauth", "203.0.113.7", None)
    assert row_of(key).end_reason == "replaced"


def test_a_later_use_is_none_that_ends_anything(user, key):
    new = regenerate(user, OldSecret.FIRST_USE)
    use(new)
    newest = regenerate(user, OldSecret.DAY)
    usage._used_before.clear()  # another process
    use(new)
    use(newest)
    assert works(new.client_id, new.secret)


def test_a_first_use_that_cannot_be_written_is_no_use(user, key, monkeypatch):
    """Whoever gets a token with the new secret can rely on the end of the old one."""
    new = regenerate(user, OldSecret.FIRST_USE)

    def no_space(*args, **kwargs):
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(KeyEvent, "save", no_space)
        with pytest.raises(OSError, match="No space"), transaction.atomic():
            use(new)
    assert works(key.client_id, key.secret)
    use(new)
    assert not works(key.client_id, key.secret)


def test_a_third_secret_ends_the_oldest_at_once(user, key):  # security 27
    second = regenerate(user, OldSecret.DAY)
    third = regenerate(user, OldSecret.DAY)
    actions = list(user.key_events.order_by("id").values_list("action", flat=True))
    assert actions == ["created", "regenerated", "old_secret_ended", "regenerated"]
    assert [works(pair.client_id, pair.secret) for pair in (key, second, third)] == [False, True, True]
    assert ClientSecret.objects.live().count() == 2


def test_at_once_ends_both(user, key):
    second = regenerate(user, OldSecret.DAY)
    third = regenerate(user, OldSecret.NOW)
    assert [works(pair.client_id, pair.secret) for pair in (key, second, third)] == [False, False, True]


def test_the_old_secret_is_ended_now(user, key, token):  # security 27
    new = regenerate(user, OldSecret.DAY)
    fresh = make_token(new)
    lifecycle.end_old_secret(owner=user, origin=by(user))
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None
    assert works(new.client_id, new.secret)
    assert tokens.find(fresh)
    assert user.key_events.first().action == "old_secret_ended"
    assert row_of(key).end_reason == "ended"


def test_without_an_old_secret_there_is_none_to_end(user, key):
    with pytest.raises(changes.NoOldSecret):
        lifecycle.end_old_secret(owner=user, origin=by(user))
    assert works(key.client_id, key.secret)
    assert user.key_events.count() == 1


def test_an_old_form_ends_nothing(user, key):  # security 36
    regenerate(user, OldSecret.DAY)
    seen = lifecycle.version(user)
    regenerate(user, OldSecret.DAY)
    with pytest.raises(changes.Changed):
        lifecycle.end_old_secret(owner=user, origin=by(user), version=seen)


@pytest.mark.parametrize("change", [lifecycle.delete, lifecycle.end_old_secret, lifecycle.regenerate])
def test_no_clock_is_asked_about_what_was_ended_at_once(user, key, token, change, at):  # security 19, 20
    """Promise 3: another server, or the one that takes over, may have a clock that is behind."""
    regenerate(user, OldSecret.DAY)
    change(owner=user, origin=by(user))
    at(timezone.now() - timedelta(minutes=5))
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None
    assert not AccessToken.objects.active().exists()


def test_what_was_chosen_is_in_the_event(user, key):
    for choice in CHOICES:
        regenerate(user, choice)
    events = user.key_events.filter(action="regenerated").order_by("id")
    assert [event.old_secret for event in events] == CHOICES


def test_what_is_over_by_this_clock_is_over_by_every_clock(user, key, token, at):  # security 15, 20
    """Another server, whose clock is behind, must not take for good what this one no longer sees."""
    regenerate(user, OldSecret.DAY)
    end = row_of(key).ends
    assert end
    at(end + SECOND)
    regenerate(user, OldSecret.NOW)
    at(end - SECOND)
    assert not works(key.client_id, key.secret)
    assert tokens.find(token) is None


def test_a_key_without_a_live_secret_is_regenerated_at_once(user, key):
    ClientSecret.objects.update(ended=True, ends=timezone.now(), end_reason=ClientSecret.EndReason.LEAKED)
    new = regenerate(user, OldSecret.DAY)
    assert works(new.client_id, new.secret)
    assert user.key_events.first().old_secret == OldSecret.NOW


def test_a_first_use_beside_the_deletion_of_the_owner_is_no_fault(user, key, monkeypatch):
    """The token that was issued is dead anyway."""
    lock = changes.lock

    def deleted_before(owner: changes.Owner) -> bool:
        User.objects.filter(pk=owner.pk).delete()
        return lock(owner)

    monkeypatch.setattr(changes, "lock", deleted_before)
    use(key)
    assert not works(key.client_id, key.secret)


def test_a_key_that_goes_with_its_user_ends_its_secret(user, key):
    user.delete()
    row = row_of(key)
    assert (row.ended, row.end_reason, row.application) == (True, "deleted", None)
    at = row.ends
    usage.note_refusal(row.pk, address="198.51.100.9", user_agent="cron/1")
    row.refresh_from_db()
    assert (row.ends, row.last_refused_address, row.last_used_address) == (at, None, None)


# --- What the database keeps ----------------------------------------------------------------------------------


def test_the_database_refuses_a_second_secret_without_end(key):
    with pytest.raises(IntegrityError), transaction.atomic():
        ClientSecret.objects.create(application=key.key, client_id=key.client_id, digest="a" * 64)


def test_the_database_refuses_a_digest_twice(key, other_user):
    other = make_key(other_user)
    with pytest.raises(IntegrityError), transaction.atomic():
        ClientSecret.objects.filter(pk=row_of(other).pk).update(digest=row_of(key).digest)


def test_a_secret_knows_whom_it_was_shown_to(user, key):
    assert row_of(key).shown_to == user


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({}, False),
        ({"user": True}, True),
        ({"company": True, "access_profile": True, "name": "Import"}, True),
        ({"company": True, "name": "Import"}, False),
        ({"company": True, "access_profile": True}, False),
        ({"user": True, "company": True, "access_profile": True, "name": "Import"}, False),
        ({"user": True, "access_profile": True}, False),
    ],
)
def test_a_client_belongs_to_a_user_or_to_a_company(user, company, access_profile, fields, fits):
    there = {"user": user, "company": company, "access_profile": access_profile}
    made = {name: there.get(name, value) for name, value in fields.items()}
    if fits:
        OAuthApplication.objects.create(**made)
        return
    with pytest.raises(IntegrityError), transaction.atomic():
        OAuthApplication.objects.create(**made)


def test_a_company_has_each_name_once(company, access_profile):
    OAuthApplication.objects.create(company=company, access_profile=access_profile, name="Import")
    with pytest.raises(IntegrityError), transaction.atomic():
        OAuthApplication.objects.create(company=company, access_profile=access_profile, name="IMPORT")


def test_a_disabled_client_is_refused_at_once_and_comes_back(user, key, token):  # security 21
    OAuthApplication.objects.update(disabled=True)
    assert tokens.find(token) is None
    with pytest.raises(tokens.Refused, match="client_disabled"):
        tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")
    assert not works(key.client_id, key.secret)
    assert not AccessToken.objects.active().exists()
    assert not OAuthApplication.objects.get().is_usable(None)
    OAuthApplication.objects.update(disabled=False)
    assert tokens.find(token)
    assert works(key.client_id, key.secret)


# --- What whoever has it is told ------------------------------------------------------------------------------


def end_by(verb: str, user: User, admin: User) -> None:
    if verb == "revoke":
        lifecycle.revoke(owner=user, origin=by(admin), reason="Found")
    else:
        getattr(lifecycle, verb)(owner=user, origin=by(user))


@pytest.mark.parametrize(("verb", "reason"), [("regenerate", "replaced"), ("delete", "deleted"), ("revoke", "revoked")])
def test_why_it_has_ended(user, admin_user, key, token, verb, reason):
    end_by(verb, user, admin_user)
    with pytest.raises(tokens.SecretEnded) as ended:
        tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")
    assert ended.value.end.reason == reason
    assert abs(ended.value.end.at - timezone.now()) < timedelta(seconds=10)
    found = tokens.look_up(token)
    assert isinstance(found, tokens.End)
    assert found.reason == reason


def test_a_token_past_its_time_has_expired(user, key, token, at):
    row = AccessToken.objects.get()
    at(row.expires)
    assert tokens.look_up(token) == tokens.End("expired", row.expires)


def test_a_token_that_had_expired_before_has_expired(user, key, token):
    at = timezone.now() - SECOND
    AccessToken.objects.update(expires=at)
    lifecycle.regenerate(owner=user, origin=by(user))
    assert tokens.look_up(token) == tokens.End("expired", at)


@pytest.mark.parametrize("choice", LATER)
def test_after_an_overlap_each_is_told_the_right_time(user, key, token, choice, at):
    regenerated = timezone.now()
    new = regenerate(user, choice)
    end = row_of(key).ends
    assert end
    if choice == OldSecret.FIRST_USE:
        use(new)
        end = row_of(key).ends
        assert end
    # As if it had lived long enough to see the end of its secret.
    AccessToken.objects.update(expires=end + timedelta(hours=1))
    at(end + SECOND)
    with pytest.raises(tokens.SecretEnded) as ended:
        tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")
    assert ended.value.end.reason == "replaced"
    assert abs(ended.value.end.at - regenerated) < timedelta(seconds=10)
    assert tokens.look_up(token) == tokens.End(tokens.STOPPED, end)


def test_a_token_tells_no_later_end_than_that_of_its_secret(user, key, token):
    AccessToken.objects.update(expires=timezone.now() + timedelta(days=3))
    regenerate(user, OldSecret.DAY)
    found = tokens.find(token)
    assert found
    assert found.expires == row_of(key).ends


@pytest.mark.parametrize("off", ["owner", "client"])
def test_of_a_switched_off_owner_or_client_nothing_is_told(user, key, token, off):
    if off == "owner":
        User.objects.filter(pk=user.pk).update(is_active=False)
    else:
        OAuthApplication.objects.update(disabled=True)
    found = tokens.look_up(token)
    assert isinstance(found, tokens.End)
    assert found.reason == ""
    with pytest.raises(tokens.Refused, match="owner_inactive" if off == "owner" else "client_disabled"):
        tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")


def test_an_ended_secret_tells_nothing_with_another_client_id(user, other_user, key):
    stranger = make_key(other_user)
    lifecycle.regenerate(owner=user, origin=by(user))
    with pytest.raises(tokens.Refused, match="wrong_secret"):
        tokens.issue(client_id=stranger.client_id, secret=key.secret, scope="inherit")
    with pytest.raises(tokens.Refused, match="wrong_secret"):
        tokens.issue(client_id=key.client_id, secret=stranger.secret, scope="inherit")


def test_an_ended_secret_is_recognised_for_a_time(user, key, at):  # security 28
    lifecycle.regenerate(owner=user, origin=by(user))
    end = row_of(key).ends
    assert end
    at(end + tokens.RECOGNISED_FOR)
    with pytest.raises(tokens.Refused, match="secret_replaced") as refused:
        tokens.issue(client_id=key.client_id, secret=key.secret, scope="inherit")
    assert not isinstance(refused.value, tokens.SecretEnded)


def test_that_it_was_tried_is_noted_and_triggers_nothing(user, key):  # security 28
    new = regenerate(user, OldSecret.NOW)
    usage.note_refusal(row_of(key).pk, address="198.51.100.9", user_agent="cron/1")
    usage.note_refusal(row_of(key).pk, address="198.51.100.10", user_agent="cron/2")  # within the minute
    row = row_of(key)
    assert (row.last_refused_address, row.last_refused_agent) == ("198.51.100.9", "cron/1")
    assert works(new.client_id, new.secret)
    assert user.key_events.count() == 2
