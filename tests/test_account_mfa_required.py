"""Second factors are removed, unless a company requires them; keys are not affected."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from profiles.account.mfa import factors
from profiles.models import Company, User

from .conftest import sign_in
from .mfa import EMAIL, INDEX, TOTP, events, mailed_code, set_up_totp, sign_in_with_code
from .oauth import ask
from .page import PROFILE, by_htmx, html, is_in, words

pytestmark = pytest.mark.django_db


def test_codes_by_email_are_turned_off_after_a_question(with_email_codes, client):
    sign_in_with_code(client, with_email_codes)
    assert "your password alone opens your account" in words(client.get(EMAIL + "remove/"))
    response = client.post(EMAIL + "remove/", follow=True)
    assert "Off: signing in takes your password alone." in words(response)
    assert events(with_email_codes) == [("mfa_removed", "E-mail")]
    client.post("/accounts/logout/")
    sign_in(client, with_email_codes)


def test_removing_the_app_ends_its_recovery_codes(user, signed_in):
    set_up_totp(signed_in)
    assert "Your recovery codes no longer work then." in words(signed_in.get(TOTP + "remove/"))
    signed_in.post(TOTP + "remove/")
    assert not Authenticator.objects.exists()
    assert events(user)[-1] == ("mfa_removed", "TOTP")
    assert "Off: signing in" in words(signed_in.get(PROFILE))


@pytest.fixture
def requiring(company: Company) -> Company:
    company.require_mfa = True
    company.save()
    return company


def test_a_company_requires_a_second_factor_before_anything_else(requiring, user, signed_in):
    for path in (PROFILE, "/profile/api-key/delete/", "/accounts/password/change/"):
        assert signed_in.get(path).headers["Location"] == INDEX, path
    assert by_htmx(signed_in, "/profile/api-key/create/", {}).headers["HX-Redirect"] == INDEX
    assert "Your company requires it" in words(signed_in.get(INDEX))
    signed_in.post(EMAIL)
    signed_in.post(EMAIL, {"code": mailed_code()})
    assert is_in(signed_in)


def test_the_last_factor_that_a_company_requires_stays(requiring, with_email_codes, client):
    sign_in_with_code(client, with_email_codes)
    assert EMAIL + "remove/" not in html(client.get(INDEX))
    assert "Your company requires a second factor." in words(client.post(EMAIL + "remove/", follow=True))
    set_up_totp(client)
    client.post(EMAIL + "remove/")
    with_email_codes.refresh_from_db()
    assert not with_email_codes.email_codes
    client.post(TOTP + "remove/")
    assert factors.of(with_email_codes).totp


def test_tokens_and_keys_are_not_affected(requiring, user, key, token, client):
    """Neither by a second factor that is required, nor by one that is set up."""
    for email_codes in (False, True):
        User.objects.filter(pk=user.pk).update(email_codes=email_codes)
        for bearer in (token, ask(key).json()["access_token"]):
            answer = client.get("/api/v1/users/current", headers={"Authorization": f"Bearer {bearer}"})
            assert answer.json()["email"] == user.email
    assert "Your personal API access key and its tokens are not affected." in words(
        sign_in_page(client, User.objects.get(pk=user.pk))
    )


def sign_in_page(client: Client, user: User) -> Any:
    sign_in_with_code(client, user)
    return client.get(INDEX)
