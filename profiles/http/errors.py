"""The two shapes of a JSON error, which goes where, and what each code means.

- OAuth endpoints: `{"error", "error_description"}` (RFC 6749 section 5.2).
- All else under /api: `{"error": "<dotted.code>", "errorParameters": [...], "error_description"}`.

Both have a string `error`, which is what clients look at. Codes that belong to something narrower stand beside it, as
those of lists do in `api.listing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from django.db import DatabaseError, InterfaceError, OperationalError
from msgspec import Meta, Struct
from msgspec import field as member

from .calls import Answer, json
from .shapes import refers_to

# Retry-After, in seconds, when the database cannot be reached: usually it is restarting or failing over.
RETRY_AFTER = 5
_READ_ONLY = "25006"  # PostgreSQL's read_only_sql_transaction, which its driver counts among internal errors


# --- Codes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Code:
    """What is wrong. Clients compare the code; the meaning is for the documentation."""

    code: str
    status: int
    meaning: str
    example: tuple[str, ...] = ()
    """What `errorParameters` can be."""


REQUEST_MALFORMED = Code("request.malformed", 400, "The query string or the body could not be read.")
PARAMETER_REPEATED = Code("parameter.repeated", 400, "A parameter is sent more than once.", ("size",))
TOKEN_MISPLACED = Code(
    "token.misplaced",
    400,
    "A token or secret was sent in the query string or the body instead of the header.",
    ("access_token",),
)
TOKEN_MISSING = Code("token.missing", 401, "No access token was sent in the Authorization header.")
TOKEN_INVALID = Code(
    "token.invalid", 401, "The access token is malformed, unknown, expired or revoked, or its owner is inactive."
)
RIGHT_MISSING = Code(
    "right.missing",
    403,
    "The token's effective rights do not include the right that is needed.",
    ("accountNetwork.users.view",),
)
RESOURCE_UNKNOWN = Code("resource.unknown", 404, "There is nothing at this address.")
METHOD_NOT_ALLOWED = Code(
    "method.not.allowed", 405, "The address exists, but not for this method; see the header Allow.", ("POST",)
)
SERVER_ERROR = Code("server.error", 500, "Something went wrong on our side.")
SERVER_UNAVAILABLE = Code("server.unavailable", 503, "The database cannot be reached; see the header Retry-After.")

INVALID_REQUEST = Code("invalid_request", 400, "A parameter is missing, malformed, misplaced or sent more than once.")
INVALID_CLIENT = Code("invalid_client", 401, "No client credentials, or they are malformed or wrong.")
UNSUPPORTED_GRANT_TYPE = Code("unsupported_grant_type", 400, "grant_type is not client_credentials.")
INVALID_SCOPE = Code("invalid_scope", 400, "scope names a right that does not exist or that the owner lacks.")
TOO_MANY_REQUESTS = Code(
    "too_many_requests",
    429,
    "Too many failed attempts of this client or from this address; see the header Retry-After.",
)


# --- Shapes -----------------------------------------------------------------------------------------------


class ApiError(Struct, frozen=True):
    error: Annotated[str, refers_to("ApiErrorCode")]
    parameters: Annotated[
        list[str], Meta(description="What the code is about: a parameter's value or name, a right, a method.")
    ] = member(name="errorParameters")
    error_description: Annotated[str, Meta(description="A sentence for people.")]


class OAuthError(Struct, frozen=True):
    error: Annotated[str, refers_to("OAuthErrorCode")]
    error_description: Annotated[str, Meta(description="A sentence for people.")]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the document, by its name there. Of a header it has the name of the description in `openapi`."""

    name: str
    status: int
    description: str
    codes: tuple[Code, ...]
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> type[ApiError | OAuthError]:
        return ApiError if "." in self.codes[0].code else OAuthError

    @property
    def examples(self) -> dict[str, ApiError | OAuthError]:
        if self.shape is OAuthError:
            return {it.code: OAuthError(it.code, it.meaning) for it in self.codes}
        return {it.code: ApiError(it.code, list(it.example), it.meaning) for it in self.codes}


