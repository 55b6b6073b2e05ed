"""Who promises and does not send, or asks and does not read, waits alone: nobody else does."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from urllib.parse import urlencode

import pytest
import requests
from django.conf import settings
from PIL import Image
from urllib3 import encode_multipart_formdata

from .conftest import basic
from .server import HELD_AT_MOST, Server, running, sqlite_url
from .test_openapi import DOCUMENT, check, check_error, response_of
from .visitor import Visitor

pytestmark = pytest.mark.server

WITHIN = 2  # seconds
TRIES = 3  # at one of which the machine is not busy with something else
BODY = b"grant_type=client_credentials"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
MULTIPART = b"Content-Type: multipart/form-data; boundary=x\r\n"
LENGTH = b"Content-Length: 1000\r\n"
BASIC = b"Authorization: {basic}\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n"
COOKIES = b"Cookie: csrf=" + b"c" * 32 + b"; session=" + b"s" * 32 + b"\r\n"


def post(path: str, *headers: bytes, begun: bytes = b"") -> bytes:
    return b"POST " + path.encode() + b" HTTP/1.1\r\nHost: {host}\r\n" + b"".join(headers) + b"\r\n" + begun


STALLED = {
    "nothing at all": b"",
    "half an address": b"GET /li",
    "half of the headers": b"GET /livez HTTP/1.1\r\nHost: {host}\r\nX: ",
    "a token request without its form": post("/api/oauth/token", FORM, LENGTH),
    "a token request with half its form": post("/api/oauth/token", FORM, LENGTH, begun=BODY[:9]),
    "a token request with the secret and half its form": post("/api/oauth/token", BASIC, FORM, LENGTH, begun=BODY[:9]),
    "a token request before its chunks": post("/api/oauth/token", FORM, CHUNKS),
    "a token request in the middle of a chunk": post("/api/oauth/token", FORM, CHUNKS, begun=b"1d\r\ngrant"),
    "a token request between two chunks": post("/api/oauth/token", FORM, CHUNKS, begun=b"5\r\ngrant\r\n"),
    "a token request that waits to be asked": post("/api/oauth/token", FORM, LENGTH, b"Expect: 100-continue\r\n"),
    "a token request of HTTP/1.0": post("/api/oauth/token", FORM, LENGTH).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a revocation": post("/api/oauth/revoke", FORM, LENGTH, begun=b"token="),
    "an introspection": post("/api/oauth/introspect", FORM, LENGTH, begun=b"token="),
    "a call with a body": post("/api/v1/users/current", FORM, LENGTH).replace(b"POST", b"GET"),
    "a call with a token and a body": post(
        "/api/v1/users", b"Authorization: Bearer {token}\r\n", FORM, LENGTH, begun=b"access_token="
    ).replace(b"POST", b"GET"),
    "a call that deletes": post("/api/v1/users", LENGTH).replace(b"POST", b"DELETE"),
    "a probe with a body": post("/livez", LENGTH),
    "an address that is none": post("/api/nothing", LENGTH),
    "a page that is none": post("/nothing/", FORM, LENGTH),
    "a sign-in": post("/accounts/login/", FORM, LENGTH, begun=b"login="),
    "a sign-in with cookies": post("/accounts/login/", FORM, LENGTH, COOKIES, begun=b"csrfmiddlewaretoken="),
    "a sign-in in chunks": post("/accounts/login/", FORM, CHUNKS, COOKIES, begun=b"5\r\nlogin"),
    "an administrator's sign-in": post("/admin/login/", FORM, LENGTH, COOKIES),
    "a click on Create": post("/profile/api-key/create/", FORM, LENGTH, b"Cookie: {cookie}\r\n"),
    "a picture": post("/profile/picture/", MULTIPART, b"Content-Length: 700000\r\n", begun=b"--x\r\n" + b"x" * 100_000),
    "a static file": post("/static/css/site.css", LENGTH),
}


class Site:
    """A running site with a key, and what stalled senders show."""

    def __init__(self, server: Server) -> None:
        self.server = server
        visitor = Visitor(server.url).sign_in("user@demo.example")
        self.client_id, self.secret = visitor.regenerate() if visitor.has_key() else visitor.create()
        self.shown = {
            "host": f"127.0.0.1:{server.port}",
            "basic": basic(self.client_id, self.secret),
            "token": self.token().json()["access_token"],
            "cookie": "; ".join(f"{name}={value}" for name, value in visitor.session.cookies.items()),
        }

    def filled(self, request: bytes) -> bytes:
        for name, value in self.shown.items():
            request = request.replace(b"{%b}" % name.encode(), value.encode())
        return request

    def token(self, timeout: float = 60) -> requests.Response:
        form = {"grant_type": "client_credentials"}
        address, credentials = f"{self.server.url}/api/oauth/token", (self.client_id, self.secret)
        return requests.post(address, form, auth=credentials, timeout=timeout)

    def sign_in(self, timeout: float) -> requests.Response:
        """Open the page and send the form, as a browser does that was never here."""
        session, address = requests.Session(), f"{self.server.url}/accounts/login/"
        page = session.get(address, timeout=timeout)
        [token] = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text))
        # No password takes part, whose slow hash is not what is measured; the form is read and answered all the same.
        form = {"csrfmiddlewaretoken": token, "login": "nobody@demo.example", "password": ""}
        return session.post(address, form, headers={"Referer": address}, timeout=timeout)

    def assert_answers(self) -> None:
        def get(path: str) -> Callable[[float], requests.Response]:
            return lambda timeout: requests.get(self.server.url + path, timeout=timeout)

        assert within(get("/livez")).status_code == 200
        assert within(get("/readyz")).status_code == 200
        assert within(get("/accounts/login/")).status_code == 200
        assert within(self.sign_in).status_code in (200, 422)
        assert within(self.token).status_code == 200


def within(ask: Callable[[float], requests.Response]) -> requests.Response:
    for _ in range(TRIES - 1):
        try:
            return ask(WITHIN)
        except requests.RequestException:
            continue
    return ask(WITHIN)


@contextmanager
def connections(server: Server, requests_begun: list[bytes]) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connection(server, begun)) for begun in requests_begun]


def connection(server: Server, begun: bytes) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    made.sendall(begun)
    return made


@pytest.fixture(scope="module")
def sites() -> dict[int, Site]:
    return {}


@pytest.fixture
def site(server, sites) -> Site:
    # Other tests use this server, too, and change the key.
    if server.port not in sites or not sites[server.port].token().ok:
        sites[server.port] = Site(server)
    return sites[server.port]


@pytest.mark.parametrize("what", STALLED)
def test_sixty_of_a_kind_keep_nobody_waiting(site, what):  # security 75
    with connections(site.server, [site.filled(STALLED[what])] * 60):
        site.assert_answers()


@pytest.mark.parametrize("count", [8, 20, 300])
def test_stalled_senders_of_all_kinds_keep_nobody_waiting(site, count):  # security 75
    kinds = [site.filled(begun) for begun in STALLED.values()]
    with connections(site.server, (kinds * count)[:count]):
        site.assert_answers()


def test_readers_who_take_nothing_keep_nobody_waiting(site):  # security 75
    """They ask for a large file, more often than fits between the two, and never read."""
    files = json.loads((settings.STATIC_ROOT / "staticfiles.json").read_text())["paths"]
    asked = f"GET /static/{files['admin/js/vendor/xregexp/xregexp.js']} HTTP/1.1\r\nHost: {{host}}\r\n\r\n" * 100
    with connections(site.server, [site.filled(asked.encode())] * 60):
        site.assert_answers()


EVENTS = """
from copy import copy
from profiles.models import KeyEvent
one = KeyEvent.objects.first()
one.pk, one.user_agent = None, "x" * 200
KeyEvent.objects.bulk_create([copy(one) for _ in range(40_000)], batch_size=1000)
"""


def test_nor_do_readers_of_an_answer_that_has_no_end_yet(sqlite_server):  # security 75
    """Exported events are made as they are read: of ten megabytes a stalled reader takes less than half."""
    site = Site(sqlite_server)
    site.server.manage("shell", "-c", EVENTS)
    administrator = Visitor(site.server.url).sign_in("admin@demo.example")
    cookie = "; ".join(f"{name}={value}" for name, value in administrator.session.cookies.items())
    export = f"GET /admin/profiles/keyevent/export/ HTTP/1.1\r\nHost: {{host}}\r\nCookie: {cookie}\r\n\r\n"
    with connections(site.server, [site.filled(export.encode())] * 12) as readers:
        for reader in readers:
            assert reader.recv(15) == b"HTTP/1.1 200 OK"
        requests.get(f"{site.server.url}/livez", timeout=60)  # until what fits is made; that is work, and no waiting
        site.assert_answers()
        whole = b""
        while not whole.endswith(b"\r\n0\r\n\r\n"):  # who reads at last gets all of it
            whole += readers[0].recv(1 << 20)
    assert whole.count(b"x" * 200) >= 40_000


# --- What becomes of them ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The running site, with one second for a body instead of twenty, and little room for those on their way."""
    folder = tmp_path_factory.mktemp("impatient")
    server = Server(folder, sqlite_url(folder))
    server.prepare()
    server.start(impatient=True)
    yield server
    server.stop()


