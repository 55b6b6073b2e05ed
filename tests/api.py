"""How tests call the API, and what each of its error responses looks like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.test import Client

from profiles.http.access import Access
from profiles.http.operations import served

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

CURRENT, RIGHTS, USERS, PROFILES, CLIENTS = (
    "/api/v1/users/current",
    "/api/v1/users/rights",
    "/api/v1/users",
    "/api/v1/profiles",
    "/api/v1/clients",
)
# Address -> the right it needs: of each operation without a parameter in its path.
NEEDS = {it.path: it.right for it in served() if it.access is Access.BEARER and "{" not in it.path}
ALL_NEEDED = [right for right in NEEDS.values() if right]

# RFC 9110 section 11.6.1: a scheme and parameters, each a quoted string of harmless characters here.
_CHALLENGE = re.compile(r'Bearer (?:[a-z_]+="[ -!#-\[\]-~]*"(?:, |$))+')

# One client for all tests: it keeps no cookies here, and setting one up reads all static files.
_client = Client()


def call(method: str, address: str, token: str | None = None, query: str = "", **extra: Any) -> Response:
    """A request with the query just as it is written."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return _client.generic(method, address, QUERY_STRING=query, headers=headers, **extra)


def get(address: str, token: str | None = None, query: str = "", **extra: Any) -> Response:
    return call("GET", address, token, query, **extra)


def assert_api_error(response: Response, status: int, code: str) -> dict[str, Any]:
    """The one form of an error of the API. Returns its body."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    body: dict[str, Any] = response.json()
    assert list(body) == ["error", "errorParameters", "error_description"]
    assert body["error"] == code
    assert all(isinstance(parameter, str) for parameter in body["errorParameters"])
    assert body["error_description"].endswith(".")
    return body


def challenge(response: Response) -> dict[str, str]:
    """The parameters of `WWW-Authenticate: Bearer`."""
    header = response["WWW-Authenticate"]
    assert _CHALLENGE.fullmatch(header), header
    return dict(re.findall(r'([a-z_]+)="([^"]*)"', header))
