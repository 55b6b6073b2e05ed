"""Second factors are turned on with proof that they work."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from profiles.account.mfa import codes
from profiles.models import User

from .mfa import (
    ADD_PASSKEY,
    EMAIL,
    INDEX,
    RECOVERY,
    SECOND_STEP,
    TOTP,
    current_code,
    events,
    give_password,
    mailed_code,
    set_up_totp,
    sign_in_with_code,
)
from .page import PROFILE, Tags, html, is_in, long_ago, words

pytestmark = pytest.mark.django_db


def test_my_profile_offers_to_enable_it_and_then_to_manage_it(user, signed_in):
    page = signed_in.get(PROFILE)
    assert "Off: signing in takes your password alone." in words(page)
    (link,) = [a for a in Tags(html(page))["a"] if a["href"] == INDEX]
    assert link["aria-label"] == "Enable multi-factor authentication"
    assert "Turn on multi-factor authentication?" in words(signed_in.get(INDEX))
    user.email_codes = True
    user.save()
    assert "On: signing in takes your password and a second factor. Manage" in words(signed_in.get(PROFILE))


def test_a_code_that_arrives_turns_it_on(user, signed_in, mailoutbox, django_capture_on_commit_callbacks):
    assert signed_in.post(EMAIL).headers["Location"] == EMAIL
    (sent,) = mailoutbox
    assert sent.to == [user.email]
    code = mailed_code()
    user.refresh_from_db()
    assert not user.email_codes
    with django_capture_on_commit_callbacks(execute=True):
        response = signed_in.post(EMAIL, {"code": code}, follow=True)
    assert "Multi-factor authentication is on" in words(response)
    user.refresh_from_db()
    assert user.email_codes
    assert events(user) == [("mfa_added", "E-mail")]
    assert mailoutbox[-1].subject == "A second factor was added to your account"


def test_wrong_codes_turn_nothing_on(user, signed_in):
    signed_in.post(EMAIL)
    code = mailed_code()
    for attempt in ("", "0000-0000"):
        assert signed_in.post(EMAIL, {"code": attempt}).status_code == 422
    response = signed_in.post(EMAIL, {"code": "\N{SNOWMAN}"})
    assert response.headers["Location"] == INDEX
    assert "Too many wrong codes." in words(signed_in.get(INDEX))
    signed_in.post(EMAIL, {"code": code})
    user.refresh_from_db()
    assert not user.email_codes


def test_a_code_for_another_address_or_of_long_ago_turns_nothing_on(user, signed_in):
    signed_in.post(EMAIL)
    code = mailed_code()
    User.objects.filter(pk=user.pk).update(email="moved@example.com")
    assert "That code has expired." in words(signed_in.post(EMAIL, {"code": code}, follow=True))
    signed_in.post(EMAIL)
    session = signed_in.session
    session[codes.MailboxProof.SESSION_KEY]["at"] -= 601
    session.save()
    assert "That code has expired." in words(signed_in.post(EMAIL, {"code": mailed_code()}, follow=True))
    user.refresh_from_db()
    assert not user.email_codes


@pytest.mark.parametrize("path", [EMAIL, TOTP, RECOVERY, EMAIL + "remove/", TOTP + "remove/", ADD_PASSKEY])
def test_a_change_takes_a_password_of_the_last_15_minutes(path, with_email_codes, client):
    sign_in_with_code(client, with_email_codes)
    response = long_ago(client).post(path, {})
    assert response.headers["Location"].startswith("/accounts/reauthenticate/"), path
    with_email_codes.refresh_from_db()
    assert with_email_codes.email_codes


def test_an_app_is_set_up_by_its_first_code(user, signed_in):
    page = signed_in.get(TOTP)
    (svg,) = Tags(html(page))["svg"][-1:]
    assert svg["role"] == "img"
    assert "no-store" in page.headers["Cache-Control"]
    assert "That is not the code." in words(signed_in.post(TOTP, {"code": "000000"}))
    secret, codes = set_up_totp(signed_in)
    assert len(set(codes)) == 10
    assert events(user) == [("mfa_added", "TOTP"), ("recovery_codes_made", "")]
    assert set_up_again(signed_in) == INDEX
    # What is in the database leads to neither.
    rows = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret.replace(" ", "") not in rows
    assert not [code for code in codes if code.replace(" ", "") in rows]


def set_up_again(client: Client) -> str:
    location: str = client.post(TOTP, {"code": "123456"}).headers["Location"]
    return location


def test_the_code_that_set_the_app_up_does_not_sign_in(user, signed_in, client):
    secret, _codes = set_up_totp(signed_in)
    signed_in.post("/accounts/logout/")
    give_password(client, user)
    client.post(SECOND_STEP, {"code": current_code(secret, periods=-1)})
    assert not is_in(client)
