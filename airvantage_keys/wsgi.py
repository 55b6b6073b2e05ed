"""What the server runs: Django's WSGI application, with a stricter request and a way of its own for the API."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpResponse
from django.urls import reverse
from django.utils.http import parse_header_parameters

from profiles.http import errors, parameters

from . import api_way, error_pages
from .exchange import READ_AT_MOST, REFUSED

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "airvantage_keys.settings")


class Request(WSGIRequest):
    """Django's request, but one that can be answered whatever its Content-Type is.

    Django lets an error in that header pass before any middleware can catch it (`charset*=x''y`), and decodes the
    URL by the codec it names, even `base64`. Here all is UTF-8, and a header that cannot be parsed is ignored.
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
        # The page itself says that a file is too large; it keeps no more of it than a picture may have.
        self._body_at_most = {reverse("picture-edit"): READ_AT_MOST}

    def body_at_most(self, path: str) -> int:
        """How many bytes of a body are taken at this address."""
        if api_way.is_api(path):
            return parameters.BODY_AT_MOST
        return self._body_at_most.get(path, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)

    def __call__(  # type: ignore[override]  # a list of bytes is what WSGI asks for, too
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if REFUSED in environ:
            request = Request(environ)
            return api_way.send(_refusal(request, environ[REFUSED]), request, start_response)
        if api_way.is_api(environ.get("PATH_INFO", "")):
            return api_way.call(Request(environ), start_response)
        return super().__call__(environ, start_response)


def _refusal(request: Request, status: int) -> HttpResponse:
    """The answer to a request that `exchange` did not receive completely."""
    path = request.path_info
    return errors.refused(path, status) if api_way.is_api(path) else error_pages.refused(request, status)


try:
    django.setup(set_prefix=False)
except ImproperlyConfigured as problem:
    # One sentence, which a traceback would hide.
    sys.exit(f"airvantage_keys: {problem}")
application = Application()
