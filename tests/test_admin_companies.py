"""Companies in the admin site: switched off and on; and what uses them, or an access profile, is not deleted."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client

from profiles import rights
from profiles.clients import tokens
from profiles.models import AccessProfile, AccountEvent, Company, OAuthApplication, User

from .admin_site import browser_of, make_staff, permit
from .conftest import KeyPair, make_client, make_token

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/profiles/company/"
PROFILES = "/admin/profiles/accessprofile/"


@pytest.fixture
def superuser(admin_user: User) -> Client:
    return browser_of(admin_user)


def switch(client: Client, company: Company, *, on: bool) -> None:
    """What the form of this company sends; where its box is not offered, a box that somebody put there."""
    form = {"name": company.name, **({"is_active": "on"} if on else {})}
    client.post(f"{LIST}{company.pk}/change/", form)
    company.refresh_from_db()


def events() -> list[tuple[str, str]]:
    found = AccountEvent.objects.filter(action__startswith="company_").order_by("pk")
    return list(found.values_list("action", "detail"))


# --- Switching off and on ---------------------------------------------------------------------------------


def test_a_company_is_switched_off_and_on_with_an_event(superuser, company, key, api_client):
    found = [make_token(key), make_token(api_client)]
    switch(superuser, company, on=False)
    assert not company.is_active
    assert [tokens.find(token) for token in found] == [None, None]
    switch(superuser, company, on=True)
    assert all(map(tokens.find, found))
    assert events() == [
        ("company_edited", "Fleet Ltd: is_active: yes → no"),
        ("company_edited", "Fleet Ltd: is_active: no → yes"),
    ]


def test_switched_off_its_people_are_signed_out_for_good(superuser, company, user):
    browser_of(user).get("/profile/")
    assert UserSession.objects.filter(user=user).exists()
    switch(superuser, company, on=False)
    assert not UserSession.objects.filter(user=user).exists()


def test_a_new_company_is_active_without_being_asked(superuser):
    assert 'name="is_active"' not in superuser.get(f"{LIST}add/").content.decode()
    superuser.post(f"{LIST}add/", {"name": "New Ltd"})
    assert Company.objects.get().is_active


def test_companies_are_filtered_by_it(superuser, company):
    off = Company.objects.create(name="Off Ltd", is_active=False)

    def found(value: str) -> list[Company]:
        return list(superuser.get(LIST, {"active": value}).context["cl"].result_list)

    assert found("yes") == [company]
    assert found("no") == [off]


def test_nobody_switches_off_their_own_company(superuser, admin_user, company):
    admin_user.company = company
    admin_user.save()
    page = superuser.get(f"{LIST}{company.pk}/change/").content.decode()
    assert 'name="is_active"' not in page
    assert "Not for your own company" in page
    switch(superuser, company, on=False)
    assert company.is_active
    client = permit(make_staff(company=company), "view_company", "change_company")
    switch(client, company, on=False)
    assert company.is_active


def test_a_company_with_staff_is_switched_by_superusers_only(superuser, company, user):
    client = permit(make_staff(), "view_company", "change_company")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    switch(client, company, on=False)
    assert company.is_active
    User.objects.filter(pk=user.pk).update(is_staff=False)
    switch(client, company, on=False)
    assert not company.is_active
    User.objects.filter(pk=user.pk).update(is_superuser=True)
    switch(client, company, on=True)
    assert not company.is_active
    switch(superuser, company, on=True)
    assert company.is_active


@pytest.mark.parametrize("lacks", ["", "entities.systems.view", "accountNetwork.users.view"])
def test_who_switches_on_holds_all_that_this_opens(company, user, api_client, lacks):
    """One of the rights is that of the user alone, the other of the API Client too."""
    User.objects.exclude(pk=user.pk).delete()
    held = sorted(rights.ALL_RIGHTS - {lacks})
    staff = make_staff(access_profile=AccessProfile.objects.create(name="Held", rights=held))
    client = permit(staff, "view_company", "change_company")
    switch(client, company, on=False)
    assert not company.is_active
    switch(client, company, on=True)
    assert company.is_active == (not lacks)


def test_also_what_only_an_api_client_holds(company, api_client):
    User.objects.all().delete()
    staff = make_staff(access_profile=AccessProfile.objects.create(name="Held", rights=["entities.alerts.rule.view"]))
    client = permit(staff, "view_company", "change_company")
    Company.objects.update(is_active=False)
    switch(client, company, on=True)
    assert not company.is_active


# --- In use -----------------------------------------------------------------------------------------------


@pytest.fixture
def alone(manager, api_client) -> KeyPair:
    """An API Client of a company that has no users any more."""
    User.objects.exclude(is_superuser=True).delete()
    return api_client


@pytest.mark.parametrize("model", [Company, AccessProfile])
def test_what_an_api_client_needs_is_not_deleted_and_it_is_said_why(superuser, alone, client_profile, company, model):
    address, row = (LIST, company) if model is Company else (PROFILES, client_profile)
    selected = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    for page in (superuser.get(f"{address}{row.pk}/delete/"), superuser.post(address, selected)):
        assert "1 API Client" in page.content.decode()
    superuser.post(f"{address}{row.pk}/delete/", {"post": "yes"})
    assert model.objects.filter(pk=row.pk).exists()
    assert not AccountEvent.objects.filter(action__endswith="_deleted").exclude(action="account_deleted").exists()
    OAuthApplication.objects.all().delete()
    superuser.post(f"{address}{row.pk}/delete/", {"post": "yes"})
    assert not model.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("by", ["page", "action"])
@pytest.mark.parametrize("model", [Company, AccessProfile])
def test_what_an_api_client_gets_at_the_moment_of_deletion_stays(
    superuser, company, manager, client_profile, model, by, monkeypatch
):
    """It was free when it was looked at; the check says so still, and the database does not."""
    spare = AccessProfile.objects.create(name="Spare", rights=["entities.systems.view"])
    row = company if model is Company else spare
    address = f"{LIST if model is Company else PROFILES}"
    monkeypatch.setattr("profiles.admin.base.InUse.get_deleted_objects", lambda *_: ([], {}, set(), []))
    make_client(manager, spare)
    User.objects.exclude(is_superuser=True).delete()
    if by == "page":
        response = superuser.post(f"{address}{row.pk}/delete/", {"post": "yes"}, follow=True)
    else:
        selected = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
        response = superuser.post(address, selected, follow=True)
    assert response.status_code == 200
    assert "Somebody changed this at the same moment" in response.content.decode()
    assert model.objects.filter(pk=row.pk).exists()
    assert OAuthApplication.objects.exists()
    assert not AccountEvent.objects.filter(action__in=("company_deleted", "profile_deleted")).exists()


def test_lists_tell_the_number_of_api_clients(superuser, company, client_profile, api_client):
    for address, row, field in ((LIST, company, "company"), (PROFILES, client_profile, "access_profile")):
        page = superuser.get(address).content.decode()
        link = f"/admin/profiles/oauthapplication/?kind=company&amp;{field}={row.pk}"
        assert f'<a href="{link}">1</a>' in page
        assert superuser.get(link.replace("&amp;", "&")).context["cl"].result_count == 1


# --- Access profiles of API Clients -----------------------------------------------------------------------


def change_rights(client: Client, profile: AccessProfile, held: list[str]) -> Any:
    return client.post(f"{PROFILES}{profile.pk}/change/", {"name": profile.name, "rights": held})


def test_a_profile_that_another_companys_client_has_is_not_changed_by_staff_of_a_company(company, api_client):
    profile = api_client.key.access_profile
    elsewhere = make_staff(company=Company.objects.create(name="Other Ltd"))
    client = permit(elsewhere, "view_accessprofile", "change_accessprofile", "delete_accessprofile")
    assert change_rights(client, profile, []).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": profile.pk}
    page = client.post(PROFILES, selected).content.decode()
    assert "API Clients of other companies" in page
    assert "Fleet" not in page
    elsewhere.company = company
    elsewhere.save()
    assert change_rights(browser_of(elsewhere), profile, []).status_code == 302
    profile.refresh_from_db()
    assert profile.rights == []


def test_no_right_gets_to_a_client_by_its_profile_that_the_actor_does_not_hold(company, api_client):
    profile = api_client.key.access_profile
    few = AccessProfile.objects.create(name="Few", rights=["entities.systems.view"])
    client = permit(make_staff(company=company, access_profile=few), "view_accessprofile", "change_accessprofile")
    response = change_rights(client, profile, ["entities.systems.view", "entities.systems.edit"])
    assert response.context["adminform"].form.errors["rights"]
    few.rights = ["entities.systems.edit"]
    few.save()
    assert change_rights(client, profile, ["entities.systems.edit"]).status_code == 403
    profile.refresh_from_db()
    assert profile.rights == ["entities.systems.view"]
