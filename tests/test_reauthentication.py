"""A change without a fresh proof is made neither then nor later, on any page there is or will be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.test import Client, RequestFactory
from PIL import Image

from profiles.account import email, pictures
from profiles.account.allauth_internals import KEPT_FORM
from profiles.account.mfa import factors
from profiles.clients import company, lifecycle
from profiles.models import AccessProfile, Attempts, Event, OAuthApplication, OldSecret, User
from profiles.origin import Origin

from .conftest import PASSWORD, KeyPair, make_client, make_key, sign_in
from .mfa import current_code, mailed_code
from .page import PROFILE, by_htmx, html, long_ago, version, words
from .passkeys import HOST, Device
from .routes import PEOPLE, PROGRAMS, Surface, named, names

pytestmark = pytest.mark.django_db

REAUTHENTICATE = "/accounts/reauthenticate/"
NOTHING_DONE = "Nothing was done. Confirm that it is you, then do it once more."
MARK = "planted4711"

NO_PROOF = {
    "home": "changes nothing",
    "key-check": "changes nothing, and tells only whoever has a secret key already",
    "client-check": "the same, of an API Client",
    "account_login": "signing in is a proof",
    "mfa_authenticate": "the same, second step",
    "mfa_authenticate_by_email": "the same",
    "account_confirm_login_code": "the same",
    "mfa_login_webauthn": "the same, without a password",
    "account_reauthenticate": "is the proof",
    "account_logout": "ends what somebody may do, and gives nothing",
    "account_signup": "makes no account, says who does",
    "account_reset_password": "for who is not signed in: the proof is to read the mail",
    "account_reset_password_from_key": "the link is the proof",
    "email-confirm": "the link is the proof",
}
# Not walked here: the administrators' own door, with Django's permissions, and what no session comes to.
ELSEWHERE = (Surface.ADMIN, *PROGRAMS)


@pytest.fixture(autouse=True)
def _with_passkeys_and_a_folder(settings: Any, tmp_path: Path) -> None:
    settings.PASSKEY_HOST = HOST
    settings.MEDIA_ROOT = tmp_path
    own = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": MARK}
    settings.CACHES = {"default": own, "once": own}
    cache.clear()


# --- Every deed, and what there must be before it -------------------------------------------------------------


def origin(user: User) -> Origin:
    return Origin(actor=user, via=Event.Via.PAGE)


def picture() -> BytesIO:
    file = BytesIO()
    Image.new("RGB", (9, 9), "teal").save(file, "PNG")
    file.name = f"{MARK}.png"
    file.seek(0)
    return file


def change_email(_client: Client, _user: User) -> dict[str, Any]:
    return {"email": f"{MARK}@example.net"}


def cancel_email(_client: Client, user: User) -> dict[str, Any]:
    email.ask(owner=user, email="wanted@example.net", origin=origin(user))
    return {}


def edit_profile(_client: Client, _user: User) -> dict[str, Any]:
    return {"name": MARK, "job_title": MARK, "phone_number": "", "country": "", "language": "fr", "time_zone": ""}


def change_picture(_client: Client, _user: User) -> dict[str, Any]:
    return {"picture": picture()}


def remove_picture(_client: Client, user: User) -> dict[str, Any]:
    pictures.change(owner=user, picture=pictures.read(picture().getvalue()), origin=origin(user))
    return {}


def change_key(_client: Client, user: User) -> dict[str, Any]:
    make_key(user)
    return {"version": version(user), "note": MARK}


def end_old_secret(_client: Client, user: User) -> dict[str, Any]:
    make_key(user)
    lifecycle.regenerate(owner=user, origin=origin(user), old_secret=OldSecret.DAY)
    return {"version": version(user), "note": MARK}


def end_session(_client: Client, user: User) -> dict[str, Any]:
    other = sign_in(Client(), user)
    return {"browser": UserSession.objects.get(session_key=other.session.session_key).pk, "note": MARK}


def change_password(_client: Client, _user: User) -> dict[str, Any]:
    return {"password1": f"{MARK} And more", "password2": f"{MARK} And more"}


def turn_on_email_codes(client: Client, _user: User) -> dict[str, Any]:
    client.post("/accounts/mfa/email/")
    return {"code": mailed_code()}


def turn_off_email_codes(_client: Client, user: User) -> dict[str, Any]:
    factors.add_email_codes(owner=user, origin=origin(user))
    return {}


def offered_secret(client: Client) -> str:
    (secret,) = re.findall(
        r'<code class="secret" translate="no">([A-Z2-7 ]+)<', html(client.get("/accounts/mfa/totp/"))
    )
    return str(secret).replace(" ", "")


def add_totp(client: Client, _user: User) -> dict[str, Any]:
    return {"code": current_code(offered_secret(client))}


def with_totp(_client: Client, user: User) -> dict[str, Any]:
    factors.add_totp(owner=user, secret="A" * 32, origin=origin(user))
    return {"note": MARK}


def new_recovery_codes(client: Client, user: User) -> dict[str, Any]:
    with_totp(client, user)
    return {"version": factors.of(user).recovery_version}


def add_passkey(client: Client, user: User) -> dict[str, Any]:
    client.get("/accounts/mfa/passkeys/add/")
    return {"name": MARK, "credential": Device(user).make(client.session["mfa.webauthn.state"]["challenge"])}


def with_passkey(_client: Client, user: User) -> dict[str, Any]:
    credential = json.loads(Device(user).make("AAAA"))
    factors.add_passkey(owner=user, name="Blue key", credential=credential, origin=origin(user))
    return {"name": MARK}


def manage(user: User) -> AccessProfile:
    """Let the user do everything to API Clients. An access profile that they may give."""
    client_rights = [f"accountNetwork.apiClients.{verb}" for verb in ("view", "create", "edit", "delete")]
    user.access_profile = AccessProfile.objects.create(name="Manager", rights=client_rights)
    user.save()
    return user.access_profile


def make_api_client(_client: Client, user: User) -> dict[str, Any]:
    return {"name": MARK, "note": MARK, "access_profile": manage(user).uid, "version": "0"}


def change_api_client(_client: Client, user: User) -> dict[str, Any]:
    profile = manage(user)
    pair = make_client(user, profile)
    return {"version": company.version(pair.client_id), "name": MARK, "note": MARK, "access_profile": profile.uid}


def end_old_secret_of_api_client(client: Client, user: User) -> dict[str, Any]:
    form = change_api_client(client, user)
    there = api_client()
    assert user.company
    company.regenerate(company=user.company, client_id=there.client_id, origin=origin(user), old_secret=OldSecret.DAY)
    return {**form, "version": company.version(there.client_id)}


def enable_api_client(client: Client, user: User) -> dict[str, Any]:
    form = change_api_client(client, user)
    there = api_client()
    assert user.company
    company.switch(company=user.company, client_id=there.client_id, enabled=False, origin=origin(user))
    return {**form, "version": company.version(there.client_id)}


def api_client() -> OAuthApplication:
    return OAuthApplication.objects.exclude(company=None).get()


DEEDS: dict[str, Callable[[Client, User], dict[str, Any]]] = {
    "profile-edit": edit_profile,
    "email-change": change_email,
    "email-cancel": cancel_email,
    "picture-edit": change_picture,
    "picture-remove": remove_picture,
    "key-create": lambda _client, user: {"version": version(user)},
    "key-regenerate": change_key,
    "key-end-old": end_old_secret,
    "key-delete": change_key,
    "client-create": make_api_client,
    "client-edit": change_api_client,
    "client-regenerate": change_api_client,
    "client-end-old": end_old_secret_of_api_client,
    "client-disable": change_api_client,
    "client-enable": enable_api_client,
    "client-delete": change_api_client,
    "account-session-end": end_session,
    "account-sessions-end": end_session,
    "account_change_password": change_password,
    "mfa_email": turn_on_email_codes,
    "mfa_email_remove": turn_off_email_codes,
    "mfa_totp": add_totp,
    "mfa_totp_remove": with_totp,
    "mfa_passkey_add": add_passkey,
    "mfa_passkey_rename": with_passkey,
    "mfa_passkey_remove": with_passkey,
    "mfa_recovery_codes": new_recovery_codes,
}
# Ask for the password in the form that does it.
DIALOGS = [name for name in DEEDS if name.startswith(("key-", "client-"))]
EVERYTHING = {
    "name": MARK,
    "note": MARK,
    "email": f"{MARK}@example.net",
    "code": MARK,
    "secret": MARK,
    "browser": "1",
    "version": "0",
    "password1": MARK,
    "password2": MARK,
}


# One that is new is in it by itself: with all fields there are, as long as it has no entry in DEEDS.
WALK = sorted(set(names(*PEOPLE)) - set(NO_PROOF))
each_page = pytest.mark.parametrize("name", WALK)
either_way = pytest.mark.parametrize("by", [Client.post, by_htmx], ids=["browser", "htmx"])


def address(name: str) -> str:
    """With something of the user in it, if there is, where it asks for something."""
    passkey = Authenticator.objects.filter(type="webauthn").first()
    client = OAuthApplication.objects.exclude(company=None).first()
    there = {"pk": passkey and passkey.pk, "client_id": client and client.client_id}
    return named(name).address(**{parameter: value for parameter, value in there.items() if value})


def prepared(name: str, client: Client, user: User) -> dict[str, Any]:
    form = DEEDS.get(name, lambda *_: dict(EVERYTHING))(client, user)
    if client.get("/profile/").status_code == 302:  # ended by what was prepared: a new second factor, say
        user.refresh_from_db()
        client.force_login(user)
        give_password(client)
    mail.outbox.clear()
    return form


# --- What there is --------------------------------------------------------------------------------------------

# The session itself: that it goes on, under which id and until when; and that a password was given. What a session has
# in it is looked at beside.
OF_SESSIONS = {Session._meta.db_table, UserSession._meta.db_table, Attempts._meta.db_table}


def everything(folder: Path) -> dict[str, Any]:
    """All rows of all tables, all files and all mails."""
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor)) - OF_SESSIONS
        rows = {}
        for table in sorted(tables):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            rows[table] = sorted(map(repr, cursor.fetchall()))
    files = sorted((str(file), file.read_bytes()) for file in folder.rglob("*") if file.is_file())
    return {"rows": rows, "files": files, "mails": len(mail.outbox)}


def in_sessions() -> str:
    """All that all sessions hold, in clear."""
    return repr([session.get_decoded() for session in Session.objects.all()])


def give_password(client: Client, **more: str) -> Any:
    return client.post(REAUTHENTICATE, {"password": PASSWORD, **more}, follow=True)


# --- The walk -------------------------------------------------------------------------------------------------


def test_what_needs_no_proof_is_a_page_that_exists():
    assert set(NO_PROOF) <= set(names(*PEOPLE))
    assert set(DEEDS) <= set(WALK)
    assert set(Surface) == {*PEOPLE, *ELSEWHERE}


@pytest.mark.parametrize("name", DEEDS)
def test_with_a_fresh_proof_each_deed_is_done(name, signed_in, user, tmp_path):
    """So the walks below send what would change something."""
    form = prepared(name, signed_in, user)
    before = everything(tmp_path)
    response = signed_in.post(address(name), form)
    assert response.status_code in (200, 302)
    assert everything(tmp_path) != before


@either_way
@each_page
def test_without_one_nothing_is_done_then_or_after_the_next_proof(name, by, signed_in, user, tmp_path):  # security 67
    form = prepared(name, signed_in, user)
    long_ago(signed_in)
    before = everything(tmp_path)
    response = by(signed_in, address(name), form)
    assert MARK not in in_sessions()
    assert everything(tmp_path) == before
    if response.status_code == 405:
        return  # takes no form
    if name in DIALOGS:
        assert "Your password" in words(response)
        after = ""
    else:
        asked = response.headers["HX-Redirect" if by is by_htmx else "Location"]
        assert asked.startswith(f"{REAUTHENTICATE}?next=/"), asked
        assert MARK not in asked
        assert NOTHING_DONE in words(signed_in.get(asked))
        after = asked.partition("?next=")[2]

    # Whoever gives the password next, for that page or for the address that was sent to.
    for wanted in dict.fromkeys((after, address(name))):
        long_ago(signed_in)
        response = give_password(signed_in, next=wanted)
        assert response.status_code == 200 or (response.status_code == 405 and wanted != after)
        assert MARK not in html(response)
        assert everything(tmp_path) == before
        assert MARK not in in_sessions()


@each_page
def test_a_page_to_change_something_takes_no_value_from_its_address(name, signed_in, user):  # security 67
    prepared(name, signed_in, user)
    query = "&".join(f"{field}={MARK}" for field in (*EVERYTHING, "job_title", "old_secret", "initial"))
    path = f"{address(name)}?{query}"
    assert MARK not in html(signed_in.get(path, follow=True))
    response = long_ago(signed_in).get(path)
    assert MARK not in response.headers.get("Location", "")
    assert MARK not in html(give_password(signed_in, next=path))


def test_a_form_that_was_kept_before_this_version_is_forgotten(user, signed_in, other_user, tmp_path):  # security 67
    """The session of before the update, with the form that allauth had kept in it."""
    asked = RequestFactory().post("/profile/email/")
    kept = {
        "path": asked.path,
        "path_info": asked.path_info,
        "META": {name: value for name, value in asked.META.items() if isinstance(value, str)},
        "GET": "",
        "POST": urlencode({"email": f"{MARK}@example.net"}),
        "method": "POST",
        "scheme": "http",
    }
    for state in (
        {"request": json.dumps(kept)},
        {"state": {}, "callback": f"{__name__}.never"},
    ):
        session = long_ago(signed_in).session
        session[KEPT_FORM] = state
        session.save()
        before = everything(tmp_path)
        assert give_password(signed_in, next="/profile/email/").status_code == 200
        assert everything(tmp_path) == before
        assert KEPT_FORM not in signed_in.session


def never(*_: object) -> None:
    pytest.fail("what was kept was called")


def test_nothing_of_ours_can_get_to_the_code_that_keeps_forms():  # security 67
    keeps = re.compile(
        "suspend_request|stash_and_reauthenticate|resume_request|ReauthenticationRequired|reauthentication_required|raise_if"
    )
    root = Path(__file__).parent.parent
    for file in [*(root / "profiles").rglob("*.py"), *(root / "airvantage_keys").rglob("*.py")]:
        code = re.sub(r'""".*?"""|#.*', "", file.read_text(), flags=re.DOTALL)
        assert not keeps.search(code), file


# --- The proof ------------------------------------------------------------------------------------------------


def test_what_was_begun_before_a_proof_does_not_go_on_after_it(user, signed_in, key: KeyPair):  # security 67
    """Who began it has seen the secret or the challenge, and need not be who gave the password."""

    def begin() -> tuple[str, str, str]:
        secret = offered_secret(signed_in)
        signed_in.post("/accounts/mfa/email/")
        form = add_passkey(signed_in, user)
        return secret, mailed_code(), form["credential"]

    def by_page() -> None:
        give_password(signed_in)

    def by_dialog() -> None:
        response = signed_in.post("/profile/api-key/regenerate/", {"version": version(user), "password": PASSWORD})
        assert response.status_code == 200

    for prove in (by_page, by_dialog):
        cache.clear()
        secret, code, credential = begin()
        long_ago(signed_in)
        prove()
        assert signed_in.post("/accounts/mfa/passkeys/add/", {"credential": credential}).status_code == 422
        assert signed_in.post("/accounts/mfa/totp/", {"code": current_code(secret)}).status_code == 422
        assert offered_secret(signed_in) != secret
        response = signed_in.post("/accounts/mfa/email/", {"code": code}, follow=True)
        assert "That code has expired." in words(response)
        user.refresh_from_db()
        assert factors.of(user).number == 0


def test_a_proof_leaves_in_the_session_what_is_known_here(signed_in, user):
    """What a later feature keeps there is to be looked at: may it go on after somebody else's proof?"""
    known = {
        "_auth_user_id",
        "_auth_user_backend",
        "_auth_user_hash",
        "_session_expiry",
        "account_authentication_methods",
        "account_authentication_methods_user",
        "browser_noted",
        "signed_in_at",
    }
    offered_secret(signed_in)
    signed_in.post("/accounts/mfa/email/")
    add_passkey(signed_in, user)
    give_password(signed_in)
    assert set(signed_in.session.keys()) <= known


