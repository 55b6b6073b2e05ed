"""How tests call the OAuth endpoints: as a client does, in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.test import Client

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

TOKEN, REVOKE, INTROSPECT = "/api/oauth/token", "/api/oauth/revoke", "/api/oauth/introspect"
GRANT = ("grant_type", "client_credentials")

# One client for all tests: it keeps no cookies here, and setting one up reads all static files.
_client = Client()

Fields = Sequence[tuple[str, str]]


def post(url: str, fields: Fields | bytes = (), authorization: str | None = None, **extra: Any) -> Response:
    """POST a form. `fields` may repeat a name, or be the body itself."""
    body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
    headers = {"Authorization": authorization} if authorization is not None else {}
    extra.setdefault("content_type", "application/x-www-form-urlencoded")
    return _client.generic("POST", url, body, headers=headers, **extra)


def ask(pair: Any, *fields: tuple[str, str], **extra: Any) -> Response:
    """Ask for a token with a key, by HTTP Basic."""
    return post(TOKEN, [GRANT, *fields], pair.basic, **extra)


def assert_oauth_error(response: Response, status: int, error: str) -> str:
    """The one form of an OAuth error (RFC 6749 section 5.2). Returns the description."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    body = response.json()
    assert body["error"] == error, body
    assert set(body) == {"error", "error_description"}
    description: str = body["error_description"]
    assert description.isascii()
    assert not set('"\\').intersection(description)
    assert response.has_header("WWW-Authenticate") == (status in (401, 429))
    if status in (401, 429):
        assert response["WWW-Authenticate"].startswith("Basic ")
    return description
