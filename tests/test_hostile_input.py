"""Bad input of any kind gets a clear 4xx in the format of its surface, never a 5xx, and loses nothing (promise 7).

Hypothesis makes the requests and the WSGI application answers them in this process, which is fast enough for many
of them. The same requests each time; HOSTILE_EXAMPLES asks for so many others instead.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlencode

import pytest
from django.conf import settings as site
from django.core.signals import got_request_exception, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airvantage_keys.wsgi import application
from profiles import credentials
from profiles.clients import tokens
from profiles.http.parameters import BODY_AT_MOST
from profiles.models import KeyEvent, OAuthApplication, User

from .conftest import KeyPair, make_key, make_token, sign_in

OAUTH = ["/api/oauth/token", "/api/oauth/revoke", "/api/oauth/introspect"]
NEEDS_TOKEN = ["/api/v1/users/current", "/api/v1/users/rights", "/api/v1/users", "/api/v1/profiles"]
OPEN = [
    "/api/openapi.json",
    "/api/docs",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource",
    "/livez",
    "/readyz",
]
PAGES = [
    "/",
    "/accounts/login/",
    "/accounts/reauthenticate/",
    "/accounts/password/change/",
    "/accounts/password/reset/",
    "/accounts/password/reset/key/1-2/",
    "/profile/",
    "/profile/api-key/create/",
    "/profile/api-key/regenerate/",
    "/profile/api-key/delete/",
]
ADMIN_PAGES = [
    "/admin/",
    "/admin/login/",
    "/admin/profiles/user/",
    "/admin/profiles/company/",
    "/admin/profiles/accessprofile/",
    "/admin/profiles/keyevent/",
    "/admin/profiles/accesstoken/",
    "/admin/profiles/oauthapplication/",
    "/admin/profiles/user/add/",
]

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning"),  # a long request is long to read
]

T = TypeVar("T")

_examples = os.environ.get("HOSTILE_EXAMPLES")
hostile = settings(
    max_examples=int(_examples or 100),
    derandomize=_examples is None,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # making a failing request small takes minutes; it can be read as it is
    # One key and one token for all requests: that they are still there in the end is the point.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass
class Request:
    """A request as a WSGI server hands it on: header values and the query are bytes, written as latin-1."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: str | None = None  # what Content-Length says; None says the truth

    def environ(self) -> dict[str, object]:
        environ: dict[str, object] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": self.query,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "REMOTE_ADDR": "192.0.2.1",
            "HTTP_HOST": "127.0.0.1:8000",
            "CONTENT_LENGTH": str(len(self.body)) if self.length is None else self.length,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(self.body),
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        return environ


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    content: bytes
    failure: BaseException | None  # what made it a 500

    def __getitem__(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())


def send(request: Request) -> Answer:
    answers: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
        answers.append((status, headers))
        return sys.stdout.buffer.write  # never called

    failures: list[BaseException | None] = [None]

    def note(**kwargs: object) -> None:
        failures.append(sys.exc_info()[1])

    got_request_exception.connect(note)
    # It would close the connection that holds the test's data. Each time: Django's test client connects it again.
    request_started.disconnect(close_old_connections)
    try:
        content = b"".join(application(request.environ(), start_response))
    finally:
        request_started.connect(close_old_connections)
        got_request_exception.disconnect(note)
    ((status, headers),) = answers
    return Answer(int(status[:3]), headers, content, failures[-1])


# --- What can be sent ---------------------------------------------------------------------------------------

