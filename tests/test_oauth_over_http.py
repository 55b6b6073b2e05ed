"""The token endpoint as a program meets it: through the server, to the letter (RFC 6749 sections 2.3, 3.2, 5)."""

from __future__ import annotations

import base64
import socket
from urllib.parse import quote_plus

import pytest
import requests

from .conftest import basic
from .server import Server
from .visitor import Visitor

pytestmark = pytest.mark.server

GRANT = "grant_type=client_credentials"


@pytest.fixture(scope="module")
def keys() -> dict[int, tuple[str, str]]:
    return {}


@pytest.fixture
def key(server: Server, keys) -> tuple[str, str]:
    """Client ID and secret of a key of the running site."""
    # Tests of other files use the same server, and may have regenerated the key.
    if server.port not in keys or ask(server, Authorization=basic(*keys[server.port])).status_code != 200:
        visitor = Visitor(server.url).sign_in("other@demo.example")
        keys[server.port] = visitor.regenerate() if visitor.has_key() else visitor.create()
    return keys[server.port]


def ask(
    server: Server, body: str | bytes = GRANT, *, query: str = "", method: str = "POST", **headers: str | bytes
) -> requests.Response:
    named: dict[str, str | bytes] = {"Content-Type": "application/x-www-form-urlencoded"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    response = requests.request(method, f"{server.url}/api/oauth/token{query}", data=body, headers=named, timeout=60)
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    return response


def assert_error(response: requests.Response, status: int, error: str) -> None:
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert list(response.json()) == ["error", "error_description"]


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc"])
def test_basic_in_any_case(server, key, scheme):  # security 38, 41
    response = ask(server, Authorization=basic(*key).replace("Basic", scheme))
    assert response.status_code == 200
    assert list(response.json()) == ["access_token", "token_type", "expires_in", "scope"]


def test_basic_is_form_encoded_inside(server, key):  # security 38
    encoded = ":".join("".join(f"%{byte:02X}" for byte in part.encode()) for part in key)
    response = ask(server, Authorization="Basic " + base64.b64encode(encoded.encode()).decode())
    assert response.status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_post(server, key, method):  # security 37
    response = requests.request(
        method, f"{server.url}/api/oauth/token", headers={"Authorization": basic(*key)}, timeout=60
    )
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "where", ["client_id={}&client_secret={}", "client_secret={1}", "grant_type=client_credentials"]
)
def test_nothing_is_taken_from_the_query_string(server, key, where):  # security 37
    query = "?" + where.format(*key)
    if "grant" in where:
        assert_error(ask(server, "", query=query, Authorization=basic(*key)), 400, "invalid_request")
    else:
        assert_error(ask(server, query=query), 400, "invalid_request")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
def test_only_a_form(server, key, content_type):  # security 37
    assert_error(ask(server, Authorization=basic(*key), Content_Type=content_type), 400, "invalid_request")


def test_in_the_form_instead(server, key):  # security 38
    response = ask(server, f"{GRANT}&client_id={key[0]}&client_secret={quote_plus(key[1])}")
    assert response.status_code == 200


@pytest.mark.parametrize("twice", ["client_id={0}&client_secret={1}", "client_secret={1}", "client_id=" + "0" * 32])
def test_never_both_ways(server, key, twice):  # security 38
    assert_error(ask(server, f"{GRANT}&{twice.format(*key)}", Authorization=basic(*key)), 400, "invalid_request")


def test_two_authorizations_are_none(server, key):  # security 38
    """The server joins them as HTTP says, and that is no Basic."""
    line = f"Authorization: {basic(*key)}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        head = "POST /api/oauth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        connection.sendall(
            f"{head}{line}{line}Connection: close\r\nContent-Length: {len(GRANT)}\r\n\r\n{GRANT}".encode()
        )
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("repeated", ["grant_type", "scope", "unknown"])
def test_a_parameter_stands_once(server, key, repeated):  # security 39
    body = f"{GRANT}&{repeated}=a&{repeated}=b"
    assert_error(ask(server, body, Authorization=basic(*key)), 400, "invalid_request")


@pytest.mark.parametrize("more", ["unknown=1", "scope=", "unknown=", "client_id="])
def test_what_is_unknown_or_empty_is_not_there(server, key, more):  # security 39
    assert ask(server, f"{GRANT}&{more}", Authorization=basic(*key)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("", 400, "invalid_request"),
        ("grant_type=", 400, "invalid_request"),
        ("grant_type=password", 400, "unsupported_grant_type"),
        (f"{GRANT}&scope[a]=b", 200, ""),
        (f"{GRANT}&scope=nothing.at.all", 400, "invalid_scope"),
        (f"{GRANT}&scope=%00", 400, "invalid_scope"),
        (f"{GRANT}&scope=%FF", 400, "invalid_request"),
        (b"grant_type=\xff\xfe", 400, "invalid_request"),
        (b"\0" * 100, 400, "invalid_request"),
        (f"{GRANT}&" + "a=b&" * 200, 400, "invalid_request"),
        (f"{GRANT}&scope=" + "a" * 1_000_000, 413, "invalid_request"),
    ],
)
def test_whatever_the_form_holds_the_answer_is_json(server, key, body, status, error):  # security 40, 41
    response = ask(server, body, Authorization=basic(*key))
    assert (response.status_code, response.json().get("error", "")) == (status, error)


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YQ",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic " + base64.b64encode(b"a\0b:c\0d").decode(),
        "Basic " + base64.b64encode(b"a" * 20_000).decode(),
        "Bearer avt_x",
        "Digest username=x",
        "\x80\xff",
    ],
)
def test_whatever_the_credentials_are_the_refusal_is_a_challenge(server, header):  # security 40, 41
    response = ask(server, Authorization=header.encode("latin-1"))
    assert_error(response, 401, "invalid_client")
    assert response.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_a_secret_of_any_length(server, key, size):  # security 40
    response = ask(server, f"{GRANT}&client_id={key[0]}&client_secret=avs_" + "a" * size)
    assert_error(response, *((401, "invalid_client") if size < 16_000 else (413, "invalid_request")))
