"""The API is answered past Django's handler: its answers are the same as behind it."""

from __future__ import annotations

import base64
from io import BytesIO
from wsgiref.util import setup_testing_defaults

import pytest

from airvantage_keys import api_way, wsgi
from profiles.http.calls import Call

pytestmark = pytest.mark.django_db


def call(method, path, body=b"", **headers):
    """Status, headers and body of the application's answer."""
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": "127.0.0.1", **headers}
    setup_testing_defaults(environ)
    environ |= {"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body)), "HTTP_HOST": "testserver"}
    started = []
    parts = wsgi.application(environ, lambda *status_and_headers: started.append(status_and_headers))
    content = b"".join(parts)
    [(status, answered)] = started
    return int(status.split()[0]), dict(answered), content


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api"),
        ("GET", "/api/nothing"),
        ("GET", "/api/v1/users/current"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/docs"),
        ("DELETE", "/api/v1/users"),
        ("POST", "/api/oauth/token"),
        ("GET", "/.well-known/oauth-authorization-server"),
        ("GET", "/livez"),
    ],
)
def test_the_short_way_answers_as_the_long_one(client, method, path, scheme):
    status, headers, content = call(method, path, **{"wsgi.url_scheme": scheme})
    behind = client.generic(method, path, secure=scheme == "https")
    assert (status, content) == (behind.status_code, behind.content)
    assert len(headers.pop("X-Request-ID")) == len(behind.headers["X-Request-ID"])  # another each time
    del behind.headers["X-Request-ID"]
    assert headers == dict(behind.headers)


def test_a_token_and_a_call_with_it(key):
    basic = base64.b64encode(f"{key.client_id}:{key.secret}".encode()).decode()
    form = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "HTTP_AUTHORIZATION": f"Basic {basic}"}
    status, headers, content = call("POST", "/api/oauth/token", b"grant_type=client_credentials", **form)
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "no-store")
    token = content.decode().split('"')[3]
    status, _, content = call("GET", "/api/v1/users/current", HTTP_AUTHORIZATION=f"Bearer {token}")
    assert (status, key.key.user.email in content.decode()) == (200, True)


def test_a_connection_that_failed_or_is_old_is_looked_for_before_each_request(monkeypatch):
    looked = []
    monkeypatch.setattr(api_way, "close_old_connection", lambda: looked.append(True))
    call("GET", "/readyz")
    call("GET", "/api/nothing")
    assert len(looked) == 2


@pytest.mark.parametrize("length", ["x", "-1", "9" * 5000])
def test_where_the_length_is_no_number_there_is_no_body(length):
    """Our server sends none such; another might pass on what the client wrote."""
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/oauth/token", "CONTENT_LENGTH": length}
    setup_testing_defaults(environ)
    answer = api_way.answer(Call(environ | {"wsgi.input": BytesIO(b"grant_type=client_credentials")}))
    assert (answer.status, b"grant_type is missing" in answer.body) == (400, True)