# What gets through an HTTP server in a header: any byte but the control characters.
latin_1 = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=200)
anything = st.one_of(st.text(max_size=50), st.text("\0\r\n\t\"'%&=+;[]{}<>\\\ufeff\u202e\U0001f511é", max_size=20))
long = st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=3), st.integers(1, 20_000))
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]) | st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabc!#$%&'*+-.^_`|~0123456789", min_size=1, max_size=20
)
charsets = st.sampled_from(
    ["utf-8", "utf-16", "utf-7", "latin-1", "base64", "zlib", "idna", "undefined", "unicode_escape", "rot13", "", "é"]
)
content_types = st.one_of(
    st.just("application/x-www-form-urlencoded"),
    st.builds(
        "{}{}charset{}{}".format,
        st.sampled_from(["application/x-www-form-urlencoded", "APPLICATION/X-WWW-FORM-URLENCODED ", "text/plain"]),
        st.sampled_from([";", "; ", ";;"]),
        st.sampled_from(["=", "*=", "*0*=", '="', "*=nonsense''", "*=utf-8''%00", "*=nonsense'en'%41"]),
        charsets,
    ),
    st.sampled_from(["multipart/form-data", "multipart/form-data; boundary=x", "application/json", "text/html", ""]),
    latin_1,
)
other_headers = st.dictionaries(
    st.sampled_from(
        [
            "Host",
            "Accept",
            "Accept-Language",
            "Accept-Encoding",
            "Content-Encoding",
            "Cookie",
            "Origin",
            "Referer",
            "Range",
            "If-None-Match",
            "If-Modified-Since",
            "Transfer-Encoding",
            "User-Agent",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Http-Method-Override",
            "HX-Request",
            "HX-Current-Url",
        ]
    ),
    latin_1,
    max_size=4,
)
lengths: st.SearchStrategy[str | None] = st.sampled_from(
    ["", "0", "1", "-1", "1e3", "99999999999999999999", "abc", "१"]
)


