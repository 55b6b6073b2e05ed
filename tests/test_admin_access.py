"""Who gets into the admin site, and what each permission opens there."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse

from profiles.account import activity
from profiles.admin.deeds import DEEDS
from profiles.clients import lifecycle
from profiles.models import (
    AccessProfile,
    AccessToken,
    AccountEvent,
    ClientSecret,
    Company,
    KeyEvent,
    OAuthApplication,
    User,
)
from profiles.origin import Origin

from .admin_site import browser_of, make_staff, permit
from .conftest import PASSWORD, make_key, make_token

pytestmark = pytest.mark.django_db

MODELS: list[Any] = [User, Company, AccessProfile, OAuthApplication, AccessToken, KeyEvent, AccountEvent, Group]
# What can be made, changed and deleted the stock way; the rest can only be looked at.
EDITABLE = {User, Company, AccessProfile}


def url(model: Any, page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.fixture
def staff(db) -> User:
    return make_staff()


@pytest.fixture
def superuser(admin_user: User) -> Client:
    return browser_of(admin_user)


@pytest.fixture
def rows(user, key, token, admin_user):
    """One row of each model."""
    Group.objects.create(name="Support")
    activity.record(AccountEvent.Action.SIGNED_IN, owner=user, origin=Origin(user, KeyEvent.Via.PAGE))
    return {model: model.objects.order_by("pk").first() for model in MODELS} | {User: user}


def test_these_pages_and_no_others():  # security 64
    assert set(admin.site._registry) == set(MODELS)


def test_sign_in_is_that_of_the_site():
    response = Client().get("/admin/profiles/user/", follow=True)
    assert response.redirect_chain[-1][0] == "/accounts/login/?next=%2Fadmin%2Fprofiles%2Fuser%2F"


def test_admin_has_no_sign_in_form_of_its_own(staff, admin_user):
    client = permit(staff)
    answer = client.post("/admin/login/", {"username": admin_user.email, "password": PASSWORD})
    assert answer.status_code == 405
    assert client.session["_auth_user_id"] == str(staff.pk)


def test_password_is_changed_on_the_sites_own_page(superuser):
    assert superuser.get("/admin/password_change/").url == reverse("account_change_password")


def test_who_is_not_staff_is_refused(client, user):
    client.force_login(user)
    assert client.get("/admin/", follow=True).status_code == 403


def test_deactivated_staff_are_out_at_once(superuser, admin_user):
    User.objects.filter(pk=admin_user.pk).update(is_active=False)
    assert superuser.get("/admin/").status_code == 302


def test_every_page_opens_for_a_superuser(superuser, rows):
    for model, row in rows.items():
        for page, args in (("changelist", ()), ("change", (row.pk,)), ("history", (row.pk,))):
            assert superuser.get(url(model, page, *args)).status_code == 200, (model, page)


@pytest.mark.parametrize("model", MODELS)
def test_without_a_permission_nothing_is_seen(staff, rows, model):
    client = permit(staff)
    pk = rows[model].pk
    for page, args in (("changelist", ()), ("add", ()), ("change", (pk,)), ("delete", (pk,)), ("history", (pk,))):
        assert client.get(url(model, page, *args)).status_code == 403, page
    assert url(model, "changelist") not in client.get("/admin/").content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_view_permission_opens_its_own_model_to_look_at(staff, rows, model):
    client = permit(staff, f"view_{model._meta.model_name}")
    pk = rows[model].pk
    assert client.get(url(model, "changelist")).status_code == 200
    assert client.get(url(model, "change", pk)).status_code == 200
    assert client.post(url(model, "change", pk), {"name": "Changed"}).status_code == 403
    for page, args in (("add", ()), ("delete", (pk,))):
        assert client.get(url(model, page, *args)).status_code == 403, page
    for other in set(MODELS) - {model}:
        assert client.get(url(other, "changelist")).status_code == 403, other


@pytest.mark.parametrize("model", sorted(set(MODELS) - EDITABLE - {Group}, key=str))
def test_not_even_a_superuser_makes_changes_or_deletes(superuser, rows, model):  # security 59, 64
    pk = rows[model].pk
    assert superuser.get(url(model, "add")).status_code == 403
    assert superuser.post(url(model, "add"), {}).status_code == 403
    assert superuser.post(url(model, "change", pk), {"client_id": "x", "scope": "x", "reason": "x"}).status_code == 403
    assert superuser.post(url(model, "delete", pk), {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
    superuser.post(url(model, "changelist"), action)
    assert model.objects.filter(pk=pk).exists()


@pytest.mark.parametrize("verb", ["add", "change", "delete"])
def test_groups_are_changed_by_superusers_alone(staff, rows, verb):
    client = permit(staff, "view_group", f"{verb}_group")
    args = () if verb == "add" else (rows[Group].pk,)
    assert client.post(url(Group, verb, *args), {"name": "Mine", "post": "yes"}).status_code == 403


@pytest.mark.parametrize("verb", ["add", "change", "delete"])
@pytest.mark.parametrize("model", [Company, AccessProfile])
def test_each_verb_needs_its_permission(staff, rows, model, verb):
    args = () if verb == "add" else (rows[model].pk,)
    name = model._meta.model_name
    others = {"add", "change", "delete"} - {verb}
    client = permit(staff, f"view_{name}", *(f"{other}_{name}" for other in others))
    assert client.post(url(model, verb, *args), {"name": "New", "rights": [], "post": "yes"}).status_code == 403
    client = permit(staff, f"view_{name}", f"{verb}_{name}")
    assert client.get(url(model, verb, *args)).status_code == 200


def test_only_permissions_that_open_something_can_be_given(superuser, rows):
    page = superuser.get(url(User, "change", rows[User].pk)).content.decode()
    assert "Can revoke keys" in page
    assert "session" not in page.lower()


# --- Secrets ----------------------------------------------------------------------------------------------


def every_address(rows) -> list[str]:
    """Every page that can be asked for, the lists also with each parameter a list has."""
    addresses = ["/admin/", "/admin/profiles/", "/admin/auth/"]
    for model, row in rows.items():
        for page, args in (
            ("changelist", ()),
            ("add", ()),
            ("change", (row.pk,)),
            ("history", (row.pk,)),
            ("delete", (row.pk,)),
        ):
            addresses.append(url(model, page, *args))
        addresses += [url(model, "changelist") + query for query in ("?q=user@example.com", "?all=", "?o=1", "?p=2")]
    return [
        *addresses,
        *(url(OAuthApplication, deed.name) + f"?key={rows[OAuthApplication].pk}" for deed in DEEDS),
        url(KeyEvent, "export"),
        f"/admin/autocomplete/?app_label=profiles&model_name=user&field_name=company&term={rows[Company].name}",
    ]


def test_no_page_shows_a_credential_of_an_api_client(superuser, rows, user, manager, api_client):  # security 3, 64
    token = make_token(api_client)
    rows[OAuthApplication], rows[AccessToken] = api_client.key, AccessToken.objects.get(application=api_client.key)
    rows[KeyEvent], rows[User] = KeyEvent.objects.get(client_id=api_client.client_id), manager
    secret = ClientSecret.objects.get(application=api_client.key)
    forbidden = [api_client.secret, token, secret.digest, secret.hint + "<", ">" + secret.hint]
    forbidden.append(rows[AccessToken].token_checksum)
    for address in every_address(rows):
        response = superuser.get(address, follow=True)
        assert response.status_code in (200, 403), address
        content = response.getvalue().decode()
        assert [text for text in forbidden if text in content] == [], address


def test_no_page_shows_a_credential_or_a_part_of_one(superuser, admin_user, rows, user, key, token):  # security 3, 64
    changed, secret = lifecycle.regenerate(owner=user, origin=Origin(actor=user, via=KeyEvent.Via.PAGE))
    again = make_token(type(key)(changed, secret))
    rows[AccessToken] = AccessToken.objects.order_by("-pk").first()
    LogEntry.objects.log_actions(admin_user.pk, list(rows.values()), ADDITION)
    forbidden = [
        key.secret,
        secret,
        token,
        again,
        user.password,
        admin_user.password,
        secret[-4:] + "<",
        ">" + secret[-4:],
    ]
    forbidden += ClientSecret.objects.values_list("digest", flat=True)
    forbidden += AccessToken.objects.values_list("token_checksum", flat=True)
    for address in every_address(rows):
        response = superuser.get(address, follow=True)
        assert response.status_code in (200, 403), address
        content = response.getvalue().decode()
        assert [text for text in forbidden if text in content] == [], address
    assert not any(text in str(row) for row in rows.values() for text in forbidden)


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (User, "password__startswith"),
        (User, "key__secrets__digest__startswith"),
        (User, "email"),
        (OAuthApplication, "secrets__digest__startswith"),
        (OAuthApplication, "secrets__hint"),
        (OAuthApplication, "user__password__startswith"),
        (AccessToken, "token_checksum__startswith"),
        (AccessToken, "token__startswith"),
        (AccessToken, "secret__digest__startswith"),
        (KeyEvent, "owner__password__startswith"),
        (KeyEvent, "actor__key__secrets__hint"),
        (Company, "users__password__startswith"),
        (AccessProfile, "users__key__secrets__digest__startswith"),
        (Group, "user__password__startswith"),
    ],
)
def test_no_list_answers_questions_about_what_it_does_not_show(superuser, rows, model, lookup):  # security 64
    assert superuser.get(url(model, "changelist"), {lookup: "a"}).status_code == 400


@pytest.mark.parametrize("word", ["secret", "hint", "digest", "password"])
def test_a_search_does_not_look_into_credentials(superuser, user, key, token, word):  # security 64
    key.key.refresh_from_db()
    terms = {
        "secret": ClientSecret.objects.get().digest,
        "hint": ClientSecret.objects.get().hint,
        "digest": AccessToken.objects.get().token_checksum,
        "password": user.password,
    }
    for model in MODELS:
        page = superuser.get(url(model, "changelist"), {"q": terms[word]})
        assert page.context["cl"].result_count == 0, model


# --- Bad input --------------------------------------------------------------------------------------------


STRANGE_QUERIES = [
    "p=0",
    "p=-5",
    "p=999999999999999999999999",
    "p=x",
    "o=99.-99.x",
    "all=1&p=x",
    "q=%00",
    "q=" + "x" * 3000,
    "q=" + "x+" * 300,
    "q=%25_%5C%22'",
    "q=@",
    "q=::1",
    "q=%F0%9F%94%91",
    "company=x",
    "company=99999999999999999999999",
    "company=%00",
    "used=x",
    "since=x",
    "until=9999-12-31",
    "since=0001-01-01&until=0001-01-01",
    "action=x",
    "application=x",
    "application=99999999999999999999999",
    "access_profile=none",
    "active=maybe",
    "_popup=1",
    "_to_field=secrets__digest",
    "_facets=1",
    "nonsense=1",
]


@pytest.mark.parametrize("model", MODELS)
def test_a_strange_address_is_no_500(superuser, rows, model):
    for query in STRANGE_QUERIES:
        response = superuser.get(f"{url(model, 'changelist')}?{query}", follow=True)
        assert response.status_code in (200, 400), query


@pytest.mark.parametrize("model", MODELS)
def test_a_row_that_is_not_there_is_told(superuser, rows, model):
    for page in ("change", "history", "delete"):
        for pk in ("0", "x", "9" * 40, "%00", "1/password", "_5F"):
            address = url(model, page, "PK").replace("PK", pk)
            assert superuser.get(address, follow=True).status_code in (200, 403, 404), address


@pytest.mark.parametrize("model", [User, OAuthApplication, Company])
def test_a_strange_selection_is_no_500(superuser, rows, model):
    action = {User: "deactivate", OAuthApplication: "revoke_selected", Company: "delete_selected"}[model]
    for selected in (["x"], ["9" * 40], ["-1"], ["1" * 18] * 501, ["\0"], ["٣"]):
        data = {"action": action, "_selected_action": selected}
        assert superuser.post(url(model, "changelist"), data, follow=True).status_code == 200
    assert model.objects.filter(pk=rows[model].pk).exists()


def test_everything_at_once_is_not_a_click(superuser, rows, company):
    User.objects.bulk_create(User(email=f"u{n}@example.com", name="x", company=company) for n in range(501))
    data = {"action": "deactivate", "_selected_action": [rows[User].pk], "select_across": "1"}
    page = superuser.post(url(User, "changelist"), data, follow=True)
    assert "Choose at most 500 at a time" in page.content.decode()
    assert not User.objects.filter(is_active=False).exists()


def test_the_toolkits_pages_are_nowhere():
    with pytest.raises(NoReverseMatch):
        reverse("admin:oauth2_provider_refreshtoken_changelist")


# --- Size -------------------------------------------------------------------------------------------------


def more_of_everything(company: Company, number: int) -> None:
    for n in range(number):
        owner = User.objects.create(email=f"more{n}@example.com", name="More", company=company)
        make_token(make_key(owner))


@pytest.mark.parametrize("model", MODELS)
def test_a_longer_list_takes_no_more_queries(superuser, rows, company, model, django_assert_num_queries):
    superuser.get(url(model, "changelist"))
    with CaptureQueriesContext(connection) as before:
        superuser.get(url(model, "changelist"))
    more_of_everything(company, 5)
    with django_assert_num_queries(len(before)):
        superuser.get(url(model, "changelist"))


def test_a_list_counts_only_as_far_as_its_pages_go(superuser, rows, company, monkeypatch):
    monkeypatch.setattr("profiles.admin.base.CappedPaginator.at_most", 3)
    more_of_everything(company, 5)
    page = superuser.get(url(AccessToken, "changelist"))
    assert page.context["cl"].result_count == 3
    assert "More than 3 access tokens" in page.content.decode()
