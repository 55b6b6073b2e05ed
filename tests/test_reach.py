"""No permission short of superuser gives rights that its holder lacks, or reaches into another company.

Each permission that there is, alone, then all of them at once, in the hands of staff with a company and few rights, who
try whatever the admin site has: every page of every row, every form with every choice, every action on all rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.core import mail
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from profiles import reach, rights
from profiles.account import activity
from profiles.clients import changes, tokens
from profiles.models import AccessProfile, AccessToken, AccountEvent, Company, KeyEvent, OAuthApplication, User
from profiles.origin import Origin

from .admin_site import browser_of, permit
from .conftest import PASSWORD, KeyPair, make_client, make_key, make_token

pytestmark = pytest.mark.django_db

FEW = ["accountNetwork.users.view", "entities.systems.view"]
USERS = "/admin/profiles/user/"
PROFILES = "/admin/profiles/accessprofile/"


@dataclass
class World:
    own: Company
    other: Company
    small: AccessProfile
    big: AccessProfile
    actor: User


def make_user(name: str, company: Company | None, profile: AccessProfile | None, **fields: Any) -> User:
    password = fields.pop("password", PASSWORD)
    return User.objects.create_user(
        f"{name}@example.com", password, name=name, company=company, access_profile=profile, **fields
    )


@pytest.fixture
def world(db) -> World:
    own, other = Company.objects.create(name="Own Ltd"), Company.objects.create(name="Other Ltd")
    small = AccessProfile.objects.create(name="Small", rights=FEW)
    big = AccessProfile.objects.create(name="Big", rights=sorted(rights.ALL_RIGHTS))
    AccessProfile.objects.create(name="Unused", rights=FEW[:1])
    AccessProfile.objects.create(name="Unused and big", rights=sorted(rights.ALL_RIGHTS))
    elsewhere = AccessProfile.objects.create(name="Elsewhere", rights=FEW[:1])
    for name, company, profile in (
        ("colleague", own, small),
        ("powerful", own, big),
        ("foreigner", other, elsewhere),
        ("foreign.power", other, big),
        ("nobodys", None, small),
    ):
        make_token(make_key(make_user(name, company, profile)))
    for maker, profile, name in (
        ("powerful", big, "Strong client"),
        ("powerful", small, "Weak client"),
        ("foreign.power", small, "foreign client"),
        ("foreign.power", big, "foreign strong client"),
    ):
        make_token(make_client(User.objects.get(email=f"{maker}@example.com"), profile, name))
    disabled = OAuthApplication.objects.filter(name__contains="strong client")
    disabled.update(disabled=True)
    off = Company.objects.create(name="Off Ltd", is_active=False)
    make_user("off.power", off, big)
    make_user("left", own, big, is_active=False, email_codes=True)
    make_user("locked", own, big, email_codes=True)
    make_user("invited", own, small, password=None)
    make_user("invited.power", own, big, password=None)
    make_user("foreign.invited", other, small, password=None)
    make_user("foreign.left", other, small, is_active=False)
    make_user("boss", own, small, is_staff=True, is_superuser=True)
    for user in User.objects.all():
        activity.record(AccountEvent.Action.SIGNED_IN, owner=user, origin=Origin(user, KeyEvent.Via.PAGE))
    Group.objects.create(name="All of it").permissions.set(Permission.objects.all())
    # With a second factor, so that they go on when their company requires one since they said so.
    actor = make_user("actor", own, small, is_staff=True, email_codes=True)
    return World(own, other, small, big, actor)


# --- What is tried ----------------------------------------------------------------------------------------


def rows() -> list[Any]:
    """All that can be changed, and of the rest, which nobody can, some of the own company and some of the other."""
    changed: list[Any] = [row for model in (User, Company, AccessProfile, Group) for row in model.objects.all()]
    looked_at: tuple[Any, ...] = (OAuthApplication, AccessToken, KeyEvent, AccountEvent)
    for model in looked_at:
        changed += list(model._default_manager.order_by("pk")[:5])
    return changed


def addresses() -> Iterator[tuple[Any, str]]:
    """The list of each model."""
    for model in admin.site._registry:
        yield model, reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def address_of(row: Any) -> str:
    return dict(addresses())[type(row)]


def forms_of(row: Any) -> Iterator[dict[str, Any]]:
    """What somebody may try to send for this row."""
    powers = {
        "is_staff": "on",
        "is_superuser": "on",
        "groups": list(Group.objects.values_list("pk", flat=True)),
        "user_permissions": list(Permission.objects.values_list("pk", flat=True)),
    }
    if isinstance(row, User):
        now = {
            "email": row.email,
            "name": row.name,
            "company": row.company_id or "",
            "access_profile": row.access_profile_id or "",
            "is_active": "on",
        }
        yield {**now, "email": f"taken.{row.pk}@example.net"}
        yield {**now, "is_active": ""}
        yield {**now, **powers}
        yield now
        yield from ({**now, "company": pk} for pk in ["", *Company.objects.values_list("pk", flat=True)])
        yield from ({**now, "access_profile": pk} for pk in ["", *AccessProfile.objects.values_list("pk", flat=True)])
    elif isinstance(row, AccessProfile):
        # Not less in the actor's own: with fewer rights they would try less.
        for held in ([] if row.name != "Small" else FEW, FEW, sorted(rights.ALL_RIGHTS)):
            yield {"name": row.name, "rights": held}
        yield {"name": f"Renamed {row.pk}", "rights": row.rights}
    elif isinstance(row, Company):
        yield {"name": row.name, "require_mfa": "on"}
        yield {"name": row.name, "is_active": "on"}
        yield {"name": f"Renamed {row.pk}"}
    else:
        yield {"name": "Mine", "permissions": powers["user_permissions"], "client_id": "0" * 32, "user": 1, "scope": ""}


def new_rows() -> Iterator[tuple[str, dict[str, Any]]]:
    for number, pk in enumerate(["", *Company.objects.values_list("pk", flat=True)]):
        for profile in ["", *AccessProfile.objects.values_list("pk", flat=True)]:
            email = f"new{number}.{profile}@example.com"
            form = {"email": email, "name": "New", "company": pk, "access_profile": profile, "is_active": "on"}
            yield USERS, {**form, "is_staff": "on", "is_superuser": "on"}
    yield USERS, {"email": "new@example.com", "name": "New"}
    for held in ([], FEW, sorted(rights.ALL_RIGHTS)):
        yield PROFILES, {"name": f"New {len(held)}", "rights": held}
    yield "/admin/profiles/company/", {"name": "New Ltd"}
    yield "/admin/auth/group/", {"name": "New", "permissions": [1, 2, 3]}


class Trial:
    """Somebody who tries all there is to do, and what the pages said to it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.said: list[str] = []

    def ask(self, method: str, address: str, data: Any = None) -> None:
        with transaction.atomic():  # as a request of its own
            response = getattr(self.client, method)(address, data)
            assert response.status_code < 500, address
            self.said.append(response.getvalue().decode())

    def look(self) -> None:
        for model, address in addresses():
            for query in ("", "?q=other", "?q=foreign", "?company=2", "?e=1", "export/", "add/?_popup=1"):
                self.ask("get", address + query)
            for field in ("company", "access_profile", "user", "owner", "permissions"):
                names = f"app_label={model._meta.app_label}&model_name={model._meta.model_name}&field_name={field}"
                self.ask("get", f"/admin/autocomplete/?{names}&term=o")

    def act(self) -> None:
        for model, address in addresses():
            pks = list(model._default_manager.values_list("pk", flat=True))
            for action in admin.site._registry[model].actions or ():
                self.ask("post", address, {"action": action, "_selected_action": pks, "select_across": "0"})
        for deed in ("introspect", "no-introspect", "disable", "revoke"):
            for key in OAuthApplication.objects.all():
                for method in ("get", "post"):
                    address = f"/admin/profiles/oauthapplication/{deed}/"
                    self.ask(method, address, {"key": key.pk, "reason": "Because"})

    def add(self) -> None:
        for address, form in new_rows():
            self.ask("post", f"{address}add/?_popup=1", form | {"_popup": "1"})

    def change(self) -> None:
        for row in rows():
            address = f"{address_of(row)}{row.pk}/"
            for page in ("change/", "history/", "delete/"):
                self.ask("get", address + page)
            for form in forms_of(row):
                self.ask("post", f"{address}change/", form)
            if isinstance(row, User):
                self.ask("post", f"{address}invite/")

    def delete(self) -> None:
        # Each row alone, because one that may not be deleted spares the others.
        for row in rows():
            selected = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
            self.ask("post", address_of(row), selected)
            self.ask("post", f"{address_of(row)}{row.pk}/delete/", {"post": "yes"})


