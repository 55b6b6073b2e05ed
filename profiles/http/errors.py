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


REQUEST_MALFORMED = Code(
    "request.malformed", 400, "The query string or the body could not be read, or the body was cut short."
)
PARAMETER_REPEATED = Code("parameter.repeated", 400, "A parameter is sent more than once.", ("size",))
TOKEN_MISPLACED = Code(
    "token.misplaced",
    400,
    "A token or secret was sent in the query string or the body instead of the header.",
    ("access_token",),
)
CONNECTION_INSECURE = Code(
    "connection.insecure",
    400,
    "The request came over http. What was sent in clear may have been read: regenerate the secret key that was in it.",
)
TOKEN_MISSING = Code("token.missing", 401, "No access token was sent in the Authorization header.")
TOKEN_INVALID = Code(
    "token.invalid",
    401,
    "The access token is malformed, unknown, expired or revoked, or whom it acts as is switched off.",
)
RIGHT_MISSING = Code(
    "right.missing",
    403,
    "The token's effective rights do not include the right that is needed.",
    ("accountNetwork.users.view",),
)
ADDRESS_REFUSED = Code(
    "address.not.allowed",
    403,
    "The company allows its access tokens to be used from certain networks alone, and the request came from elsewhere.",
)
RESOURCE_UNKNOWN = Code("resource.unknown", 404, "There is nothing at this address.")
METHOD_NOT_ALLOWED = Code(
    "method.not.allowed", 405, "The address exists, but not for this method; see the header Allow.", ("POST",)
)
REQUEST_TIMEOUT = Code("request.timeout", 408, "The body of the request did not come in time. Send it again.")
REQUEST_TOO_LONG = Code("request.too.long", 413, "The body of the request is too long.")
SERVER_ERROR = Code("server.error", 500, "Something went wrong on our side.")
SERVER_UNAVAILABLE = Code("server.unavailable", 503, "The database cannot be reached; see the header Retry-After.")
DATABASE_READ_ONLY = Code("server.read.only", 503, "The database takes no changes at the moment.")
MIGRATIONS_PENDING = Code(
    "server.migrations.pending", 503, "The database is not yet what this version needs: migrations are pending."
)
CACHE_UNAVAILABLE = Code(
    "server.cache.unavailable", 503, "The cache cannot be reached, or its table in the database is missing."
)
STATIC_FILES_MISSING = Code(
    "server.static.missing", 503, "The files of the pages are missing, or were when the server began to use them."
)
SERVER_BUSY = Code("server.busy", 503, "Too many requests are on their way; see the header Retry-After.")

