"""Second factors: turned on with proof, asked for at sign-in, removed, lost, required."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.test import Client

from profiles.account.mfa import flows
from profiles.models import AccountEvent, Company, User

from .admin_site import browser_of, make_staff, permit
from .conftest import PASSWORD, sign_in
from .oauth import ask
from .page import PROFILE, Tags, by_htmx, html, long_ago, words

pytestmark = pytest.mark.django_db

INDEX = "/accounts/mfa/"
EMAIL = "/accounts/mfa/email/"
TOTP = "/accounts/mfa/totp/"
RECOVERY = "/accounts/mfa/recovery-codes/"
LOGIN = "/accounts/login/"
MAILED_CODE = "/accounts/login/mailed-code/"
SECOND_STEP = "/accounts/login/second-factor/"
USERS = "/admin/profiles/user/"
Action = AccountEvent.Action


@pytest.fixture(autouse=True)
def _forgotten_limits(settings: Any) -> None:
    """No test inherits the counted attempts of another: limits and spent codes live in the cache."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(time.time_ns())}
    }


def mailed_code() -> str:
    (code,) = re.findall(r"^\d{4}-\d{4}$", str(mail.outbox[-1].body), re.MULTILINE)
    return str(code)


def give_password(client: Client, user: User) -> Any:
    return client.post(LOGIN, {"login": user.email, "password": PASSWORD})


def is_in(client: Client) -> bool:
    return client.get(PROFILE).status_code == 200


def events(user: User) -> list[tuple[str, str]]:
    found = AccountEvent.objects.filter(owner=user, action__contains="").order_by("pk")
    ours = {
        Action.MFA_ADDED,
        Action.MFA_REMOVED,
        Action.MFA_RESET,
        Action.RECOVERY_CODES_MADE,
        Action.RECOVERY_CODE_USED,
    }
    return [(event.action, event.detail) for event in found if event.action in ours]