def try_everything(client: Client) -> str:
    trial = Trial(client)
    for step in (trial.look, trial.add, trial.change, trial.act, trial.delete):
        step()
    return "\n".join(trial.said)


# --- What must hold after it ------------------------------------------------------------------------------


def holds(user: User) -> frozenset[str]:
    is_in = user.is_active and (user.company is None or user.company.is_active)
    return user.rights if is_in else frozenset()


def held_by_clients() -> dict[int, frozenset[str]]:
    """What each API Client may do now."""
    found = OAuthApplication.objects.filter(company__isnull=False).select_related("access_profile", "company")
    return {
        client.pk: frozenset(client.access_profile.rights if client.access_profile and client.is_usable(None) else ())
        for client in found
    }


def snapshot(*, outside: Company) -> dict[str, Any]:
    """Every row that is not the business of the company `outside` of which this looks."""
    theirs = User.objects.exclude(company=outside).values_list("pk", flat=True)
    users = set(theirs)
    return {
        "users": list(User.objects.filter(pk__in=users).order_by("pk").values()),
        "companies": list(Company.objects.exclude(pk=outside.pk).order_by("pk").values()),
        "profiles": list(AccessProfile.objects.filter(users__in=users).distinct().order_by("pk").values()),
        "keys": list(OAuthApplication.objects.filter(user__in=users).order_by("pk").values()),
        "clients": list(
            OAuthApplication.objects.filter(company__isnull=False).exclude(company=outside).order_by("pk").values()
        ),
        "events": [
            list(model.objects.filter(owner__in=users).order_by("pk").values()) for model in (KeyEvent, AccountEvent)
        ],
        "events of clients": list(
            KeyEvent.objects.exclude(client_name="").exclude(owner_uid=outside.uid).order_by("pk").values()
        ),
        "groups": list(Group.objects.order_by("name", "permissions").values("name", "permissions")),
    }


