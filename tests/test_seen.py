"""What is seen of a request from outside: its id, why it was refused, and a line for each call of the API."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from django.test import Client

from airvantage_keys import request_ids, seen
from airvantage_keys.exchange import REFUSED, TOO_LONG
from profiles import credentials
from profiles.clients import lifecycle
from profiles.models import Company, OAuthApplication, User

from . import wsgi_request
from .conftest import KeyPair, basic, make_token
from .oauth import GRANT, INTROSPECT, REVOKE, TOKEN, ask, post
from .test_keys import by

pytestmark = pytest.mark.django_db

ID = "X-Request-ID"
OWN = re.compile("[0-9a-f]{32}")
SENT = "0F1e2d-abc"


# --- The id ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/nothing",
        "/api/v1/users/current",
        "/api/docs",
        "/livez",
        "/accounts/login/",
        "/profile/",
        "/nothing",
    ],
)
@pytest.mark.parametrize("proxies", [0, 1])
def test_each_answer_has_the_id_of_the_proxy_or_one_of_ours(path, proxies, settings):
    settings.TRUSTED_PROXIES = proxies
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if proxies else None
    # By Django's handler, and by the server's way.
    one = Client().get(path, headers={ID: SENT}).headers[ID]
    other = wsgi_request.send(wsgi_request.Request("GET", path, headers={ID: SENT}))["x-request-id"]
    if proxies:
        assert (one, other) == (SENT, SENT)
    else:
        assert OWN.fullmatch(one)
        assert OWN.fullmatch(other)
        assert one != other


@pytest.mark.parametrize("path", ["/static/css/site.css", "/static/nothing"])
def test_a_file_has_one_too(path):
    response = Client().get(path)
    response.close()
    assert OWN.fullmatch(response.headers[ID])


@pytest.mark.parametrize("path", ["/api/oauth/token", "/profile/"])
def test_the_refusal_of_a_body_has_one_too(path, monkeypatch):
    environ = wsgi_request.Request("POST", path).environ() | {REFUSED: TOO_LONG}
    monkeypatch.setattr(wsgi_request.Request, "environ", lambda _: environ)
    answer = wsgi_request.send(wsgi_request.Request("POST", path))
    assert answer.status == 413
    assert OWN.fullmatch(answer["x-request-id"])


@pytest.mark.parametrize("sent", ["", " ", "a b", "x" * 65, "a_b", "é", "a,b", "a\nb", "a=b", "../x", "²"])
def test_an_id_of_another_form_is_not_taken(sent, settings):
    settings.TRUSTED_PROXIES = 1
    assert OWN.fullmatch(request_ids.begin({"HTTP_X_REQUEST_ID": sent}))
    assert request_ids.begin({"HTTP_X_REQUEST_ID": "x" * 64}) == "x" * 64 == request_ids.current()


# --- The reason -----------------------------------------------------------------------------------------------


def off(key: KeyPair, what: str) -> str:
    """End what this key needs; the credentials that are refused then."""
    user = key.key.owner
    if what == "secret_replaced":
        lifecycle.regenerate(owner=user, origin=by(user))
    if what == "secret_deleted":
        lifecycle.delete(owner=user, origin=by(user))
    if what == "client_disabled":
        OAuthApplication.objects.update(disabled=True)
    if what == "owner_inactive":
        User.objects.filter(pk=user.pk).update(is_active=False)
    if what == "company_off":
        Company.objects.update(is_active=False)
    wrong = {
        "unknown_client": basic(credentials.new_client_id(), key.secret),
        "wrong_secret": basic(key.client_id, credentials.new_secret()),
        "malformed_secret": basic(key.client_id, key.secret[:-1]),
        "malformed_client_id": basic("me", key.secret),
        "malformed_header": "Basic ???",
    }
    return wrong.get(what, key.basic)


@pytest.mark.parametrize("url", [TOKEN, REVOKE, INTROSPECT])
@pytest.mark.parametrize(
    "reason",
    [
        *("unknown_client", "wrong_secret", "malformed_secret", "malformed_client_id", "malformed_header"),
        *("secret_replaced", "secret_deleted", "client_disabled", "owner_inactive", "company_off"),
    ],
)
def test_the_log_says_why_a_client_was_refused_and_the_answer_does_not(key, caplog, reason, url):  # security 8
    refused = off(key, reason)
    answer = post(url, [GRANT, ("token", credentials.new_token())], refused)
    assert answer.status_code == 401
    assert reason not in answer.content.decode()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "profiles.oauth.endpoints"]
    assert re.fullmatch(rf"client refused: client_id=([0-9a-f]{{32}}|-) address=127\.0\.0\.1 reason={reason}", line)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ([], "invalid_request"),
        ([GRANT, GRANT], "invalid_request"),
        ([("grant_type", "password")], "unsupported_grant_type"),
        ([GRANT, ("scope", "no.such.right")], "invalid_scope"),
    ],
)
def test_the_log_says_why_there_is_no_token(key, caplog, form, reason):
    assert post(TOKEN, form, key.basic).status_code == 400
    client_id = key.client_id if reason == "invalid_scope" else "-"
    assert f"request refused: client_id={client_id} address=127.0.0.1 reason={reason}\n" in caplog.text


def test_who_sends_no_credentials_is_told_from_who_fails(caplog):
    assert post(TOKEN, [GRANT]).status_code == 401
    assert "request refused: client_id=- address=127.0.0.1 reason=no_credentials\n" in caplog.text


@pytest.mark.parametrize("reason", ["unknown", "replaced", "switched_off"])
def test_the_log_says_why_a_token_was_refused(key, caplog, reason):
    token = make_token(key)
    if reason == "unknown":
        token = credentials.new_token()
    off(key, {"replaced": "secret_replaced", "switched_off": "owner_inactive"}.get(reason, ""))
    assert call(token).status_code == 401
    assert f"token refused: path=/api/v1/users/current address=127.0.0.1 reason={reason}\n" in caplog.text


# --- The line of a call ---------------------------------------------------------------------------------------


def call(token: str, path: str = "/api/v1/users/current") -> Any:
    return Client().get(path, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def lines(caplog) -> Any:
    """The lines of calls so far."""
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.name == seen.__name__]


def test_each_call_has_a_line(key, token, lines):
    other = "0" * 32
    assert call(token).status_code == 200
    assert call(token, f"/api/v1/users/{other}/picture/icon?x={token}").status_code == 404
    assert call("x").status_code == 401
    assert call(token, "/api/\nnothing").status_code == 404
    assert post(INTROSPECT, [("token", token)], key.basic).status_code == 200
    said = [re.sub(r"ms=[0-9]+\.[0-9]+", "ms=N", line) for line in lines()]
    own = f"call: client_id={key.client_id} route="
    assert said == [
        f"{own}/api/v1/users/current status=200 ms=N",
        f"{own}/api/v1/users/{{uid}}/picture/{{size}} status=404 ms=N reason=resource.unknown",
        "call: client_id=- route=/api/v1/users/current status=401 ms=N reason=token.invalid",
        "call: client_id=- route=- status=404 ms=N reason=resource.unknown",
        f"{own}/api/oauth/introspect status=200 ms=N",
    ]


def test_neither_probes_nor_tokens_have_one(key, lines):
    assert Client().get("/livez").status_code == 200
    assert ask(key).status_code == 200
    assert Client().get("/accounts/login/").status_code == 200
    assert lines() == []


@pytest.mark.parametrize(("share", "drawn", "written"), [(0, 0.0, 0), (0.5, 0.49, 1), (0.5, 0.5, 0), (1, 0.99, 1)])
def test_a_share_of_them_has_one(token, lines, settings, monkeypatch, share, drawn, written):
    settings.LOG_CALLS = share
    monkeypatch.setattr(seen, "random", lambda: drawn)
    call(token)
    assert len(lines()) == written


def test_a_log_of_warnings_has_none(token, lines, caplog):
    caplog.set_level(logging.WARNING)
    call(token)
    assert lines() == []
