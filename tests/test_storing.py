"""No answer to a signed-in user may be stored, whatever it is; files and documents that are for all may."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import OperationalError
from django.templatetags.static import static
from django.test import Client

from profiles.models import User

from .conftest import PASSWORD
from .routes import addresses

pytestmark = pytest.mark.django_db

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
# For all alike: documents, and what the picture says of itself (`private, no-cache`) is tested with the picture.
FOR_ALL = (
    "/api/openapi.json",
    f"/api/collections/{'0' * 32}.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource",
)


def assert_stored_by_nobody(response: Any, what: str) -> None:
    assert "no-store" in response.headers.get("Cache-Control", ""), (what, response.status_code)
    assert "public" not in response.headers["Cache-Control"], what


def browser(user: User | None, **options: Any) -> Client:
    client = Client(raise_request_exception=False, **options)
    if user:
        client.force_login(user)
    return client


@pytest.fixture(params=["nobody", "a user", "an administrator"])
def who(request, user, admin_user) -> User | None:
    found: User | None = {"nobody": None, "a user": user, "an administrator": admin_user}[request.param]
    return found


def test_the_walk_finds_the_addresses():
    found = set(addresses(uidb36="x", key="y", link="z", pk=7, object_id=8))
    assert len(found) > 80
    assert {
        "/",
        "/profile/api-key/delete/",
        "/accounts/password/reset/key/x-y/",
        "/accounts/email/confirm/z/",
        "/accounts/mfa/passkeys/7/remove/",
        "/admin/profiles/user/8/change/",
        "/api/oauth/token",
    } <= found


def test_no_address_is_answered_for_keeping(who, user):  # security 55, 82
    statuses = set()
    client = browser(who)
    for address in addresses(object_id=user.pk, uid=user.uid):
        if who:
            client.force_login(who)  # again, for the last address may have ended the session
        for method in METHODS:
            response = client.generic(method, address)
            statuses.add(response.status_code)
            if not (address.replace(user.uid, "0" * 32) in FOR_ALL and response.status_code == 200):
                assert_stored_by_nobody(response, f"{method} {address}")
    assert {200, 302, 405} <= statuses
    assert 500 not in statuses


ERRORS = {
    "an unknown page": (404, lambda client: client.get("/nothing/here")),
    "an unknown file": (404, lambda client: client.get("/static/nothing.css")),
    "a missing slash": (301, lambda client: client.get("/profile")),
    "another host": (400, lambda client: client.get("/profile/", headers={"Host": "evil.example"})),
    "another site's form": (403, lambda client: client.post("/profile/", headers={"Sec-Fetch-Site": "cross-site"})),
    "an unknown method": (405, lambda client: client.generic("BREW", "/profile/")),
    "a page of the admin site": (302, lambda client: client.get("/admin/profiles/user/")),
    "a search of the admin site": (302, lambda client: client.get("/admin/autocomplete/")),
    "the words of the admin site": (302, lambda client: client.get("/admin/jsi18n/")),
    "a dead link": (410, lambda client: client.get("/accounts/email/confirm/nothing/")),
    "a part for htmx": (200, lambda client: client.get("/profile/", headers={"HX-Request": "true"})),
}


@pytest.mark.parametrize("what", ERRORS)
def test_no_error_or_detour_is_kept(user, what):  # security 82
    status, ask = ERRORS[what]
    response = ask(browser(user))
    assert response.status_code == status
    assert_stored_by_nobody(response, what)


def test_a_form_without_its_token_is_refused_for_keeping_by_nobody(user):  # security 82
    response = browser(user, enforce_csrf_checks=True).post("/profile/api-key/delete/")
    assert response.status_code == 403
    assert_stored_by_nobody(response, "no CSRF token")


@pytest.mark.parametrize("error", [ValueError("x"), OperationalError("away")], ids=["a fault", "no database"])
def test_a_failure_is_kept_by_nobody(user, monkeypatch, error):  # security 82
    client = browser(user)

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("profiles.pages.section.answer", broken)
    response = client.get("/profile/")
    assert response.status_code == (503 if isinstance(error, OperationalError) else 500)
    assert_stored_by_nobody(response, repr(error))


def test_too_many_attempts_are_answered_for_keeping_by_nobody(user):  # security 82
    client = browser(None)
    for _ in range(40):
        response = client.post("/accounts/login/", {"login": user.email, "password": "wrong"})
        assert_stored_by_nobody(response, "sign-in")
    response = browser(user).post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    assert_stored_by_nobody(response, "sign-in when signed in")


def test_the_way_to_https_is_kept_by_nobody(settings):  # security 82
    settings.SECURE_SSL_REDIRECT = True
    response = Client().get("/accounts/email/confirm/a-link/")
    assert (response.status_code, response["Location"][:8]) == (301, "https://")
    assert_stored_by_nobody(response, "redirect to https")


def test_the_inactive_are_told_so_for_keeping_by_nobody(user):  # security 82
    User.objects.update(is_active=False)
    client = Client()
    response = client.post("/accounts/login/", {"login": user.email, "password": PASSWORD}, follow=True)
    assert_stored_by_nobody(response, "inactive")


def test_files_are_kept_for_long():
    response = Client().get(static("css/site.css"))
    assert response.status_code == 200
    assert "immutable" in response["Cache-Control"]
    assert int(re.findall(r"max-age=(\d+)", response["Cache-Control"])[0]) > 10**7
    response.close()
    response = Client().get(static("css/site.css"), headers={"If-None-Match": response["ETag"]})
    assert response.status_code == 304
    assert "no-store" not in response.get("Cache-Control", "")


@pytest.mark.parametrize("address", FOR_ALL)
def test_documents_for_all_may_be_kept(address):
    assert Client().get(address)["Cache-Control"] == "public, max-age=3600"
