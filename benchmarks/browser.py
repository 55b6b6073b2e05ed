"""The profile page as a browser gets it: the cookie of somebody signed in, and the bytes over the wire."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit

from .load import Request
from .machine import Failed

PAGE = "/profile/"
_REFERENCE = re.compile(r"""(?:href|src)="(/static/[^"]+)"|url\(["']?([^"')]+)""")


@dataclass(frozen=True)
class _Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    bytes: int  # status line, headers and body


def _get(url: str, path: str, headers: Mapping[str, str], body: str | None = None) -> _Response:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("GET" if body is None else "POST", path, body, dict(headers))
        response = connection.getresponse()
        content = response.read()
        head = sum(len(name) + len(value) + 4 for name, value in response.headers.items()) + 19
        return _Response(response.status, response.headers, content, head + len(content))
    finally:
        connection.close()


def _cookies(response: _Response) -> dict[str, str]:
    pairs = [header.partition(";")[0].partition("=") for header in response.headers.get_all("Set-Cookie", [])]
    return {name: value for name, _, value in pairs}


def sign_in(url: str, email: str, password: str) -> str:
    """Sign in by the form; the Cookie header of the session."""
    page = _get(url, "/accounts/login/", {})
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.body.decode())
    cookies = _cookies(page)
    headers = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": url,
    }
    form = {"login": email, "password": password, "csrfmiddlewaretoken": token[1] if token else ""}
    answer = _get(url, "/accounts/login/", headers, urlencode(form))
    if answer.status != 302:
        raise Failed(f"signing in was answered by {answer.status}")
    cookies |= _cookies(answer)
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def request(cookie: str) -> Request:
    return Request(PAGE, cookie=cookie)


def bytes_over_the_wire(url: str, cookie: str) -> tuple[int, int]:
    """Of a first visit to the profile page with all that it refers to, and of the next one."""
    asking = {"Accept-Encoding": "br, gzip", "Cookie": cookie}
    first = next_ = _get(url, PAGE, asking).bytes
    plain = _get(url, PAGE, {"Cookie": cookie})
    seen: set[str] = set()
    todo = _references(plain.body.decode(), PAGE)
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        asset = _get(url, path, asking)
        first += asset.bytes
        if "immutable" not in asset.headers.get("Cache-Control", ""):
            known = {"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"}
            held = {ask: asset.headers[told] for ask, told in known.items() if told in asset.headers}
            next_ += _get(url, path, asking | held).bytes
        if path.endswith(".css"):
            todo |= _references(_get(url, path, {}).body.decode(), path)
    return first, next_


def _references(text: str, base: str) -> set[str]:
    """All references, also those that a browser may not load (a font, another size of the icon)."""
    found = {urljoin(base, first or second) for first, second in _REFERENCE.findall(text)}
    return {path.partition("#")[0] for path in found if path.startswith("/static/")}
