"""Guessing second factors: stopped in a short time and over days, told to the owner, and no way to shut them out."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from profiles.account.mfa import factors, failures
from profiles.models import AccountEvent, Attempts, FactorFailures, User
from profiles.origin import Origin

from .admin_site import browser_of
from .conftest import PASSWORD, sign_in
from .mfa import (
    ADD_PASSKEY,
    EMAIL,
    INDEX,
    LOGIN,
    MAILED_CODE,
    RECOVERY,
    SECOND_STEP,
    TOTP,
    current_code,
    mailed_code,
    set_up_totp,
)
from .page import PROFILE, html, is_in, words
from .passkeys import Device, challenge_of

pytestmark = pytest.mark.django_db

HERE, THERE = "198.51.100.1", "203.0.113.9"
Action = AccountEvent.Action
CAP = failures.FAILURES_AT_MOST


class Browser(Client):
    """At one address."""

    def __init__(self, address: str = HERE) -> None:
        super().__init__(REMOTE_ADDR=address)

    def give_password(self, user: User) -> Browser:
        self.post(LOGIN, {"login": user.email, "password": PASSWORD})
        return self

    def give_code(self, code: str) -> Any:
        return self.post(SECOND_STEP, {"code": code})


@pytest.fixture
def owner(user) -> Browser:
    """Signed in, in a browser that is known from now on."""
    browser = Browser(THERE)
    sign_in(browser, user)
    return browser


@pytest.fixture
def app(owner) -> tuple[str, list[str]]:
    """The secret of an authenticator app, and recovery codes; the owner has signed out."""
    made = set_up_totp(owner)
    owner.post("/accounts/logout/")
    return made


@pytest.fixture
def thief(app, user) -> Browser:
    """Somebody who knows the password."""
    return Browser().give_password(user)


def failed(user: User, number: int, factor: str = failures.TOTP_APP) -> None:
    """So many failures in a row were there, over days."""
    FactorFailures.objects.update_or_create(user=user, factor=factor, defaults={"failures": number})


def later(**time_gone: float) -> None:
    for counter in Attempts.objects.all():
        counter.ends -= timedelta(**time_gone)
        counter.save()


def subjects() -> list[str]:
    return [str(message.subject) for message in mail.outbox]


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    return lambda: django_capture_on_commit_callbacks(execute=True)


# --- A short time ---------------------------------------------------------------------------------------------


def test_a_thief_with_the_password_is_stopped_and_the_owner_is_not(user, app, thief, owner):  # security 71
    secret, _codes = app
    assert [thief.give_code("000000").status_code for _ in range(7)] == [200] * 5 + [429] * 2
    assert thief.give_code(current_code(secret)).status_code == 429
    owner.give_password(user).give_code(current_code(secret))
    assert is_in(owner)


def test_nor_is_an_owner_in_a_new_browser_at_another_address(user, app, thief):  # security 71
    for _ in range(7):
        thief.give_code("000000")
    elsewhere = Browser("192.0.2.77").give_password(user)
    elsewhere.give_code(current_code(app[0]))
    assert is_in(elsewhere)


def test_spread_over_addresses_guesses_are_stopped_for_the_day(user, app, owner):  # security 71
    tries = []
    for number in range(4):
        thief = Browser(f"192.0.2.{number}").give_password(user)
        for _ in range(2):
            tries += [thief.give_code("000000").status_code for _ in range(5)]
            later(minutes=5)
    assert tries == [200] * 30 + [429] * 10
    assert Browser("192.0.2.99").give_password(user).give_code(current_code(app[0])).status_code == 429
    owner.give_password(user).give_code(current_code(app[0]))
    assert is_in(owner)


def test_recovery_codes_have_limits_of_their_own(user, app, thief):  # security 71
    for _ in range(6):
        thief.give_code("000000")
    assert [thief.give_code("0000 0000").status_code for _ in range(6)] == [200] * 5 + [429]
    assert thief.give_code(app[1][0]).status_code == 429


def test_codes_by_email_are_limited_by_browser_too(user, owner):  # security 71
    User.objects.filter(pk=user.pk).update(email_codes=True)
    owner.post("/accounts/logout/")
    for _ in range(3):
        thief = Browser().give_password(user)
        for _ in range(3):
            thief.post(MAILED_CODE, {"code": "1111-1111"})
    assert Browser().give_password(user).get(MAILED_CODE).status_code == 302  # no more mails to who is new here
    owner.give_password(user).post(MAILED_CODE, {"code": mailed_code()})
    assert is_in(owner)


# --- Over days -------------------------------------------------------------------------------------------------


def test_after_a_hundred_failures_in_a_row_the_app_is_stopped_and_a_recovery_code_is_the_way(
    user, app, thief, owner
):  # security 71
    secret, codes = app
    failed(user, CAP - 1)
    thief.give_code("000000")
    owner.give_password(user)
    refused = owner.give_code(current_code(secret))
    assert "this is no longer accepted. Use a recovery code" in words(refused)
    assert not is_in(owner)
    owner.give_code(codes[0])
    assert is_in(owner)
    assert "no longer accepted when you sign in: Authenticator app (TOTP)." in words(owner.get(INDEX))
    # A recovery code brings the app not back; setting it up again does.
    assert FactorFailures.objects.get(user=user, factor=failures.TOTP_APP).failures == CAP
    owner.post(TOTP + "remove/")
    secret, _codes = set_up_totp(owner)
    assert "no longer accepted" not in words(owner.get(INDEX))
    owner.post("/accounts/logout/")
    owner.give_password(user).give_code(current_code(secret, periods=1))
    assert is_in(owner)


def test_a_hundred_it_is_with_the_limits_on_time_switched_off(user, app, thief, settings):  # security 71
    settings.RATE_LIMITS = False
    for _ in range(CAP):
        assert thief.give_code("000000").status_code == 200
    assert not FactorFailures.objects.filter(failures__gt=CAP).exists()
    assert "no longer accepted" in words(thief.give_code(current_code(app[0])))
    assert not is_in(thief)


def test_a_right_code_begins_a_new_row(user, app, owner):  # security 71
    failed(user, CAP - 1)
    owner.give_password(user).give_code(current_code(app[0]))
    assert is_in(owner)
    assert FactorFailures.objects.get(factor=failures.TOTP_APP).failures == 0


def test_one_factor_is_stopped_and_not_the_others(user, app, owner):  # security 71
    User.objects.filter(pk=user.pk).update(email_codes=True)
    failed(user, CAP)
    owner.give_password(user)
    owner.post(SECOND_STEP + "by-email/")
    owner.post(MAILED_CODE, {"code": mailed_code()})
    assert is_in(owner)


@pytest.mark.parametrize("known", [True, False])
def test_codes_by_email_stop_too_and_an_administrator_resets(known, user, owner, admin_user):  # security 71
    User.objects.filter(pk=user.pk).update(email_codes=True)
    owner.post("/accounts/logout/")
    failed(user, CAP, failures.EMAIL)
    browser = owner if known else Browser()
    browser.give_password(user)
    assert "no longer accepted" in words(browser.post(MAILED_CODE, {"code": mailed_code()}))
    assert not is_in(browser)
    browser_of(admin_user).post(
        "/admin/profiles/user/", {"action": "reset_second_factors", "_selected_action": user.pk}
    )
    assert is_in(browser.give_password(user))  # the sign-in that was half done does not hold it
    browser.post(EMAIL)
    browser.post(EMAIL, {"code": mailed_code()})
    browser.post("/accounts/logout/")
    browser.give_password(user).post(MAILED_CODE, {"code": mailed_code()})
    assert is_in(browser)


def test_recovery_codes_stop_for_strangers_and_not_in_a_browser_that_signed_in(user, app, thief, owner):  # security 71
    _secret, codes = app
    failed(user, CAP)
    failed(user, CAP, failures.RECOVERY)
    assert "Use a browser in which you have signed in before" in words(thief.give_code(codes[0]))
    assert not is_in(thief)
    owner.give_password(user).give_code(codes[0])
    assert is_in(owner)


def test_nor_in_one_in_which_a_mailed_link_set_a_new_password(user, app, thief):  # security 71
    _secret, codes = app
    failed(user, CAP)
    failed(user, CAP, failures.RECOVERY)
    new = "Another long enough passw0rd"
    visitor = Browser("192.0.2.5")
    visitor.post("/accounts/password/reset/", {"email": user.email})
    (link,) = re.findall(r"http://\S+/password/reset/key/\S+", str(mail.outbox[-1].body))
    visitor.post(visitor.get(link).headers["Location"], {"password1": new, "password2": new})
    visitor.post(LOGIN, {"login": user.email, "password": new})
    visitor.give_code(codes[0])
    assert is_in(visitor)


def test_in_a_known_browser_recovery_codes_end_at_a_hundred_too_until_new_ones_are_made(user, app, owner):
    failed(user, CAP, failures.RECOVERY_IN_KNOWN_BROWSER)
    owner.give_password(user)
    assert "no longer accepted" in words(owner.give_code(app[1][0]))
    owner.give_code(current_code(app[0]))
    page = html(owner.get(RECOVERY))
    (version,) = re.findall(r'name="version" value="([^"]*)"', page)
    owner.post(RECOVERY, {"version": version})
    assert not FactorFailures.objects.filter(failures__gt=0).exists()


def test_a_passkey_as_the_second_step_counts_too(user, settings):  # security 71
    settings.PASSKEY_HOST, settings.MFA_PASSKEY_LOGIN_ENABLED = "keys.example", True
    browser, device = Browser(THERE), Device(user)
    sign_in(browser, user)
    browser.get(ADD_PASSKEY)
    browser.post(ADD_PASSKEY, {"name": "Blue key", "credential": device.make(challenge_of(browser))})
    browser.post("/accounts/logout/")
    failed(user, CAP - 1, failures.PASSKEY)
    browser.give_password(user).get(SECOND_STEP)
    browser.post(SECOND_STEP, {"credential": '{"id": 1}'})
    browser.get(SECOND_STEP)
    browser.post(SECOND_STEP, {"credential": device.use(challenge_of(browser))})
    assert not is_in(browser)


# --- The owner is told ------------------------------------------------------------------------------------------


def test_the_owner_is_mailed_at_once_and_then_once_an_hour_at_most(user, app, committed):  # security 71
    mail.outbox.clear()
    for number in range(3):
        thief = Browser(f"192.0.2.{number}").give_password(user)
        for _ in range(5):
            with committed():
                thief.give_code("000000")
    subject = "A sign-in to your account failed at the second step"
    assert subjects() == [subject]
    later(hours=1)
    with committed():
        Browser("192.0.2.9").give_password(user).give_code("000000")
    assert subjects() == [subject] * 2


def test_the_mail_says_what_happened_and_what_to_do(user, app, thief, committed):  # security 61, 71
    mail.outbox.clear()
    with committed():
        thief.post(SECOND_STEP, {"code": "0000 0000"}, headers={"User-Agent": "Lynx/2.9"})
    (notice,) = mail.outbox
    assert notice.to == [user.email]
    for text in (str(notice.body), str(notice.alternatives[0][0])):  # type: ignore[attr-defined]
        for said in (
            "Somebody gave your right password",
            "Recovery code",
            HERE,
            "Lynx/2.9",
            "somebody who knows your password",
            "If this was not you, somebody else knows your password:",
            "http://127.0.0.1:8000/accounts/password/reset/",
        ):
            assert said in text
        assert "0000 0000" not in text


def test_a_wrong_password_alone_is_not_mailed(user, committed):
    with committed():
        Browser().post(LOGIN, {"login": user.email, "password": "wrong"})
    assert mail.outbox == []


def test_a_factor_that_stops_is_an_event_and_mailed_once(user, app, thief, committed, settings):  # security 71
    settings.RATE_LIMITS = False
    mail.outbox.clear()
    failed(user, CAP - 1)
    for _ in range(3):
        with committed():
            thief.give_code("000000")
    (event,) = user.account_events.filter(action=Action.MFA_STOPPED)
    assert (event.detail, event.actor, event.address) == (failures.TOTP_APP, None, HERE)
    assert sorted(subjects()) == [
        "A second factor of your account is no longer accepted",
        "A sign-in to your account failed at the second step",
    ]


def test_an_empty_code_is_no_failure(user, app, thief):
    thief.give_code("")
    assert not FactorFailures.objects.filter(failures__gt=0).exists()
    assert not user.account_events.filter(action=Action.SIGN_IN_FAILED).exists()


# --- A sign-in that is half done --------------------------------------------------------------------------------


def change_password(user: User, owner: Browser) -> None:
    user.set_password("Another long enough passw0rd")
    user.save(update_fields=["password"])


def switch_off_and_on(user: User, owner: Browser) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)
    User.objects.filter(pk=user.pk).update(is_active=True)


def switch_off(user: User, owner: Browser) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def make_new_recovery_codes(user: User, owner: Browser) -> None:
    factors.make_recovery_codes(owner=user, origin=Origin(None, AccountEvent.Via.PAGE))


@pytest.mark.parametrize(
    "change",
    [change_password, switch_off_and_on, switch_off, make_new_recovery_codes],
    ids=lambda change: change.__name__,
)
def test_it_ends_with_whatever_ends_sessions(change, user, app, thief, owner):  # security 71, 72
    """A new password is what the mail says to do: who is at the second step with the old one must not get in."""
    change(user, owner)
    response = thief.give_code(current_code(app[0]))
    assert response.headers["Location"].startswith("/accounts/")
    assert not is_in(thief)
    User.objects.filter(pk=user.pk).update(is_active=True)
    assert thief.get(PROFILE).status_code == 302
