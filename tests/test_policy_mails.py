"""Before a secret is too old for its company its people are mailed: 30, 7 and 1 days before, each once."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from profiles.clients import ages
from profiles.models import ClientSecret, KeyEvent, OAuthApplication, User
from profiles.origin import Origin

from .admin_site import browser_of
from .conftest import KeyPair
from .policies import lay_down, make_older
from .test_notices import parts
from .test_policy_pages import save

pytestmark = pytest.mark.django_db


@pytest.fixture
def maintained(django_capture_on_commit_callbacks):
    """Runs `maintain` as it would be run on this day of a secret's life; how many were told."""

    def maintain(pair: KeyPair, *, day: float, dry_run: bool = False) -> int:
        make_older(pair.key, days=day)
        said = StringIO()
        with django_capture_on_commit_callbacks(execute=True):
            call_command("maintain", *(["--dry-run"] if dry_run else []), stdout=said)
        return int(said.getvalue().split()[0])

    return maintain


def test_each_of_the_three_times_is_told_once(company, key, maintained, mailoutbox):  # security 29
    lay_down(company, days=90)
    days = [1, 59.9, 60, 60.1, 82.9, 83, 84, 88.9, 89, 89.9, 90, 91]
    told = [maintained(key, day=day) for day in days]
    assert told == [0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0]
    assert len(mailoutbox) == 3


def test_the_mail_says_when_it_stops_and_what_to_do(company, user, key, maintained, mailoutbox):
    lay_down(company, days=90)
    maintained(key, day=83)
    [mail] = mailoutbox
    assert mail.to == [user.email]
    assert mail.subject == "The secret key of your personal API access key will soon be too old"
    end = ClientSecret.objects.get().created + timedelta(days=90)
    for part in parts(mail):
        text = " ".join(part.split())
        assert f"{end:%Y-%m-%d %H:%M:%S} UTC" in text
        assert "It is not replaced by itself" in text
        assert "Regenerate the secret key, and give your applications the new one:" in text
        assert "/profile/#api-key" in text
        assert "administrator, on the command line" not in text
        assert key.secret not in text
    event = KeyEvent.objects.latest("pk")
    assert (event.action, event.owner, event.actor, event.via) == ("secret_too_old", user, None, "command")
    assert event.detail == f"{end:%Y-%m-%d %H:%M:%S} UTC"


def test_of_an_api_client_who_may_edit_it_is_told(company, user, manager, api_client, maintained, mailoutbox):
    lay_down(company, days=90)
    assert maintained(api_client, day=89) == 1
    [mail] = mailoutbox
    assert mail.to == [manager.email]
    assert f"/develop/api/clients/{api_client.client_id}/" in mail.body


def test_only_the_last_of_the_times_that_have_passed_is_told(company, key, maintained):
    lay_down(company, days=90)
    assert [maintained(key, day=89.5), maintained(key, day=89.5)] == [1, 0]


def test_a_dry_run_tells_nobody(company, key, maintained, mailoutbox):
    lay_down(company, days=90)
    assert [maintained(key, day=83, dry_run=True) for _ in range(2)] == [1, 1]
    assert not mailoutbox
    assert maintained(key, day=83) == 1


def test_another_age_has_other_times(company, key, maintained):
    lay_down(company, days=90)
    assert [maintained(key, day=89), maintained(key, day=89)] == [1, 0]
    lay_down(company, days=180)
    assert [maintained(key, day=day) for day in (89, 149, 150, 151, 179)] == [0, 0, 1, 0, 1]
    lay_down(company, days=210)
    assert [maintained(key, day=day) for day in (179, 180)] == [0, 1]


def test_a_lower_age_is_told_anew_whatever_was_told_of_the_higher_one(
    company, admin_user, user, key, api_client, manager, maintained, mailoutbox
):
    superuser = browser_of(admin_user)
    lay_down(company, days=90)
    make_older(api_client.key, days=60)
    assert [maintained(key, day=60), maintained(key, day=60)] == [2, 0]
    save(superuser, company, networks="203.0.113.0/24", days="90")
    assert maintained(key, day=60) == 0
    save(superuser, company, days="65")
    mailoutbox.clear()
    assert [maintained(key, day=60), maintained(key, day=60)] == [2, 0]
    assert {address for mail in mailoutbox for address in mail.to} == {user.email, manager.email}


def test_what_was_found_before_the_policy_changed_is_not_told(company, key):
    lay_down(company, days=90)
    make_older(key.key, days=89)
    [due] = ages._due(timezone.now())
    lay_down(company, days=180)
    assert not ages._tell(due, Origin(None, KeyEvent.Via.COMMAND))
    assert ClientSecret.objects.get().warned is None


@pytest.mark.parametrize(("days", "day", "told"), [(30, 0, 0), (30, 22, 0), (30, 23, 1), (7, 6, 1), (1, 0.9, 0)])
def test_a_secret_that_may_live_for_a_short_time_is_not_told_of_when_it_is_made(
    company, key, maintained, days, day, told
):
    lay_down(company, days=days)
    assert maintained(key, day=day) == told


def test_who_is_refused_already_or_has_left_is_not_told(company, user, key, api_client, maintained, mailoutbox):
    lay_down(company, days=90, no_keys=True)
    assert maintained(key, day=89) == 0
    lay_down(company, days=90)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert maintained(key, day=89) == 0
    OAuthApplication.objects.update(disabled=True)
    assert maintained(api_client, day=89) == 0
    OAuthApplication.objects.update(disabled=False)
    company.is_active = False
    company.save()
    assert maintained(api_client, day=89) == 0
    ClientSecret.objects.update(ended=True, ends="2026-01-01T00:00:00Z")
    company.is_active = True
    company.save()
    assert maintained(api_client, day=89) == 0
    assert not mailoutbox


def test_two_at_once_tell_it_once(company, key, django_capture_on_commit_callbacks):
    """Both have found the secret before either has told of it."""
    lay_down(company, days=90)
    make_older(key.key, days=89)
    origin = Origin(None, KeyEvent.Via.COMMAND)
    both = [ages.warn(origin), ages.warn(origin)]
    with django_capture_on_commit_callbacks(execute=True):
        assert sum(sum(each) for each in both) == 1
