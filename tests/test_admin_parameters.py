"""Whatever is put into a parameter of the admin site, or of another page, the answer is no 500: on either database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from profiles.admin.deeds import DEEDS
from profiles.models import AccessProfile, Company, KeyEvent, OAuthApplication, User

from .admin_site import browser_of
from .conftest import sign_in
from .routes import PEOPLE, Surface, addresses, named, names, routes

pytestmark = pytest.mark.django_db

# As they stand in an address, percent-encoded.
STRANGE = [
    "%00",
    "a%00b",
    "%ED%A0%80",  # a lone surrogate
    "%FF%FE",
    quote("\U0001f511 é ü\u202e"),
    "a%0D%0AX-Forged:%201",
    "9" * 40,
    "-1",
    "1e3",
    "%27%22%25_%5C",
    quote("<script>"),
    "x" * 20_000,
    "",
]
FORM = "application/x-www-form-urlencoded"
PLAIN = ["\0", "a\0b", "\ud800", "9" * 40, "-1", "\r\n", "\U0001f511", "x" * 100_000, ""]


@pytest.fixture
def superuser(admin_user: User) -> Client:
    return browser_of(admin_user)


@pytest.fixture
def rows(user, other_user, key, token) -> dict[Any, Any]:
    """One row of each model that has one."""
    Group.objects.create(name="Support")
    return {model: model._default_manager.order_by("pk").first() for model in admin.site._registry}


def url(model: Any, page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def parameters_of(model_admin: Any) -> Iterator[tuple[str, list[str]]]:
    """Every parameter that a list knows with every value, and some that it does not know with a few."""
    known = ["q", "o", "p", "e", "_to_field", *getattr(model_admin, "extra_lookups", ())]
    for each in model_admin.list_filter:
        known += getattr(each, "parameter_names", ())
    yield from ((name, STRANGE) for name in known)
    for name in ("all", "_facets", "_popup", "_changelist_filters", "nonsense", "\0"):
        yield name, STRANGE[:3]
    for name in ("id", "pk__in", "password__startswith", "id__isnull", "owner__email__regex", "a__b__c"):
        yield name, STRANGE[:3]


@pytest.mark.parametrize("model", list(admin.site._registry), ids=str)
def test_parameters_of_a_list(superuser, rows, model):  # security 40
    for name, values in parameters_of(admin.site._registry[model]):
        for value in values:
            response = superuser.get(f"{url(model, 'changelist')}?{quote(name)}={value}")
            assert response.status_code < 500, (name, value[:50])
            if "%00" in f"{quote(name)}={value}":
                assert response.status_code == 400, (name, value)


@pytest.mark.parametrize("model", list(admin.site._registry), ids=str)
def test_numbers_of_rows_in_the_path(superuser, rows, model):
    for page in ("change", "delete", "history"):
        for value in STRANGE[:-1]:
            address = url(model, page, "PK").replace("PK", value[:2000])
            for method in ("get", "post"):
                response = getattr(superuser, method)(address)
                assert response.status_code < 500, address[:200]
                assert "%00" not in value or response.status_code == 404


@pytest.mark.parametrize("model", list(admin.site._registry), ids=str)
def test_parameters_of_a_row(superuser, rows, model):
    for page in ("add", "change", "delete", "history"):
        address = url(model, page, *(() if page == "add" else (rows[model].pk if rows[model] else 1,)))
        for name in ("_to_field", "_popup", "_changelist_filters", "_saveasnew", "p", "name", "company", "groups"):
            for value in (*STRANGE, "client_secret", "password"):
                assert superuser.get(f"{address}?{name}={value}").status_code < 500, (page, name, value[:50])


@pytest.mark.parametrize("value", STRANGE[:-1], ids=lambda value: value[:12])
def test_every_address_of_the_site(superuser, rows, value):  # security 40
    """With this value in each part that varies, and in its query."""
    for route in routes(*PEOPLE, Surface.ADMIN):
        address = route.address(**dict.fromkeys(route.parameters, value[:3000]))
        for query in ("", f"?{value[:3000]}={value[:3000]}", f"?next={value[:3000]}"):
            assert superuser.get(address + query).status_code < 500, (address + query)[:200]


def test_every_page_refuses_a_nul_in_its_address(signed_in):
    for address in addresses(*PEOPLE, Surface.ADMIN):
        assert signed_in.get(f"{address}?page=%00").status_code == 400
        assert signed_in.get(f"{address}?%00=1").status_code == 400
        assert signed_in.post(f"{address}?next=a%00b").status_code == 400
        assert signed_in.get(f"{address}%00/").status_code == 404


@pytest.mark.parametrize("parameter", ["term", "app_label", "model_name", "field_name", "page", "q"])
def test_autocomplete(superuser, rows, parameter):
    for value in STRANGE:
        good = {"app_label": "profiles", "model_name": "user", "field_name": "company", "term": "fleet", "page": "1"}
        query = "&".join(f"{name}={text}" for name, text in {**good, parameter: value}.items())
        response = superuser.get(f"/admin/autocomplete/?{query}")
        assert response.status_code < 500, query[:200]
    assert superuser.get("/admin/autocomplete/?term=%00").status_code == 400


@pytest.mark.parametrize("model", list(admin.site._registry), ids=str)
def test_what_an_action_is_sent_with(superuser, rows, model):
    actions = [*(admin.site._registry[model].actions or ()), "delete_selected"]
    row = rows[model]
    good = {"action": "", "index": "0", "select_across": "0", "_selected_action": row.pk if row else 1}
    for action in actions:
        for name in good:
            for value in PLAIN[:-1]:
                sent = body({**good, "action": action, name: value[:5000]})
                response = superuser.post(url(model, "changelist"), sent, content_type=FORM)
                assert response.status_code < 500, (action, name, value[:20])


FORMS: list[tuple[Any, list[str]]] = [
    (User, ["email", "name", "company", "access_profile", "job_title", "phone_number", "country", "is_active"]),
    (User, ["is_staff", "groups", "user_permissions"]),
    (Company, ["name", "require_mfa", "is_active"]),
    (AccessProfile, ["name", "rights"]),
    (Group, ["name", "permissions"]),
]


def body(fields: dict[str, object]) -> bytes:
    """A form as whoever can write bytes sends it."""
    pairs = ((name, str(value).encode("utf-8", "surrogatepass")) for name, value in fields.items())
    return "&".join(f"{name}={quote_from_bytes(value)}" for name, value in pairs).encode()


@pytest.mark.parametrize(("model", "fields"), FORMS)
def test_every_field_of_a_form(superuser, rows, user, model, fields):
    good = {"email": user.email, "name": "Some name", "company": user.company_id}
    row = user if model is User else rows[model]
    for name in [
        *fields,
        "_popup",
        "_to_field",
        "_saveasnew",
        "_continue",
        "_addanother",
        "csrfmiddlewaretoken",
        "next",
    ]:
        for value in PLAIN:
            for address in (url(model, "add"), url(model, "change", row.pk)):
                data = body({**good, name: value})
                response = superuser.post(address, data, content_type=FORM)
                assert response.status_code < 500, (address, name, value[:20])


@pytest.mark.parametrize("deed", [deed.name for deed in DEEDS])
@pytest.mark.parametrize("name", ["key", "reason"])
def test_the_confirmation_of_a_deed(superuser, rows, key, api_client, deed, name):
    address = url(OAuthApplication, deed)
    for value in PLAIN:
        for client in (key, api_client):
            data = body({"key": client.key.pk, "reason": "", name: value})
            assert superuser.post(address, data, content_type=FORM).status_code < 500
    for value in STRANGE:
        assert superuser.get(f"{address}?key={value}").status_code < 500


def test_the_export(superuser, rows):
    for value in STRANGE:
        for name in ("q", "since", "until", "company", "action", "via"):
            assert superuser.get(f"{url(KeyEvent, 'export')}?{name}={value}").status_code < 500


NO_FIELDS = ["nonsense"]
FIELDS = {
    "home": NO_FIELDS,
    "profile": NO_FIELDS,
    "profile-edit": [
        "name",
        "job_title",
        "phone_number",
        "country",
        "language",
        "time_zone",
        "mail_new_address",
        "marketing",
    ],
    "email-change": ["email"],
    "email-cancel": NO_FIELDS,
    "email-confirm": NO_FIELDS,
    "picture-edit": ["picture"],
    "picture-remove": NO_FIELDS,
    "key-create": ["version", "password"],
    "key-regenerate": ["version", "password", "old_secret"],
    "key-end-old": ["version", "password"],
    "key-check": ["secret"],
    "key-delete": ["version", "password"],
    "clients": ["q", "page"],
    "client-create": ["version", "password", "name", "note", "access_profile", "mail_new_address"],
    "client": NO_FIELDS,
    "client-edit": ["version", "password", "name", "note", "access_profile", "mail_new_address"],
    "client-regenerate": ["version", "password", "old_secret"],
    "client-end-old": ["version", "password"],
    "client-disable": ["version", "password"],
    "client-enable": ["version", "password"],
    "client-delete": ["version", "password"],
    "client-check": ["secret"],
    "account_login": ["login", "password", "next"],
    "mfa_authenticate": ["code", "credential"],
    "mfa_authenticate_by_email": NO_FIELDS,
    "account_confirm_login_code": ["code", "action"],
    "mfa_login_webauthn": ["credential"],
    "account_logout": ["next"],
    "account_inactive": NO_FIELDS,
    "account_signup": ["email", "password1", "password2"],
    "account_reauthenticate": ["password", "next"],
    "account-sessions": NO_FIELDS,
    "account-session-end": ["browser"],
    "account-sessions-end": NO_FIELDS,
    "account-activity": ["page"],
    "account_change_password": ["password1", "password2"],
    "account_set_password": ["password1", "password2"],
    "account_reset_password": ["email"],
    "account_reset_password_done": NO_FIELDS,
    "account_reset_password_from_key": ["password1", "password2"],
    "account_reset_password_from_key_done": NO_FIELDS,
    "mfa_index": NO_FIELDS,
    "mfa_email": ["code"],
    "mfa_email_remove": NO_FIELDS,
    "mfa_totp": ["code"],
    "mfa_totp_remove": NO_FIELDS,
    "mfa_passkey_add": ["name", "credential"],
    "mfa_passkey_rename": ["name"],
    "mfa_passkey_remove": NO_FIELDS,
    "mfa_recovery_codes": ["version"],
}


@pytest.mark.parametrize("page", names(*PEOPLE))
def test_every_field_of_the_other_pages(client, user, manager, api_client, page):  # security 40
    sign_in(client, manager if page.startswith("client") else user)
    address = named(page).address(client_id=api_client.client_id)
    for name in FIELDS[page]:
        for value in PLAIN:
            response = client.post(address, body({name: value}), content_type=FORM)
            assert response.status_code < 500, (page, name, value[:20])


@pytest.mark.parametrize("parameter", ["q", "page"])
def test_every_parameter_of_the_list_of_api_clients(client, manager, api_client, parameter):  # security 40
    sign_in(client, manager)
    for value in STRANGE:
        assert client.get(f"/develop/api/clients/?{parameter}={value}").status_code < 500, value[:20]


def test_autocomplete_of_every_relation(superuser, rows):
    for model in apps.get_models():
        for field in model._meta.get_fields():
            names = f"app_label={model._meta.app_label}&model_name={model._meta.model_name}&field_name={field.name}"
            assert superuser.get(f"/admin/autocomplete/?{names}&term=a").status_code < 500, names
