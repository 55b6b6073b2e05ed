"""The two shapes of a JSON error, and which goes where.

- OAuth endpoints: `{"error", "error_description"}` (RFC 6749 section 5.2).
- All else under /api: `{"error": "<dotted.code>", "errorParameters": [...], "error_description"}`.

Both have a string `error`, which is what clients look at.
"""

from collections.abc import Iterable, Mapping

from django.db import DatabaseError, InterfaceError, OperationalError

from .calls import Answer, json

# Retry-After, in seconds, when the database cannot be reached: usually it is restarting or failing over.
RETRY_AFTER = 5
_READ_ONLY = "25006"  # PostgreSQL's read_only_sql_transaction, which its driver counts among internal errors


def oauth_error(error: str, description: str, *, status: int = 400, headers: Mapping[str, str] | None = None) -> Answer:
    """An error of an OAuth endpoint. `description` is ASCII without quotes or backslashes (RFC 6749 section 5.2)."""
    return json(
        {"error": error, "error_description": description},
        status=status,
        headers={"Cache-Control": "no-store", "Pragma": "no-cache", **(headers or {})},
    )


def api_error(
    status: int,
    code: str,
    description: str,
    *,
    parameters: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An error of the API. `code` is dotted; `parameters` are the values that the code is about."""
    return json(
        {"error": code, "errorParameters": list(parameters), "error_description": description},
        status=status,
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
    return api_error(404, "resource.unknown", "There is nothing at this address.")


def bad_request() -> Answer:
    return api_error(400, "request.malformed", "The request could not be read.")


def unavailable() -> Answer:
    return api_error(
        503,
        "server.unavailable",
        "The service cannot reach its database. Try again in a few seconds.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def internal() -> Answer:
    return api_error(500, "server.error", "Something went wrong on our side. It has been noted.")


# Why a request is refused before it is looked at -> the code of the API and what to do.
_REFUSALS = {
    400: ("request.malformed", "The body of the request was cut short, or its chunks are malformed."),
    408: ("request.timeout", "The body of the request did not come in time. Send it again."),
    413: ("request.too.long", "The body of the request is too long."),
    503: ("server.busy", "Too many requests are on their way. Try again in a few seconds."),
}


def refused(path: str, status: int) -> Answer:
    """The answer to a request that did not arrive completely."""
    code, description = _REFUSALS[status]
    return _by_path(path, status, code, description)


def insecure(path: str, missing: str) -> Answer:
    """The answer over http where the site is https: not a redirect, with which clients would keep using http."""
    description = "Use https. What was sent in clear may have been read: regenerate the secret key that was in it."
    if missing:
        description = f"This came through a proxy, and {missing} is missing: without it https cannot be told from http."
    return _by_path(path, 400, "connection.insecure", description)


def _by_path(path: str, status: int, code: str, description: str) -> Answer:
    """The error, in the shape of OAuth or of the API, whichever the path belongs to."""
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
    if path.startswith("/api/oauth/"):
        error = "temporarily_unavailable" if status == 503 else "invalid_request"
        return oauth_error(error, description, status=status, headers=headers)
    return api_error(status, code, description, headers=headers)
