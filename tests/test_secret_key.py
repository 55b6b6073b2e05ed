"""Another SECRET_KEY, with the old one as fallback: nobody is signed out, no link dies, no second factor is lost."""

from __future__ import annotations

import io
import re
from typing import Any
from uuid import uuid4

import pytest
from allauth.mfa.models import Authenticator
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client

from profiles.account import email
from profiles.limits import known_browsers
from profiles.mail import invitations
from profiles.models import Event, User
from profiles.origin import Origin

from .conftest import PASSWORD, sign_in
from .mfa import LOGIN, SECOND_STEP, current_code, give_password, set_up_totp
from .page import PROFILE

pytestmark = pytest.mark.django_db


@pytest.fixture
def change(settings: Any) -> Any:
    """Set another SECRET_KEY; the one before becomes a fallback, unless it is forgotten."""

    def to_another(*, forget: bool = False) -> None:
        settings.SECRET_KEY_FALLBACKS = [] if forget else [settings.SECRET_KEY]
        settings.SECRET_KEY = uuid4().hex * 2

    return to_another


def is_in(client: Client) -> bool:
    return client.get(PROFILE).status_code == 200


def reencrypt(*arguments: str) -> str:
    out = io.StringIO()
    call_command("reencrypt", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


# --- Who is signed in --------------------------------------------------------------------------------------------


def test_whoever_is_signed_in_stays_so_also_when_the_old_key_goes(signed_in, user, change, settings):
    before = signed_in.cookies["session"].value
    change()
    assert is_in(signed_in)
    assert signed_in.cookies["session"].value == before
    settings.SECRET_KEY_FALLBACKS = []
    assert is_in(signed_in)
    change(forget=True)
    assert not is_in(signed_in)


def test_two_requests_of_a_browser_at_the_same_moment_do_not_sign_it_out(signed_in, change):
    other = Client()
    other.cookies["session"] = signed_in.cookies["session"].value
    change()
    assert is_in(signed_in)
    assert is_in(other)


def test_a_picture_that_is_loaded_first_does_not_sign_its_viewer_out(signed_in, user, change):
    change()
    assert signed_in.get(f"/api/v1/users/{user.uid}/picture/icon").status_code == 404  # they have none
    assert is_in(signed_in)


def test_servers_of_the_old_and_the_new_key_take_turns(signed_in, settings):
    """While they are replaced one after the other, each having the key of the others as its fallback."""
    keys = [settings.SECRET_KEY, uuid4().hex * 2]
    for _ in range(3):
        keys.reverse()
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = keys[0], keys[1:]
        assert is_in(signed_in)


def test_a_form_from_before_is_taken(user, change):
    browser = Client(enforce_csrf_checks=True)
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(LOGIN).content.decode())
    change()
    form = {"login": user.email, "password": PASSWORD, "csrfmiddlewaretoken": token}
    assert browser.post(LOGIN, form).headers["Location"] == PROFILE


def test_a_browser_that_is_known_stays_known(signed_in, user, change, rf):
    request = rf.get("/")
    request.COOKIES = {name: it.value for name, it in signed_in.cookies.items()}
    known = known_browsers.id_of(request, user)
    assert known
    change()
    assert known_browsers.id_of(request, user) == known
    change(forget=True)
    assert known_browsers.id_of(request, user) is None


# --- Links that were mailed ---------------------------------------------------------------------------------------


def test_links_that_were_mailed_go_on_working(user, change):
    invitations.send(user)
    email.ask(owner=user, email="new@example.com", origin=Origin(user, Event.Via.PAGE))
    links = re.findall(r"https?://[^/]+(/accounts/\S+|/profile/\S+)", "\n".join(str(it.body) for it in mail.outbox))
    links = [link for link in links if "/key/" in link or "/confirm/" in link]
    assert len(links) == 2

    def work() -> list[bool]:
        pages = [Client().get(link, follow=True).content.decode() for link in links]
        return ["password1" in pages[0], "new@example.com" in pages[1]]

    assert work() == [True, True]
    change()
    assert work() == [True, True]
    change(forget=True)
    assert work() == [False, False]


# --- Second factors -----------------------------------------------------------------------------------------------


@pytest.fixture
def with_factors(user: User, signed_in: Client) -> tuple[str, list[str]]:
    """The secret of the app of `user`, and the recovery codes."""
    return set_up_totp(signed_in)


def sign_in_by(code: str, user: User) -> bool:
    browser = Client()
    give_password(browser, user)
    browser.post(SECOND_STEP, {"code": code})
    return is_in(browser)


def test_with_the_old_key_as_fallback_codes_fit(user, with_factors, change):  # security 88
    secret, codes = with_factors
    change()
    assert sign_in_by(current_code(secret), user)
    assert sign_in_by(codes[0], user)


def test_a_sign_in_that_is_half_done_is_finished(user, with_factors, change):
    browser = Client()
    give_password(browser, user)
    change()
    browser.post(SECOND_STEP, {"code": current_code(with_factors[0])})
    assert is_in(browser)


def test_without_reencrypt_no_code_fits_when_the_old_key_goes(user, with_factors, change, settings):
    secret, codes = with_factors
    change()
    settings.SECRET_KEY_FALLBACKS = []
    assert not sign_in_by(current_code(secret), user)
    assert not sign_in_by(codes[0], user)


def test_with_reencrypt_all_codes_fit_but_those_that_were_used(user, with_factors, change, settings):  # security 88
    secret, codes = with_factors
    assert sign_in_by(codes[0], user)
    change()
    assert reencrypt().startswith("2 second factors were stored anew, 0 were")
    assert reencrypt().startswith("0 second factors were stored anew, 2 were")
    settings.SECRET_KEY_FALLBACKS = []
    assert reencrypt().startswith("0 second factors were stored anew, 2 were")
    assert not sign_in_by(codes[0], user)
    assert sign_in_by(codes[1], user)
    assert sign_in_by(current_code(secret), user)


def test_a_dry_run_changes_nothing(with_factors, change):
    change()
    before = list(Authenticator.objects.order_by("pk").values())
    assert reencrypt("--dry-run").startswith("2 second factors would be stored anew, 0 were")
    assert list(Authenticator.objects.order_by("pk").values()) == before


def test_recovery_codes_that_were_taken_over_from_another_program_are_stored_anew(user, with_factors, change):
    """allauth has them as a list, each encrypted by itself."""
    from allauth.mfa.adapter import get_adapter

    recovery = Authenticator.objects.get(type=Authenticator.Type.RECOVERY_CODES)
    recovery.data = {"migrated_codes": [get_adapter().encrypt(code) for code in ("11112222", "33334444")]}
    recovery.save()
    change()
    assert reencrypt().startswith("2 second factors were stored anew")
    change()
    assert recovery.wrap().get_unused_codes() != ["11112222", "33334444"]
    recovery.refresh_from_db()
    assert recovery.wrap().get_unused_codes() == ["11112222", "33334444"]


def test_what_no_key_opens_is_named_and_left_as_it_is(user, other_user, with_factors, change):
    change(forget=True)
    set_up_totp(sign_in(Client(), other_user))
    before = list(Authenticator.objects.order_by("pk").values())
    out = io.StringIO()
    with pytest.raises(CommandError, match="2 second factors are encrypted by a key that is not there") as refused:
        call_command("reencrypt", stdout=out, stderr=io.StringIO())
    assert refused.value.returncode == 1
    assert user.email in out.getvalue()
    assert other_user.email not in out.getvalue()
    assert list(Authenticator.objects.order_by("pk").values()) == before
