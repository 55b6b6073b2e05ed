"""A request of the API and its answer, without Django's: most of what those can do, the API never asks for.

`Call` is made of a WSGI environment, which Django's request has too, so one function answers a call in both ways
(see `airvantage_keys.api_way`): `as_view` makes a Django view of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any

import msgspec
from django.core.exceptions import BadRequest
from django.core.handlers.wsgi import WSGIRequest, get_path_info
from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_header_parameters
from django.views.decorators.csrf import csrf_exempt

from . import proxies

JSON = "application/json"
CACHEABLE = {"Cache-Control": "public, max-age=3600"}
NO_STORE = {"Cache-Control": "no-store"}
USER_AGENT_LENGTH = 200

# Without spaces, because some clients cut the token out of the raw text; letters beyond ASCII stay as they are.
encoded = msgspec.json.encode


class Request(WSGIRequest):
    """Django's request, but one that can be answered whatever its Content-Type is.

    Django lets an error in that header pass before any middleware can catch it (`charset*=x''y`), and decodes the
    URL by the codec it names, even `base64`. Here all is UTF-8, and a header that cannot be parsed is ignored.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = _content_type(meta.get("CONTENT_TYPE", ""))


class Call:
    """A request of the API. Nothing but its method and path is looked at before somebody asks for it.

    `route` is that of the operation that answers, "-" before it is found, and `client_id` the client's, when it has
    proven itself: what the log and the metrics tell of the call.
    """

    __slots__ = ("client_id", "environ", "method", "path", "route")

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        path: str = environ["PATH_INFO"]
        self.path = path if path.isascii() else get_path_info(environ)
        self.route = "-"
        self.client_id = ""

    def header(self, name: str) -> str:
        """A header by its name in the environment (`HTTP_IF_NONE_MATCH`), or ""."""
        value: str = self.environ.get(name, "")
        return value

    @property
    def content_type(self) -> str:
        """The media type of the body, without its parameters; "" if it cannot be read."""
        return _content_type(self.environ.get("CONTENT_TYPE", ""))[0]

    def body(self, at_most: int) -> bytes:
        """The body, or its first `at_most` bytes. Where its length is no number, there is none, as Django has it."""
        length = self.environ.get("CONTENT_LENGTH") or "0"
        if not (length.isdecimal() and len(length) < 20):
            return b""
        try:
            read: bytes = self.environ["wsgi.input"].read(min(int(length), at_most))
        except OSError:  # the client has gone; not under our server, which has the whole body before
            raise BadRequest from None
        return read

    @property
    def is_secure(self) -> bool:
        return proxies.is_secure(self.environ)

    @property
    def address(self) -> str | None:
        """The address of the client, or None where there is none (a Unix socket)."""
        return proxies.client_address(self.environ)

    @property
    def user_agent(self) -> str:
        return fit_to_store(self.environ.get("HTTP_USER_AGENT", ""))

    def as_request(self) -> Request:
        """Django's request, for code that wants one. The body of this one is read already."""
        return Request(self.environ)


class Answer:
    """The answer to a call. `reason` is why it is a refusal, in a word, for the log and the metrics."""

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(self, body: bytes = b"", *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.body = body
        self.status = status
        self.reason = ""
        # Without the length the server would send chunks. What has none is no body (RFC 9110 section 8.6).
        length = {} if status == HTTPStatus.NOT_MODIFIED else {"Content-Length": str(len(body))}
        self.headers: dict[str, str] = {**length, **(headers or {})}

    def as_response(self) -> HttpResponse:
        response = HttpResponse(self.body, status=self.status, headers=self.headers)
        if "Content-Type" not in self.headers:  # Django has added one
            del response.headers["Content-Type"]
        return response


def json(data: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """JSON of dicts, lists and `msgspec.Struct`s."""
    return Answer(encoded(data), status=status, headers={"Content-Type": JSON, **(headers or {})})


def as_view(answer: Callable[..., Answer]) -> Callable[..., HttpResponse]:
    """A Django view of a function that answers a `Call`, which it has as `answer`; it lets in whom that does."""

    @csrf_exempt
    @wraps(answer)
    def view(request: HttpRequest, **arguments: str) -> HttpResponse:
        return answer(Call(request.META), **arguments).as_response()

    view.answer = answer  # type: ignore[attr-defined]
    return view


def fit_to_store(agent: str) -> str:
    """A User-Agent header, made fit to store and to log: one line of printable text, not too long, no credential."""
    from .. import credentials  # not at the top: it needs the settings, and the server imports this before it has them

    text: str = credentials.masked(agent)[:USER_AGENT_LENGTH]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def _content_type(header: str) -> tuple[str, dict[str, str]]:
    try:
        return parse_header_parameters(header)
    except ValueError:
        return "", {}
