"""Signing in takes a code by e-mail or of the authenticator app: the right one, once, within its limits."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from profiles.models import AccountEvent

from .conftest import PASSWORD
from .mfa import (
    LOGIN,
    MAILED_CODE,
    SECOND_STEP,
    Action,
    current_code,
    give_password,
    mailed_code,
    set_up_totp,
    sign_in_with_code,
)
from .page import is_in, words

pytestmark = pytest.mark.django_db


def test_sign_in_takes_the_code_that_was_mailed(with_email_codes, client, mailoutbox):
    response = client.post(
        f"{LOGIN}?next=/profile/api-key/delete/", {"login": "USER@Example.com", "password": PASSWORD}
    )
    assert response.headers["Location"].partition("?")[0] == MAILED_CODE
    assert not is_in(client)
    assert mailoutbox[-1].to == ["user@example.com"]
    assert "user@example.com" in words(client.get(MAILED_CODE))
    code = mailed_code()
    assert "That is not the code." in words(client.post(MAILED_CODE, {"code": "1"}))
    assert not is_in(client)
    client.post(MAILED_CODE, {"code": f" {code.replace('-', '')} "})
    assert is_in(client)
    assert AccountEvent.objects.filter(action=Action.SIGN_IN_FAILED, owner=with_email_codes, detail="E-mail").exists()


def test_the_code_goes_to_the_address_on_file_whichever_one_was_typed(with_email_codes, client, mailoutbox):
    EmailAddress.objects.create(user=with_email_codes, email="former@example.com", verified=True)
    client.post(LOGIN, {"login": "former@example.com", "password": PASSWORD})
    assert mailoutbox[-1].to == ["user@example.com"]


def test_a_mailed_code_works_once_and_in_its_browser_only(with_email_codes, client):
    give_password(client, with_email_codes)
    code, other = mailed_code(), Client()
    assert other.post(MAILED_CODE, {"code": code}).headers["Location"] == LOGIN
    client.post(MAILED_CODE, {"code": code})
    client.post("/accounts/logout/")
    give_password(client, with_email_codes)
    client.post(MAILED_CODE, {"code": code})
    assert not is_in(client)


def test_three_wrong_codes_end_the_attempt_to_sign_in(with_email_codes, client):
    give_password(client, with_email_codes)
    code = mailed_code()
    for _ in range(3):
        client.post(MAILED_CODE, {"code": "12345678"})
    client.post(MAILED_CODE, {"code": code})
    assert not is_in(client)


def test_codes_are_not_mailed_without_end(with_email_codes, client, mailoutbox):
    for _ in range(3):
        give_password(Client(), with_email_codes)
    response = give_password(Client(), with_email_codes)
    assert response.headers["Location"] == LOGIN
    assert len(mailoutbox) == 3


def test_a_code_that_cannot_be_mailed_is_told(with_email_codes, client, settings):
    settings.EMAIL_BACKEND = "tests.test_admin_users.BrokenMailServer"
    response = client.post(LOGIN, {"login": with_email_codes.email, "password": PASSWORD}, follow=True)
    assert "The code could not be mailed." in words(response)
    assert not is_in(client)


def test_another_code_can_be_sent_and_ends_the_first(with_email_codes, client, settings):
    give_password(client, with_email_codes)
    first = mailed_code()
    client.post(MAILED_CODE, {"action": "resend"})
    assert mailed_code() != first
    client.post(MAILED_CODE, {"code": first})
    assert not is_in(client)
    working, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, "tests.test_admin_users.BrokenMailServer"
    assert "could not be mailed" in words(client.post(MAILED_CODE, {"action": "resend"}, follow=True))
    settings.EMAIL_BACKEND = working
    client.post(MAILED_CODE, {"code": mailed_code()})
    assert is_in(client)


def test_an_expired_code_is_told(with_email_codes, client):
    give_password(client, with_email_codes)
    session = client.session
    session["account_login"]["state"]["stages"]["login_by_code"]["data"]["at"] -= 601
    session.save()
    response = client.post(MAILED_CODE, {"code": mailed_code()}, follow=True)
    assert "That code has expired." in words(response)
    assert not is_in(client)


def test_sign_in_takes_a_code_of_the_app_and_each_once(user, signed_in, client):
    secret, _codes = set_up_totp(signed_in)
    signed_in.post("/accounts/logout/")
    assert give_password(client, user).headers["Location"].partition("?")[0] == SECOND_STEP
    assert not is_in(client)
    assert "That is not the code." in words(client.post(SECOND_STEP, {"code": "000000"}))
    code = current_code(secret)
    client.post(SECOND_STEP, {"code": code})
    assert is_in(client)
    client.post("/accounts/logout/")
    give_password(client, user)
    client.post(SECOND_STEP, {"code": code})
    assert not is_in(client)
    # One that is half a minute ahead is of another period.
    client.post(SECOND_STEP, {"code": current_code(secret, periods=1)})
    assert is_in(client)


def test_guessing_codes_of_an_app_is_limited(user, signed_in, client):
    secret, _codes = set_up_totp(signed_in)
    signed_in.post("/accounts/logout/")
    give_password(client, user)
    for _ in range(5):
        client.post(SECOND_STEP, {"code": "000000"})
    response = client.post(SECOND_STEP, {"code": current_code(secret)})
    assert "Too many attempts." in words(response)
    assert not is_in(client)
    # Nor does a flood of them fill the events.
    for _ in range(10):
        client.post(SECOND_STEP, {"code": "000000"})
    assert AccountEvent.objects.filter(action=Action.SIGN_IN_FAILED, detail="TOTP").count() == 10


def test_without_the_app_a_code_by_email_signs_in(with_email_codes, client, mailoutbox):
    sign_in_with_code(client, with_email_codes)
    set_up_totp(client)
    client.post("/accounts/logout/")
    before = len(mailoutbox)
    give_password(client, with_email_codes)
    assert len(mailoutbox) == before
    assert "Send a code by e-mail instead" in words(client.get(SECOND_STEP))
    assert client.post(SECOND_STEP + "by-email/").headers["Location"] == MAILED_CODE
    assert not is_in(client)
    client.post(MAILED_CODE, {"code": mailed_code()})
    assert is_in(client)


def test_a_code_by_email_is_no_way_around_an_app_unless_it_was_turned_on(user, signed_in, client, mailoutbox):
    set_up_totp(signed_in)
    client.post("/accounts/logout/")
    assert client.post(SECOND_STEP + "by-email/").headers["Location"] == LOGIN
    give_password(client, user)
    assert client.post(SECOND_STEP + "by-email/").headers["Location"] == SECOND_STEP
    assert mailoutbox == []
    assert not is_in(client)


def test_a_secret_stored_under_another_secret_key_fits_no_code_and_breaks_nothing(user, signed_in, client, settings):
    secret, codes = set_up_totp(signed_in)
    settings.SECRET_KEY = "another one"
    client.cookies.clear()
    give_password(client, user)
    for code in (current_code(secret), codes[0]):
        assert "That is not the code." in words(client.post(SECOND_STEP, {"code": code}))
    assert not is_in(client)
