"""The section "Personal API access key" in its states: none, revoked, active; and what it tells of the past."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from profiles.clients import lifecycle
from profiles.models import ClientSecret, KeyEvent, OAuthApplication
from profiles.origin import Origin
from profiles.templatetags import moments

from .conftest import make_key, use
from .page import PROFILE, Tags, html, secrets_in, words


@pytest.fixture
def section(signed_in):
    """What the section says, as text."""
    return lambda: words(signed_in.get(PROFILE)).partition("no more.")[2]


def actions(page: str) -> list[str]:
    return [its["data-action"] for its in Tags(page).with_attribute("data-action")]


def test_without_a_key_it_says_so_and_offers_create_alone(signed_in, section):  # page 4, 5
    text = section()
    assert "You don’t have a personal API access key." in text
    assert "use the AirVantage API as you, with your rights. Only you can see it, and you can have one." in text
    assert actions(html(signed_in.get(PROFILE))) == ["create"]


def test_an_active_key_shows_what_is_not_secret(signed_in, key, section):  # page 20
    text = section()
    page = html(signed_in.get(PROFILE))
    assert f"Client ID {key.client_id}" in text
    assert f"Secret key ends in …{key.secret[-4:]}" in text.replace("ends in  …", "ends in …")
    assert "Secret key last regenerated Never" in text
    assert "Last used Never used" in text
    assert actions(page) == ["regenerate", "check", "delete"]
    assert not secrets_in(signed_in.get(PROFILE))


def test_regenerate_is_named_and_delete_is_apart(signed_in, key):  # page 22
    page = html(signed_in.get(PROFILE))
    assert '<span class="tooltip">Regenerate</span></button>' in page
    between = page[page.index('data-action="regenerate"') : page.index('data-action="delete"')]
    assert "</dl>" in between


def test_says_when_the_secret_was_regenerated(user, key, section):
    OAuthApplication.objects.update(created=datetime(2026, 3, 1, 9, 5, tzinfo=UTC))
    lifecycle.regenerate(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))
    ClientSecret.objects.filter(ends=None).update(created=datetime(2026, 4, 2, 14, 2, tzinfo=UTC))
    text = section()
    assert "Created 1 March 2026, 09:05 UTC" in text
    assert "Secret key last regenerated 2 April 2026, 14:02 UTC" in text


def test_says_when_from_where_and_by_what_it_was_used(signed_in, key, section):  # page 20, 21
    use(key, user_agent="python-requests/2.34")
    used = timezone.now() - timedelta(minutes=2, seconds=5)
    OAuthApplication.objects.update(last_used=used)
    text = section()
    assert "2 minutes ago , from 203.0.113.7, python-requests/2.34" in text.replace("\xa0", " ").replace("&nbsp;", " ")
    assert f"{moments.absolute(used)}, updated within a minute" in text
    assert Tags(html(signed_in.get(PROFILE))).with_attribute("datetime", f"{used:%Y-%m-%dT%H:%M:%SZ}")


def test_what_a_client_calls_itself_is_shown_as_text(signed_in, key):
    use(key, address=None, user_agent="<script>alert(1)</script>")
    assert "<script>alert" not in html(signed_in.get(PROFILE))


def test_a_revoked_key_is_told_with_the_reason(user, key, admin_user, section):  # page 3
    lifecycle.revoke(
        owner=user, origin=Origin(actor=admin_user, via=KeyEvent.Via.ADMIN), reason="Found in a public repository"
    )
    text = section()
    assert "An administrator revoked your key on" in text
    assert "Reason: Found in a public repository" in text
    assert "You don’t have a personal API access key." in text


def test_a_new_key_ends_the_word_of_the_revoked_one(user, key, admin_user, section):
    lifecycle.revoke(owner=user, origin=Origin(actor=admin_user, via=KeyEvent.Via.ADMIN), reason="Leaked")
    make_key(user)
    assert "An administrator revoked your key" not in section()


def test_lists_the_last_ten_events_newest_first(user, key, section):  # page 23
    for number in range(12):
        lifecycle.regenerate(
            owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE, address=f"203.0.113.{number}")
        )
    text = section()
    assert "Last 10 events" in text
    assert text.count("Secret key regenerated") == 10
    assert text.index("203.0.113.11") < text.index("203.0.113.10") < text.index("203.0.113.9")
    assert "Key created" not in text


def test_events_say_who_did_it_but_not_which_administrator(user, key, admin_user, section):
    origin = Origin(actor=admin_user, via=KeyEvent.Via.ADMIN, address="198.51.100.9", user_agent="Firefox")
    lifecycle.revoke(owner=user, origin=origin, reason="Leaked")
    text = section()
    assert "By an administrator. Reason: Leaked" in text
    assert "By you" in text
    assert "Ada" not in text
    assert "198.51.100.9" not in text


def test_a_key_made_on_the_command_line_says_so(user, section):
    lifecycle.create(owner=user, origin=Origin(actor=None, via=KeyEvent.Via.COMMAND))
    assert "By the command line" in section()


def test_events_of_somebody_else_are_not_there(user, other_user, section):
    make_key(other_user)
    assert "Last event" not in section()


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ({"seconds": 3}, "less than a minute ago"),
        ({"seconds": -3}, "less than a minute ago"),
        ({"minutes": 1}, "1 minute ago"),
        ({"hours": 3, "minutes": 20}, "3 hours ago"),
        ({"days": 40}, "1 month ago"),
    ],
)
def test_ago(before, said):
    assert moments.ago(timezone.now() - timedelta(**before)).replace("\xa0", " ") == said


def test_a_time_of_day_has_its_day_unless_it_is_today():
    assert moments.clock(datetime(2026, 1, 2, 14, 2, tzinfo=UTC)) == "14:02 UTC on 2 January 2026"
    assert moments.clock(timezone.now()) == f"{timezone.now():%H:%M} UTC"
