"""What the server runs: Django's WSGI application, with a stricter request and a way of its own for the API."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.urls import reverse

from profiles.http import errors, parameters
from profiles.http.calls import Answer, Call, Request

from . import api_way, error_pages, request_ids, seen
from .exchange import READ_AT_MOST, REFUSED

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "airvantage_keys.settings")


class Application(WSGIHandler):
    request_class = Request

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's own signature
        super().load_middleware(is_async)
        self._body_at_most = {
            # The page itself says that a file is too large; it keeps no more of it than a picture may have.
            reverse("picture-edit"): READ_AT_MOST,
            reverse("api-credentials-revoke"): parameters.REPORT_AT_MOST,
        }

    def body_at_most(self, path: str) -> int:
        """How many bytes of a body are taken at this address."""
        of_the_place = parameters.BODY_AT_MOST if api_way.is_api(path) else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        return self._body_at_most.get(path, of_the_place)

    def is_probe(self, path: str) -> bool:
        return path in api_way.PROBES

    def __call__(  # type: ignore[override]  # a list of bytes is what WSGI asks for, too
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if REFUSED in environ:
            request_ids.begin(environ)
            call = Call(environ)
            return api_way.send(_refusal(call, environ[REFUSED]), call, start_response)
        if api_way.is_api(environ["PATH_INFO"]):
            return api_way.call(environ, start_response)
        return super().__call__(environ, start_response)


def _refusal(call: Call, status: int) -> Answer:
    """The answer to a request that `exchange` did not receive completely."""
    if api_way.is_api(call.path):
        answer = errors.refused(call.path, status)
        seen.call(call, answer, 0)
        return answer
    seen.page(status)
    page = error_pages.refused(call.as_request(), status)
    return Answer(page.content, status=status, headers=dict(page.items()))


try:
    django.setup(set_prefix=False)
except ImproperlyConfigured as problem:
    # One sentence, which a traceback would hide.
    sys.exit(f"airvantage_keys: {problem}")
seen.start_counting()
application = Application()
