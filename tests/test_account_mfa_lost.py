"""A second factor is lost: recovery codes, and administrators who reset what there is."""

from __future__ import annotations

import pytest
from django.test import Client

from profiles.models import AccountEvent, User

from .admin_site import browser_of, make_staff, permit
from .conftest import sign_in
from .mfa import (
    INDEX,
    RECOVERY,
    SECOND_STEP,
    USERS,
    Action,
    codes_in,
    events,
    give_password,
    set_up_totp,
    sign_in_with_code,
)
from .page import PROFILE, Tags, html, is_in, words

pytestmark = pytest.mark.django_db


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