def answer(server: Server, *sent: bytes) -> tuple[int, bytes]:
    """The status and all else that comes until the server closes the connection."""
    with connection(server, b"".join(sent)) as made:
        received = b""
        while data := made.recv(1 << 16):
            received += data
    assert received.startswith(b"HTTP/1.1 "), received
    return int(received[9:12]), received


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/api/oauth/token", rb'{"error":"invalid_request","error_description":"The body [^"]*"}$'),
        ("/api/v1/users", rb'{"error":"request.timeout","errorParameters":\[\],"error_description":"The body [^"]*"}$'),
        ("/accounts/login/", rb"<h1>The request took too long</h1>"),
        ("/profile/picture/", rb"<h1>The request took too long</h1>"),
    ],
)
def test_a_body_that_does_not_come_is_given_up(impatient_server, path, shape):  # security 75
    host = f"127.0.0.1:{impatient_server.port}".encode()
    status, received = answer(impatient_server, post(path, FORM, LENGTH, begun=b"a").replace(b"{host}", host))
    assert status == 408
    assert b"\r\nconnection: close\r\n" in received
    assert b"\r\ncontent-security-policy: default-src 'none'" in received
    assert b"no-store" in received
    assert re.search(shape, received), received


A_PART = HELD_AT_MOST + 1000
REFUSED_EARLY = {
    "too slow": (408, "request.timeout", [LENGTH], b"a"),
    "too long": (413, "request.too.long", [b"Content-Length: 17000000\r\n"], b""),
    "too many on their way": (503, "server.busy", [b"Content-Length: 16000\r\n"], b"a" * A_PART),
    "no chunks": (400, "request.malformed", [CHUNKS], b"zz\r\nabc\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("path", [*DOCUMENT["paths"], "/api/nothing", "/livez"])
@pytest.mark.parametrize("why", REFUSED_EARLY)
def test_what_is_refused_before_it_is_read_is_in_the_document(impatient_server, path, why):
    status, code, headers, body = REFUSED_EARLY[why]
    host = f"127.0.0.1:{impatient_server.port}".encode()
    request = post(re.sub("{.*?}", "0", path), FORM, *headers, begun=body).replace(b"{host}", host)
    answered, received = answer(impatient_server, request)
    assert answered == status
    head, _, sent = received.partition(b"\r\n\r\n")
    assert (b"\r\nretry-after: " in head.lower()) == (status == 503)
    error = json.loads(sent)
    if path.startswith("/api/oauth/"):
        assert error["error"] == ("temporarily_unavailable" if status == 503 else "invalid_request")
        check(error, response_of(path, "post", status)["content"]["application/json"]["schema"])
    else:
        assert error["error"] == code
        check_error(error)


def test_the_page_about_it_is_in_the_language_of_the_browser(impatient_server):
    french = post("/accounts/login/", FORM, LENGTH, b"Accept-Language: fr\r\n")
    _, received = answer(impatient_server, french.replace(b"{host}", f"127.0.0.1:{impatient_server.port}".encode()))
    assert b'<html lang="fr"' in received


def test_a_server_that_is_stopped_does_not_wait_for_them(tmp_path):
    with running(tmp_path, sqlite_url(tmp_path)) as server:
        begun = post("/api/oauth/token", FORM, LENGTH).replace(b"{host}", b"127.0.0.1")
        with connections(server, [begun] * 20):
            started = time.monotonic()
            server.stop()
            assert time.monotonic() - started < 20  # seconds: less than a body has
    assert "refused to gracefully stop" not in server.log.read_text()


# --- What is still taken ----------------------------------------------------------------------------------


def in_chunks(body: bytes, size: int) -> bytes:
    parts = [body[place : place + size] for place in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_form_in_chunks_is_taken(site, size):  # contract: POST form
    request = site.filled(post("/api/oauth/token", BASIC, FORM, CHUNKS, b"Connection: close\r\n"))
    status, received = answer(site.server, request, in_chunks(BODY, size))
    assert (status, b'"access_token":"avt_' in received) == (200, True)


def test_a_page_takes_a_form_in_chunks(site):
    visitor = Visitor(site.server.url)
    form = visitor.form("/accounts/login/", "/accounts/login/").fields | {
        "login": "nobody@demo.example",
        "password": "x",
    }
    body = urlencode(form).encode()
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.session.cookies.items()).encode()
    request = post("/accounts/login/", FORM, CHUNKS, b"Cookie: " + cookie + b"\r\nConnection: close\r\n")
    status, received = answer(site.server, site.filled(request), in_chunks(body, 40))
    assert status in (200, 422)
    assert b"nobody@demo.example" in received


@pytest.mark.parametrize("coding", ["length", "chunks"])
@pytest.mark.parametrize(("size", "expected"), [(16384, 200), (16385, 413), (5_000_000, 413)])
def test_a_body_is_as_long_as_it_may_be_however_it_comes(site, coding, size, expected):
    body = BODY + b"&pad=" + b"x" * (size - len(BODY) - 5)
    head = {"length": b"Content-Length: %d\r\n" % size, "chunks": CHUNKS}[coding]
    request = site.filled(post("/api/oauth/token", BASIC, FORM, b"Connection: close\r\n", head))
    status, received = answer(site.server, request, in_chunks(body, 10_000) if coding == "chunks" else body)
    assert status == expected
    if expected == 413:
        assert received.endswith(
            b'{"error":"invalid_request","error_description":"The body of the request is too long."}'
        )


def test_a_body_of_which_too_much_is_announced_is_refused_at_once(site):
    request = post("/api/oauth/token", FORM, b"Content-Length: 17000000\r\n", b"Expect: 100-continue\r\n")
    status, received = answer(site.server, site.filled(request))
    assert (status, b"100 Continue" in received) == (413, False)


def test_a_body_that_is_cut_short_does_nothing(site):
    request = site.filled(post("/api/oauth/token", BASIC, FORM, CHUNKS))
    with connection(site.server, request + b"%x\r\n%b\r\n" % (len(BODY), BODY)) as made:
        made.shutdown(socket.SHUT_WR)
        received = made.recv(1 << 16)
    assert received == b"" or received.startswith(b"HTTP/1.1 400 "), received


def test_a_picture_from_a_slow_telephone_arrives(site):
    """With pauses, in more parts than one, with more than a form may have."""
    visitor = Visitor(site.server.url).sign_in("user@demo.example")
    form = visitor.form("/profile/picture/", "/profile/picture/").fields
    picture = noise()
    assert 300_000 < len(picture) < 750 * 1024
    body, content_type = encode_multipart_formdata({**form, "picture": ("p.png", picture)})
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.session.cookies.items()).encode()
    head = post(
        "/profile/picture/", b"Content-Type: " + content_type.encode() + b"\r\nContent-Length: %d\r\n" % len(body)
    )
    head = site.filled(head.replace(b"\r\n\r\n", b"\r\nCookie: " + cookie + b"\r\nConnection: close\r\n\r\n"))
    with connection(site.server, head) as made:
        for place in range(0, len(body), 50_000):
            made.sendall(body[place : place + 50_000])
            requests.get(f"{site.server.url}/livez", timeout=60)  # which takes a while
        received = made.recv(1 << 16)
    assert received.startswith(b"HTTP/1.1 302 "), received
    bearer = {"Authorization": f"Bearer {site.token().json()['access_token']}"}
    owner = requests.get(f"{site.server.url}/api/v1/users/current", headers=bearer, timeout=60).json()
    assert visitor.get("/api/v1" + owner["picture"]["normal"]).headers["Content-Type"] == "image/png"


def noise() -> bytes:
    file = BytesIO()
    Image.effect_noise((700, 700), 50).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("size", [800_000, 5_000_000])
def test_a_picture_that_is_too_large_is_told_so(site, size):
    """Not cut off: a browser that is still sending would show its own page of a broken connection."""
    visitor = Visitor(site.server.url).sign_in("user@demo.example")
    form = visitor.form("/profile/picture/", "/profile/picture/").fields
    response = visitor.session.post(
        f"{site.server.url}/profile/picture/",
        form,
        files={"picture": ("p.png", b"\x89PNG\r\n\x1a\n" + b"x" * size)},
        headers={"Referer": site.server.url},
        timeout=60,
    )
    assert response.status_code == 422
    assert "The file is larger than 750 KB. Choose a smaller one." in response.text


def test_a_form_that_is_too_long_is_refused(site):
    visitor = Visitor(site.server.url)
    form = visitor.form("/accounts/login/", "/accounts/login/").fields
    response = visitor.post("/accounts/login/", form | {"login": "x" * 1_000_000})
    assert response.status_code == 413
    assert "That is too much to send" in response.text
