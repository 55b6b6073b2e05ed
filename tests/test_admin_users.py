"""Users in the admin site: made, invited, deactivated, deleted, and never a way to more rights than were given."""

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from profiles.clients import lifecycle, tokens
from profiles.models import AccessProfile, ClientSecret, Company, KeyEvent, OAuthApplication, User

from .admin_site import browser_of, make_staff, permit
from .conftest import PASSWORD, KeyPair, make_client, make_key, sign_in, works

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/profiles/user/"
ADD = "/admin/profiles/user/add/"
NEW = {"email": "New@Example.com", "name": "Nora New"}
BROKEN = "tests.test_admin_users.BrokenMailServer"


class BrokenMailServer:
    def __init__(self, **options: object) -> None:
        pass

    def send_messages(self, messages: object) -> int:
        raise ConnectionRefusedError("nobody there")


@pytest.fixture
def staff(db) -> User:
    return make_staff()


@pytest.fixture
def superuser(admin_user: User) -> Client:
    return browser_of(admin_user)


def page_of(user: User) -> str:
    return f"{LIST}{user.pk}/change/"


def form_of(user: User, **changes: object) -> dict[str, object]:
    """What the browser of a superuser sends for this user, with these changes."""
    data: dict[str, object] = {
        "email": user.email,
        "name": user.name,
        "company": user.company_id or "",
        "access_profile": user.access_profile_id or "",
        "is_active": "on",
    }
    for name in ("is_staff", "is_superuser"):
        if getattr(user, name):
            data[name] = "on"
    return {name: value for name, value in {**data, **changes}.items() if value is not None}


def act(client: Client, action: str, *users: User, **more: object) -> str:
    data = {"action": action, "_selected_action": [user.pk for user in users], **more}
    return client.post(LIST, data, follow=True).content.decode()


# --- Making and inviting ----------------------------------------------------------------------------------


def test_a_new_user_is_invited_and_chooses_a_password(superuser, company):
    page = superuser.post(ADD, {**NEW, "company": company.pk}, follow=True).content.decode()
    assert "An invitation with a link to set a password was sent to new@example.com." in page
    new = User.objects.get(email="new@example.com")
    assert new.company == company
    assert not new.has_usable_password()
    (message,) = mail.outbox
    assert message.to == ["new@example.com"]
    (link,) = re.findall(r"http://\S+/password/reset/key/\S+", str(message.body))

    visitor = Client()
    form = visitor.get(link, follow=True).redirect_chain[-1][0]
    visitor.post(form, {"password1": PASSWORD, "password2": PASSWORD})
    sign_in(visitor, new)
    # The link works once.
    assert Client().get(link).context["token_fail"]


def test_the_invitation_link_is_of_the_sites_own_origin(superuser, settings):
    settings.ALLOWED_HOSTS = ["*"]
    superuser.post(ADD, NEW, headers={"host": "evil.example"})
    assert settings.BASE_URL in mail.outbox[0].body
    assert "evil.example" not in mail.outbox[0].body


def test_no_password_can_be_typed(superuser):
    superuser.post(
        ADD, {**NEW, "password": "chosen", "password1": PASSWORD, "password2": PASSWORD, "session_salt": "x"}
    )
    new = User.objects.get(email="new@example.com")
    assert not new.has_usable_password()
    assert new.session_salt == ""


def test_there_is_no_page_to_set_somebodys_password(superuser, user):
    before = user.password
    superuser.post(
        f"{LIST}{user.pk}/password/", {"password1": "x" * 20, "password2": "x" * 20, "usable_password": "true"}
    )
    superuser.post(page_of(user), form_of(user, password="x" * 20))
    user.refresh_from_db()
    assert user.password == before


def test_an_inactive_new_user_is_not_invited(superuser, user):
    user.set_unusable_password()
    user.is_active = False
    user.save()
    page = act(superuser, "send_invitation", user)
    assert "1 user was left out" in page
    assert not mail.outbox


def test_a_mail_server_that_is_away_is_told_and_loses_nothing(superuser, settings):
    settings.EMAIL_BACKEND = BROKEN
    response = superuser.post(ADD, NEW, follow=True)
    assert response.status_code == 200
    assert "The invitation to new@example.com could not be sent" in response.content.decode()
    new = User.objects.get(email="new@example.com")
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert "was sent to new@example.com" in act(superuser, "send_invitation", new)
    assert len(mail.outbox) == 1


