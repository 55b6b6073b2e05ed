"""Edit profile: what is kept, what is refused, and that pages follow the language and the time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.utils import timezone, translation

from profiles.account.details import time_zones
from profiles.mail import invitations
from profiles.models import KeyEvent, User
from profiles.templatetags.moments import absolute, clock

from .page import PROFILE, Tags, html, words

pytestmark = pytest.mark.django_db

EDIT = "/profile/edit/"
FORM = {
    "name": "Uma Updated",
    "job_title": "Dispatcher",
    "phone_number": "+33123456789",
    "country": "FR",
    "language": "",
    "time_zone": "Europe/Paris",
    "mail_new_address": "on",
    "marketing": "on",
}
WINTER = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)


def test_what_was_typed_is_kept_and_shown(user, signed_in):
    page = signed_in.post(EDIT, FORM, follow=True)
    assert page.redirect_chain == [(PROFILE, 302)]
    for said in ("Your profile was saved.", "Uma Updated", "Dispatcher", "+33123456789", "France", "Fleet Ltd"):
        assert said in words(page)
    user.refresh_from_db()
    assert (user.mail_new_address, user.marketing) == (True, True)
    assert (user.time_zone, user.language) == ("Europe/Paris", "")
    shown = {it["name"]: it["value"] for it in Tags(html(signed_in.get(EDIT)))["input"] if "value" in it}
    assert shown["name"] == "Uma Updated"


def test_nothing_else_can_be_changed(user, signed_in):
    before = vars(User.objects.get(pk=user.pk))
    signed_in.post(EDIT, {**FORM, "company": "", "email": "x@example.com", "is_staff": "on", "session_salt": "9"})
    after = vars(User.objects.get(pk=user.pk))
    changed = {name for name in before if before[name] != after[name]} - {"_state"}
    assert changed == {"name_folded", *FORM} - {"language"}


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("name", " ", "Enter your name."),
        ("name", "n" * 151, "at most 150"),
        ("phone_number", "01 23 45", "international form"),
        ("country", "XX", "not one of the available choices"),
        ("language", "tlh", "not one of the available choices"),
        ("time_zone", "../../etc/passwd", "not one of the available choices"),
        ("job_title", "a\0b", "Null characters are not allowed."),
    ],
)
def test_what_will_not_do_is_said_at_its_field_and_the_rest_is_kept(field, value, says, user, signed_in):
    response = signed_in.post(EDIT, {**FORM, field: value})
    assert response.status_code == 422
    page = html(response)
    assert says in page
    (wrong,) = [it for _, it in Tags(page).found if it.get("name") == field]
    assert wrong["aria-invalid"] == "true"
    assert "autofocus" in wrong
    assert 'value="FR" selected' in page or field == "country"
    assert "Uma User" in page  # the menu
    user.refresh_from_db()
    assert user.name == "Uma User"


def test_pages_tell_the_time_in_the_zone_that_was_chosen(user, signed_in):
    KeyEvent.objects.create(action="created", owner=user, owner_uid=user.uid, via="page", time=WINTER)
    assert "5 January 2026, 12:30 UTC" in words(signed_in.get(PROFILE))
    User.objects.update(time_zone="Europe/Paris")
    page = signed_in.get(PROFILE)
    assert "5 January 2026, 13:30 CET" in words(page)
    assert 'datetime="2026-01-05T12:30:00Z"' in html(page)
    assert timezone.get_current_timezone_name() == "UTC"  # and nothing of that is left behind
    User.objects.update(time_zone="Mars/Olympus_Mons")
    assert "5 January 2026, 12:30 UTC" in words(signed_in.get(PROFILE))


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Europe/London", "12:30 GMT"), ("Asia/Kathmandu", "18:15 UTC+5:45"), ("America/Sao_Paulo", "09:30 UTC-3")],
)
def test_a_zone_is_named_by_its_letters_or_its_offset(name, shown):
    with timezone.override(name):
        assert absolute(WINTER) == f"5 January 2026, {shown}"
        assert clock(WINTER) == f"{shown} on 5 January 2026"
        assert not clock(timezone.now()).count(" on ")


def test_pages_speak_the_language_that_was_chosen_or_the_browsers(user, signed_in):
    assert '<html lang="fr"' in html(signed_in.get(PROFILE, headers={"Accept-Language": "fr"}))
    User.objects.update(language="fr")
    with translation.override("en"):  # what it activates stays until the next request
        response = signed_in.get(PROFILE, headers={"Accept-Language": "en"})
    assert '<html lang="fr"' in html(response)
    assert response.headers["Content-Language"] == "fr"


def test_the_admin_site_and_mails_keep_to_utc(admin_user, client, mailoutbox):
    client.force_login(admin_user)
    User.objects.update(time_zone="Pacific/Auckland", last_login=WINTER)
    assert "2026-01-05 12:30:00" in html(client.get("/admin/profiles/user/"))
    with timezone.override("Pacific/Auckland"):
        invitations.send(admin_user)
    assert f"{timezone.now() + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT):%-d %B %Y, %H}" in mailoutbox[0].body


def test_the_choices_are_places_and_each_is_one():
    names = [name for _, group in time_zones()[1:] for name, _ in group]
    assert {"Europe/Paris", "America/Argentina/Buenos_Aires", "Asia/Tokyo"} <= set(names)
    assert len(names) == len(set(names))
    assert max(map(len, names)) <= 64
    assert [code for code, _ in settings.LANGUAGES] == ["en", "fr"]


@pytest.mark.parametrize(
    ("chosen", "otherwise", "read"),
    [("fr", "en", "fr"), ("", "fr", "fr"), ("", None, "en"), ("xx", "fr", "fr"), ("xx", None, "en")],
)
def test_who_chose_no_language_of_the_site_reads_that_of_the_page_or_the_sites(chosen, otherwise, read):
    assert User(language=chosen).language_read(otherwise=otherwise) == read
