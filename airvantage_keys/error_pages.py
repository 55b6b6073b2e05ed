"""Pages for errors that no view answers: rendered without request, session and database, any of which may be the cause.

Django's own read the form that was sent, to offer a CSRF token, and so fail a second time where that was the error.
"""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from profiles import errors


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(400)


def server_error(request: HttpRequest) -> HttpResponse:
    """503 while the database is away, read-only, locked or full; else 500. Called while the error is being handled."""
    if errors.is_unavailable(sys.exc_info()[1]):
        return _page(503, {"Retry-After": str(errors.RETRY_AFTER)})
    return _page(500)


def _page(status: int, headers: dict[str, str] | None = None) -> HttpResponse:
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return HttpResponse(render_to_string(f"{status}.html"), status=status, headers=headers)