INVALID_REQUEST = Code(
    "invalid_request",
    400,
    "A parameter is missing, malformed, misplaced or sent more than once; or the body is too long, too slow or cut "
    "short; or the request came over http.",
)
INVALID_CLIENT = Code(
    "invalid_client",
    401,
    "No client credentials, or they are malformed or wrong, or the policy of the client's company refuses them.",
)
UNSUPPORTED_GRANT_TYPE = Code("unsupported_grant_type", 400, "grant_type is not client_credentials.")
INVALID_SCOPE = Code("invalid_scope", 400, "scope names a right that does not exist or that the access profile lacks.")
TOO_MANY_REQUESTS = Code(
    "too_many_requests",
    429,
    "Too many failed attempts of this client or from this address; see the header Retry-After.",
)
TEMPORARILY_UNAVAILABLE = Code(
    "temporarily_unavailable",
    503,
    "The database cannot be reached, or too many requests are on their way; see the header Retry-After.",
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
BAD_REQUEST = Refusal(
    "BadRequest", 400, NOT_WELL_MADE, (REQUEST_MALFORMED, PARAMETER_REPEATED, TOKEN_MISPLACED, CONNECTION_INSECURE)
)
UNAUTHORIZED = Refusal(
    "Unauthorized",
    401,
    "No access token, or one that is not active.",
    (TOKEN_MISSING, TOKEN_INVALID),
    {"WWW-Authenticate": "Bearer"},
)
ELSEWHERE = Refusal("Elsewhere", 403, "Not from this address.", (ADDRESS_REFUSED,), {"WWW-Authenticate": "Bearer"})
FORBIDDEN = Refusal(
    "Forbidden",
    403,
    "A right is missing, or the address is not allowed.",
    (RIGHT_MISSING, ADDRESS_REFUSED),
    {"WWW-Authenticate": "Bearer"},
)
NOT_FOUND = Refusal("NotFound", 404, "It does not exist, or you may not see it.", (RESOURCE_UNKNOWN,))
NOT_ALLOWED = Refusal("MethodNotAllowed", 405, "The method is not allowed.", (METHOD_NOT_ALLOWED,), {"Allow": "Allow"})
LATER = {"Retry-After": "RetryAfter"}
# Any address can answer so; then what a POST to any address can get, because its body has to arrive first.
ANYWHERE = (
    Refusal("Insecure", 400, "The request did not come over https.", (CONNECTION_INSECURE,)),
    Refusal("ServerError", 500, "Our fault.", (SERVER_ERROR,)),
    Refusal("Unavailable", 503, "Try again later.", (SERVER_UNAVAILABLE,), LATER),
)
TO_A_POST = (
    Refusal("Malformed", 400, NOT_WELL_MADE, (REQUEST_MALFORMED, CONNECTION_INSECURE)),
    Refusal("Timeout", 408, "The body did not come in time.", (REQUEST_TIMEOUT,)),
    Refusal("TooLong", 413, "The body is too long.", (REQUEST_TOO_LONG,)),
    Refusal("Busy", 503, "Try again later.", (SERVER_UNAVAILABLE, SERVER_BUSY), LATER),
)

# What `/readyz` answers, besides.
NOT_READY = Refusal(
    "NotReady",
    503,
    "The probe `/readyz`: this server cannot serve at the moment.",
    (SERVER_UNAVAILABLE, DATABASE_READ_ONLY, MIGRATIONS_PENDING, CACHE_UNAVAILABLE, STATIC_FILES_MISSING),
    LATER,
)


def refusals_of(method: str, own: Iterable[Refusal]) -> list[Refusal]:
    """All refusals of an operation, by status. Its own take the place of the common ones with the same status."""
    common = (*ANYWHERE, *TO_A_POST) if method == "POST" else ANYWHERE
    by_status = {refusal.status: refusal for refusal in (*common, *own)}
    return [by_status[status] for status in sorted(by_status)]


# --- Answers ----------------------------------------------------------------------------------------------


def oauth_error(
    code: Code, description: str, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """An error of an OAuth endpoint. `description` is ASCII without quotes or backslashes (RFC 6749 section 5.2)."""
    answer = json(
        OAuthError(code.code, description),
        status=status or code.status,
        headers={"Cache-Control": "no-store", "Pragma": "no-cache", **(headers or {})},
    )
    answer.reason = code.code
    return answer


def api_error(
    code: Code, description: str, *, parameters: Iterable[str] = (), headers: Mapping[str, str] | None = None
) -> Answer:
    """An error of the API; `parameters` are the values that the code is about."""
    answer = json(
        ApiError(code.code, list(parameters), description),
        status=code.status,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
    answer.reason = code.code
    return answer


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the database is down, read-only, locked or full: the request and the code are not at fault."""
    if isinstance(error, (OperationalError, InterfaceError)):
        return True
    return isinstance(error, DatabaseError) and getattr(error.__cause__, "sqlstate", None) == _READ_ONLY


def not_found() -> Answer:
    return api_error(RESOURCE_UNKNOWN, "There is nothing at this address.")


def bad_request(path: str) -> Answer:
    return _by_path(path, REQUEST_MALFORMED, "The request could not be read.")


def unavailable(path: str) -> Answer:
    return _by_path(path, SERVER_UNAVAILABLE, "The service cannot reach its database. Try again in a few seconds.")


def not_ready(code: Code) -> Answer:
    return api_error(code, code.meaning, headers={"Retry-After": str(RETRY_AFTER)})


def internal() -> Answer:
    return api_error(SERVER_ERROR, "Something went wrong on our side. It has been noted.")


# What `exchange` says of a request that did not arrive completely, and what is told of it.
_REFUSALS = {
    400: (REQUEST_MALFORMED, "The body of the request was cut short, or its chunks are malformed."),
    408: (REQUEST_TIMEOUT, REQUEST_TIMEOUT.meaning),
    413: (REQUEST_TOO_LONG, REQUEST_TOO_LONG.meaning),
    503: (SERVER_BUSY, "Too many requests are on their way. Try again in a few seconds."),
}


def refused(path: str, status: int) -> Answer:
    """The answer to a request that did not arrive completely."""
    return _by_path(path, *_REFUSALS[status])


def insecure(path: str, missing: str) -> Answer:
    """The answer over http where the site is https: not a redirect, with which clients would keep using http."""
    described = "Use https. What was sent in clear may have been read: regenerate the secret key that was in it."
    if missing:
        described = f"This came through a proxy, and {missing} is missing: without it https cannot be told from http."
    return _by_path(path, CONNECTION_INSECURE, described)


def _by_path(path: str, code: Code, description: str) -> Answer:
    """The error, in the shape of OAuth or of the API, whichever the path belongs to."""
    headers = {"Retry-After": str(RETRY_AFTER)} if code.status == 503 else {}
    if not path.startswith("/api/oauth/"):
        return api_error(code, description, headers=headers)
    shaped = TEMPORARILY_UNAVAILABLE if code.status == 503 else INVALID_REQUEST
    return oauth_error(shaped, description, status=code.status, headers=headers)
