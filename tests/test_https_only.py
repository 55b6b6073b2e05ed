"""A site whose address is https, asked over http: straight, by a proxy that it knows, by one that it does not."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from .conftest import basic
from .routes import Surface, addresses
from .server import Server, sqlite_url
from .test_openapi import OPERATIONS, check_answer, check_error

pytestmark = pytest.mark.server

SITE = "keys.example.com"
HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}


@contextmanager
def https_site(folder: Path, **environment: str) -> Iterator[Server]:
    """A running site whose address is https, and the key of its administrator, in the environment variables."""
    server = Server(folder, sqlite_url(folder))
    server.prepare()  # the demo data, over the http of a demo
    lines = server.manage("createkey", "admin@demo.example").splitlines()
    server.environment |= dict(line.split("=", 1) for line in lines)
    server.environment |= {"BASE_URL": f"https://{SITE}", "SECRET_KEY": secrets.token_urlsafe(60), **environment}
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def untold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It was not told of a proxy."""
    with https_site(tmp_path_factory.mktemp("untold")) as server:
        yield server


@pytest.fixture(scope="module")
def behind_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with https_site(tmp_path_factory.mktemp("one"), TRUSTED_PROXIES="1") as server:
        yield server


@pytest.fixture(scope="module")
def behind_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with https_site(tmp_path_factory.mktemp("two"), TRUSTED_PROXIES="2") as server:
        yield server


def ask(server: Server, path: str, method: str = "GET", **options) -> requests.Response:
    headers = {"Host": SITE, **options.pop("headers", {})}
    return requests.request(method, server.url + path, headers=headers, allow_redirects=False, timeout=60, **options)


def assert_refused(response: requests.Response) -> dict[str, object]:
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/json"
    assert "Location" not in response.headers
    assert "WWW-Authenticate" not in response.headers  # which would ask for credentials, in clear
    assert response.headers["Cache-Control"] == "no-store"
    body: dict[str, object] = response.json()
    return body


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api", "/api/nothing", *addresses(Surface.API, Surface.WELL_KNOWN)])
def test_the_api_answers_nothing_over_http(untold, path, method):  # security 73
    response = ask(untold, path, method, headers={"Authorization": "Bearer avt_x"})
    if method == "HEAD":
        assert (response.status_code, "Location" in response.headers) == (400, False)
        return
    body = assert_refused(response)
    assert list(body) == ["error", "errorParameters", "error_description"]
    assert body["error"] == "connection.insecure"
    check_error(body)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", addresses(Surface.OAUTH))
def test_nor_do_the_oauth_endpoints(untold, path, method):  # security 73
    body = assert_refused(ask(untold, path, method))
    assert list(body) == ["error", "error_description"]
    assert body["error"] == "invalid_request"


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_document_tells_of_it(untold, path, method):
    response = ask(untold, re.sub("{.*?}", "0", path), method.upper())
    assert_refused(response)
    check_answer(response, path, method)


@pytest.mark.parametrize(
    "pretended",
    [
        {},
        {"X-Forwarded-Proto": "http"},
        {"X_Forwarded_Proto": "https"},
        {"X-Forwarded-Proto": "https, http"},
        {"X-Forwarded-Ssl": "on", "Front-End-Https": "on", "X-Forwarded-Protocol": "https", "X-Forwarded-Port": "443"},
    ],
)
def test_the_right_secret_gets_no_token_over_http(behind_one, pretended):  # security 73, 77
    environment = behind_one.environment
    credentials = {"Authorization": basic(environment["CLIENT_ID"], environment["CLIENT_SECRET"])}
    form = {"grant_type": "client_credentials"}
    response = ask(behind_one, "/api/oauth/token", "POST", data=form, headers=credentials | pretended)
    assert_refused(response)
    assert "avt_" not in response.text
    good = ask(behind_one, "/api/oauth/token", "POST", data=form, headers=credentials | HTTPS)
    assert good.json()["access_token"].startswith("avt_")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize("headers", [{}, HTTPS])
def test_probes_ask_the_port_itself(untold, path, headers):  # security 73
    response = ask(untold, path, headers=headers)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_the_refusal_names_the_setting_that_is_missing(untold, behind_one):
    assert "TRUSTED_PROXIES" in ask(untold, "/api/v1/users", headers=HTTPS).text
    assert "X-Forwarded-Proto" in ask(behind_one, "/api/v1/users", headers={"X-Forwarded-For": "1.2.3.4"}).text


@pytest.mark.parametrize("path", ["/", "/profile/", "/accounts/login/", "/admin/", "/nothing"])
@pytest.mark.parametrize(
    "headers",
    [
        HTTPS,
        {"X-Forwarded-For": "1.2.3.4"},
        {"X-Real-IP": "1.2.3.4"},
        {"Forwarded": "proto=https"},
        {"X-Forwarded-Host": "x"},
    ],
)
def test_a_page_behind_an_unknown_proxy_says_what_is_missing(untold, path, headers):
    response = ask(untold, path, headers=headers)
    assert (response.status_code, "Location" in response.headers) == (400, False)
    assert "TRUSTED_PROXIES" in response.text
    assert "no-store" in response.headers["Cache-Control"]
    for header in ("Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy"):
        assert header in response.headers


