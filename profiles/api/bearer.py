"""The access token of an API request (RFC 6750), and the refusal of a request without a valid one.

A view of the API is a function of an `ApiRequest`, which only `bearer` makes: its user is the owner of the key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import cast

from django.http import HttpRequest, HttpResponse

from ..clients import tokens, usage
from ..http import parameters
from ..http.access import Access, declares
from ..http.errors import api_error
from ..http.parameters import ParametersRefused, Wrong
from ..http.requests import client_address, origin_of_client
from ..http.urls import absolute_url
from ..models import ClientSecret, User

logger = logging.getLogger(__name__)

EndReason = ClientSecret.EndReason

REALM = "AirVantage API"
METHODS = ("GET", "HEAD")
# How a token has ended whose row still exists. Told only to a client that sends the token.
ENDED: dict[str, str] = {
    "expired": "expired",
    EndReason.REPLACED: "ended when the secret key was regenerated,",
    tokens.STOPPED: "ended when the old secret key stopped,",
    EndReason.ENDED: "ended when the old secret key was ended by its owner,",
    EndReason.DELETED: "ended when the key was deleted,",
    EndReason.REVOKED: "ended when the key was revoked,",
    EndReason.LEAKED: "ended when the secret key was reported as leaked,",
}


class ApiRequest(HttpRequest):
    """A request with an active token. It has `auth`; the request of a browser session does not."""

    user: User
    auth: tokens.ActiveToken
    parameters: Mapping[str, str]


class ApiError(Exception):
    """Ends a request of the API with this error response."""

    def __init__(
        self,
        status: int,
        code: str,
        description: str,
        *,
        parameters: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.response = api_error(status, code, description, parameters=parameters, headers=headers)


View = Callable[[ApiRequest], HttpResponse]


def bearer(*, right: str | None = None) -> Callable[[View], Callable[[HttpRequest], HttpResponse]]:
    """Let in a GET with an active access token whose effective rights include `right`.

    The token is looked up and its owner's rights are read at each request; nothing of that is cached. A successful
    call counts as a use of the key; a refused one does not, whatever the reason.
    """

    def decorator(view: View) -> Callable[[HttpRequest], HttpResponse]:
        @declares(Access.BEARER)
        @wraps(view)
        def wrapper(request: HttpRequest) -> HttpResponse:
            try:
                allowed = _authenticated(request, right)
                response = view(allowed)
            except ApiError as refused:
                response = refused.response
            else:
                usage.note_use(allowed.auth.client, origin_of_client(request))
            response.headers["Cache-Control"] = "no-store"
            response.headers["Vary"] = "Authorization"
            return response

        return wrapper

    return decorator


def public(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let in any GET."""

    @declares(Access.ANYONE)
    @wraps(view)
    def wrapper(request: HttpRequest) -> HttpResponse:
        return view(request) if request.method in METHODS else _method_not_allowed(request).response

    return wrapper


def _authenticated(request: HttpRequest, right: str | None) -> ApiRequest:
    """The request with its token, owner and parameters, or ApiError."""
    if request.method not in METHODS:
        raise _method_not_allowed(request)
    found = _parameters(request)
    scheme, _, value = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise _missing()
    token = tokens.look_up(value.strip())
    if not isinstance(token, tokens.ActiveToken):
        logger.warning("token refused: path=%s address=%s", request.path, client_address(request) or "-")
        raise _invalid(token)
    if right is not None and right not in token.rights:
        raise insufficient(right)
    allowed = cast("ApiRequest", request)
    allowed.user = token.owner
    allowed.auth = token
    allowed.parameters = found
    return allowed


def _parameters(request: HttpRequest) -> dict[str, str]:
    """The parameters of the query string. A form in the body is refused: a token could be in it, and none is read."""
    try:
        found = parameters.of_query(request, never=parameters.NEVER_IN_THE_QUERY, empty=True)
    except ParametersRefused as refused:
        raise _not_read(refused) from None
    if parameters.form_is_announced(request):  # RFC 6750 section 2.2
        raise _misplaced("access_token")
    return found


def _not_read(refused: ParametersRefused) -> ApiError:
    match refused.wrong:
        case Wrong.REPEATED:
            names = [name[:100] for name in refused.names]
            return ApiError(400, "parameter.repeated", "A parameter may stand once only.", parameters=names)
        case Wrong.MISPLACED:
            return _misplaced(*refused.names)
        case _:
            at_most = f"at most {parameters.PARAMETERS_AT_MOST} parameters"
            description = f"The {refused.place} must be well-formed form data in UTF-8, with {at_most}."
            return ApiError(400, "request.malformed", description)


def _method_not_allowed(request: HttpRequest) -> ApiError:
    return ApiError(
        405,
        "method.not.allowed",
        "This address takes GET only.",
        parameters=[str(request.method)],
        headers={"Allow": ", ".join(METHODS)},
    )


def _misplaced(*names: str) -> ApiError:
    description = "Send the access token in the Authorization header, and nowhere else."
    return ApiError(
        400,
        "token.misplaced",
        description,
        parameters=names,
        headers=_challenge(error="invalid_request", error_description=description),
    )


def _missing() -> ApiError:
    # No error code in the header when no token was shown (RFC 6750 section 3.1).
    return ApiError(
        401,
        "token.missing",
        "Send an access token: Authorization: Bearer <token>.",
        headers=_challenge(),
    )


def _invalid(end: tokens.End | None) -> ApiError:
    description = "The access token is malformed, unknown, expired or revoked."
    if end and end.reason in ENDED:
        description = f"The access token {ENDED[end.reason]} at {end.at:%Y-%m-%dT%H:%M:%SZ}."
    return ApiError(
        401,
        "token.invalid",
        description,
        headers=_challenge(error="invalid_token", error_description=description),
    )


def insufficient(right: str) -> ApiError:
    description = "The right that this address needs is missing."
    return ApiError(
        403,
        "right.missing",
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
