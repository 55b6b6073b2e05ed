"""Changing the password: who may, which one, and what ends with the old one."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import Client

from profiles.models import AccountEvent

from .conftest import PASSWORD, make_token, sign_in
from .page import PROFILE, Tags, html, long_ago, words

pytestmark = pytest.mark.django_db

CHANGE = "/accounts/password/change/"
NEW = "Another long enough passw0rd"
TWICE = {"password1": NEW, "password2": NEW}


def actions(user) -> list[str]:
    return list(user.account_events.exclude(action="signed_in").values_list("action", flat=True))


def test_my_profile_leads_to_it(signed_in):
    page = html(signed_in.get(PROFILE))
    (link,) = [it for it in Tags(page)["a"] if it.get("href") == CHANGE]
    assert "caps" in link["class"]
    assert ">Change password</a>" in page
    page = html(signed_in.get(CHANGE))
    assert ">Reset Password</button>" in page
    fields = [it["name"] for it in Tags(page)["input"] if it["type"] == "password"]
    assert fields == ["password1", "password2"]


def test_a_change_ends_the_other_browsers_and_not_this_one(signed_in, user):
    other = sign_in(Client(), user)
    before = signed_in.cookies["session"].value
    response = signed_in.post(CHANGE, TWICE)
    assert (response.status_code, response.url) == (302, PROFILE)
    assert signed_in.cookies["session"].value != before
    page = words(signed_in.get(PROFILE))
    assert "Your password was changed, and all other browsers are signed out." in page
    assert "Regenerate it" not in page  # there is no key
    assert other.get(PROFILE).status_code == 302
    user.refresh_from_db()
    assert user.check_password(NEW)


def test_the_key_goes_on_working(signed_in, key, token):  # guide: the key is not the password
    signed_in.post(CHANGE, TWICE)
    page = html(signed_in.get(PROFILE))
    assert "Regenerate it</a>" in page
    assert [it for it in Tags(page)["a"] if it.get("href") == "/profile/api-key/regenerate/"]
    headers = {"Authorization": f"Bearer {token}"}
    assert Client().get("/api/v1/users/current", headers=headers).status_code == 200
    assert make_token(key)


def test_it_is_recorded_and_mailed(signed_in, user, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        signed_in.post(CHANGE, TWICE)
    assert actions(user) == [AccountEvent.Action.PASSWORD_CHANGED]
    (notice,) = mail.outbox
    assert (notice.to, notice.subject) == ([user.email], "Your password was changed")
    assert "/profile/#security" in notice.body
    assert NEW not in notice.body


def test_the_password_is_asked_for_first_and_never_kept(signed_in, user):  # security 30
    long_ago(signed_in)
    for response in (signed_in.get(CHANGE), signed_in.post(CHANGE, TWICE)):
        assert response.url == f"/accounts/reauthenticate/?next={CHANGE}"
    assert NEW not in str(dict(signed_in.session.items()))
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    before = signed_in.cookies["session"].value
    response = signed_in.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": CHANGE})
    assert response.url == CHANGE
    assert signed_in.cookies["session"].value != before  # security 31
    assert signed_in.post(CHANGE, TWICE).url == PROFILE


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("Short 1", "at least 15 characters"),
        ("only small letters here", "three kinds"),
        ("user@example.com X1", "too similar"),
    ],
)
def test_a_password_against_the_rules_is_refused(signed_in, user, password, why):
    response = signed_in.post(CHANGE, {"password1": password, "password2": password})
    assert why in words(response)
    (field,) = [it for it in Tags(html(response))["input"] if it.get("name") == "password1"]
    assert field["aria-invalid"] == "true"
    assert "id_password1_helptext" in field["aria-describedby"]
    assert actions(user) == []


def test_both_must_be_the_same(signed_in, user):
    response = signed_in.post(CHANGE, {"password1": NEW, "password2": NEW + "!"})
    assert "You must type the same password each time." in words(response)
    assert actions(user) == []


def test_only_who_is_signed_in_and_from_our_page(user):
    assert Client().get(CHANGE).headers["Location"] == f"/accounts/login/?next={CHANGE}"
    careful = sign_in(Client(), user)
    careful.handler.enforce_csrf_checks = True
    assert careful.post(CHANGE, TWICE).status_code == 403
    assert actions(user) == []


def test_a_link_from_a_mail_sets_it_too(signed_in, user, key, django_capture_on_commit_callbacks):
    signed_in.get("/accounts/logout/")
    visitor = Client()
    visitor.post("/accounts/password/reset/", {"email": user.email})
    (link,) = re.findall(r"http://\S+/password/reset/key/\S+", str(mail.outbox.pop().body))
    form = visitor.get(link).headers["Location"]
    page = html(visitor.get(form))
    assert "js/password" in page
    assert "data-check" in page
    assert "three kinds" in words(visitor.post(form, {"password1": "a" * 20, "password2": "a" * 20}))
    with django_capture_on_commit_callbacks(execute=True):
        assert visitor.post(form, TWICE).status_code == 302
    assert signed_in.get(PROFILE).status_code == 302
    assert actions(user) == [AccountEvent.Action.PASSWORD_RESET]
    (notice,) = mail.outbox
    assert notice.subject == "Your password was set by a link from a mail"
    assert "whoever opened the link" in notice.body


@pytest.mark.parametrize(
    "password", ["lower-case and 1 digit", "UPPER AND lower letters", "ABCdef123456789", "Éé" + "1" * 13]
)
def test_three_kinds_of_characters_will_do(password):
    validate_password(password)


@pytest.mark.parametrize("password", ["lower and spaces only", "0123456789-0123456789", "x" * 20, ""])
def test_two_kinds_will_not(password):
    with pytest.raises(ValidationError, match="three kinds"):
        validate_password(password)
