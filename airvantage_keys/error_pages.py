"""Pages for errors that no view answers: rendered without request, session and database, any of which may be the cause.

Django's own pages read the submitted form, to make a CSRF token, and so fail again if the form was the error.
"""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import translation

from profiles.http import errors

from . import seen


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(400)


def server_error(request: HttpRequest) -> HttpResponse:
    """503 while the database is down, read-only, locked or full; else 500. Called while the error is being handled."""
    if errors.is_unavailable(sys.exc_info()[1]):
        seen.database_unavailable()
        return _page(503, {"Retry-After": str(errors.RETRY_AFTER)})
    return _page(500)


def refused(request: HttpRequest, status: int) -> HttpResponse:
    """The answer to a request that did not arrive completely (see `exchange`)."""
    with _language_of(request):
        if status == 503:
            return _page(503, {"Retry-After": str(errors.RETRY_AFTER)}, template="busy.html")
        return _page(status)


def unknown_proxy(request: HttpRequest, missing: str) -> HttpResponse:
    with _language_of(request):
        return _page(400, template="unknown_proxy.html", context={"missing": missing})


def _language_of(request: HttpRequest) -> translation.override:
    """The language, for a page that is answered before LocaleMiddleware has set it."""
    return translation.override(translation.get_language_from_request(request))


def _page(
    status: int,
    headers: dict[str, str] | None = None,
    *,
    template: str | None = None,
    context: dict[str, str] | None = None,
) -> HttpResponse:
    headers = {"Cache-Control": "no-store", **(headers or {})}
    content = render_to_string(template or f"{status}.html", context)
    return HttpResponse(content, status=status, headers=headers)