def mostly(good: st.SearchStrategy[T], other: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Three times in four the good: where all that is sent is bad, the first thing that is looked at refuses it."""
    return st.integers(0, 3).flatmap(lambda number: good if number else other)


def encoded(pairs: list[tuple[str, str]]) -> bytes:
    return urlencode(pairs, errors="surrogatepass").encode()


def forms(
    names: list[str], values: dict[str, st.SearchStrategy[str]], needed: tuple[str, ...] = ()
) -> st.SearchStrategy[bytes]:
    """Form data: known names with good and bad values, repeated, nested, misencoded; and no form at all."""
    name = st.sampled_from([*names, *(f"{name}[]" for name in names), *(f"{name}[a][b]" for name in names)]) | anything
    pair = name.flatmap(lambda name: st.tuples(st.just(name), values.get(name, st.nothing()) | anything | long))
    some = {name: value for name, value in values.items() if name not in needed}
    good = st.fixed_dictionaries({name: values[name] for name in needed}, optional=some)
    return mostly(
        good.map(lambda fields: encoded(list(fields.items()))),
        st.one_of(
            st.builds(lambda fields, more: encoded([*fields.items(), *more]), good, st.lists(pair, max_size=3)),
            st.lists(pair, max_size=60).map(encoded),
            st.lists(st.binary(max_size=20).map(quote_from_bytes), max_size=10).map("&".join).map(str.encode),
            st.binary(max_size=200),
            st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=8), st.integers(1, 20_000)),
        ),
    )


def queries(names: list[str]) -> st.SearchStrategy[str]:
    return st.just("") | forms(names, {}).map(lambda data: data[: 1 << 16].decode("latin-1")) | latin_1


def authorizations(good: list[str]) -> st.SearchStrategy[dict[str, str]]:
    value = st.one_of(
        st.sampled_from(good),
        st.builds("{}{}{}".format, st.sampled_from(["Basic", "bAsIc", "Bearer", "Digest", ""]), latin_1, latin_1),
        st.binary(max_size=100).map(lambda data: "Basic " + base64.b64encode(data).decode()),
        st.builds(
            lambda client_id, secret: "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode(),
            st.just("0" * 32) | st.text(st.characters(exclude_categories=["Cs"])),
            st.just(credentials.new_secret()) | st.text(st.characters(exclude_categories=["Cs"])) | st.just("%00%ff"),
        ),
        st.sampled_from(good).map(lambda text: text + "é"),
        long.map(lambda text: "Bearer " + text.encode("utf-8", "replace").decode("latin-1")),
        latin_1,
    )
    return st.just({}) | value.map(lambda text: {"Authorization": text})


paths = st.one_of(
    st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=50),
    st.binary(max_size=20).map(lambda data: data.decode("latin-1")),
    st.lists(
        st.sampled_from(
            ["api", "v1", "users", "current", "oauth", "token", "..", ".", "", "%2e", "profile", "\0", "é"]
        ),
        max_size=6,
    ).map("/".join),
).map(lambda text: unquote_to_bytes(text.encode("latin-1")).decode("latin-1"))


# --- What must hold of every answer -------------------------------------------------------------------------


def assert_of_its_surface(request: Request, answer: Answer) -> None:
    """The format of errors in the API and OAuth, and what no answer may do."""
    assert answer.status < 500, (answer.failure, request)
    assert not answer["Set-Cookie"]
    for name, value in answer.headers:
        assert not set("\r\n\0").intersection(name + value)
    if request.method == "HEAD":
        return
    if answer.status < 400 and request.path == "/api/docs":
        assert answer["Content-Type"].startswith("text/html")
        return
    assert answer["Content-Type"] == "application/json"
    body = json.loads(answer.content)
    if answer.status < 400:
        return
    assert isinstance(body["error"], str)
    assert isinstance(body["error_description"], str)
    is_oauth = request.path in OAUTH
    assert set(body) == {"error", "error_description"} | (set() if is_oauth else {"errorParameters"})
    if not is_oauth:
        assert all(isinstance(parameter, str) for parameter in body["errorParameters"])
    assert bool(answer["WWW-Authenticate"]) >= (answer.status == 401)
    if answer.status == 401:
        assert answer["WWW-Authenticate"].startswith("Basic " if is_oauth else "Bearer ")
    assert bool(answer["Allow"]) == (answer.status == 405)
    assert bool(answer["Retry-After"]) == (answer.status == 429)


@pytest.fixture
def bystander(other_user: User) -> KeyPair:
    """Somebody else's key, whose credentials are in no request."""
    return make_key(other_user)


@pytest.fixture
def unharmed(user: User, key: KeyPair, token: str, bystander: KeyPair) -> Callable[[], None]:
    """To be called in the end: nobody's key or token has suffered."""
    other = make_token(bystander)

    def check() -> None:
        for pair, kept in ((key, token), (bystander, other)):
            assert tokens.authenticate(client_id=pair.client_id, secret=pair.secret)
            assert tokens.find(kept)
        user.refresh_from_db()
        assert user.key_version == 1
        assert OAuthApplication.objects.count() == 2
        assert set(KeyEvent.objects.values_list("action", flat=True)) == {KeyEvent.Action.CREATED}

    return check


# --- The tests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [True, False], ids=["limited", "unlimited"])
@pytest.mark.parametrize("path", OAUTH)
def test_an_oauth_endpoint_takes_whatever_comes(path, limits, key, unharmed, monkeypatch):  # security 39, 40
    monkeypatch.setattr(site, "RATE_LIMITS", limits)
    offered = make_token(key, "entities.systems.view")  # this one may be revoked
    values = {
        "grant_type": st.just("client_credentials"),
        "client_id": st.just(key.client_id) | st.just(credentials.new_client_id()),
        "client_secret": st.just(key.secret) | st.just(credentials.new_secret()),
        "scope": st.sampled_from(["inherit", "", "entities.systems.view", "inherit  inherit", "nothing.of.the.kind"]),
        "token": st.just(offered) | st.just(credentials.new_token()),
    }
    names = [*values, "token_type_hint", "company"]

    @hostile
    @given(
        method=mostly(st.just("POST"), methods),
        query=mostly(st.just(""), queries(names)),
        content_type=mostly(st.just("application/x-www-form-urlencoded"), content_types),
        authorization=mostly(
            st.just({}) | st.just({"Authorization": key.basic}),
            authorizations([key.basic, f"Bearer {offered}", f"Basic {key.secret}"]),
        ),
        headers=other_headers,
        body=forms(names, values, ("grant_type", "token")),
        length=mostly(st.none(), lengths),
    )
    def run(method, query, content_type, authorization, headers, body, length):
        sent = Request(method, path, query, headers | authorization | {"Content-Type": content_type}, body, length)
        answer = send(sent)
        assert_of_its_surface(sent, answer)
        assert answer["Cache-Control"] == "no-store"
        if answer.status == 200:
            assert len(body) <= BODY_AT_MOST

    run()
    unharmed()


@pytest.mark.parametrize("path", NEEDS_TOKEN)
def test_an_api_address_takes_whatever_comes(path, key, unharmed):  # security 47, 48
    offered = make_token(key)
    names = ["size", "offset", "uid", "name", "fields", "orderBy", "access_token", "company"]
    values = {
        "size": st.sampled_from(["1", "2", "100", "500", "501", "0", "-1", "1.0", "\uff11", "1" * 5000, ""]),
        "offset": st.sampled_from(["0", "2147483647", "9223372036854775808", "+1", " 1", ""]),
        "uid": st.sampled_from(["0" * 32, "f" * 32, "A" * 32, "%", "\0"]),
        "name": st.sampled_from(["a", "%", "_", "\\", "'", "\0", "\ud800", "İ", "ß", "x" * 151]),
        "fields": st.sampled_from(["uid", "name", "uid,name", "email,picture", ",", "password", "uid," * 1000]),
        "orderBy": st.sampled_from(["name", "-name,+uid", "--name", "name,-name", "password", "-,"]),
    }

    @hostile
    @given(
        method=mostly(st.just("GET"), methods),
        query=forms(names, values).map(lambda data: data[: 1 << 16].decode("latin-1")) | queries(names),
        content_type=content_types,
        authorization=mostly(
            st.just({"Authorization": f"Bearer {offered}"}),
            authorizations([f"bearer  {offered} ", key.basic, f"Bearer {key.secret}", f"Bearer {offered[:-1]}"]),
        ),
        headers=other_headers,
        body=mostly(st.just(b""), forms(names, {"access_token": st.just(offered)})),
        length=mostly(st.none(), lengths),
    )
    def run(method, query, content_type, authorization, headers, body, length):
        sent = Request(method, path, query, headers | authorization | {"Content-Type": content_type}, body, length)
        answer = send(sent)
        assert_of_its_surface(sent, answer)
        assert answer["Cache-Control"] == "no-store"

    run()
    unharmed()


def test_any_other_address_of_ours_takes_whatever_comes(key, unharmed):
    offered = make_token(key)

    @hostile
    @given(
        method=methods,
        path=st.builds(str.__add__, st.sampled_from(["/api/", "/.well-known/", "/api/v1/", "/api/oauth/"]), paths)
        | st.sampled_from([*OPEN, "/api", "/api/", "/.well-known/", "/api/v1/users/", "/api//v1/users", "/livez/"]),
        query=queries(["access_token", "token"]),
        content_type=content_types,
        authorization=authorizations([key.basic, f"Bearer {offered}"]),
        headers=other_headers,
        body=st.binary(max_size=50),
        length=mostly(st.none(), lengths),
    )
    def run(method, path, query, content_type, authorization, headers, body, length):
        if path == "/livez/":  # a page that there is not
            return
        sent = Request(method, path, query, headers | authorization | {"Content-Type": content_type}, body, length)
        assert_of_its_surface(sent, send(sent))

    run()
    unharmed()


@pytest.mark.parametrize("trusted", [0, 1, 3])
def test_a_lie_about_the_address_does_no_harm(trusted, key, unharmed, monkeypatch):  # security 60
    monkeypatch.setattr(site, "TRUSTED_PROXIES", trusted)

    @hostile
    @given(forwarded=st.lists(latin_1 | st.sampled_from(["::1%0", "1.2.3.4", "[::1]:80"]), max_size=4), agent=latin_1)
    def run(forwarded, agent):
        headers = {"X-Forwarded-For": ",".join(forwarded), "User-Agent": agent, "Authorization": key.basic}
        form = "application/x-www-form-urlencoded"
        sent = Request("POST", OAUTH[0], "", headers | {"Content-Type": form}, b"grant_type=client_credentials")
        tokens._noted.clear()  # so that each writes address and client
        OAuthApplication.objects.update(last_used=None)
        answer = send(sent)
        assert answer.status == 200
        assert_of_its_surface(sent, answer)

    run()
    unharmed()


# --- Pages --------------------------------------------------------------------------------------------------

CSRF = "c" * 32
cookies = st.one_of(
    latin_1,
    st.builds(
        "{}={}".format,
        st.sampled_from(["session", "csrf", "messages", "sessionid"]),
        # A quoted cookie can hold any character, written in octal.
        st.sampled_from(['"\\000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"', '"\\377\\376aaaaaaaaaa"', "a" * 4000, "é" * 40])
        | latin_1,
    ),
)


def assert_page(request: Request, answer: Answer) -> None:
    assert answer.status < 500, (answer.failure, request)
    for name, value in answer.headers:
        assert not set("\r\n\0").intersection(name + value)
    assert bool(answer["Allow"]) >= (answer.status == 405)
    if answer.status >= 400 and answer.status != 405 and request.method != "HEAD":
        assert answer["Content-Type"].startswith("text/html")
        assert b"<h1" in answer.content, request


@pytest.mark.parametrize("signed_in", [False, True], ids=["stranger", "owner"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_takes_whatever_comes(path, signed_in, client, user, other_user, monkeypatch):  # security 33, 34
    monkeypatch.setattr(site, "ACCOUNT_RATE_LIMITS", False)
    bystander = make_key(other_user)
    make_key(user)
    session = sign_in(client, user).cookies["session"].value
    values = {
        "csrfmiddlewaretoken": st.just(CSRF),
        "version": st.sampled_from(["1", "01", "-1", "1.0", "1e400", "\uff11", "9" * 19, "9" * 20, "9" * 5000, "\0"]),
        "password": st.sampled_from(["", "\0", "wrong", "\ud800"]),
        "login": st.sampled_from(["user@example.com", "\0@example.com", "x@é", "@" * 300]),
        "email": st.sampled_from(["user@example.com", "\0@example.com", "x@é", "a@b.c\r\nBcc: d@e.f"]),
        "next": st.sampled_from(["//evil.example", "/\0", "javascript:1", "http://[", "/\r\nSet-Cookie:a=b"]),
    }
    names = [*values, "oldpassword", "password1", "remember"]

    @hostile
    @given(
        method=mostly(st.just("POST"), methods),
        query=mostly(st.just(""), queries(["next", "version", "lang"])),
        content_type=mostly(st.just("application/x-www-form-urlencoded"), content_types),
        headers=other_headers,
        extra=st.just("") | cookies,
        body=forms(names, values, ("csrfmiddlewaretoken", "version")),
        # A server in front lets no other length through.
        length=mostly(st.none(), st.integers(0, 100).map(str)),
    )
    def run(method, query, content_type, headers, extra, body, length):
        mine = f"csrf={CSRF}" + (f"; session={session}" if signed_in else "")
        headers = {"Host": "127.0.0.1:8000"} | headers | {"Content-Type": content_type, "Cookie": f"{mine}; {extra}"}
        sent = Request(method, path, query, headers, body, length)
        assert_page(sent, send(sent))

    run()
    assert tokens.authenticate(client_id=bystander.client_id, secret=bystander.secret)
    user.refresh_from_db()
    changes = KeyEvent.objects.filter(owner=user).exclude(action=KeyEvent.Action.PASSWORD_REFUSED)
    assert changes.count() == user.key_version
    assert OAuthApplication.objects.filter(user=user).exists() == (changes[0].action != KeyEvent.Action.DELETED)
    if not signed_in:
        assert user.key_version == 1


@pytest.mark.parametrize("path", ADMIN_PAGES)
def test_an_admin_page_takes_whatever_comes_in_its_address(path, client, admin_user, key, unharmed):
    session = sign_in(client, admin_user).cookies["session"].value
    names = ["q", "p", "o", "e", "all", "_facets", "_popup", "next"]
    lookups = ["id", "user__id__exact", "company__id__exact", "is_active__exact", "time__gte", "action__exact", "email"]
    value = st.sampled_from(["\0", "1", "-1", "9" * 30, "1.1.1", "a\0b", "2020-01-01", "9999-99-99", "", "'\"", "%"])

    @hostile
    @given(
        query=st.lists(st.tuples(st.sampled_from([*names, *lookups]), value | anything), max_size=4).map(encoded)
        | queries(names),
        suffix=st.just("") | st.sampled_from(["1/change/", "\0/change/", f"{'9' * 30}/change/", "x_00/", "1/delete/"]),
        headers=other_headers,
    )
    def run(query, suffix, headers):
        query = query if isinstance(query, str) else query.decode("latin-1")
        sent = Request("GET", path + suffix, query, headers | {"Cookie": f"session={session}"})
        assert_page(sent, send(sent))

    run()
    unharmed()
