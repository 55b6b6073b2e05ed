"""When sessions end: unused, after a fixed time, with the account, with a change of what protects it, by staff."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.conf import settings as site
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from profiles.account import sessions
from profiles.models import AccountEvent, User

from .admin_site import browser_of, make_staff, permit
from .conftest import PASSWORD, sign_in
from .mfa import EMAIL, RECOVERY, TOTP, current_code, mailed_code, set_up_totp
from .page import PROFILE, by_htmx, html, is_in, long_ago, words
from .passkeys import Device, add
from .test_account_email import LINK

pytestmark = pytest.mark.django_db

USERS = "/admin/profiles/user/"
HOUR = 3600


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets hours go by, for whatever asks Django what time it is, and for the minute of `note_browser`."""
    gone = [timedelta()]
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + gone[0])
    monkeypatch.setattr(sessions, "NOTE_EVERY", -1)

    def let_go_by(hours: float) -> None:
        gone[0] += timedelta(hours=hours)

    return let_go_by


@pytest.fixture
def other(user) -> Client:
    """Another browser of `user`."""
    return sign_in(Client(), user)


# --- Time -----------------------------------------------------------------------------------------------------


def test_the_times_are_those_of_the_readme():
    assert (site.SESSION_COOKIE_AGE, site.SESSION_LIFETIME) == (12 * HOUR, 24 * HOUR)


def test_unused_for_twelve_hours_it_ends(signed_in, clock):  # security 72
    clock(11)
    assert is_in(signed_in)
    clock(12.1)
    assert not is_in(signed_in)


def test_a_day_after_signing_in_it_ends_however_much_it_is_used(signed_in, clock):  # security 72
    for _ in range(3):
        clock(7.9)
        assert is_in(signed_in)
    clock(0.4)
    assert not is_in(signed_in)


def test_the_password_once_more_makes_it_no_longer(signed_in, clock):  # security 72
    for _ in range(3):
        clock(7.9)
        long_ago(signed_in)
        signed_in.post("/accounts/reauthenticate/", {"password": PASSWORD})
        assert is_in(signed_in)
    clock(0.4)
    assert not is_in(signed_in)


def test_signing_in_again_begins_anew(signed_in, user, clock):
    clock(24.1)
    assert not is_in(signed_in)
    sign_in(signed_in, user)
    clock(11)
    assert is_in(signed_in)


def png() -> SimpleUploadedFile:
    from io import BytesIO

    from PIL import Image

    made = BytesIO()
    Image.new("RGB", (300, 300), "teal").save(made, "PNG")
    return SimpleUploadedFile("me.png", made.getvalue(), "image/png")


def test_every_door_of_a_session_is_shut_then(admin_user, settings, tmp_path, clock):  # security 72
    settings.MEDIA_ROOT = str(tmp_path)
    browser = sign_in(Client(), admin_user)
    browser.post("/profile/picture/", {"picture": png()})
    picture = f"/api/v1/users/{admin_user.uid}/picture/small"
    doors = [PROFILE, "/admin/", "/accounts/sessions/", "/accounts/mfa/"]
    assert [browser.get(door).status_code for door in doors] == [200] * 4
    opened = browser.get(picture).status_code
    for _ in range(3):
        clock(8.1)
        browser.get("/accounts/login/")
    assert [browser.get(door).status_code for door in doors] == [302] * 4
    assert (opened, browser.get(picture).status_code) == (200, 401)
    answer = by_htmx(browser, "/profile/api-key/create/", {})
    assert answer.headers["HX-Redirect"] == f"/accounts/login/?next={PROFILE}"


def test_the_list_and_the_clean_up_know_when_it_ends(signed_in, user, clock):
    assert sessions.of(user).count() == 1
    clock(24.1)
    assert sessions.of(user).count() == 0
    call_command("clearsessions")
    assert not Session.objects.exists()
    assert not UserSession.objects.exists()


def test_the_clean_up_leaves_what_goes_on(signed_in, other):
    call_command("clearsessions")
    assert UserSession.objects.count() == 2
    assert is_in(signed_in)


# --- A deactivated user -------------------------------------------------------------------------------------------


def by_the_form(user: User, admin: Client, active: bool) -> None:  # noqa: FBT001
    data = {
        "email": user.email,
        "name": user.name,
        "company": user.company_id,
        "access_profile": user.access_profile_id,
    }
    admin.post(f"{USERS}{user.pk}/change/", {**data, **({"is_active": "on"} if active else {})})


def by_the_action(user: User, admin: Client, active: bool) -> None:  # noqa: FBT001
    action = "reactivate" if active else "deactivate"
    admin.post(USERS, {"action": action, "_selected_action": user.pk})


def by_update(user: User, admin: Client, active: bool) -> None:  # noqa: FBT001
    User.objects.filter(pk=user.pk).update(is_active=active)


def by_related_update(user: User, admin: Client, active: bool) -> None:  # noqa: FBT001
    assert user.company is not None
    user.company.users.update(is_active=active)


def by_bulk_update(user: User, admin: Client, active: bool) -> None:  # noqa: FBT001
    user = User.objects.get(pk=user.pk)
    user.is_active = active
    User.objects.bulk_update([user], ["is_active"])


