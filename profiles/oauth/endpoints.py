"""The OAuth 2.0 endpoints: token (RFC 6749 section 4.4), revocation (RFC 7009), introspection (RFC 7662).

Written on their own instead of on the toolkit's views, which read parameters from anywhere, let any client
introspect, answer errors as HTML and issue tokens without an owner. The toolkit's models, settings and the
signal `app_authorized` are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import TypeVar

from oauth2_provider.signals import app_authorized

from .. import rights
from ..clients import tokens, usage
from ..http import calls, parameters
from ..http.access import Access, declares
from ..http.calls import Answer, Call
from ..http.errors import oauth_error
from ..http.parameters import ParametersRefused, Wrong
from ..http.requests import origin_of_client
from ..limits import client_failures
from ..models import ClientSecret
from .client_authentication import (
    CHALLENGE,
    ClientCredentials,
    ClientRefused,
    OAuthError,
    authentication_failed,
    client_credentials,
    invalid_request,
)

logger = logging.getLogger(__name__)

EndReason = ClientSecret.EndReason

Form = Mapping[str, str]
Proven = TypeVar("Proven", tokens.AuthenticatedClient, tokens.Introspection)
Endpoint = Callable[[Call, Form], Answer]

# These are read from the form only.
NEVER_IN_THE_QUERY = parameters.NEVER_IN_THE_QUERY | {"client_id", "grant_type", "password", "scope", "token"}
# How a secret has ended, by `ClientSecret.EndReason`.
ENDED: dict[str, str] = {
    EndReason.REPLACED: "was replaced",
    EndReason.ENDED: "was ended by its owner",
    EndReason.DELETED: "ended with its key, which was deleted",
    EndReason.REVOKED: "ended with its key, which an administrator revoked",
    EndReason.LEAKED: "was reported as leaked and ended",
}
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def endpoint(answer: Endpoint) -> Callable[[Call], Answer]:
    """What the three endpoints have in common: POST of a form, read strictly, and errors as JSON."""

    @declares(Access.CLIENT)
    @wraps(answer)
    def wrapper(call: Call) -> Answer:
        if call.method != "POST":
            return oauth_error(
                "invalid_request", "This endpoint takes POST only.", status=405, headers={"Allow": "POST"}
            )
        try:
            return answer(call, _form(call))
        except ClientRefused as refused:
            return _refused(call, refused)
        except OAuthError as refused:
            return refused.answer

    return wrapper


@endpoint
def token(call: Call, form: Form) -> Answer:
    """Issue an access token for a client's own credentials (RFC 6749 sections 4.4.2, 4.4.3, 5.1, 5.2)."""
    grant_type = form.get("grant_type")
    if not grant_type:
        raise invalid_request("grant_type is missing.")
    if grant_type != "client_credentials":
        raise OAuthError(oauth_error("unsupported_grant_type", "Only client_credentials is supported."))
    client = client_credentials(call, form)
    scope = _granted_scope(call, form.get("scope", ""), client)
    try:
        issued = tokens.issue(client_id=client.client_id, secret=client.secret, scope=scope)
    except tokens.SecretEnded as ended:
        raise _secret_ended(call, client, ended) from None
    if issued is None:
        raise authentication_failed(client.client_id)
    usage.note_authentication(issued.client, partial(origin_of_client, call))
    logger.info("token issued: client_id=%s address=%s", client.client_id, call.address or "-")
    if app_authorized.has_listeners(token):
        app_authorized.send(sender=token, request=call.as_request(), token=issued.row)
    return calls.json(
        {
            "access_token": issued.token,
            "token_type": "Bearer",
            "expires_in": issued.expires_in,
            "scope": issued.scope,
        },
        headers=NO_STORE,
    )


@endpoint
def revoke(call: Call, form: Form) -> Answer:
    """Revoke one of the client's own tokens. For any other token the answer is the same 200 (RFC 7009)."""
    own = _proven(call, client_credentials(call, form), tokens.authenticate)
    tokens.revoke(_required_token(form), key_id=own.client.key_id)
    return calls.json({}, headers=NO_STORE)


