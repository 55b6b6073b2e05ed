"""A company that is switched off: nobody and nothing of it gets in, and all do again when it is on.

What was before it was switched off, a session or a sign-in in progress, is over for good.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from uuid import uuid4

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db.models import QuerySet
from django.test import Client
from django.urls import reverse

from profiles.account import sessions
from profiles.clients import company as company_clients
from profiles.clients import lifecycle
from profiles.mail import invitations
from profiles.models import AccessToken, Company, EmailChange, KeyEvent, User, let_in
from profiles.origin import Origin

from .admin_site import browser_of
from .conftest import PASSWORD, make_client, make_token, sign_in, works
from .mfa import mailed_code
from .page import PROFILE, by_htmx, html, is_in, version
from .passkeys import FLAGS, Device, add
from .server import Server
from .test_account_email import LINK
from .test_account_passkeys import PASSKEY_LOGIN
from .test_promises import Fire, add_owner, ask, call
from .test_session_end import png
from .visitor import Visitor

pytestmark = pytest.mark.django_db

SIGN_IN, INACTIVE = "/accounts/login/", "/accounts/inactive/"
RESET_LINK = re.compile(r"https?://[^/]+(/accounts/password/reset/key/\S+)")


def switch(company: Company, *, on: bool) -> None:
    company.is_active = on
    company.save()


@pytest.fixture
def off(company: Company) -> Callable[[], None]:
    return partial(switch, company, on=False)


@pytest.fixture
def on(company: Company) -> Callable[[], None]:
    return partial(switch, company, on=True)


def is_told_inactive(answer: object) -> bool:
    return (answer.status_code, answer.headers.get("Location")) == (302, INACTIVE)  # type: ignore[attr-defined]


# --- Signing in --------------------------------------------------------------------------------------------------


def test_a_password_opens_nothing_and_its_owner_is_told_why(client, user, off, on):  # security 84
    off()
    assert is_told_inactive(client.post(SIGN_IN, {"login": user.email, "password": PASSWORD}))
    assert "This account is not active" in html(client.get(INACTIVE))
    assert not is_in(client)
    on()
    assert is_in(sign_in(client, user))


def test_a_stranger_is_told_what_they_always_are(client, user, off):  # security 8
    wrong = {"login": user.email, "password": "Wrong horse battery staple"}
    before = client.post(SIGN_IN, wrong).context["form"].errors
    off()
    assert client.post(SIGN_IN, wrong).context["form"].errors == before


def test_who_has_no_company_or_another_one_is_let_in(client, user, other_user, off):
    User.objects.filter(pk=user.pk).update(company=None)
    User.objects.filter(pk=other_user.pk).update(company=Company.objects.create(name="Other Ltd"))
    off()
    for person in (user, other_user):
        assert is_in(sign_in(Client(), person))


def test_a_passkey_opens_nothing(client, user, signed_in, off, on, settings):
    settings.PASSKEY_HOST = "keys.example"
    device = Device(user)
    add(signed_in, device)

    def enter() -> object:
        asked = client.get(PASSKEY_LOGIN, headers={"Accept": "application/json"}).json()
        challenge = asked["request_options"]["publicKey"]["challenge"]
        return client.post(PASSKEY_LOGIN, {"credential": device.use(challenge, flags=FLAGS.UP | FLAGS.UV)})

    off()
    assert is_told_inactive(enter())
    assert not is_in(client)
    on()
    enter()
    assert is_in(client)


def test_no_code_is_mailed(client, with_email_codes, off, mailoutbox):
    off()
    assert is_told_inactive(client.post(SIGN_IN, {"login": with_email_codes.email, "password": PASSWORD}))
    assert mailoutbox == []


@pytest.mark.parametrize("again", [False, True], ids=["off", "off and on"])
def test_a_sign_in_in_progress_is_over(client, with_email_codes, off, on, again):
    client.post(SIGN_IN, {"login": with_email_codes.email, "password": PASSWORD})
    off()
    if again:
        on()
    client.post("/accounts/login/mailed-code/", {"code": mailed_code()})
    assert not is_in(client)


def test_who_was_switched_off_without_a_new_salt_does_not_finish_a_sign_in(client, with_email_codes):
    """By SQL, say: nothing has told their sign-in in progress."""
    client.post(SIGN_IN, {"login": with_email_codes.email, "password": PASSWORD})
    QuerySet.update(Company.objects.all(), is_active=False)
    client.post("/accounts/login/mailed-code/", {"code": mailed_code()})
    assert "_auth_user_id" not in client.session


# --- Links that are mailed ------------------------------------------------------------------------------------------


def test_no_link_for_a_new_password_is_mailed(client, user, off, on, mailoutbox):
    off()
    answer = client.post("/accounts/password/reset/", {"email": user.email})
    assert (answer.status_code, mailoutbox) == (302, [])
    on()
    client.post("/accounts/password/reset/", {"email": user.email})
    assert [mail.to for mail in mailoutbox] == [[user.email]]


def invite(user: User) -> None:
    user.set_unusable_password()
    user.save(update_fields=["password"])
    invitations.send(user)


@pytest.mark.parametrize("kind", ["reset", "invitation"])
def test_a_link_that_was_mailed_before_opens_nothing_until_it_is_on(client, user, off, on, kind, mailoutbox):
    if kind == "reset":
        client.post("/accounts/password/reset/", {"email": user.email})
    else:
        invite(user)
    (link,) = RESET_LINK.findall(str(mailoutbox[-1].body))
    new = {"password1": "Another long enough passw0rd", "password2": "Another long enough passw0rd"}
    form = client.get(link, follow=True)  # opened before
    off()
    assert "This link no longer works" in html(client.post(form.request["PATH_INFO"], new))
    assert "This link no longer works" in html(Client().get(link, follow=True))
    assert not User.objects.get(pk=user.pk).check_password(new["password1"])
    on()
    again = Client()
    again.post(again.get(link, follow=True).request["PATH_INFO"], new)
    assert User.objects.get(pk=user.pk).check_password(new["password1"])


def test_nobody_is_invited_by_the_admin_site(admin_user, company, off, mailoutbox, django_capture_on_commit_callbacks):
    off()
    admin = browser_of(admin_user)
    data = {"email": "new@example.com", "name": "Ina", "is_active": "on", "company": company.pk}
    with django_capture_on_commit_callbacks(execute=True):
        page = html(admin.post(reverse("admin:profiles_user_add"), data, follow=True))
    assert "The company of new@example.com is switched off" in page
    new = User.objects.get(email="new@example.com")
    admin.post(reverse("admin:profiles_user_changelist"), {"action": "send_invitation", "_selected_action": new.pk})
    assert mailoutbox == []


def test_a_link_that_confirms_an_address_does_nothing_until_it_is_on(signed_in, user, off, on, mailoutbox):
    signed_in.post("/profile/email/", {"email": "new@example.com"})
    (link,) = [found[1] for mail in mailoutbox if (found := LINK.search(str(mail.body)))]
    off()
    assert Client().get(link).status_code == Client().post(link).status_code == 410
    assert EmailChange.objects.exists()
    on()
    Client().post(link)
    assert User.objects.get(pk=user.pk).email == "new@example.com"


# --- Sessions -----------------------------------------------------------------------------------------------------


def test_every_door_of_a_session_is_shut_at_the_next_request(user, admin_user, company, settings, tmp_path, off):
    settings.MEDIA_ROOT = str(tmp_path)  # security 84
    User.objects.filter(pk=admin_user.pk).update(company=company)
    browser = sign_in(Client(), admin_user)
    browser.post("/profile/picture/", {"picture": png()})
    picture = f"/api/v1/users/{admin_user.uid}/picture/small"
    doors = [PROFILE, "/admin/", "/accounts/sessions/"]
    assert [browser.get(door).status_code for door in [*doors, picture]] == [200] * 4
    off()
    assert [browser.get(door).status_code for door in doors] == [302] * 3
    assert browser.get(picture).status_code == 401


def test_htmx_is_sent_to_sign_in(signed_in, user, off):
    asked = {"version": version(user)}
    off()
    answer = by_htmx(signed_in, "/profile/api-key/create/", asked)
    assert answer.headers["HX-Redirect"] == f"{SIGN_IN}?next={PROFILE}"
    assert lifecycle.of(user) is None


def by_save(company: Company, active: bool) -> None:  # noqa: FBT001
    switch(Company.objects.get(pk=company.pk), on=active)


def by_saving_the_field(company: Company, active: bool) -> None:  # noqa: FBT001
    company.is_active = active
    company.save(update_fields=["is_active"])


def by_update(company: Company, active: bool) -> None:  # noqa: FBT001
    Company.objects.filter(pk=company.pk).update(is_active=active)


def by_bulk_update(company: Company, active: bool) -> None:  # noqa: FBT001
    company.is_active = active
    Company.objects.bulk_update([company], ["is_active"])


DOORS = [by_save, by_saving_the_field, by_update, by_bulk_update]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_sessions_of_before_do_not_come_back(door, signed_in, user, company):  # security 72, 84
    door(company, active=False)
    door(company, active=True)  # before a click of theirs has noticed
    assert not is_in(signed_in)
    assert is_in(sign_in(signed_in, user))


def test_nor_do_those_of_who_comes_to_it_meanwhile(client, user, company, off, on):
    user.company = None
    user.save()
    sign_in(client, user)
    off()
    user.company = Company.objects.get(pk=company.pk)
    user.save(update_fields=["company"])
    on()
    assert not is_in(client)


def test_those_of_other_companies_go_on(signed_in, user, off):
    user.company = Company.objects.create(name="Other Ltd")
    user.save()
    off()
    assert is_in(signed_in)


def test_saving_something_else_of_a_company_ends_no_session(signed_in, company):
    company.require_mfa = False
    company.save()
    Company.objects.update(name="Fleet & Sons Ltd")
    assert is_in(signed_in)


def test_the_rows_of_its_browsers_can_go(signed_in, user, admin_user, company, off):
    elsewhere = sign_in(Client(), admin_user)
    off()
    sessions.end_of_company(company)
    assert not UserSession.objects.filter(user=user).exists()
    assert Session.objects.count() == 1
    assert elsewhere.get("/admin/").status_code == 200


# --- Keys, API Clients, mails, commands -----------------------------------------------------------------------------


def test_keys_and_api_clients_are_refused_with_their_tokens_and_are_back(key, api_client, off, on):  # security 84
    pairs = [(pair, make_token(pair)) for pair in (key, api_client)]
    for change, active in ((off, False), (on, True)):
        change()
        for pair, token in pairs:
            headers = {"Authorization": f"Bearer {token}"}
            assert works(pair.client_id, pair.secret) is active
            assert (Client().get("/api/v1/users/rights", headers=headers).status_code == 200) is active
            assert AccessToken.objects.active().filter(application=pair.key).exists() is active
            pair.key.refresh_from_db()
            assert pair.key.is_usable(None) is active


def test_nobody_of_it_changes_an_api_client(manager, client_profile, api_client, off):
    off()
    origin = Origin(manager, KeyEvent.Via.CLIENTS)
    with pytest.raises(company_clients.NotAllowed):
        make_client(manager, client_profile, "Another")
    with pytest.raises(company_clients.NotAllowed):
        company_clients.delete(company=manager.company, client_id=api_client.client_id, origin=origin)


def test_nobody_of_it_gets_a_notice(user, admin_user, key, off, mailoutbox, django_capture_on_commit_callbacks):
    off()
    admin = Origin(actor=admin_user, via=KeyEvent.Via.ADMIN)
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.revoke(owner=User.objects.get(pk=user.pk), origin=admin, reason="Left")
    assert mailoutbox == []


def test_but_of_a_changed_address_they_do(user, admin_user, off, mailoutbox, django_capture_on_commit_callbacks):
    off()
    data = {"name": user.name, "company": user.company_id, "access_profile": user.access_profile_id, "is_active": "on"}
    with django_capture_on_commit_callbacks(execute=True):
        browser_of(admin_user).post(f"/admin/profiles/user/{user.pk}/change/", {**data, "email": "moved@example.com"})
    assert [mail.to for mail in mailoutbox] == [["user@example.com"]]


def test_createkey_makes_no_key_that_would_be_refused(user, off):
    off()
    with pytest.raises(CommandError, match=r"Fleet Ltd, the company of user@example\.com, is not active"):
        call_command("createkey", user.email)
    assert lifecycle.of(user) is None


# --- The rule -------------------------------------------------------------------------------------------------------


def test_the_rule_is_the_same_in_a_query(user, other_user, admin_user, company):
    User.objects.filter(pk=other_user.pk).update(company=Company.objects.create(name="Off Ltd", is_active=False))
    User.objects.create_user("left@example.com", PASSWORD, name="Left", company=company, is_active=False)
    let = {person for person in User.objects.all() if person.is_let_in}
    assert let == set(User.objects.filter(let_in())) == {user, admin_user}


def test_it_costs_a_page_no_query(signed_in, user, django_assert_num_queries):
    """The company is read with the user: see `UserManager.with_all`."""
    signed_in.get("/")
    with django_assert_num_queries(2):  # the session, its user
        signed_in.get("/")


# --- With real servers ------------------------------------------------------------------------------------------------


def add_company(server: Server, email: str) -> int:
    """A company of its own for a new user; its number."""
    name = uuid4().hex
    columns = "uid, name, name_folded, require_mfa, is_active"
    server.sql(f"INSERT INTO profiles_company ({columns}) VALUES (%s, %s, %s, false, true)", uuid4().hex, name, name)
    ((company,),) = server.sql("SELECT id FROM profiles_company WHERE name = %s", name)
    add_owner(server, email)
    server.sql("UPDATE profiles_user SET company_id = %s WHERE email = %s", company, email)
    return int(company)


@pytest.mark.server
def test_under_fire_it_is_refused_at_once_and_back_at_once(server):  # security 84
    email = f"owner-{uuid4().hex}@demo.example"
    company = add_company(server, email)
    visitor = Visitor(server.url).sign_in(email)

    def set_active(*, active: bool) -> None:
        server.sql("UPDATE profiles_company SET is_active = %s WHERE id = %s", active, company)

    fires: list[Fire] = []
    for _ in range(3):
        fire = Fire(server.url, *(visitor.create() if not fires else visitor.regenerate()))
        fires.append(fire)
        fire.around(partial(set_active, active=False))
        fire.assert_refused(token=401, call=401, introspect=401)
        assert {call(fire.site, token).status_code for token in fire.issued} == {401}
        assert SIGN_IN in visitor.get(PROFILE).url
        set_active(active=True)
        assert ask(server.url, fire.client_id, fire.secret).status_code == 200
        assert {call(fire.site, token).status_code for token in fire.issued} == {200}
        visitor = Visitor(server.url).sign_in(email)
