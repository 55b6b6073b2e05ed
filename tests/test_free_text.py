"""A secret key or an access token that is typed into a text which is kept: refused, and repeated nowhere."""

from __future__ import annotations

import logging
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from profiles import credentials
from profiles.models import AccessProfile, Company, KeyEvent, OAuthApplication, User

from .admin_site import browser_of
from .conftest import make_key, sign_in

pytestmark = pytest.mark.django_db

ADMIN = "/admin/profiles"
SAID = "holds a secret key or an access token"


def wrong_crc(text: str) -> str:
    return text[:-1] + ("a" if text[-1] != "a" else "b")


def made_of(prefix: str) -> str:
    """The same in each process of a run, which names its tests by it."""
    text = prefix + "k7Q" * 14 + "x"
    return text + credentials._crc(text)


SECRET, TOKEN = made_of(credentials.SECRET_PREFIX), made_of(credentials.TOKEN_PREFIX)
TEXTS = [SECRET, TOKEN, f"Lost: {SECRET}, sorry", wrong_crc(SECRET), f"x{TOKEN}y", f"{SECRET[:30]} {SECRET[30:]}"]


@pytest.mark.parametrize("text", [*TEXTS, f"{SECRET[:20]}\n{SECRET[20:]}", f"{SECRET[:9]}\u200b{SECRET[9:]}"])
def test_a_credential_is_found_in_a_text(text):  # security 80
    assert credentials.holds_credential(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The key avs_ was found in a public repository of somebody who left the company last year",
        f"It ended in {SECRET[-10:]}",
        SECRET[:-1],
        "0" * 32,
        "AVS_" + SECRET[4:],
    ],
)
def test_nothing_else_is(text):
    assert not credentials.holds_credential(text)


# --- Every door -------------------------------------------------------------------------------------------


def stored() -> str:
    """Everything that any table holds."""
    return "\n".join(str(row) for model in apps.get_models() for row in model._default_manager.values_list())


def assert_refused(response: Any, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Said why, with a status that says no, and nothing of it in the answer, the database or the log."""
    page = response.content.decode()
    assert SAID in page
    for part in (text, SECRET, TOKEN, SECRET[30:], TOKEN[4:30]):
        assert part not in page
        assert part not in stored()
        assert part not in caplog.text


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("field", ["name", "job_title", "phone_number", "language", "time_zone", "country"])
def test_edit_profile(signed_in, user, caplog, field, text):  # security 80
    caplog.set_level(logging.DEBUG)
    response = signed_in.post("/profile/edit/", {"name": "Uma New", "job_title": "Boss", field: text})
    assert response.status_code == 422
    assert_refused(response, caplog, text)
    # What else was typed is not lost.
    assert ("Boss" if field != "job_title" else "Uma New") in response.content.decode()
    user.refresh_from_db()
    assert user.name == "Uma User"


def test_change_of_the_address(signed_in, caplog, mailoutbox):  # security 80
    text = f"{SECRET}@example.com"
    response = signed_in.post("/profile/email/", {"email": text})
    assert response.status_code == 422
    assert_refused(response, caplog, text)
    assert not mailoutbox


def test_names_of_passkeys(signed_in, user, caplog):  # security 80
    data = {"name": "Laptop", "credential": {}}
    passkey = Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data=data)
    response = signed_in.post(f"/accounts/mfa/passkeys/{passkey.pk}/rename/", {"name": SECRET})
    assert response.status_code == 422
    assert_refused(response, caplog, SECRET)


@pytest.fixture
def superuser(admin_user: User) -> Client:
    return browser_of(admin_user)


@pytest.mark.parametrize("text", TEXTS)
def test_reason_of_a_revocation(superuser, user, key, caplog, text):  # security 80
    response = superuser.post(f"{ADMIN}/oauthapplication/revoke/", {"key": key.key.pk, "reason": text})
    assert_refused(response, caplog, text)
    assert OAuthApplication.objects.exists()


@pytest.mark.parametrize("field", ["email", "name", "job_title", "phone_number", "country", "company"])
def test_users_in_the_admin_site(superuser, caplog, field):  # security 80
    new = {"email": "new@example.com", "name": "New", field: SECRET}
    response = superuser.post(f"{ADMIN}/user/add/", new)
    assert_refused(response, caplog, SECRET)
    assert User.objects.count() == 1


@pytest.mark.parametrize("path", ["/admin/profiles/company/", "/admin/profiles/accessprofile/", "/admin/auth/group/"])
def test_names_in_the_admin_site(superuser, caplog, path):  # security 80
    response = superuser.post(f"{path}add/", {"name": f"Fleet {TOKEN}"})
    assert_refused(response, caplog, TOKEN)
    response = superuser.post(f"{path}add/?_popup=1", {"name": TOKEN, "_popup": "1"})
    assert_refused(response, caplog, TOKEN)


def test_a_search(superuser, user, key, caplog):  # security 80
    for page in ("user", "oauthapplication", "keyevent", "accesstoken", "company"):
        response = superuser.get(f"{ADMIN}/{page}/", {"q": key.secret})
        assert "finds nothing here" in response.content.decode()
        assert key.secret not in response.content.decode()
        assert response.context["cl"].result_count == 0


@pytest.mark.parametrize("text", TEXTS)
def test_reason_on_the_command_line(user, key, caplog, text):  # security 80
    with pytest.raises(CommandError) as refusal:
        call_command("revokekeys", "--all", "--yes", "--reason", text, stdout=StringIO(), stderr=StringIO())
    assert SAID in str(refusal.value)
    assert SECRET not in str(refusal.value)
    assert OAuthApplication.objects.exists()


@pytest.mark.parametrize(
    ("model", "field"),
    [(User, "email"), (User, "name"), (User, "job_title"), (Company, "name"), (AccessProfile, "name")],
)
def test_the_models_refuse_it_whoever_asks(model, field):  # security 80
    text = f"{SECRET}@example.com" if field == "email" else SECRET
    with pytest.raises(ValidationError) as refusal:
        model(**{field: text}).clean_fields()
    assert SAID in str(refusal.value.message_dict[field])


def test_what_a_client_says_of_itself_is_kept_without_it(user):  # security 80
    client = Client(headers={"User-Agent": f"curl {SECRET}"})
    sign_in(client, user)
    client.post("/profile/api-key/create/")
    assert KeyEvent.objects.get().user_agent == "curl avs_***"
    assert SECRET not in stored()


def test_an_old_secret_in_a_revocation_stays_out_too(superuser, other_user, caplog):  # security 80
    pair = make_key(other_user)
    response = superuser.post(f"{ADMIN}/oauthapplication/revoke/", {"key": pair.key.pk, "reason": pair.secret})
    assert_refused(response, caplog, pair.secret)
