"""The client's credentials in an OAuth request (RFC 6749 section 2.3.1)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from .. import credentials
from ..http.calls import Answer, Call
from ..http.errors import INVALID_CLIENT, INVALID_REQUEST, oauth_error

CHALLENGE = {"WWW-Authenticate": 'Basic realm="AirVantage Keys", charset="UTF-8"'}


class OAuthRefused(Exception):
    """Ends a request with this error response."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def invalid_request(description: str) -> OAuthRefused:
    return OAuthRefused(oauth_error(INVALID_REQUEST, description))


class SecretMissing(OAuthRefused):
    """No secret was sent, so none was checked: the answer is a challenge (RFC 9110 section 11.6.1).

    It is not counted as a failure: many programs ask without credentials first, and send them when challenged.
    """

    def __init__(self, description: str) -> None:
        super().__init__(oauth_error(INVALID_CLIENT, description, headers=CHALLENGE))
        self.answer.reason = "no_credentials"


class ClientRefused(OAuthRefused):
    """Client authentication failed. `client_id` is the one sent, if it has the right form.

    The description is for the client; the reason for the log and the metrics, which may say what the answer must not.
    """

    def __init__(self, description: str, reason: str, *, client_id: str = "") -> None:
        super().__init__(oauth_error(INVALID_CLIENT, description, headers=CHALLENGE))
        self.answer.reason = reason
        self.client_id = client_id


def authentication_failed(reason: str, client_id: str = "") -> ClientRefused:
    """One answer for an unknown client, a wrong secret and an inactive owner: it must not reveal which (ASVS 6.3.8)."""
    return ClientRefused("Client authentication failed.", reason, client_id=client_id)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The credentials that the client sent: well-formed, not yet verified."""

    client_id: str
    secret: str

    def __repr__(self) -> str:  # the secret must not reach a log or an error report
        return f"ClientCredentials(client_id={self.client_id!r})"


def client_credentials(call: Call, form: Mapping[str, str]) -> ClientCredentials:
    """The credentials of a request, from HTTP Basic or from the form, never from both.

    Raises OAuthRefused: `invalid_request` for two methods at once, `invalid_client` for none, for another method,
    and for malformed credentials (these cost no database query).
    """
    header = call.header("HTTP_AUTHORIZATION").strip()
    if not header:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    else:
        if "client_secret" in form:
            raise invalid_request("Send the client credentials once: by HTTP Basic or in the form.")
        client_id, secret = _basic(header)
        if form.get("client_id", client_id) != client_id:
            raise invalid_request("The client_id of the form is not the one of the Authorization header.")
    if not secret:
        missing = "client secret was" if client_id else "client credentials were"
        raise SecretMissing(f"No {missing} found: send both Client ID and secret by HTTP Basic or in the form.")
    if not credentials.is_client_id(client_id):
        raise authentication_failed("malformed_client_id")
    if not credentials.is_secret(secret):
        description = "The client secret is malformed: was it copied in full?"
        raise ClientRefused(description, "malformed_secret", client_id=client_id)
    return ClientCredentials(client_id, secret)


def _basic(header: str) -> tuple[str, str]:
    """Client ID and secret of an HTTP Basic header (RFC 7617), each form-encoded as RFC 6749 requires."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        # For example a token, or the first step of Digest or Negotiate: it cannot contain a client secret.
        raise SecretMissing("Only HTTP Basic is accepted in the Authorization header here.")
    if not value.strip():
        return "", ""
    try:
        client_id, colon, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise ClientRefused("The Authorization header is not valid HTTP Basic.", "malformed_header") from None
    if not colon:
        raise ClientRefused("The Authorization header is not valid HTTP Basic.", "malformed_header")
    return unquote_plus(client_id), unquote_plus(secret)