def powers() -> set[tuple[Any, ...]]:
    """Who may what in the admin site."""
    given = User.user_permissions.through.objects.values_list("user_id", "permission_id")
    in_group = User.groups.through.objects.values_list("user_id", "group_id")
    flags = User.objects.exclude(is_staff=False, is_superuser=False).values_list("pk", "is_staff", "is_superuser")
    servers = OAuthApplication.objects.filter(may_introspect=True).values_list("client_id")
    return {*(("permission", *pair) for pair in given), *(("group", *pair) for pair in in_group), *flags, *servers}


def assert_nobody_rises(world: World, client: Client) -> str:
    mail.outbox.clear()
    mine = world.actor.rights
    held = {user.pk: holds(user) for user in User.objects.select_related("access_profile")}
    by_clients = held_by_clients()
    emails = dict(User.objects.values_list("pk", "email"))
    factors = set(User.objects.filter(email_codes=True).values_list("pk", flat=True))
    outside, in_the_site = snapshot(outside=world.own), powers()
    said = try_everything(client)
    assert snapshot(outside=world.own) == outside
    assert powers() <= in_the_site
    for client_pk, now in held_by_clients().items():
        assert now - by_clients[client_pk] <= mine
    for user in User.objects.select_related("access_profile"):
        gained = holds(user) - held.get(user.pk, frozenset())
        assert gained <= mine, (user, gained)
        if not held.get(user.pk, frozenset()) <= mine:
            assert emails[user.pk] == user.email
            assert user.pk not in factors or user.email_codes
            assert not [message for message in mail.outbox if user.email in message.to], user
    return said


def permissions() -> dict[str, list[str]]:
    """The verbs of all permissions there are, each with the models that it is about."""
    verbs: dict[str, list[str]] = {}
    for model in apps.get_models(include_auto_created=False):
        for verb in model._meta.default_permissions:
            verbs.setdefault(verb, []).append(f"{verb}_{model._meta.model_name}")
        for name, _title in model._meta.permissions:
            verbs.setdefault("others", []).append(name)
    return verbs


def assert_opens_nothing(client: Client) -> None:
    for _model, address in addresses():
        for page in ("", "add/", "1/change/", "1/delete/", "1/history/"):
            assert client.get(address + page).status_code == 403, address + page