def current_code(secret: str, periods: int = 0) -> str:
    return format_hotp_value(hotp_value(secret.replace(" ", ""), int(time.time()) // 30 + periods))


def set_up_totp(client: Client) -> tuple[str, list[str]]:
    """Set up an app on the page. Its secret, and the recovery codes that are shown."""
    page = html(client.get(TOTP))
    (secret,) = re.findall(r'<code class="secret" translate="no">([A-Z2-7 ]+)</code>', page)
    shown = client.post(TOTP, {"code": current_code(secret, periods=-1)})
    return secret, codes_in(shown)


def codes_in(response: Any) -> list[str]:
    return re.findall(r"<code>(\d{4} \d{4})</code>", html(response))


@pytest.fixture
def with_email_codes(user: User) -> User:
    user.email_codes = True
    user.save(update_fields=["email_codes"])
    return user


# --- Codes by e-mail -------------------------------------------------------------------------------------------


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
    session[flows.MailboxProof.SESSION_KEY]["at"] -= 601
    session.save()
    assert "That code has expired." in words(signed_in.post(EMAIL, {"code": mailed_code()}, follow=True))
    user.refresh_from_db()
    assert not user.email_codes


@pytest.mark.parametrize(
    "path", [EMAIL, TOTP, RECOVERY, EMAIL + "remove/", TOTP + "remove/", "/accounts/mfa/passkeys/add/"]
)
def test_a_change_takes_a_password_of_the_last_15_minutes(path, with_email_codes, client):
    sign_in_with_code(client, with_email_codes)
    response = long_ago(client).post(path, {})
    assert response.headers["Location"].startswith("/accounts/reauthenticate/"), path
    with_email_codes.refresh_from_db()
    assert with_email_codes.email_codes


def sign_in_with_code(client: Client, user: User) -> None:
    give_password(client, user)
    assert client.post(MAILED_CODE, {"code": mailed_code()}).headers["Location"] == PROFILE


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


def test_codes_by_email_are_turned_off_after_a_question(with_email_codes, client):
    sign_in_with_code(client, with_email_codes)
    assert "your password alone opens your account" in words(client.get(EMAIL + "remove/"))
    response = client.post(EMAIL + "remove/", follow=True)
    assert "Off: signing in takes your password alone." in words(response)
    assert events(with_email_codes) == [("mfa_removed", "E-mail")]
    client.post("/accounts/logout/")
    sign_in(client, with_email_codes)


# --- The authenticator app, and recovery codes ------------------------------------------------------------------


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


def test_the_code_that_set_the_app_up_does_not_sign_in(user, signed_in, client):
    secret, _codes = set_up_totp(signed_in)
    signed_in.post("/accounts/logout/")
    give_password(client, user)
    client.post(SECOND_STEP, {"code": current_code(secret, periods=-1)})
    assert not is_in(client)


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


def test_a_recovery_code_signs_in_once(user, signed_in, client):
    _secret, codes = set_up_totp(signed_in)
    for attempt in (True, False):
        client.post("/accounts/logout/")
        give_password(client, user)
        client.post(SECOND_STEP, {"code": codes[0]})
        assert is_in(client) is attempt
    client.post(SECOND_STEP, {"code": codes[1]})
    assert "8 left." in words(client.get(INDEX))
    used = AccountEvent.objects.filter(action=Action.RECOVERY_CODE_USED)
    assert [event.actor for event in used] == [user, user]


def test_new_recovery_codes_end_the_old_ones_and_are_shown_once(user, signed_in, client):
    _secret, old = set_up_totp(signed_in)
    page = signed_in.get(RECOVERY)
    (version,) = [its["value"] for its in Tags(html(page))["input"] if its.get("name") == "version"]
    response = signed_in.post(RECOVERY, {"version": version})
    assert "no-store" in response.headers["Cache-Control"]
    new = codes_in(response)
    assert len(new) == 10
    assert not set(new) & set(old)
    # The same form again, as a reload of the page sends it.
    assert "Nothing was done now." in words(signed_in.post(RECOVERY, {"version": version}, follow=True))
    for path in (PROFILE, INDEX, RECOVERY):
        assert not codes_in(signed_in.get(path))
    client.post("/accounts/logout/")
    give_password(client, user)
    client.post(SECOND_STEP, {"code": old[0]})
    assert not is_in(client)
    client.post(SECOND_STEP, {"code": new[0]})
    assert is_in(client)


def test_removing_the_app_ends_its_recovery_codes(user, signed_in):
    set_up_totp(signed_in)
    assert "Your recovery codes no longer work then." in words(signed_in.get(TOTP + "remove/"))
    signed_in.post(TOTP + "remove/")
    assert not Authenticator.objects.exists()
    assert events(user)[-1] == ("mfa_removed", "TOTP")
    assert "Off: signing in" in words(signed_in.get(PROFILE))


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


# --- Lost, and required ------------------------------------------------------------------------------------------


def reset(client: Client, *users: User) -> str:
    form = {"action": "reset_second_factors", "_selected_action": [user.pk for user in users]}
    return words(client.post(USERS, form, follow=True))


def test_an_administrator_resets_what_is_lost(
    with_email_codes, admin_user, client, mailoutbox, django_capture_on_commit_callbacks
):
    sign_in_with_code(client, with_email_codes)
    set_up_totp(client)
    with django_capture_on_commit_callbacks(execute=True):
        page = reset(browser_of(admin_user), with_email_codes)
    assert "The second factors of 1 user were removed." in page
    assert events(with_email_codes)[-1] == ("mfa_reset", "")
    assert mailoutbox[-1].subject == "Your second factors were removed by an administrator"
    client.post("/accounts/logout/")
    sign_in(client, with_email_codes)


def test_staff_reset_no_staff_and_nobody_themselves(admin_user, with_email_codes):
    staff = make_staff()
    User.objects.update(email_codes=True)
    page = reset(permit(staff, "view_user", "change_user"), staff, admin_user, with_email_codes)
    assert "2 users were left out" in page
    assert set(User.objects.filter(email_codes=True)) == {staff, admin_user}
    assert "reset_second_factors" not in html(permit(staff, "view_user").get(USERS))


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
    assert flows.factors_of(with_email_codes).totp


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


def test_the_admin_site_asks_a_company_and_shows_no_secret_of_a_factor(admin_user, company):
    browser = browser_of(admin_user)
    page = f"/admin/profiles/company/{company.pk}/change/"
    assert Tags(html(browser.get(page))).with_attribute("name", "require_mfa")
    browser.post(page, {"name": company.name, "require_mfa": "on"})
    company.refresh_from_db()
    assert company.require_mfa
    for path in ("/admin/mfa/authenticator/", "/admin/usersessions/usersession/"):
        assert browser.get(path).status_code == 404
    assert "admin@example.com" in html(browser.get(USERS + "?second_factor=no"))
    assert "admin@example.com" not in html(browser.get(USERS + "?second_factor=yes")).partition("result_list")[2]
