"""Every change of an account, a company, an access profile or a group is an event: who, from what, to what."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client

from profiles.account import activity
from profiles.account.mfa import factors
from profiles.admin.users import UserAdmin
from profiles.mail import notice_texts
from profiles.models import AccessProfile, AccountEvent, Company, KeyEvent, User
from profiles.origin import Origin

from .admin_site import browser_of, make_staff, permit
from .conftest import sign_in
from .page import words
from .test_account_picture import picture, upload
from .test_admin_users import act, form_of, page_of

pytestmark = pytest.mark.django_db

Action = AccountEvent.Action
ACTIVITY = "/accounts/activity/"
EVENTS = "/admin/profiles/accountevent/"


@pytest.fixture
def superuser(admin_user: User) -> Client:
    return browser_of(admin_user)


def events() -> list[tuple[str, str]]:
    return list(AccountEvent.objects.order_by("pk").values_list("action", "detail"))


# --- By administrators ------------------------------------------------------------------------------------


def changes_of(user: User) -> dict[str, Any]:
    other = Company.objects.create(name="Other Ltd")
    viewer = AccessProfile.objects.create(name="Viewer", rights=["accountNetwork.labels.view", "entities.systems.view"])
    return {"company": other.pk, "access_profile": viewer.pk}


@pytest.mark.parametrize(
    ("field", "value", "action", "detail"),
    [
        ("email", "moved@example.com", "email_changed", "user@example.com → moved@example.com"),
        ("name", "Ulla User", "name_changed", "Uma User → Ulla User"),
        ("company", None, "company_changed", "Fleet Ltd → Other Ltd"),
        (
            "access_profile",
            None,
            "access_profile_changed",
            "Operator → Viewer: +accountNetwork.labels.view -accountNetwork.users.view",
        ),
        ("company", "", "company_changed", "Fleet Ltd → -"),
        (
            "access_profile",
            "",
            "access_profile_changed",
            "Operator → -: -accountNetwork.users.view -entities.systems.view",
        ),
        ("is_active", "", "deactivated", ""),
        ("is_staff", "on", "staff_changed", "is_staff: no → yes"),
        ("is_superuser", "on", "staff_changed", "is_superuser: no → yes"),
        ("job_title", "Boss", "details_changed", "job_title: - → Boss"),
        ("country", "FR", "details_changed", "country: - → FR"),
    ],
)
def test_a_change_by_an_administrator(superuser, admin_user, user, field, value, action, detail):  # security 59, 70
    chosen = changes_of(user)[field] if value is None else value
    superuser.post(page_of(user), form_of(user, **{field: chosen}))
    event = AccountEvent.objects.get()
    assert (event.action, event.detail) == (action, detail)
    assert (event.owner, event.actor, event.via, event.address) == (user, admin_user, "admin", "127.0.0.1")


def test_powers_of_staff(superuser, user):  # security 70
    support = Group.objects.create(name="Support")
    may = Permission.objects.get(codename="view_user")
    superuser.post(page_of(user), form_of(user, groups=[support.pk], user_permissions=[may.pk]))
    superuser.post(page_of(user), form_of(user, groups=[support.pk]))
    assert events() == [("staff_changed", "+Support +profiles.view_user"), ("staff_changed", "-profiles.view_user")]


def test_a_form_that_changes_nothing_is_no_event(superuser, user):
    superuser.post(page_of(user), form_of(user))
    assert events() == []


@pytest.mark.django_db(transaction=True)  # mails go out after the commit
def test_creation_invitation_and_deletion(superuser, company, access_profile):  # security 22, 70
    new = {"email": "new@example.com", "name": "New", "company": company.pk, "access_profile": access_profile.pk}
    superuser.post("/admin/profiles/user/add/", new)
    user = User.objects.get(email="new@example.com")
    superuser.post(f"/admin/profiles/user/{user.pk}/delete/", {"post": "yes"})
    granted = "- → Operator: +accountNetwork.users.view +entities.systems.view"
    assert events() == [
        ("account_created", f"new@example.com · Fleet Ltd · {granted}"),
        ("invited", ""),
        ("account_deleted", "new@example.com"),
    ]
    assert {(event.owner, event.owner_uid) for event in AccountEvent.objects.all()} == {(None, user.uid)}


def test_actions_on_many(superuser, user, other_user):  # security 70
    for action in ("deactivate", "reactivate", "reactivate"):
        act(superuser, action, user, other_user)
    assert sorted(events()) == [("deactivated", "")] * 2 + [("reactivated", "")] * 2


@pytest.mark.django_db(transaction=True)  # mails go out after the commit
def test_an_open_invitation_that_moves(superuser, user, mailoutbox):
    User.objects.filter(pk=user.pk).update(password="!")
    superuser.post(page_of(user), form_of(user, email="right@example.com"))
    assert events() == [("email_changed", "user@example.com → right@example.com"), ("invited", "")]
    # The old address was perhaps a stranger's.
    assert [message.to for message in mailoutbox] == [["right@example.com"]]


def test_the_event_outlives_the_administrator(superuser, admin_user, user):  # security 70
    superuser.post(page_of(user), form_of(user, name="Ulla"))
    assert LogEntry.objects.count() == 1
    second = User.objects.create_superuser("second@example.com", name="Second")
    browser_of(second).post(f"/admin/profiles/user/{admin_user.pk}/delete/", {"post": "yes"})
    assert LogEntry.objects.filter(user_id=admin_user.pk).count() == 0
    event = AccountEvent.objects.get(action="name_changed")
    assert (event.actor, event.actor_uid, event.detail) == (None, admin_user.uid, "Uma User → Ulla")


def test_the_event_and_the_change_are_one(superuser, user, monkeypatch):  # security 16, 70
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no event")

    own = sign_in(Client(), user)
    monkeypatch.setattr(activity, "record_event", broken)
    for attempt in (
        lambda: superuser.post(page_of(user), form_of(user, name="Ulla")),
        lambda: act(superuser, "deactivate", user),
        lambda: superuser.post(f"/admin/profiles/user/{user.pk}/delete/", {"post": "yes"}),
        lambda: own.post("/profile/edit/", {"name": "Ulla"}),
    ):
        with pytest.raises(RuntimeError):
            attempt()
    again = User.objects.get(pk=user.pk)
    assert (again.name, again.is_active) == ("Uma User", True)


@pytest.mark.django_db(transaction=True)  # mails go out after the commit
@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ({"email": "moved@example.com"}, "email_changed"),
        ({"access_profile": ""}, "access_profile_changed"),
        ({"company": ""}, "company_changed"),
        ({"is_staff": "on"}, "staff_changed"),
    ],
)
def test_the_owner_is_mailed_about_what_others_changed(superuser, user, mailoutbox, changes, action):  # security 61
    superuser.post(page_of(user), form_of(user, **changes))
    (message,) = mailoutbox
    assert message.to == ["user@example.com"]
    assert message.subject == str(notice_texts.WORDS[action].subject)
    assert "By: an administrator" in message.body
    assert "API access key, if you have one, goes on" in message.body or "Client ID" not in message.body


@pytest.mark.django_db(transaction=True)  # mails go out after the commit
def test_a_changed_address_is_told_to_who_is_inactive_too(superuser, user, mailoutbox):
    User.objects.filter(pk=user.pk).update(is_active=False)
    superuser.post(page_of(user), form_of(user, is_active="", email="moved@example.com"))
    assert [message.to for message in mailoutbox] == [["user@example.com"]]


def test_every_field_that_an_administrator_changes_has_its_event(superuser, user):
    # A field that is added to the form, and to no kind of event, is found here.
    fields = {
        name
        for _title, part in UserAdmin(User, admin.site).get_fieldsets(superuser.get("/admin/").wsgi_request, user)
        for name in part["fields"]
    }
    recorded = {"email", "name", "company", "access_profile", "is_active", "is_staff", "is_superuser"}
    powers = {"groups", "user_permissions"}
    shown = {"accepted", "has_second_factor", "signed_in", "created_time", "uid"}
    assert fields - recorded - powers - shown - set(activity.DETAILS) == set()


# --- What many accounts have ------------------------------------------------------------------------------


def test_companies(superuser):  # security 70
    superuser.post("/admin/profiles/company/add/", {"name": "New Ltd"})
    new = Company.objects.get(name="New Ltd")
    superuser.post(
        f"/admin/profiles/company/{new.pk}/change/", {"name": "Newer Ltd", "require_mfa": "on", "is_active": "on"}
    )
    superuser.post(f"/admin/profiles/company/{new.pk}/delete/", {"post": "yes"})
    assert events() == [
        ("company_created", "New Ltd: require_mfa: no; is_active: yes"),
        ("company_edited", "New Ltd: name: New Ltd → Newer Ltd; require_mfa: no → yes"),
        ("company_deleted", "Newer Ltd: require_mfa: yes; is_active: yes"),
    ]
    assert set(AccountEvent.objects.values_list("owner_uid", "via")) == {(new.uid, "admin")}


def test_access_profiles(superuser, access_profile):  # security 70
    held = ["accountNetwork.labels.view"]
    superuser.post(f"/admin/profiles/accessprofile/{access_profile.pk}/change/", {"name": "Operator", "rights": held})
    superuser.post("/admin/profiles/accessprofile/add/", {"name": "New", "rights": held})
    new = AccessProfile.objects.get(name="New")
    data = {"action": "delete_selected", "_selected_action": new.pk, "post": "yes"}
    superuser.post("/admin/profiles/accessprofile/", data)
    before = "accountNetwork.users.view, entities.systems.view"
    assert events() == [
        ("profile_edited", f"Operator: rights: {before} → accountNetwork.labels.view"),
        ("profile_created", "New: rights: accountNetwork.labels.view"),
        ("profile_deleted", "New: rights: accountNetwork.labels.view"),
    ]


def test_groups_of_staff(superuser):  # security 70
    may = Permission.objects.get(codename="view_user")
    superuser.post("/admin/auth/group/add/", {"name": "Support", "permissions": [may.pk]})
    group = Group.objects.get()
    superuser.post(f"/admin/auth/group/{group.pk}/change/", {"name": "Helpers"})
    superuser.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"})
    assert events() == [
        ("group_created", "Support: +profiles.view_user"),
        ("group_edited", "Support → Helpers: -profiles.view_user"),
        ("group_deleted", "Helpers"),
    ]


def test_demo_data(monkeypatch):  # security 70
    monkeypatch.setenv("DEMO_PASSWORD", "")
    call_command("demodata", stdout=io.StringIO())
    monkeypatch.setenv("DEMO_PASSWORD", "Another horse battery staple 1")
    call_command("demodata", stdout=io.StringIO())
    made = [action for action, _detail in events()]
    assert made == ["company_created", *["profile_created"] * 3, *["account_created"] * 3, *["password_changed"] * 3]
    assert set(AccountEvent.objects.values_list("via", flat=True)) == {"command"}


# --- By the owner -----------------------------------------------------------------------------------------


def test_an_owner_edits_their_profile(client, user):  # security 70
    sign_in(client, user)
    sent = {"name": "Ulla", "job_title": "Boss", "phone_number": "+33123456789", "language": "fr"}
    client.post("/profile/edit/", sent)
    client.post("/profile/edit/", sent)
    assert events()[1:] == [
        ("name_changed", "Uma User → Ulla"),
        ("details_changed", "job_title; phone_number; language"),
    ]
    page = words(client.get(ACTIVITY))
    assert "Profile edited" in page or "Profil" in page
    # In the words and the language of the page.
    assert "job_title" not in page
    assert "phone_number" not in page


def test_an_owner_changes_their_picture(client, user, settings, tmp_path):  # security 70
    settings.MEDIA_ROOT = str(tmp_path)
    sign_in(client, user)
    for _ in range(2):
        client.post("/profile/picture/remove/")
    assert len(events()) == 1
    upload(client, picture())
    client.post("/profile/picture/remove/")
    assert events()[1:] == [("picture_changed", ""), ("picture_removed", "")]


def test_an_owner_renames_a_passkey(client, user):  # security 70
    sign_in(client, user)
    data = {"name": "Old", "credential": {}}
    passkey = Authenticator.objects.create(user=user, type=factors.Type.WEBAUTHN, data=data)
    for _ in range(2):
        client.post(f"/accounts/mfa/passkeys/{passkey.pk}/rename/", {"name": "New"})
    assert events()[1:] == [("passkey_renamed", "Old → New")]


def test_the_owner_sees_what_administrators_did(superuser, user):
    superuser.post(page_of(user), form_of(user, job_title="Boss; phone_number: x", access_profile=""))
    page = words(browser_of(user).get(ACTIVITY))
    assert "Access profile changed" in page
    assert "By an administrator. Job title: - → Boss" in page


# --- Shown and taken away ---------------------------------------------------------------------------------


def test_administrators_find_them(superuser, user):
    superuser.post(page_of(user), form_of(user, name="Ulla"))
    superuser.post("/admin/profiles/company/add/", {"name": "New Ltd"})
    page = words(superuser.get(EVENTS, {"action": "company_created"}))
    assert "New Ltd: require_mfa: no; is_active: yes" in page
    assert "Uma User → Ulla" not in page
    for event in AccountEvent.objects.all():
        assert superuser.get(f"{EVENTS}{event.pk}/change/").status_code == 200
    assert "Uma User → Ulla" in words(superuser.get(EVENTS, {"q": user.uid}))
    assert "New Ltd" in words(superuser.get(EVENTS, {"q": Company.objects.get(name="New Ltd").uid}))


def test_they_are_exported(superuser, user):
    superuser.post(page_of(user), form_of(user, name="=1+1"))
    response = superuser.get(f"{EVENTS}export/", {"q": user.uid})
    assert 'filename="account-events-' in response.headers["Content-Disposition"]
    (row,) = csv.DictReader(io.StringIO(response.getvalue().decode(), newline=""))
    assert (row["action"], row["detail"]) == ("name_changed", "Uma User → =1+1")
    assert row["owner_uid"] == user.uid
    out = io.StringIO()
    call_command("exportevents", "--kind", "account", "--format", "jsonl", stdout=out)
    assert '"action": "name_changed"' in out.getvalue()
    assert '"detail": "Uma User \\u2192 =1+1"' in out.getvalue()
    assert permit(make_staff(), "view_keyevent").get(f"{EVENTS}export/").status_code == 403


def test_a_long_detail_is_kept_whole(user):
    text = "x" * 5000
    origin = Origin(actor=user, via=KeyEvent.Via.ADMIN)
    activity.record_about(Action.PROFILE_EDITED, uid="0" * 32, origin=origin, detail=text)
    assert AccountEvent.objects.get().detail == text