NOT_WELL_MADE = "The request is not well made."
BAD_REQUEST = Refusal("BadRequest", 400, NOT_WELL_MADE, (REQUEST_MALFORMED, PARAMETER_REPEATED, TOKEN_MISPLACED))
UNAUTHORIZED = Refusal(
    "Unauthorized",
    401,
    "No access token, or one that is not active.",
    (TOKEN_MISSING, TOKEN_INVALID),
    {"WWW-Authenticate": "Bearer"},
)
FORBIDDEN = Refusal("Forbidden", 403, "A right is missing.", (RIGHT_MISSING,), {"WWW-Authenticate": "Bearer"})
NOT_FOUND = Refusal("NotFound", 404, "It does not exist, or you may not see it.", (RESOURCE_UNKNOWN,))
NOT_ALLOWED = Refusal("MethodNotAllowed", 405, "The method is not allowed.", (METHOD_NOT_ALLOWED,), {"Allow": "Allow"})
# Any address can answer so.
ANYWHERE = (
    Refusal("ServerError", 500, "Our fault.", (SERVER_ERROR,)),
    Refusal("Unavailable", 503, "Try again later.", (SERVER_UNAVAILABLE,), {"Retry-After": "RetryAfter"}),
)


# --- Answers ----------------------------------------------------------------------------------------------


def oauth_error(
    code: Code, description: str, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """An error of an OAuth endpoint. `description` is ASCII without quotes or backslashes (RFC 6749 section 5.2)."""
    return json(
        OAuthError(code.code, description),
        status=status or code.status,
        headers={"Cache-Control": "no-store", "Pragma": "no-cache", **(headers or {})},
    )


def api_error(
    code: Code, description: str, *, parameters: Iterable[str] = (), headers: Mapping[str, str] | None = None
) -> Answer:
    """An error of the API; `parameters` are the values that the code is about."""
    return json(
        ApiError(code.code, list(parameters), description),
        status=code.status,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the database, or Redis, is down, read-only, locked or full: the request and the code are not at fault."""
    if isinstance(error, (OperationalError, InterfaceError)):
        return True
    if isinstance(error, DatabaseError):
        return getattr(error.__cause__, "sqlstate", None) == _READ_ONLY
    from redis.exceptions import RedisError  # not at the top: it is large, and not needed without Redis

    return isinstance(error, RedisError)


def not_found() -> Answer:
    return api_error(RESOURCE_UNKNOWN, "There is nothing at this address.")


def bad_request() -> Answer:
    return api_error(REQUEST_MALFORMED, "The request could not be read.")


def unavailable() -> Answer:
    return api_error(
        SERVER_UNAVAILABLE,
        "The service cannot reach its database. Try again in a few seconds.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def internal() -> Answer:
    return api_error(SERVER_ERROR, "Something went wrong on our side. It has been noted.")


# Why a request is refused before it is looked at: the code of the API, whose meaning is what to do.
_REFUSALS = {
    400: Code("request.malformed", 400, "The body of the request was cut short, or its chunks are malformed."),
    408: Code("request.timeout", 408, "The body of the request did not come in time. Send it again."),
    413: Code("request.too.long", 413, "The body of the request is too long."),
    503: Code("server.busy", 503, "Too many requests are on their way. Try again in a few seconds."),
}
_INSECURE = Code(
    "connection.insecure",
    400,
    "Use https. What was sent in clear may have been read: regenerate the secret key that was in it.",
)


def refused(path: str, status: int) -> Answer:
    """The answer to a request that did not arrive completely."""
    return _by_path(path, _REFUSALS[status], _REFUSALS[status].meaning)


def insecure(path: str, missing: str) -> Answer:
    """The answer over http where the site is https: not a redirect, with which clients would keep using http."""
    described = f"This came through a proxy, and {missing} is missing: without it https cannot be told from http."
    return _by_path(path, _INSECURE, described if missing else _INSECURE.meaning)


def _by_path(path: str, code: Code, description: str) -> Answer:
    """The error, in the shape of OAuth or of the API, whichever the path belongs to."""
    headers = {"Retry-After": str(RETRY_AFTER)} if code.status == 503 else {}
    if not path.startswith("/api/oauth/"):
        return api_error(code, description, headers=headers)
    unavailable = Code("temporarily_unavailable", 503, code.meaning)
    return oauth_error(
        unavailable if code.status == 503 else INVALID_REQUEST, description, status=code.status, headers=headers
    )
