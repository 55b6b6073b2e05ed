"""Whatever happens under /api, the answer is JSON with a string `error`."""

import pytest
from django.db import OperationalError
from django.test import Client

from profiles.clients import tokens

from .api import CURRENT, get
from .oauth import GRANT, TOKEN, assert_oauth_error, post
from .test_openapi import check_answer

ADDRESSES_WITHOUT_ANYTHING = [
    "/api",
    "/api/",
    "/api/v1",
    "/api/oauth/token/",
    "/api/oauth/authorize",
    "/api/%00",
    "/api/é",
]


def assert_json_error(response, status: int, error: str) -> None:
    assert response.status_code == status
    assert response["Content-Type"] == "application/json"
    body = response.json()
    assert body["error"] == error
    assert isinstance(body["error_description"], str)
    assert all(isinstance(parameter, str) for parameter in body["errorParameters"])


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("address", ADDRESSES_WITHOUT_ANYTHING)
def test_nothing_there(address, method):
    assert_json_error(Client().generic(method, address), 404, "resource.unknown")


@pytest.mark.django_db
def test_a_failure_of_ours_says_so_and_no_more(key, monkeypatch):  # security 58
    def fail(**kwargs):
        raise RuntimeError(f"the secret was {kwargs['secret']}")

    monkeypatch.setattr(tokens, "issue", fail)
    response = Client(raise_request_exception=False).generic(
        "POST",
        TOKEN,
        b"grant_type=client_credentials",
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": key.basic},
    )
    assert_json_error(response, 500, "server.error")
    assert key.secret not in response.content.decode()


@pytest.mark.django_db
def test_a_database_that_is_away_asks_for_patience(key, monkeypatch):
    def away(**kwargs):
        raise OperationalError("connection refused")

    monkeypatch.setattr(tokens, "issue", away)
    response = post(TOKEN, [GRANT], key.basic)
    assert_oauth_error(response, 503, "temporarily_unavailable")
    check_answer(response, TOKEN, "post")
    assert int(response["Retry-After"]) > 0


@pytest.mark.django_db
def test_so_does_a_call(token, monkeypatch):
    def away(*args):
        raise OperationalError("connection refused")

    monkeypatch.setattr(tokens, "look_up", away)
    response = get(CURRENT, token)
    assert_json_error(response, 503, "server.unavailable")
    check_answer(response, CURRENT)


def test_livez_needs_nothing(client):
    assert client.get("/livez").json() == {"status": "ok"}


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/livez", "/api/nothing", "/accounts/login/", "/static/nothing.css"])
def test_every_answer_carries_the_headers_of_a_careful_site(client, address):  # security 56
    response = client.get(address)
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    assert "unsafe" not in response["Content-Security-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in response["Permissions-Policy"]