def test_a_proof_begins_a_session_id_and_ends_the_old_one(signed_in):  # security 31
    thief = Client()
    thief.cookies["session"] = signed_in.session.session_key
    assert thief.get(PROFILE).status_code == 200
    give_password(long_ago(signed_in))
    assert thief.get(PROFILE).status_code == 302
    assert signed_in.get(PROFILE).status_code == 200


def test_a_wrong_password_proves_nothing(signed_in):  # security 30
    response = long_ago(signed_in).post(REAUTHENTICATE, {"password": "wrong", "next": "/profile/email/"})
    assert response.status_code == 200
    assert signed_in.get("/profile/email/").headers["Location"].startswith(REAUTHENTICATE)


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "http://testserver/profile/email/",
        "//evil.example/profile/",
        "/\t///evil.example",
        "/\\evil.example",
        "///evil.example/",
        "http://[",
        "javascript:alert(1)",
        "profile/email/",
        "/nowhere/",
        "\0",
        "",
    ],
)
def test_after_it_one_is_on_a_page_of_ours(wanted, signed_in):
    response = signed_in.post(REAUTHENTICATE, {"password": PASSWORD, "next": wanted})
    assert response.headers["Location"] == PROFILE


@pytest.mark.parametrize("rest", ["?email=planted@example.net", "#there", "?x=1#there"])
def test_of_the_address_only_the_path_counts(rest, signed_in):  # security 67
    response = signed_in.post(REAUTHENTICATE, {"password": PASSWORD, "next": f"/profile/email/{rest}"})
    assert response.headers["Location"] == "/profile/email/"