def test_the_invitation_can_be_sent_again_from_the_users_page(superuser, user):
    assert "Send invitation again" not in superuser.get(page_of(user)).content.decode()
    user.set_unusable_password()
    user.save()
    assert "Send invitation again" in superuser.get(page_of(user)).content.decode()
    superuser.post(reverse("admin:profiles_user_invite", args=(user.pk,)))
    assert [message.to for message in mail.outbox] == [[user.email]]
    assert "Invitation sent." in LogEntry.objects.get(object_id=str(user.pk)).change_message


def test_an_invitation_is_sent_by_post_only_and_with_permission(staff, user):
    user.set_unusable_password()
    user.save()
    address = reverse("admin:profiles_user_invite", args=(user.pk,))
    assert permit(staff, "change_user").get(address).status_code == 405
    assert permit(staff, "view_user").post(address).status_code == 403
    assert Client(enforce_csrf_checks=True).post(address).status_code in (302, 403)
    assert not mail.outbox


def test_who_has_a_password_gets_no_invitation(superuser, user):
    assert "1 user was left out" in act(superuser, "send_invitation", user)
    assert not mail.outbox


# --- The address ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", ["user@example.com", "USER@Example.COM"])
def test_an_address_that_is_taken_is_an_error_of_the_form(superuser, user, email):
    response = superuser.post(ADD, {**NEW, "email": email})
    assert response.status_code == 200
    assert "email" in response.context["adminform"].form.errors
    assert 'value="Nora New"' in response.content.decode()


def test_an_address_taken_at_the_same_moment_is_an_error_of_the_form(superuser, user, monkeypatch):
    checks = User.full_clean
    seen = []

    def blind_at_first(self, *args, **kwargs):
        # As if the other row came between the check and the write.
        seen.append(self.email)
        if len(seen) > 1:
            checks(self, *args, **kwargs)

    monkeypatch.setattr(User, "full_clean", blind_at_first)
    monkeypatch.setattr(User, "validate_unique", lambda self, exclude=None: None)
    response = superuser.post(ADD, {**NEW, "email": "USER@example.com"})
    assert response.status_code == 200
    assert response.context["adminform"].form.errors
    assert len(seen) == 2
    assert User.objects.filter(email="user@example.com").count() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "no address"},
        {"email": "x" * 300 + "@example.com"},
        {"email": "a@" + "İ" * 60 + ".example"},
        {"name": ""},
        {"name": "\0"},
        {"phone_number": "0123"},
        {"company": "9" * 30},
        {"access_profile": "x"},
    ],
)
def test_bad_input_is_an_error_of_the_form(superuser, fields):
    response = superuser.post(ADD, {**NEW, **fields})
    assert response.status_code == 200
    assert response.context["adminform"].form.errors or "İ" in fields["email"]
    assert User.objects.count() == 1 or "İ" in fields["email"]


def test_a_changed_address_ends_the_old_one(superuser, user):
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    superuser.post(page_of(user), form_of(user, email="moved@example.com"))
    user.refresh_from_db()
    assert user.email == "moved@example.com"
    assert not EmailAddress.objects.filter(email="user@example.com").exists()
    assert [message.to for message in mail.outbox] == [["user@example.com"]]  # security 61
    assert "moved@example.com" in mail.outbox[0].body
    mail.outbox.clear()
    Client().post("/accounts/password/reset/", {"email": "user@example.com"})
    assert not any("password/reset/key" in message.body for message in mail.outbox)


def test_an_open_invitation_follows_the_address(superuser, user):
    user.set_unusable_password()
    user.save()
    superuser.post(page_of(user), form_of(user, email="moved@example.com"))
    assert [message.to for message in mail.outbox] == [["moved@example.com"]]


# --- Nobody rises -----------------------------------------------------------------------------------------

EVERYTHING = ("view_user", "add_user", "change_user", "delete_user", "revoke_oauthapplication", "view_oauthapplication")


def test_staff_cannot_make_anybody_staff(staff, user):
    client = permit(staff, *EVERYTHING)
    powers = {"is_staff": "on", "is_superuser": "on", "groups": [], "user_permissions": [1, 2, 3]}
    client.post(page_of(user), form_of(user, name="Renamed", **powers))
    client.post(ADD, {**NEW, **powers})
    user.refresh_from_db()
    assert user.name == "Renamed"
    for each in (user, User.objects.get(email="new@example.com")):
        assert (each.is_staff, each.is_superuser, each.user_permissions.count()) == (False, False, 0)


