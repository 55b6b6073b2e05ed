"""Who is asking? The access token of an API request (RFC 6750), and the refusal when there is no good one.

A view of the API is a function of an `ApiRequest`, which only `bearer` makes: its user is the owner of the key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import cast
from urllib.parse import parse_qsl

from django.http import HttpRequest, HttpResponse

from ..clients import tokens
from ..http.errors import api_error
from ..http.requests import client_address, user_agent
from ..http.urls import absolute_url
from ..models import User

logger = logging.getLogger(__name__)

REALM = "AirVantage API"
METHODS = ("GET", "HEAD")
PARAMETERS_AT_MOST = 50
# In an address they would be kept in logs and histories (RFC 6750 section 5.3, RFC 9700 section 4.3.2).
NEVER_IN_THE_ADDRESS = frozenset(("access_token", "client_secret", "refresh_token"))


class ApiRequest(HttpRequest):
    """A request with a live token. That it has `auth` tells it from a request of a browser session."""

    user: User
    auth: tokens.LiveToken
    parameters: Mapping[str, str]


class ApiError(Exception):
    """A request of the API that ends here, with the answer that says why."""

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
    """Let in a GET with a live access token whose effective rights include `right`.

    The token is looked up and its owner's rights are read at each request; nothing of that is remembered. A call
    that was answered counts as a use of the key; a refused one does not, whatever the reason.
    """

    def decorator(view: View) -> Callable[[HttpRequest], HttpResponse]:
        @wraps(view)
        def wrapper(request: HttpRequest) -> HttpResponse:
            try:
                allowed = _authenticated(request, right)
                response = view(allowed)
            except ApiError as refused:
                response = refused.response
            else:
                tokens.note_use(
                    key_id=allowed.auth.key_id, address=client_address(request), user_agent=user_agent(request)
                )
            response.headers["Cache-Control"] = "no-store"
            response.headers["Vary"] = "Authorization"
            return response

        return wrapper

    return decorator


def public(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let in any GET."""

    @wraps(view)
    def wrapper(request: HttpRequest) -> HttpResponse:
        return view(request) if request.method in METHODS else _method_not_allowed(request).response

    return wrapper


def _authenticated(request: HttpRequest, right: str | None) -> ApiRequest:
    """The request with its token, owner and parameters, or ApiError."""
    if request.method not in METHODS:
        raise _method_not_allowed(request)
    parameters = _parameters(request)
    if not NEVER_IN_THE_ADDRESS.isdisjoint(parameters) or _announces_form(request):
        raise _misplaced(parameters)
    scheme, _, value = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise _missing()
    token = tokens.find(value.strip())
    if token is None:
        logger.warning("token refused: path=%s address=%s", request.path, client_address(request) or "-")
        raise _invalid()
    if right is not None and right not in token.rights:
        raise insufficient(right)
    allowed = cast("ApiRequest", request)
    allowed.user = token.owner
    allowed.auth = token
    allowed.parameters = parameters
    return allowed


def _parameters(request: HttpRequest) -> dict[str, str]:
    """The parameters of the address, each at most once."""
    query = request.META.get("QUERY_STRING", "")
    if not query:
        return {}
    try:
        pairs = parse_qsl(
            query.encode("latin-1").decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=PARAMETERS_AT_MOST,
        )
    except ValueError:
        raise ApiError(
            400,
            "request.malformed",
            f"The address must be well-formed, in UTF-8, with at most {PARAMETERS_AT_MOST} parameters.",
        ) from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters:
            raise ApiError(400, "parameter.repeated", "A parameter may stand once only.", parameters=[name[:100]])
        parameters[name] = value
    return parameters


def _announces_form(request: HttpRequest) -> bool:
    """Whether a form comes in the body, where a token could be (RFC 6750 section 2.2). No body is ever read."""
    announced = request.META.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in request.META
    return announced and request.content_type == "application/x-www-form-urlencoded"


def _method_not_allowed(request: HttpRequest) -> ApiError:
    return ApiError(
        405,
        "method.not.allowed",
        "This address takes GET only.",
        parameters=[str(request.method)],
        headers={"Allow": ", ".join(METHODS)},
    )


def _misplaced(parameters: Mapping[str, str]) -> ApiError:
    description = "Send the access token in the Authorization header, and nowhere else."
    return ApiError(
        400,
        "token.misplaced",
        description,
        parameters=sorted(NEVER_IN_THE_ADDRESS.intersection(parameters)) or ["access_token"],
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


def _invalid() -> ApiError:
    description = "The access token is malformed, unknown, expired or revoked."
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
