"""Our own middlewares for pages: ids, proxies, caching, preferences, cross-site forms, NUL. See also `api_way`."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import get_callable, reverse
from django.utils import timezone, translation
from django.utils.cache import add_never_cache_headers

from profiles.http import proxies

from . import api_way, error_pages, request_ids, seen

if TYPE_CHECKING:
    from profiles.http.requests import GetResponse

READING = ("GET", "HEAD", "OPTIONS")


def seen_from_outside(get_response: GetResponse) -> GetResponse:
    """Give the request its id, and count the page."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request_id = request_ids.begin(request.META)
        response = get_response(request)
        response.headers[request_ids.HEADER] = request_id
        if not api_way.is_api(request.path_info):
            seen.page(response.status_code)
        return response

    return middleware


def explain_unknown_proxy(get_response: GetResponse) -> GetResponse:
    """Say what is missing where https ends at a proxy that is not configured: a redirect would loop."""

    def middleware(request: HttpRequest) -> HttpResponse:
        proxies.settle_scheme(request.META)
        if settings.HTTPS and not api_way.is_api(request.path_info) and (missing := proxies.missing(request.META)):
            response = error_pages.unknown_proxy(request, missing)
            for name, value in api_way.headers_of_every_answer("http"):
                response.headers[name] = value
            return response
        return get_response(request)

    return middleware


def no_store(get_response: GetResponse) -> GetResponse:
    """Forbid to store any answer, errors and redirects included (ASVS 14.3.2).

    Pages name their user, contain CSRF tokens, or have URLs that are credentials of one person. Only answers that are
    marked public are left as they are: the static files. The API sets its own headers (see `api_way.answer`).
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not api_way.is_api(request.path_info) and "public" not in response.get("Cache-Control", ""):
            add_never_cache_headers(response)
        return response

    return middleware


def user_preferences(get_response: GetResponse) -> GetResponse:
    """Use the language and the time zone that the user chose.

    In the admin site all times are in UTC, and it says so, because staff compare times of many people there.
    """
    from profiles.account import details  # not at the top: it needs the models

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
    """Refuse forms of other sites by the browser's own headers (ASVS 3.5.1), in addition to the CSRF token."""

    refused = get_callable(settings.CSRF_FAILURE_VIEW)

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.method not in READING and request.headers.get("Sec-Fetch-Site") == "cross-site":
            response: HttpResponse = refused(request)
            return response
        return get_response(request)

    return middleware


def no_nul(get_response: GetResponse) -> GetResponse:
    """Refuse a URL with a NUL, which PostgreSQL does not accept in text, before it is used in a query.

    No person types one. In a form, the field itself refuses it, so that the other fields keep what was typed.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if "\0" in request.path_info:
            raise Http404
        if any("\0" in text for name, values in request.GET.lists() for text in (name, *values)):
            return error_pages.bad_request(request)
        return get_response(request)

    return middleware