@pytest.mark.once
@pytest.mark.parametrize("verb", sorted(permissions()))
def test_no_single_permission_lifts_anybody_or_reaches_another_company(world, verb):  # security 69
    names = permissions()[verb]
    tried = list(Permission.objects.filter(codename__in=names).select_related("content_type"))
    assert {permission.codename for permission in tried} == set(names)
    for permission in tried:
        with transaction.atomic():
            world.actor.user_permissions.set([permission])
            client = browser_of(world.actor)
            if permission.content_type.model_class() not in admin.site._registry:
                assert_opens_nothing(client)
                continue
            said = assert_nobody_rises(world, client)
            assert "foreign" not in said.replace("q=foreign", "").replace('value="foreign"', ""), permission
            assert "Other Ltd" not in said, permission
            transaction.set_rollback(True)


@pytest.mark.once
def test_nor_do_all_permissions_together(world):  # security 69
    world.actor.user_permissions.set(Permission.objects.all())
    said = assert_nobody_rises(world, browser_of(world.actor))
    assert "Other Ltd" not in said
    assert "foreigner@example.com" not in said
    # They were of use for what is theirs.
    assert KeyEvent.objects.filter(client_name="Weak client", action="revoked").exists()
    assert not User.objects.filter(email="colleague@example.com").exists()
    assert AccountEvent.objects.filter(action="account_created").exists()


def test_who_looks_after_the_whole_site_gives_no_more_than_they_hold_either(world):  # security 69
    User.objects.filter(pk=world.actor.pk).update(company=None)
    world.actor.user_permissions.set(Permission.objects.all())
    mine, held = world.actor.rights, {user.pk: holds(user) for user in User.objects.all()}
    by_clients, in_the_site = held_by_clients(), powers()
    said = try_everything(browser_of(world.actor))
    assert "foreigner@example.com" in said
    assert powers() <= in_the_site
    for user in User.objects.all():
        assert holds(user) - held.get(user.pk, frozenset()) <= mine, user
    for client, now in held_by_clients().items():
        assert now - by_clients[client] <= mine


# --- Each way by itself, with what it says -----------------------------------------------------------------


def form(user: User, **changes: object) -> dict[str, object]:
    now = {"email": user.email, "name": user.name, "company": user.company_id, "access_profile": user.access_profile_id}
    return {**now, "is_active": "on", **changes}


def test_the_form_offers_only_what_may_be_given(world):
    client = permit(world.actor, "add_user", "view_company")
    fields = client.get(f"{USERS}add/").context["adminform"].form.fields
    assert [str(company) for company in fields["company"].queryset] == ["Own Ltd"]
    assert {str(profile) for profile in fields["access_profile"].queryset} == {"Small", "Unused", "Elsewhere"}


@pytest.mark.parametrize("field", ["company", "access_profile"])
def test_a_choice_that_was_not_offered_is_an_error_of_the_form(world, field):
    chosen = {"company": world.other.pk, "access_profile": world.big.pk}[field]
    client = permit(world.actor, "add_user")
    new = {"email": "new@example.com", "name": "New", "company": world.own.pk, field: chosen}
    response = client.post(f"{USERS}add/", new)
    assert response.context["adminform"].form.errors[field]
    assert not User.objects.filter(email="new@example.com").exists()


def test_a_new_user_is_of_the_company_of_who_makes_them(world):
    client = permit(world.actor, "add_user")
    response = client.post(f"{USERS}add/", {"email": "new@example.com", "name": "New", "company": ""})
    assert response.context["adminform"].form.errors["company"]
    client.post(f"{USERS}add/", {"email": "new@example.com", "name": "New", "company": world.own.pk})
    assert User.objects.get(email="new@example.com").company == world.own


def test_only_the_rights_that_one_holds_can_be_put_into_a_profile(world):
    unused = AccessProfile.objects.get(name="Unused")
    client = permit(world.actor, "change_accessprofile")
    page = client.get(f"{PROFILES}{unused.pk}/change/").content.decode()
    assert FEW[1] in page
    assert "entities.systems.edit" not in page
    response = client.post(f"{PROFILES}{unused.pk}/change/", {"name": "Unused", "rights": ["entities.systems.edit"]})
    assert "you can give only those that you hold" in str(response.context["adminform"].form.errors["rights"])
    client.post(f"{PROFILES}{unused.pk}/change/", {"name": "Unused", "rights": FEW})
    unused.refresh_from_db()
    assert unused.rights == FEW