def by_save(user: User, admin: Client, active: bool) -> None:  # noqa: FBT001
    user = User.objects.get(pk=user.pk)
    user.is_active = active
    user.save()


def by_saving_the_field(user: User, admin: Client, active: bool) -> None:  # noqa: FBT001
    user = User.objects.get(pk=user.pk)
    user.is_active = active
    user.save(update_fields=["is_active"])


DOORS = [by_the_form, by_the_action, by_update, by_related_update, by_bulk_update, by_save, by_saving_the_field]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_the_sessions_of_who_was_deactivated_do_not_come_back(door, user, signed_in, admin_user):  # security 72
    admin = browser_of(admin_user)
    door(user, admin, active=False)
    assert not User.objects.get(pk=user.pk).is_active
    door(user, admin, active=True)  # before a click of theirs has noticed
    assert User.objects.get(pk=user.pk).is_active
    assert not is_in(signed_in)
    assert is_in(sign_in(signed_in, user))


@pytest.mark.parametrize("door", DOORS[:2], ids=lambda door: door.__name__)
def test_their_rows_go_with_the_change(door, user, signed_in, other, admin_user):  # security 72
    admin = browser_of(admin_user)
    door(user, admin, active=False)
    assert not UserSession.objects.filter(user=user).exists()
    assert Session.objects.count() == 1  # the administrator's


def test_a_copy_that_was_read_before_brings_no_session_back(user, signed_in):  # security 72
    read_before = User.objects.get(pk=user.pk)
    User.objects.filter(pk=user.pk).update(is_active=False)
    read_before.name = "Somebody"
    read_before.save()  # as all of it is written, it is active again
    assert not is_in(signed_in)


def test_saving_something_else_ends_no_session(user, signed_in):
    user.name = "Una"
    user.save()
    User.objects.filter(pk=user.pk).update(name="Uma")
    assert is_in(signed_in)


def test_sessions_of_before_the_salt_go_on(user, signed_in):
    assert User.objects.get(pk=user.pk).session_salt == ""
    assert is_in(signed_in)


# --- A change of what protects the account --------------------------------------------------------------------------


def add_email_codes(client: Client, user: User) -> Any:
    client.post(EMAIL)
    return client.post(EMAIL, {"code": mailed_code()}, follow=True)


def remove_email_codes(client: Client, user: User) -> Any:
    User.objects.filter(pk=user.pk).update(email_codes=True)
    return client.post(f"{EMAIL}remove/", follow=True)


def add_an_app(client: Client, user: User) -> Any:
    page = html(client.get(TOTP))
    secret = page.partition('<code class="secret" translate="no">')[2].partition("<")[0]
    return client.post(TOTP, {"code": current_code(secret)})


def make_recovery_codes(client: Client, user: User) -> Any:
    page = html(client.get(RECOVERY))
    version = page.partition('name="version" value="')[2].partition('"')[0]
    return client.post(RECOVERY, {"version": version})


def change_the_password(client: Client, user: User) -> Any:
    new = "Another long enough passw0rd"
    return client.post("/accounts/password/change/", {"password1": new, "password2": new}, follow=True)


@pytest.mark.parametrize(
    "change",
    [add_email_codes, remove_email_codes, add_an_app, change_the_password],
    ids=lambda change: change.__name__,
)
def test_a_change_ends_the_other_browsers_and_says_so(change, user, signed_in, other):  # security 72
    thiefs_copy = Client()
    thiefs_copy.cookies["session"] = signed_in.cookies["session"].value
    answer = change(signed_in, user)
    assert "all other browsers are signed out." in words(answer).lower()
    assert not is_in(other)
    assert not is_in(thiefs_copy)  # the one that goes on does so under another id
    assert is_in(signed_in)
    assert UserSession.objects.filter(user=user).count() == 1
    assert Session.objects.count() == 1


@pytest.mark.parametrize("change", [make_recovery_codes, "remove"])
def test_so_does_one_of_an_app_and_its_codes(change, user, signed_in):  # security 72
    set_up_totp(signed_in)
    other = browser_of(User.objects.get(pk=user.pk))
    assert is_in(other)
    answer = signed_in.post(f"{TOTP}remove/", follow=True) if change == "remove" else change(signed_in, user)
    assert "All other browsers are signed out." in words(answer)
    assert not is_in(other)
    assert is_in(signed_in)


def test_so_does_a_passkey(user, signed_in, other, settings):  # security 72
    settings.PASSKEY_HOST = "keys.example"
    assert "All other browsers are signed out." in words(add(signed_in, Device(user)))
    assert not is_in(other)
    (passkey,) = user.authenticator_set.filter(type="webauthn")
    other = browser_of(User.objects.get(pk=user.pk))
    signed_in.post(f"/accounts/mfa/passkeys/{passkey.pk}/rename/", {"name": "Laptop"})
    assert is_in(other)  # a name protects nothing
    signed_in.post(f"/accounts/mfa/passkeys/{passkey.pk}/remove/")
    assert not is_in(other)
    assert is_in(signed_in)