def test_a_proxy_that_does_not_tell_the_scheme_is_told_so(behind_one):
    response = ask(behind_one, "/accounts/login/", headers={"X-Forwarded-For": "1.2.3.4"})
    assert (response.status_code, "X-Forwarded-Proto" in response.text) == (400, True)


@pytest.mark.parametrize(
    ("site", "headers"), [("untold", {}), ("behind_one", {}), ("behind_one", {"X-Forwarded-Proto": "http"})]
)
def test_a_page_over_http_leads_to_https(request, site, headers):
    response = ask(request.getfixturevalue(site), "/accounts/login/?next=/profile/", headers=headers)
    assert response.status_code == 301
    assert response.headers["Location"] == f"https://{SITE}/accounts/login/?next=/profile/"


@pytest.mark.parametrize(
    ("site", "scheme", "secure"),
    [
        ("behind_one", "https", True),
        ("behind_one", "HTTPS", True),
        ("behind_one", "http, https", True),
        ("behind_one", "https,http", False),
        ("behind_two", "https", True),  # the inner one left what the outer one wrote
        ("behind_two", "https, http", True),
        ("behind_two", "https, http, http", False),
        ("behind_two", "http, https, http", True),
    ],
)
def test_only_what_our_own_proxies_say_of_the_scheme_counts(request, site, scheme, secure):  # security 77
    server = request.getfixturevalue(site)
    headers = {"X-Forwarded-Proto": scheme, "X-Forwarded-For": "1.2.3.4"}
    assert ask(server, "/accounts/login/", headers=headers).status_code == (200 if secure else 301)
    assert ask(server, "/api/v1/users", headers=headers).status_code == (401 if secure else 400)


# --- Whose address it is ----------------------------------------------------------------------------------


def address_logged(server: Server, *lines: str) -> str:
    """The client's address as the log has it, of a call with these header lines to the letter."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = ["GET /api/v1/users/current HTTP/1.1", f"Host: {SITE}", "X-Forwarded-Proto: https", *lines]
        head += ["Authorization: Bearer x", "Connection: close", "", ""]
        connection.sendall("\r\n".join(head).encode("latin-1"))
        while connection.recv(1 << 16):
            pass
    return str(re.findall(r"token refused: path=\S+ address=(\S+)", server.log.read_text())[-1])


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["X-Forwarded-For: 198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: 198.51.100.7:4711"], "198.51.100.7"),
        (["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
        (["X-Forwarded-For: 2001:DB8:0::1"], "2001:db8::1"),
        (["X-Forwarded-For: [2001:db8::1]"], "2001:db8::1"),
        (["X-Forwarded-For: [2001:db8::1]:443"], "2001:db8::1"),
        (["X-Forwarded-For: fe80::1%eth0"], "fe80::1"),
        (["X-Forwarded-For: [fe80::1%25eth0]:1"], "fe80::1"),
        (["X-Forwarded-For: ::ffff:198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: [::ffff:198.51.100.7]:80"], "198.51.100.7"),
        (["X-Forwarded-For: 6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: \xff, 198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: 198.51.100.7", "X_Forwarded_For: 6.6.6.6"], "198.51.100.7"),
        (["X_Forwarded_For: 6.6.6.6", "X-Forwarded-For: 198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: 198.51.100.7", "X_Forwarded-For: 6.6.6.6", "x-forwarded_for: 6.6.6.6"], "198.51.100.7"),
        (["X_Forwarded_For: 6.6.6.6"], "127.0.0.1"),
        (["X-Forwarded-For: nonsense"], "-"),
        (["X-Real-IP: 6.6.6.6", "Client-IP: 6.6.6.6", "Forwarded: for=6.6.6.6"], "127.0.0.1"),
    ],
)
def test_behind_one_proxy_its_entry_is_the_address(behind_one, lines, address):  # security 60, 77
    assert address_logged(behind_one, *lines) == address


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["X-Forwarded-For: 6.6.6.6, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 10.0.0.2"], "198.51.100.7"),
        (["X-Forwarded-For: 198.51.100.7:1, 10.0.0.2:2", "X_Forwarded_For: 6.6.6.6"], "198.51.100.7"),
        (["X-Forwarded-For: 6.6.6.6"], "127.0.0.1"),  # it came past one of the two
    ],
)
def test_behind_two_proxies_the_outer_ones_is(behind_two, lines, address):  # security 60, 77
    assert address_logged(behind_two, *lines) == address


@pytest.mark.parametrize(
    "name", ["Hx_Request", "X_Csrftoken", "Sec_Fetch_Site", "Content_Type", "Content_Length", "Host_"]
)
def test_a_name_with_an_underscore_is_no_name_that_anything_knows(server, name):  # security 77
    plain = requests.get(f"{server.url}/accounts/login/", timeout=60)
    odd = requests.get(f"{server.url}/accounts/login/", headers={name: "true"}, timeout=60)
    assert (odd.status_code, odd.headers["Content-Type"]) == (plain.status_code, plain.headers["Content-Type"])
