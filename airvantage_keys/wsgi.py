"""What the server runs: Django's WSGI application, with one guard of ours and a short way for the API."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, cast

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import close_old_connections
from django.http import HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.http import parse_header_parameters

from . import middleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "airvantage_keys.settings")

# Ctrl-C reaches the server's worker processes too, and right after it the SIGTERM with which their parent
# stops them. A Granian worker that gets both may hang until it is killed, so it listens to SIGTERM only.
if multiprocessing.parent_process() is not None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])

Headers = list[tuple[str, str]]


class Request(WSGIRequest):
    """Django's request, but whatever Content-Type says, there is a request that can be answered.

    Django lets an error in that header pass before any middleware can catch it (`charset*=x''y`), and decodes the
    address by the codec it names, be it `base64`. Here all is UTF-8, and a header that cannot be read is none.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:
            self.content_type, self.content_params = "", {}


class Application(WSGIHandler):
    request_class = Request

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's own signature
        super().load_middleware(is_async)
        self._api_headers = {scheme: _headers_of_middleware(scheme) for scheme in ("http", "https")}

    def __call__(  # type: ignore[override]  # a list of bytes is what WSGI asks for, too
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request. The API's are answered right here, past Django's handler.

        Of what that does around a view the API needs four things, done below: the request, an error as JSON, the
        headers that every answer has, and that a connection to the database which failed or is old is closed. The rest
        costs more than the view does. The signals `request_started` and `request_finished` are of that rest.
        """
        if not middleware.is_api(environ.get("PATH_INFO", "")):
            return super().__call__(environ, start_response)
        # Before, not after: a connection that failed in the last request, and was well then, must be asked again now.
        close_old_connections()
        request = Request(environ)
        response = middleware.answer(request)
        start_response(
            f"{response.status_code} {response.reason_phrase}",
            [*response.items(), *self._api_headers["https" if request.is_secure() else "http"]],
        )
        return [response.content]


def _headers_of_middleware(scheme: str) -> Headers:
    """What the middleware before the API's place adds to an answer: it depends on nothing but the scheme."""
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/", "wsgi.url_scheme": scheme, "wsgi.input": BytesIO()}
    empty = middleware.security_headers(lambda _: HttpResponse())
    headers = cast("HttpResponse", SecurityMiddleware(XFrameOptionsMiddleware(empty))(Request(environ))).headers
    del headers["Content-Type"]
    return list(headers.items())


try:
    django.setup(set_prefix=False)
except ImproperlyConfigured as problem:
    # One sentence, which a traceback would hide.
    sys.exit(f"airvantage_keys: {problem}")
application = Application()