def test_another_email_address_ends_all(user, signed_in, other, mailoutbox, django_capture_on_commit_callbacks):
    signed_in.post("/profile/email/", {"email": "new@example.com"})
    (link,) = [found[1] for message in mailoutbox if (found := LINK.search(str(message.body)))]
    with django_capture_on_commit_callbacks(execute=True):
        visitor = Client()
        visitor.post(link)
    assert "All browsers are signed out." in words(visitor.get("/accounts/login/"))
    assert not is_in(signed_in)
    assert not is_in(other)
    assert "All browsers are signed out." in str(mailoutbox[-1].body)


def test_what_is_refused_ends_nothing(user, signed_in, other):
    signed_in.post(TOTP, {"code": "000000"})
    signed_in.post(EMAIL)
    signed_in.post(EMAIL, {"code": "0000-0000"})
    signed_in.post(RECOVERY, {"version": ""})
    assert is_in(other)


def test_the_notice_says_it_too(user, signed_in, mailoutbox, django_capture_on_commit_callbacks):  # security 61
    with django_capture_on_commit_callbacks(execute=True):
        add_an_app(signed_in, user)
    notice = next(message for message in mailoutbox if message.subject.startswith("A second factor was added"))
    for text in (str(notice.body), str(notice.alternatives[0][0])):
        assert "All other browsers are signed out." in text


# --- By administrators --------------------------------------------------------------------------------------------


def end_by_the_action(admin: Client, user: User) -> Any:
    return admin.post(USERS, {"action": "end_sessions", "_selected_action": user.pk}, follow=True)


def end_by_the_button(admin: Client, user: User) -> Any:
    return admin.post(f"{USERS}{user.pk}/sign-out/", follow=True)


ENDS = pytest.mark.parametrize("end", [end_by_the_action, end_by_the_button], ids=lambda end: end.__name__)


@ENDS
def test_an_administrator_signs_a_user_out_everywhere(
    end, user, signed_in, other, admin_user, mailoutbox, django_capture_on_commit_callbacks
):  # security 72
    admin = browser_of(admin_user)
    assert "Sign out everywhere" in words(admin.get(f"{USERS}{user.pk}/change/"))
    with django_capture_on_commit_callbacks(execute=True):
        assert "1 user was signed out in all browsers." in words(end(admin, user))
    assert not is_in(signed_in)
    assert not is_in(other)
    assert not UserSession.objects.filter(user=user).exists()
    (event,) = user.account_events.filter(action=AccountEvent.Action.SESSIONS_ENDED_BY_ADMIN)
    assert (event.actor, event.via) == (admin_user, "admin")
    (notice,) = mailoutbox
    assert (notice.to, notice.subject) == ([user.email], "You were signed out everywhere by an administrator")
    assert is_in(sign_in(signed_in, user))


@ENDS
def test_staff_who_may_change_users_do_it_for_users_and_not_for_staff(end, user, signed_in, admin_user):  # security 72
    staff = make_staff()
    admin = sign_in(Client(), admin_user)
    browser = permit(staff, "view_user")
    end(browser, user)
    assert is_in(signed_in)
    browser = permit(staff, "view_user", "change_user")
    end(browser, admin_user)
    end(browser, staff)
    assert is_in(admin)
    assert browser.get("/admin/").status_code == 200
    end(browser, user)
    assert not is_in(signed_in)
    assert not AccountEvent.objects.filter(action="sessions_ended_by_admin").exclude(owner=user).exists()


def test_the_button_is_a_form_of_ours_and_not_for_oneself(admin_user, user):
    admin = browser_of(admin_user)
    assert admin.get(f"{USERS}{user.pk}/sign-out/").status_code == 405
    assert "Sign out everywhere" not in words(admin.get(f"{USERS}{admin_user.pk}/change/"))
    assert admin.post(f"{USERS}999999/sign-out/").status_code in (302, 403)
    careful = browser_of(admin_user)
    careful.handler.enforce_csrf_checks = True
    assert careful.post(f"{USERS}{user.pk}/sign-out/").status_code == 403


def test_a_reset_of_second_factors_ends_sessions_too(user, signed_in, admin_user):  # security 72
    set_up_totp(signed_in)
    browser_of(admin_user).post(USERS, {"action": "reset_second_factors", "_selected_action": user.pk})
    assert not is_in(signed_in)


def test_another_address_by_an_administrator_ends_sessions_too(user, signed_in, admin_user):  # security 72
    data = {"name": user.name, "company": user.company_id, "access_profile": user.access_profile_id, "is_active": "on"}
    browser_of(admin_user).post(f"{USERS}{user.pk}/change/", {**data, "email": "moved@example.com"})
    assert User.objects.get(pk=user.pk).email == "moved@example.com"
    assert not is_in(signed_in)


def test_an_administrator_who_changes_their_own_address_stays(admin_user):
    admin = sign_in(Client(), admin_user)
    data = {"name": admin_user.name, "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    admin.post(f"{USERS}{admin_user.pk}/change/", {**data, "email": "boss@example.com"})
    assert User.objects.get(pk=admin_user.pk).email == "boss@example.com"
    assert is_in(admin)
