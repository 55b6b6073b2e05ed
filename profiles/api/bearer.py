"""The access token of an API request (RFC 6750), and the refusal of a request without a valid one.

An operation of the API is a function of an `ApiCall`, which only `bearer` makes; see `operation`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Concatenate, ParamSpec

from .. import policy
from ..clients import tokens, usage, uses
from ..http import calls, errors, parameters
from ..http.access import Access, declares
from ..http.calls import Answer, Call
from ..http.errors import Code, api_error
from ..http.parameters import ParametersRefused, Wrong
from ..http.requests import origin_of_client
from ..http.urls import absolute_url
from ..models import ClientSecret

logger = logging.getLogger(__name__)

EndReason = ClientSecret.EndReason

REALM = "AirVantage API"
METHODS = ("GET", "HEAD")
# How a token has ended whose row still exists. Told only to a client that sends the token.
ENDED: dict[str, str] = {
    "expired": "expired",
    EndReason.REPLACED: "ended when the secret key was regenerated,",
    tokens.STOPPED: "ended when the old secret key stopped,",
    EndReason.ENDED: "ended when the old secret key was ended,",
    EndReason.DELETED: "ended when its client was deleted,",
    EndReason.REVOKED: "ended when its client was revoked,",
    EndReason.LEAKED: "ended when the secret key was reported as leaked,",
    policy.TOO_OLD: "ended when the secret key became older than its company allows,",
}


@dataclass(slots=True)
class ApiCall:
    """A call with an active token, and the parameters of its query string."""

    call: Call
    token: tokens.ActiveToken
    parameters: Mapping[str, str]

    @property
    def owner(self) -> tokens.Owner:
        """As whom the call acts: the owner of the key, or the API Client itself."""
        return self.token.owner


class ApiRefused(Exception):
    """Ends a request of the API with this error response."""

    def __init__(
        self,
        code: Code,
        description: str,
        *,
        parameters: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code.code)
        self.answer = api_error(code, description, parameters=parameters, headers=headers)


P = ParamSpec("P")


def bearer(*, right: str | None = None) -> Callable[[Callable[Concatenate[ApiCall, P], object]], Callable[..., Answer]]:
    """Let in a GET with an active access token whose effective rights include `right`.

    The token is looked up and the rights behind it are read at each request; nothing of that is cached. A successful
    call counts as a use of the client; a refused one does not, whatever the reason. What the operation returns is
    answered as JSON, unless it is an answer.
    """

    def decorator(operation: Callable[Concatenate[ApiCall, P], object]) -> Callable[..., Answer]:
        @declares(Access.BEARER)
        @wraps(operation)
        def wrapper(call: Call, *args: P.args, **kwargs: P.kwargs) -> Answer:
            try:
                allowed = _authenticated(call, right)
                found = operation(allowed, *args, **kwargs)
                answer = found if isinstance(found, Answer) else calls.json(found)
            except ApiRefused as refused:
                answer = refused.answer
            else:
                client, origin_of = allowed.token.client, partial(origin_of_client, call)
                usage.note_use(client, origin_of)
                uses.count(client, origin_of, address=call.address, calls=1)
            answer.headers["Cache-Control"] = "no-store"
            answer.headers["Vary"] = "Authorization"
            return answer

        return wrapper

    return decorator


def _authenticated(call: Call, right: str | None) -> ApiCall:
    """The call with its token and parameters, or ApiRefused."""
    if call.method not in METHODS:
        raise method_not_allowed(call)
    found = _parameters(call)
    scheme, _, value = call.header("HTTP_AUTHORIZATION").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise _missing()
    token = tokens.look_up(value.strip(), lambda: call.address)
    if not isinstance(token, tokens.ActiveToken):
        reason = (token.reason or "switched_off") if token else "unknown"
        logger.warning("token refused: path=%s address=%s reason=%s", call.path, call.address or "-", reason)
        raise _elsewhere() if reason == policy.ELSEWHERE else _invalid(token)
    call.client_id = token.client_id
    if right is not None and right not in token.rights:
        raise insufficient(right)
    return ApiCall(call, token, found)


def _parameters(call: Call) -> dict[str, str]:
    """The parameters of the query string. A form in the body is refused: a token could be in it, and none is read."""
    try:
        found = parameters.of_query(call, never=parameters.NEVER_IN_THE_QUERY, empty=True)
    except ParametersRefused as refused:
        raise not_read(refused) from None
    if parameters.form_is_announced(call):  # RFC 6750 section 2.2
        raise _misplaced("access_token")
    return found


def not_read(refused: ParametersRefused) -> ApiRefused:
    match refused.wrong:
        case Wrong.REPEATED:
            names = [name[:100] for name in refused.names]
            return ApiRefused(errors.PARAMETER_REPEATED, "A parameter may stand once only.", parameters=names)
        case Wrong.MISPLACED:
            return _misplaced(*refused.names)
        case _:
            at_most = f"at most {parameters.PARAMETERS_AT_MOST} parameters"
            description = f"The {refused.place} must be well-formed form data in UTF-8, with {at_most}."
            return ApiRefused(errors.REQUEST_MALFORMED, description)


def method_not_allowed(call: Call) -> ApiRefused:
    return ApiRefused(
        errors.METHOD_NOT_ALLOWED,
        "This address takes GET only.",
        parameters=[call.method],
        headers={"Allow": ", ".join(METHODS)},
    )


def _misplaced(*names: str) -> ApiRefused:
    description = "Send the access token in the Authorization header, and nowhere else."
    return ApiRefused(
        errors.TOKEN_MISPLACED,
        description,
        parameters=names,
        headers=_challenge(error="invalid_request", error_description=description),
    )


def _missing() -> ApiRefused:
    # No error code in the header when no token was shown (RFC 6750 section 3.1).
    return ApiRefused(
        errors.TOKEN_MISSING,
        "Send an access token: Authorization: Bearer <token>.",
        headers=_challenge(),
    )


def _invalid(end: tokens.End | None) -> ApiRefused:
    description = "The access token is malformed, unknown, expired or revoked."
    if end and end.reason == policy.NO_KEYS:
        description = "The access token is refused: the company of its user allows no personal keys."
    elif end and end.reason in ENDED:
        description = f"The access token {ENDED[end.reason]} at {end.at:%Y-%m-%dT%H:%M:%SZ}."
    return ApiRefused(
        errors.TOKEN_INVALID,
        description,
        headers=_challenge(error="invalid_token", error_description=description),
    )


def _elsewhere() -> ApiRefused:
    description = "The company of this client allows no access from this address."
    return ApiRefused(
        errors.ADDRESS_REFUSED,
        description,
        headers=_challenge(error="access_denied", error_description=description),
    )


def insufficient(right: str) -> ApiRefused:
    description = "The right that this address needs is missing."
    return ApiRefused(
        errors.RIGHT_MISSING,
        description,
        parameters=[right],
        headers=_challenge(error="insufficient_scope", error_description=description, scope=right),
    )


def _challenge(**parameters: str) -> dict[str, str]:
    """The header WWW-Authenticate (RFC 6750 section 3, RFC 9728 section 5.1).

    The values are ours, in ASCII and without quotes or backslashes, so that they need no escaping.
    """
    shown = {"realm": REALM, **parameters, "resource_metadata": absolute_url("oauth-resource-metadata")}
    return {"WWW-Authenticate": "Bearer " + ", ".join(f'{name}="{value}"' for name, value in shown.items())}
