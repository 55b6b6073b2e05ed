"""How requests of the API are answered: without Django's handler, and without the middleware that pages need.

This is for `/api`, `/.well-known` and the probes. A browser session cannot open the API when the API never sees a
session (ASVS 7.2.2, 3.5.1), but for the picture, whose view asks for it (`get_user_picture`). Whatever happens here,
the answer is JSON.

It has two entries: `call` from the server (`wsgi.Application`), and the middleware `api_without_session` where
Django's handler has the request, as under `runserver` and the tests' client. `tests/test_wsgi.py` checks that
both answer alike.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest
from django.core.signals import got_request_exception
from django.db import DEFAULT_DB_ALIAS, connections
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import resolve
from django.utils.module_loading import import_string

from profiles.http import errors, proxies
from profiles.http.calls import Answer, Call

from . import request_ids, seen

if TYPE_CHECKING:
    from profiles.http.requests import GetResponse

logger = logging.getLogger("django.request")


# --- Which requests ---------------------------------------------------------------------------------------

PROBES = ("/livez", "/readyz")


def is_api(path: str) -> bool:
    return path.startswith(("/api/", "/.well-known/")) or path == "/api" or path in PROBES


# --- The headers of every answer, pages included ----------------------------------------------------------

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


def security_headers(get_response: GetResponse) -> GetResponse:
    """Middleware: what Django's SecurityMiddleware does not send, on every answer (ASVS 3.4.3 to 3.4.8)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return middleware


@lru_cache(maxsize=2)
def headers_of_every_answer(scheme: str) -> tuple[tuple[str, str], ...]:
    """What `settings.HEADERS_MIDDLEWARE` adds to an answer, for an answer that does not pass that middleware.

    It depends on the scheme alone, so that it is computed once: by passing an empty answer through the middleware.
    """

    def empty(request: HttpRequest) -> HttpResponse:
        response = HttpResponse()
        del response.headers["Content-Type"]
        return response

    get_response: GetResponse = empty
    for name in reversed(settings.HEADERS_MIDDLEWARE):
        get_response = import_string(name)(get_response)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/", "wsgi.url_scheme": scheme, "wsgi.input": BytesIO()}
    return tuple(get_response(WSGIRequest(environ)).items())


# --- The two entries ---------------------------------------------------------------------------------------


def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer a request of the API as a WSGI application does.

    Of what Django's handler does around a view the API needs four things: the request, an error as JSON, the headers
    that every answer has, and that a database connection which failed or is old is closed. The rest, with the signals
    `request_started` and `request_finished`, costs more than the view does.
    """
    # Before the view, not after: after an error Django tests whether the connection still works, and it must work now.
    close_old_connection()
    request_ids.begin(environ)
    call = Call(environ)
    return send(answer(call), call, start_response)


def close_old_connection() -> None:
    """What Django's `close_old_connections` does at the beginning of a request."""
    connections[DEFAULT_DB_ALIAS].close_if_unusable_or_obsolete()


def send(answered: Answer, call: Call, start_response: Callable[..., Any]) -> list[bytes]:
    """Send an answer that passed no middleware."""
    headers = headers_of_every_answer("https" if call.is_secure else "http")
    request_id = (request_ids.HEADER, request_ids.current())
    start_response(_status_line(answered.status), [*answered.headers.items(), *headers, request_id])
    return [answered.body]


def api_without_session(get_response: GetResponse) -> GetResponse:
    """Middleware: answer requests of the API here, before the middleware that pages need."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not is_api(request.path_info):
            return get_response(request)
        return answer(Call(request.META)).as_response()

    return middleware


# --- The answer -------------------------------------------------------------------------------------------


def answer(call: Call) -> Answer:
    """The answer of the API: `no-store`, unless its operation says otherwise."""
    begun = perf_counter()
    answered = _answer(call)
    answered.headers.setdefault("Cache-Control", "no-store")
    if call.route not in PROBES:  # they come every few seconds, and are nobody's
        seen.call(call, answered, perf_counter() - begun)
    return answered


def _answer(call: Call) -> Answer:
    proxies.settle_scheme(call.environ)
    # Probes call the port directly, over http.
    if settings.HTTPS and not call.is_secure and call.path not in PROBES:
        return errors.insecure(call.path, proxies.missing(call.environ))
    try:
        operation, arguments, call.route = _resolved(call.path)
        return operation(call, **arguments)
    except Http404:
        return errors.not_found()
    except (BadRequest, SuspiciousOperation):
        return errors.bad_request(call.path)
    except Exception as error:
        if errors.is_unavailable(error):
            seen.database_unavailable()
            logger.exception("database unavailable: %s", call.path)
            return errors.unavailable(call.path)
        got_request_exception.send(sender=None, request=call.as_request())
        logger.exception("unhandled: %s", call.path)
        return errors.internal()


Found = tuple[Callable[..., Answer], dict[str, str], str]


def _resolved(path: str) -> Found:
    """What answers at this path, its arguments, and its route as the OpenAPI document has it. Raises Http404."""
    return _kept(path) if len(path) < _KEPT_AT_MOST else _found(path)


def _found(path: str) -> Found:
    found = resolve(path)
    answer: Callable[..., Answer] = found.func.answer  # type: ignore[attr-defined]  # `calls.as_view` sets it
    return answer, found.kwargs, "/" + re.sub(r"<str:(\w+)>", r"{\1}", found.route)


# What answers at an address never changes. Unknown ones raise, and so are not kept, and neither are long ones.
_KEPT_AT_MOST = 100  # characters
_kept = lru_cache(maxsize=256)(_found)


@lru_cache
def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
