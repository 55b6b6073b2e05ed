"""A secret exists in one answer, a token in another: both are used, then looked for everywhere else."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse

from profiles import credentials
from profiles.models import User

from .conftest import sign_in
from .oauth import GRANT, INTROSPECT, REVOKE, TOKEN, post
from .page import CHECK, CREATE, DELETE, END_OLD, PROFILE, REGENERATE

pytestmark = pytest.mark.django_db

SECRET = re.compile(credentials.SECRET_PATTERN)


def tables() -> Iterator[tuple[str, str]]:
    """Every row of every table, also of those that no model knows; what is encoded, decoded as well."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            for row in cursor.fetchall():
                yield f"table {table}", repr(row)
                for value in row:
                    with suppress(TypeError, ValueError):
                        yield f"table {table}, decoded", repr(base64.b64decode(value, validate=True))


def sessions() -> Iterator[tuple[str, str]]:
    engine = import_module(settings.SESSION_ENGINE)
    for row in apps.get_model("sessions.Session").objects.all():
        yield "session", repr(dict(engine.SessionStore(row.session_key).items()))


def mails() -> Iterator[tuple[str, str]]:
    for message in mail.outbox:
        yield "mail", message.message().as_string()
        yield "mail", f"{message.subject} {message.body} {getattr(message, 'alternatives', '')}"


def pages(client: Client, user: User) -> Iterator[tuple[str, str]]:
    """The owner's pages, again."""
    for url in (PROFILE, REGENERATE, END_OLD, DELETE, CHECK, "/accounts/logout/", "/api/docs", "/api/openapi.json"):
        response = client.get(url)
        yield f"page {url}", f"{response.content.decode()} {dict(response.items())}"


def admin_pages(client: Client) -> Iterator[tuple[str, str]]:
    """Every list, search, detail and history of the admin site."""
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        urls = [reverse(f"{name}_changelist"), reverse(f"{name}_changelist") + "?q=a"]
        for row in model._default_manager.all():
            urls += [reverse(f"{name}_change", args=[row.pk]), reverse(f"{name}_history", args=[row.pk])]
        for url in urls:
            response = client.get(url)
            assert response.status_code in (200, 302, 403), url
            yield f"admin page {url}", b"".join(response).decode()


def test_secrets_and_tokens_are_nowhere_but_in_their_one_answer(
    signed_in, user, admin_user, caplog, tmp_path, settings
):  # security 3, 9, 57, 64
    caplog.set_level("DEBUG")
    found: list[str] = []

    def shown(response) -> tuple[str, str]:
        """Client ID and secret of the answer; the secret must be in its body alone."""
        (secret,) = set(SECRET.findall(response.content.decode()))
        assert secret not in repr(dict(response.items()))
        assert secret not in repr(response.cookies)
        assert not re.search(rf'<title>[^<]*{secret}|(?:aria-|data-)[a-z-]+="[^"]*{secret}', response.content.decode())
        found.append(secret)
        return user_key().client_id, secret

    def user_key():
        return type(user).objects.get(pk=user.pk).key

    def use(client_id: str, secret: str) -> None:
        fields = [("client_id", client_id), ("client_secret", secret)]
        token = post(TOKEN, [GRANT, *fields]).json()["access_token"]
        found.append(token)
        assert post(INTROSPECT, [("token", token), *fields]).json()["active"]
        bearer = {"Authorization": f"Bearer {token}"}
        assert Client().get("/api/v1/users/current", headers=bearer).status_code == 200
        assert Client().get(f"/api/v1/users/current?access_token={token}").status_code == 400
        post(TOKEN, [GRANT, ("client_id", client_id), ("client_secret", secret + "x")])
        post(f"{TOKEN}?client_secret={secret}", [GRANT])
        if len(found) < 4:
            post(REVOKE, [("token", token), *fields])

    use(*shown(signed_in.post(CREATE)))
    use(*shown(signed_in.post(REGENERATE)))
    use(*shown(signed_in.post(REGENERATE, {"old_secret": "24h"}, headers={"HX-Request": "true"})))
    for secret in found[::2]:
        assert secret not in signed_in.post(CHECK, {"secret": secret}).content.decode()
    found += [credentials.digest(credential) for credential in found]
    assert len(found) == 12

    places = [*tables(), *sessions(), *mails(), *pages(signed_in, user)]
    places += admin_pages(sign_in(Client(), admin_user))
    places += [("cookies", repr(signed_in.cookies)), ("log", caplog.text)]
    leaks = {
        where
        for where, content in places
        for credential in found
        if credential in content and not is_the_digest(where, credential)
    }
    assert leaks == set()
    assert len(places) > 50

    signed_in.post(DELETE)
    assert not any(SECRET.search(content) for _, content in tables())


def is_the_digest(where: str, credential: str) -> bool:
    """Digests are where they belong: a secret's also in the key, for servers of the version before; a token's."""
    tables_of_digests = ("table profiles_clientsecret", "table profiles_oauthapplication", "table profiles_accesstoken")
    return where in tables_of_digests and re.fullmatch("[0-9a-f]{64}", credential) is not None


def test_the_search_finds_what_is_there(signed_in, user, caplog):
    """The test above must be able to fail: the Client ID, which is no secret, is found in all these places."""
    caplog.set_level("DEBUG")
    signed_in.post(CREATE)
    client_id = type(user).objects.get(pk=user.pk).key.client_id
    where = {where.split()[0] for where, content in [*tables(), *pages(signed_in, user)] if client_id in content}
    assert where == {"table", "page"}
    assert client_id in caplog.text
