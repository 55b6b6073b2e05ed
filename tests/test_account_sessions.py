"""Where somebody is signed in: to look at, and to end."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.test import Client

from profiles.account import sessions
from profiles.models import AccountEvent

from .conftest import PASSWORD, sign_in
from .page import PROFILE, Tags, html, is_in, long_ago, words

pytestmark = pytest.mark.django_db

SESSIONS = "/accounts/sessions/"
END = "/accounts/sessions/end/"
END_OTHERS = "/accounts/sessions/end-others/"


@pytest.fixture
def other(user) -> Client:
    """Another browser of `user`."""
    return sign_in(Client(headers={"User-Agent": "Lynx/2.9"}), user)


def row_of(client: Client) -> UserSession:
    row: UserSession = UserSession.objects.get(session_key=client.session.session_key)
    return row


def ended(user) -> list[str]:
    return list(user.account_events.filter(action__startswith="session").values_list("action", flat=True))


def test_my_profile_leads_to_the_list_with_this_browser_marked(signed_in, other):
    assert [it for it in Tags(html(signed_in.get(PROFILE)))["a"] if it.get("href") == SESSIONS]
    page = signed_in.get(SESSIONS)
    assert words(page).count("This browser") == 1
    assert "Lynx/2.9" in words(page)
    assert "127.0.0.1, last used" in words(page)
    assert [it["value"] for it in Tags(html(page))["input"] if it["name"] == "browser"] == [str(row_of(other).pk)]
    assert other.session.session_key not in html(page)


def test_one_is_ended(signed_in, other, user):
    third = sign_in(Client(), user)
    response = signed_in.post(END, {"browser": row_of(other).pk}, follow=True)
    assert "That browser is signed out." in words(response)
    assert "Lynx" not in words(response)
    assert other.get(PROFILE).headers["Location"] == f"/accounts/login/?next={PROFILE}"
    assert is_in(signed_in)
    assert is_in(third)
    (event,) = user.account_events.filter(action=AccountEvent.Action.SESSION_ENDED)
    assert event.detail == "127.0.0.1 Lynx/2.9"


def test_all_others_are_ended(signed_in, other, user):
    assert "All other browsers are signed out." in words(signed_in.post(END_OTHERS, follow=True))
    assert not is_in(other)
    assert is_in(signed_in)
    assert "no other browser" in words(signed_in.post(END_OTHERS, follow=True))
    assert ended(user) == [AccountEvent.Action.SESSIONS_ENDED]


def test_not_somebody_elses_nor_this_one(signed_in, user, other_user):
    stranger = sign_in(Client(), other_user)
    for pk in (row_of(stranger).pk, row_of(signed_in).pk, 0, "", "x", "9" * 30, "\u0663", "\0"):
        assert "Nothing was done" in words(signed_in.post(END, {"browser": pk}, follow=True))
    assert is_in(stranger)
    assert is_in(signed_in)
    assert ended(user) == []


def test_without_a_fresh_proof_nobody_is_signed_out_then_or_later(signed_in, other):  # security 30, 67
    for path, form in ((END, {"browser": row_of(other).pk}), (END_OTHERS, {})):
        response = long_ago(signed_in).post(path, form)
        assert response.headers["Location"] == f"/accounts/reauthenticate/?next={SESSIONS}"
        response = signed_in.post(response.headers["Location"], {"password": PASSWORD}, follow=True)
        assert "Lynx/2.9" in words(response)
        assert is_in(other)
    signed_in.post(END_OTHERS)
    assert not is_in(other)
    assert is_in(signed_in)


def test_only_a_form_of_ours_ends_anything(user, other):  # security 33
    browser = sign_in(Client(), user)
    assert browser.get(END_OTHERS).status_code == 405
    browser.handler.enforce_csrf_checks = True
    assert browser.post(END_OTHERS).status_code == 403
    assert is_in(other)
    assert Client().get(SESSIONS).headers["Location"] == f"/accounts/login/?next={SESSIONS}"


def test_a_new_password_ends_their_rows_too(signed_in, other, user):
    new = "Another long enough passw0rd"
    signed_in.post("/accounts/password/change/", {"password1": new, "password2": new})
    assert list(sessions.of(user)) == [row_of(signed_in)]
    assert UserSession.objects.count() == Session.objects.count() == 1


def test_it_is_noted_at_most_once_a_minute(signed_in, monkeypatch, django_assert_num_queries):
    row = row_of(signed_in)
    with django_assert_num_queries(3):
        signed_in.get(PROFILE)
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    UserSession.objects.update(last_seen_at=row.last_seen_at - timedelta(hours=1), ip="203.0.113.1")
    signed_in.get(PROFILE)
    noted = row_of(signed_in)
    assert noted.last_seen_at >= row.last_seen_at
    assert noted.ip == "127.0.0.1"


def test_a_session_from_before_gets_its_row_and_another_id_keeps_one(client, user):
    client.force_login(user)
    UserSession.objects.all().delete()
    assert "This browser" in words(client.get(SESSIONS))
    before = row_of(client).session_key
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    assert row_of(client).session_key != before
    assert UserSession.objects.count() == 1


def test_what_cannot_be_noted_stops_no_page(client, user, monkeypatch, caplog):
    def fail(**_: object) -> None:
        raise DatabaseError("read-only")

    monkeypatch.setattr(UserSession.objects, "update_or_create", fail)
    client.force_login(user)
    assert is_in(client)
    assert "browser not noted" in caplog.text