@endpoint
def introspect(call: Call, form: Form) -> Answer:
    """Describe a client's own active token; for any other token, only `{"active": false}` (RFC 7662)."""
    client = client_credentials(call, form)
    found = _proven(call, client, partial(tokens.introspect, form.get("token", ""))).token
    _required_token(form)
    if found is None:
        return calls.json({"active": False}, headers=NO_STORE)
    # As of now: a right that the owner has lost since is no longer in the scope.
    scope = [name for name in found.scope.split() if name == rights.INHERIT or name in found.rights]
    return calls.json(
        {
            "active": True,
            "scope": " ".join(scope),
            "client_id": found.client_id,
            "username": found.owner.email,
            "token_type": "Bearer",
            "exp": int(found.expires.timestamp()),
            "iat": int(found.issued.timestamp()),
            "sub": found.owner.uid,
        },
        headers=NO_STORE,
    )


def _proven(call: Call, client: ClientCredentials, prove: Callable[..., Proven | None]) -> Proven:
    """What `prove` says of a client that it has authenticated; the use of its secret is recorded."""
    try:
        proven = prove(client_id=client.client_id, secret=client.secret)
    except tokens.SecretEnded as ended:
        raise _secret_ended(call, client, ended) from None
    if proven is None:
        raise authentication_failed(client.client_id)
    usage.note_authentication(proven.client, partial(origin_of_client, call))
    return proven


def _secret_ended(call: Call, client: ClientCredentials, ended: tokens.SecretEnded) -> ClientRefused:
    """The refusal of an ended secret of this client. The attempt is recorded for its owner to see."""
    usage.note_refusal(ended.secret_id, address=call.address, user_agent=call.user_agent)
    description = f"The client secret {ENDED[ended.end.reason]} on {ended.end.at:%Y-%m-%d at %H:%M:%S} UTC."
    return ClientRefused(description, client_id=client.client_id)


def _granted_scope(call: Call, asked: str, client: ClientCredentials) -> str:
    """The scope to issue: `inherit`, or the rights asked for, each of which the owner must hold now.

    Only a narrower scope needs a query for the owner's rights, and only an authenticated client is told about them.
    """
    names = list(dict.fromkeys(asked.split(" ")))
    names = [name for name in names if name] or [rights.INHERIT]
    if names == [rights.INHERIT]:
        return rights.INHERIT
    proven = _proven(call, client, tokens.authenticate)
    if not proven.rights.issuperset(name for name in names if name != rights.INHERIT):
        raise OAuthError(
            oauth_error("invalid_scope", "The scope names a right that does not exist or that the owner lacks.")
        )
    return " ".join(names)


def _required_token(form: Form) -> str:
    if "token" not in form:
        raise invalid_request("token is missing.")
    return form["token"]


def _form(call: Call) -> dict[str, str]:
    """The parameters of the form, each at most once, the empty ones left out (RFC 6749 section 3.2)."""
    try:
        parameters.of_query(call, never=NEVER_IN_THE_QUERY, empty=False)
        return parameters.of_body(call)
    except ParametersRefused as refused:
        raise _not_read(refused) from None


def _not_read(refused: ParametersRefused) -> OAuthError:
    match refused.wrong:
        case Wrong.MALFORMED:
            at_most = f"at most {parameters.PARAMETERS_AT_MOST} parameters"
            return invalid_request(f"The {refused.place} must be well-formed form data in UTF-8, with {at_most}.")
        case Wrong.REPEATED:
            return invalid_request(f"The {refused.place} has a parameter more than once.")
        case Wrong.MISPLACED:
            return invalid_request(f"Send {refused.names[0]} in the body of the request, never in the query string.")
        case Wrong.OTHER_TYPE:
            return invalid_request(f"The body must be {parameters.FORM}.")
        case Wrong.TOO_LONG:
            return OAuthError(oauth_error("invalid_request", "The body is too long.", status=413))


def _refused(call: Call, refused: ClientRefused) -> Answer:
    """The answer to a client whose authentication failed: 401, or 429 after too many failures."""
    address = call.address
    wait = client_failures.count_failure(client_id=refused.client_id, address=address)
    if wait is None:
        logger.warning("client refused: client_id=%s address=%s", refused.client_id or "-", address or "-")
        return refused.answer
    return oauth_error(
        "too_many_requests",
        "Too many failed attempts. Correct the credentials, then try again later.",
        status=429,
        # The challenge too: valid credentials are accepted even now, and some programs send them only when challenged.
        headers={**CHALLENGE, "Retry-After": str(wait)},
    )
