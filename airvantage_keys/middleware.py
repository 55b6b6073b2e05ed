"""Our own middlewares: proxies, headers, what may be kept, the short way of the API, cross-site forms, preferences."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC
from functools import lru_cache
from io import BytesIO
from typing import cast

from django.conf import settings
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.urls import get_callable, resolve, reverse
from django.utils import timezone, translation
from django.utils.cache import add_never_cache_headers

from profiles.http import errors, proxies

from . import error_pages

logger = logging.getLogger("django.request")

READING = ("GET", "HEAD", "OPTIONS")
PROBES = ("/livez", "/readyz")

GetResponse = Callable[[HttpRequest], HttpResponse]

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@lru_cache(maxsize=2)
def headers_of_all(scheme: str) -> dict[str, str]:
    """What the middlewares add to every answer, for one that does not pass them: it depends on the scheme alone."""
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/", "wsgi.url_scheme": scheme, "wsgi.input": BytesIO()}
    empty = security_headers(lambda _: HttpResponse())
    passed = SecurityMiddleware(XFrameOptionsMiddleware(empty))(WSGIRequest(environ))
    headers = dict(cast("HttpResponse", passed).items())
    del headers["Content-Type"]
    return headers


def proxies_told(get_response: GetResponse) -> GetResponse:
    """Say what is missing where https ends at a proxy that we do not know: a redirect would come back here for ever."""

    def middleware(request: HttpRequest) -> HttpResponse:
        proxies.settle_scheme(request.META)
        if settings.HTTPS and not is_api(request.path_info) and (missing := proxies.missing(request)):
            response = error_pages.unknown_proxy(request, missing)
            for name, value in headers_of_all("http").items():
                response.headers[name] = value
            return response
        return get_response(request)

    return middleware


def security_headers(get_response: GetResponse) -> GetResponse:
    """What Django's SecurityMiddleware does not send, on every answer (ASVS 3.4.3 to 3.4.8)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return middleware


def kept_by_nobody(get_response: GetResponse) -> GetResponse:
    """Forbid storing what is answered, errors and redirects included (ASVS 14.3.2).

    Pages name their user, carry CSRF tokens, or have links as addresses that are good for one person. Only what calls
    itself public is left as it is: the static files. The API says by itself what may be kept (see `answer`).
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not is_api(request.path_info) and "public" not in response.get("Cache-Control", ""):
            add_never_cache_headers(response)
        return response

    return middleware


def api_without_session(get_response: GetResponse) -> GetResponse:
    """Answer the API, the OAuth endpoints and the probes here, past all that pages need.

    A browser session cannot open the API when the API never sees a session (ASVS 7.2.2, 3.5.1), but for the picture,
    whose view asks for it (`api.users_picture`); and whatever happens there, the answer is JSON.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        return answer(request) if is_api(request.path_info) else get_response(request)

    return middleware


def user_preferences(get_response: GetResponse) -> GetResponse:
    """Speak the language that the user chose, and tell the time in their zone.

    In the admin site all times are in UTC, and it says so: there the times of many people are compared.
    """
    from profiles.account import details  # which needs the models

    def middleware(request: HttpRequest) -> HttpResponse:
        user = request.user
        if not user.is_authenticated:
            return get_response(request)
        language = user.language_read(otherwise=translation.get_language())
        translation.activate(language)
        request.LANGUAGE_CODE = language
        zone = UTC if request.path_info.startswith(reverse("admin:index")) else details.zone_of(user)
        with timezone.override(zone):
            return get_response(request)

    return middleware


def same_site_only(get_response: GetResponse) -> GetResponse:
    """Refuse what another site's page sends, as the browser itself says (ASVS 3.5.1); the token is a second lock."""

    refused = get_callable(settings.CSRF_FAILURE_VIEW)

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.method not in READING and request.headers.get("Sec-Fetch-Site") == "cross-site":
            response: HttpResponse = refused(request)
            return response
        return get_response(request)

    return middleware


def no_nul(get_response: GetResponse) -> GetResponse:
    """Refuse an address with a NUL, which PostgreSQL takes for no text, before anything looks for it.

    No person types one. In a form, each field refuses it by itself, so that what else was filled in is not lost.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if "\0" in request.path_info:
            raise Http404
        if any("\0" in text for name, values in request.GET.lists() for text in (name, *values)):
            return error_pages.bad_request(request)
        return get_response(request)

    return middleware


def is_api(path: str) -> bool:
    return path.startswith(("/api/", "/.well-known/")) or path == "/api" or path in PROBES


def answer(request: HttpRequest) -> HttpResponse:
    """The answer of the API: kept by nobody, unless its view says otherwise."""
    response = _answer(request)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _answer(request: HttpRequest) -> HttpResponse:
    proxies.settle_scheme(request.META)
    # The probes ask the port itself.
    if settings.HTTPS and not request.is_secure() and request.path_info not in PROBES:
        return errors.in_clear(request.path_info, proxies.missing(request))
    try:
        view, args, kwargs = _resolved(request.path_info)
        return view(request, *args, **kwargs)
    except Http404:
        return errors.not_found()
    except (BadRequest, SuspiciousOperation, UnreadablePostError):
        return errors.bad_request()
    except Exception as error:
        if errors.is_unavailable(error):
            logger.exception("database unavailable: %s", request.path)
            return errors.unavailable()
        got_request_exception.send(sender=None, request=request)
        logger.exception("unhandled: %s", request.path)
        return errors.internal()


# There are few addresses here, and each is the same view for ever. What is unknown raises, and so is not kept.
_resolved = lru_cache(maxsize=256)(resolve)