@pytest.mark.parametrize("powers", [{"is_staff": True}, {"is_superuser": True}])
def test_staff_cannot_touch_who_has_powers(staff, user, powers):
    User.objects.filter(pk=user.pk).update(**powers)
    before = User.objects.values().get(pk=user.pk)
    client = permit(staff, *EVERYTHING)
    assert client.get(page_of(user)).status_code == 200
    assert client.post(page_of(user), form_of(user, email="mine@example.com")).status_code == 403
    assert client.post(f"{LIST}{user.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "1 user was left out" in act(client, "deactivate", user)
    assert client.post(reverse("admin:profiles_user_invite", args=(user.pk,))).status_code == 403
    assert (
        client.post(LIST, {"action": "delete_selected", "_selected_action": user.pk, "post": "yes"}).status_code == 403
    )
    assert User.objects.values().get(pk=user.pk) == before
    assert not mail.outbox


def test_staff_cannot_change_themselves(staff):
    client = permit(staff, *EVERYTHING)
    assert client.post(page_of(staff), form_of(staff, is_superuser="on")).status_code == 403


def test_staff_cannot_take_over_an_account_in_use_by_its_address(staff, user):
    client = permit(staff, *EVERYTHING)
    client.post(page_of(user), form_of(user, email="mine@example.com", name="Renamed"))
    user.refresh_from_db()
    assert (user.email, user.name) == ("user@example.com", "Renamed")


def test_staff_cannot_take_over_a_key_by_an_invitation(staff, user):
    user.set_unusable_password()
    user.save()
    make_key(user)
    permit(staff, *EVERYTHING).post(page_of(user), form_of(user, email="mine@example.com"))
    user.refresh_from_db()
    assert user.email == "user@example.com"


def test_staff_can_correct_the_address_of_who_has_yet_to_accept(staff, user):
    user.set_unusable_password()
    user.save()
    permit(staff, *EVERYTHING).post(page_of(user), form_of(user, email="right@example.com"))
    user.refresh_from_db()
    assert user.email == "right@example.com"


@pytest.mark.parametrize("field", ["is_active", "is_staff", "is_superuser"])
def test_the_last_superuser_cannot_shut_themselves_out(superuser, admin_user, field):
    response = superuser.post(page_of(admin_user), form_of(admin_user, **{field: None}))
    assert field in response.context["adminform"].form.errors
    act(superuser, "deactivate", admin_user)
    assert superuser.post(f"{LIST}{admin_user.pk}/delete/", {"post": "yes"}).status_code == 403
    act(superuser, "delete_selected", admin_user, post="yes")
    admin_user.refresh_from_db()
    assert admin_user.is_active
    assert admin_user.is_staff
    assert admin_user.is_superuser


def test_a_superuser_gives_powers(superuser, user):
    superuser.post(page_of(user), form_of(user, is_staff="on", is_superuser="on"))
    user.refresh_from_db()
    assert user.is_superuser


# --- Deactivating -----------------------------------------------------------------------------------------


def test_deactivating_refuses_the_key_at_once_and_reactivating_gives_it_back(
    superuser, user, key, token
):  # security 21
    page = act(superuser, "deactivate", user)
    assert "their key is refused from now on" in page
    assert tokens.find(token) is None
    assert not works(key.client_id, key.secret)
    page = act(superuser, "reactivate", user)
    assert "works again as it was" in page
    assert tokens.find(token)
    assert works(key.client_id, key.secret)
    assert [entry.change_message for entry in LogEntry.objects.order_by("id")] == ["Deactivated.", "Reactivated."]


def test_deactivating_by_the_field_says_what_happens(superuser, user, token):
    page = superuser.post(page_of(user), form_of(user, is_active=None), follow=True).content.decode()
    assert "their key is refused from now on" in page
    assert tokens.find(token) is None


def test_sessions_ended_while_the_form_is_saved_stay_ended(superuser, user, monkeypatch):
    # security 15, 20: the form must not write back what it did not ask for.
    from profiles.admin.users import UserForm

    def clean(self):
        User.objects.filter(pk=user.pk).update(session_salt="another", password="new")
        return self.cleaned_data

    monkeypatch.setattr(UserForm, "clean", clean)
    superuser.post(page_of(user), form_of(user, name="Renamed"))
    user.refresh_from_db()
    assert (user.name, user.session_salt, user.password) == ("Renamed", "another", "new")


# --- Deleting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_action", [True, False])
def test_deleting_revokes_the_key_and_keeps_its_events(
    superuser, admin_user, user, key, token, by_action
):  # security 22
    confirmation = superuser.get(f"{LIST}{user.pk}/delete/").content.decode()
    assert "A key is revoked with its user" in confirmation
    if by_action:
        act(superuser, "delete_selected", user, post="yes")
    else:
        superuser.post(f"{LIST}{user.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=user.pk).exists()
    assert not OAuthApplication.objects.exists()
    assert tokens.find(token) is None
    created, revoked = KeyEvent.objects.order_by("id")
    assert (created.owner, created.owner_uid) == (None, user.uid)
    assert (revoked.action, revoked.actor, revoked.via) == ("revoked", admin_user, "admin")
    assert (revoked.owner, revoked.owner_uid, revoked.client_id) == (None, user.uid, key.client_id)
    assert revoked.reason == "The user was deleted."


def test_deleting_a_user_with_a_key_needs_the_right_to_revoke(staff, user, key):
    client = permit(staff, "view_user", "delete_user")
    assert client.post(f"{LIST}{user.pk}/delete/", {"post": "yes"}).status_code == 403
    assert lifecycle.of(user)
    client = permit(staff, "view_user", "delete_user", "revoke_oauthapplication")
    assert client.post(f"{LIST}{user.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()


@pytest.mark.parametrize("name", ["company", "accessprofile"])
def test_what_users_have_is_not_deleted(superuser, user, other_user, name):
    row = user.company if name == "company" else user.access_profile
    page = superuser.get(f"/admin/profiles/{name}/{row.pk}/delete/").content.decode()
    assert "2 users" in page
    assert superuser.post(f"/admin/profiles/{name}/{row.pk}/delete/", {"post": "yes"}).status_code == 200
    data = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    assert superuser.post(f"/admin/profiles/{name}/", data).status_code == 200
    assert type(row).objects.filter(pk=row.pk).exists()


def test_what_gets_a_user_at_the_moment_of_deletion_is_not_deleted(superuser, company, user, monkeypatch):
    monkeypatch.setattr(
        "profiles.admin.base.InUse.get_deleted_objects", lambda self, objs, request: ([], {}, set(), [])
    )
    response = superuser.post(f"/admin/profiles/company/{company.pk}/delete/", {"post": "yes"}, follow=True)
    assert response.status_code == 200
    assert "Somebody changed this at the same moment" in response.content.decode()
    assert Company.objects.filter(pk=company.pk).exists()


# --- Lists ------------------------------------------------------------------------------------------------


def found(client: Client, **query: Any) -> list[str]:
    return [user.email for user in client.get(LIST, query).context["cl"].result_list]


def test_users_are_found(superuser, user, other_user):
    for word in ("user@", "USER@example.com", "uma", "Uma User", user.uid):
        assert found(superuser, q=word) == ["user@example.com"], word
    assert len(found(superuser, q="fleet")) == 2
    assert len(found(superuser, q="@example.com")) == 3
    assert found(superuser, q="nobody") == []


def test_users_are_filtered(superuser, admin_user, user, other_user, key, company):
    assert found(superuser, company=company.pk) == ["other@example.com", "user@example.com"]
    assert found(superuser, access_profile=user.access_profile_id) == ["other@example.com", "user@example.com"]
    assert found(superuser, access_profile="none") == ["admin@example.com"]
    assert found(superuser, has_key="yes") == ["user@example.com"]
    assert found(superuser, has_key="no") == ["admin@example.com", "other@example.com"]
    assert found(superuser, staff="yes") == ["admin@example.com"]
    User.objects.filter(pk=other_user.pk).update(is_active=False, password="!x")
    assert found(superuser, active="no") == ["other@example.com"]
    assert found(superuser, invited="yes") == ["other@example.com"]


# --- Companies and access profiles ------------------------------------------------------------------------


def test_rights_are_checkboxes_in_groups(superuser, access_profile):
    page = superuser.get(f"/admin/profiles/accessprofile/{access_profile.pk}/change/").content.decode()
    assert "<legend>Entities</legend>" in page
    assert re.search(r'value="accountNetwork.users.view"[^>]* checked', page)
    assert not re.search(r'value="accountNetwork.labels.view"[^>]* checked', page)
    data = {"name": "Operator", "rights": ["accountNetwork.labels.view", "accountNetwork.users.view"]}
    superuser.post(f"/admin/profiles/accessprofile/{access_profile.pk}/change/", data)
    access_profile.refresh_from_db()
    assert access_profile.rights == ["accountNetwork.labels.view", "accountNetwork.users.view"]


def test_no_right_outside_the_catalogue_is_taken(superuser, access_profile):
    data = {"name": "Operator", "rights": ["everything"]}
    response = superuser.post(f"/admin/profiles/accessprofile/{access_profile.pk}/change/", data)
    assert "rights" in response.context["adminform"].form.errors


def test_staff_who_may_only_look_see_the_rights(staff, access_profile):
    client = permit(staff, "view_accessprofile")
    page = client.get(f"/admin/profiles/accessprofile/{access_profile.pk}/change/").content.decode()
    assert "accountNetwork.users.view" in page
    assert "checkbox" not in page


def test_lists_tell_the_number_of_users(superuser, user, other_user, company, access_profile):
    empty = Company.objects.create(name="Empty")
    page = superuser.get("/admin/profiles/company/").content.decode()
    assert f'?company={company.pk}">2</a>' in page
    assert f'?company={empty.pk}">0</a>' in page
    AccessProfile.objects.create(name="Unused")
    page = superuser.get("/admin/profiles/accessprofile/").content.decode()
    assert f'?access_profile={access_profile.pk}">2</a>' in page


def test_a_name_that_is_taken_is_an_error_of_the_form(superuser, company):
    response = superuser.post("/admin/profiles/company/add/", {"name": company.name})
    assert "name" in response.context["adminform"].form.errors


# --- What somebody knows who leaves -----------------------------------------------------------------------

SAID = "shown to Mia Manager, who has left: regenerate"


def link_to(pair: KeyPair) -> str:
    return f'<a href="/admin/profiles/oauthapplication/{pair.key.pk}/change/">Nightly export</a> (Fleet Ltd): {SAID}'


def test_deactivating_tells_which_secrets_are_known_outside(superuser, manager, api_client):
    page = superuser.post(page_of(manager), form_of(manager, is_active=None), follow=True).content.decode()
    assert link_to(api_client) in page
    assert 'href="/admin/profiles/oauthapplication/?shown=left"' in page
    page = superuser.post(page_of(manager), form_of(manager), follow=True).content.decode()
    assert SAID not in page


def test_moving_to_another_company_tells_it_and_back_does_not(superuser, manager, api_client):
    other = Company.objects.create(name="Other Ltd")
    page = superuser.post(page_of(manager), form_of(manager, company=other.pk), follow=True).content.decode()
    assert link_to(api_client) in page
    page = superuser.post(page_of(manager), form_of(manager), follow=True).content.decode()
    assert SAID not in page


def test_a_change_of_something_else_tells_nothing(superuser, manager, api_client):
    page = superuser.post(page_of(manager), form_of(manager, name="Mia Renamed"), follow=True).content.decode()
    assert "regenerate" not in page


def test_deactivating_several_tells_it_of_all(superuser, manager, user, api_client):
    page = act(superuser, "deactivate", manager, user)
    assert "2 users were deactivated" in page
    assert page.count(link_to(api_client)) == 1
    assert SAID not in act(superuser, "reactivate", manager, user)


@pytest.mark.parametrize("by", ["page", "action"])
def test_the_confirmation_of_a_deletion_tells_it(superuser, manager, user, api_client, by):
    def asked(person: User) -> str:
        if by == "page":
            return superuser.get(f"{LIST}{person.pk}/delete/").content.decode()
        return act(superuser, "delete_selected", person)

    assert link_to(api_client) in asked(manager)
    assert "regenerate" not in asked(user)
    assert User.objects.filter(pk=manager.pk).exists()


def test_after_many_the_rest_is_a_link_away(superuser, manager, client_profile):
    for number in range(12):
        make_client(manager, client_profile, f"Export {number}")
    page = act(superuser, "deactivate", manager)
    assert page.count(SAID) == 10
    assert "<br>and more<br>" in page


def test_a_secret_that_has_ended_since_is_not_told(superuser, manager, api_client):
    ClientSecret.objects.update(ended=True, ends=timezone.now())
    assert "regenerate" not in act(superuser, "deactivate", manager)


def test_who_may_not_look_at_clients_is_told_how_many(staff, manager, api_client):
    page = act(permit(staff, "view_user", "change_user"), "deactivate", manager)
    assert "1 API Client; ask who looks after it" in page
    assert "Nightly export" not in page


def test_staff_of_a_company_are_told_of_its_clients_alone(staff, company, manager, api_client):
    """A manager who has come from another company, whose client they know."""
    here = Company.objects.create(name="Other Ltd")
    staff.company = manager.company = here
    staff.save()
    manager.save()
    page = act(permit(staff, "view_user", "change_user", "view_oauthapplication"), "deactivate", manager)
    assert "1 user was deactivated" in page
    assert "Nightly export" not in page
