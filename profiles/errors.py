"""The two shapes of a JSON error, and which goes where.

- OAuth endpoints: `{"error", "error_description"}` (RFC 6749 section 5.2).
- All else under /api: `{"error": "<dotted.code>", "errorParameters": [...], "error_description"}`.

Both have a string `error`, which is what clients look at.
"""

import json
from collections.abc import Iterable, Mapping

from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpResponse

# Seconds after which to ask again when the database is away: it is most often started again or failed over.
RETRY_AFTER = 5
_READ_ONLY = "25006"  # PostgreSQL's read_only_sql_transaction, which its driver counts among internal errors


class CompactJsonResponse(HttpResponse):
    """JSON without blanks: some clients cut the token out of the raw text."""

    def __init__(self, data: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        content = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        super().__init__(content, status=status, content_type="application/json", headers=dict(headers or {}))
        # Django's CommonMiddleware, which is not on the way of the API, would set it: else the server sends chunks.
        self.headers["Content-Length"] = str(len(self.content))


def oauth_error(
    error: str, description: str, *, status: int = 400, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """An error of an OAuth endpoint. `description` is ASCII without quotes or backslashes (RFC 6749 section 5.2)."""
    return CompactJsonResponse(
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
) -> HttpResponse:
    """An error of the API. `code` is dotted; `parameters` are the values it speaks of."""
    return CompactJsonResponse(
        {"error": code, "errorParameters": list(parameters), "error_description": description},
        status=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the database, or Redis, is away, read-only, locked or full: no fault of the request, nor of the code."""
    if isinstance(error, (OperationalError, InterfaceError)):
        return True
    if isinstance(error, DatabaseError):
        return getattr(error.__cause__, "sqlstate", None) == _READ_ONLY
    from redis.exceptions import RedisError  # not earlier: it is large, and of no use to who has no Redis

    return isinstance(error, RedisError)


def not_found() -> HttpResponse:
    return api_error(404, "resource.unknown", "There is nothing at this address.")


def bad_request() -> HttpResponse:
    return api_error(400, "request.malformed", "The request could not be read.")


def unavailable() -> HttpResponse:
    return api_error(
        503,
        "server.unavailable",
        "The service cannot reach its database. Try again in a few seconds.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def internal() -> HttpResponse:
    return api_error(500, "server.error", "Something went wrong on our side. It has been noted.")