@pytest.mark.parametrize("name", ["Big", "Unused and big", "Elsewhere"])
def test_a_profile_with_other_rights_or_of_another_company_can_only_be_looked_at(world, name):
    profile = AccessProfile.objects.get(name=name)
    client = permit(world.actor, "change_accessprofile", "delete_accessprofile")
    assert "checkbox" not in client.get(f"{PROFILES}{profile.pk}/change/").content.decode()
    assert client.post(f"{PROFILES}{profile.pk}/change/", {"name": name, "rights": []}).status_code == 403
    assert client.post(f"{PROFILES}{profile.pk}/delete/", {"post": "yes"}).status_code == 403


def test_who_holds_more_can_be_renamed_and_deactivated_but_not_let_in(world):
    powerful = User.objects.get(email="powerful@example.com")
    client = permit(world.actor, "change_user")
    client.post(f"{USERS}{powerful.pk}/change/", form(powerful, name="Renamed", access_profile=world.small.pk))
    powerful.refresh_from_db()
    assert (powerful.name, powerful.access_profile) == ("Renamed", world.big)
    client.post(USERS, {"action": "deactivate", "_selected_action": powerful.pk})
    page = client.post(USERS, {"action": "reactivate", "_selected_action": powerful.pk}, follow=True)
    assert "somebody with rights that you do not hold" in page.content.decode()
    client.post(f"{USERS}{powerful.pk}/change/", form(powerful))
    powerful.refresh_from_db()
    assert not powerful.is_active


def test_everybody_sees_the_api_clients_of_their_own_company_alone(world):
    made = {
        company: OAuthApplication.objects.create(company=company, name="Export", access_profile=world.small)
        for company in (world.own, world.other)
    }
    all_of = {company: set(OAuthApplication.objects.filter(company=company)) for company in made}
    for name, expected in (
        ("colleague", all_of[world.own]),
        ("foreigner", all_of[world.other]),
        ("nobodys", set()),  # nor the keys, which are of no company either
        ("boss", all_of[world.own]),
    ):
        assert set(reach.clients(User.objects.get(name=name))) == expected, name
    for company, client in made.items():
        secret = changes.new_secret(client, Origin(world.actor, KeyEvent.Via.CLIENTS), timezone.now())
        found = tokens.find(make_token(KeyPair(client, secret)))
        assert found
        assert set(reach.clients(found.owner)) == all_of[company]
        assert set(reach.colleagues(found.owner)) == set(User.objects.filter(company=company))


def test_an_open_invitation_is_not_taken_over(world):
    invited = User.objects.get(email="invited.power@example.com")
    client = permit(world.actor, "change_user")
    client.post(f"{USERS}{invited.pk}/change/", form(invited, email="mine@example.net"))
    assert client.post(f"{USERS}{invited.pk}/invite/").status_code == 403
    client.post(USERS, {"action": "send_invitation", "_selected_action": invited.pk})
    invited.refresh_from_db()
    assert invited.email == "invited.power@example.com"
    assert not mail.outbox


def test_another_companys_user_is_not_there(world):
    foreigner = User.objects.get(email="foreigner@example.com")
    client = permit(world.actor, "change_user", "delete_user", "revoke_oauthapplication", "view_oauthapplication")
    for page in ("change", "delete", "history"):
        response = client.get(f"{USERS}{foreigner.pk}/{page}/", follow=True)
        assert "foreigner" not in response.content.decode()
    revoked = client.post(
        "/admin/profiles/oauthapplication/revoke/", {"key": foreigner.key.pk, "reason": "x"}, follow=True
    )
    assert "gone already" in revoked.content.decode()
    assert OAuthApplication.objects.filter(user=foreigner).exists()


def test_numbers_of_users_are_of_ones_own_company(world):
    client = permit(world.actor, "view_accessprofile", "delete_accessprofile")
    page = client.get(PROFILES).content.decode()
    assert f'?access_profile={AccessProfile.objects.get(name="Elsewhere").pk}">0</a>' in page
    data = {"action": "delete_selected", "_selected_action": AccessProfile.objects.get(name="Elsewhere").pk}
    assert "users of other companies" in client.post(PROFILES, data).content.decode()


def test_without_an_access_profile_nothing_can_be_given(world):
    User.objects.filter(pk=world.actor.pk).update(access_profile=None)
    actor = User.objects.get(pk=world.actor.pk)
    assert not list(reach.profiles_to_give(actor))
    assert reach.may_give(actor, [])
    client = permit(actor, "add_accessprofile")
    response = client.post(f"{PROFILES}add/", {"name": "Mine", "rights": FEW[:1]})
    assert response.context["adminform"].form.errors["rights"]
