"""Bad input of any kind to the API or OAuth gets a clear 4xx in JSON, never a 5xx, and loses nothing (promise 7)."""

from __future__ import annotations

import json

import pytest
from django.conf import settings as site
from hypothesis import given
from hypothesis import strategies as st

from profiles import credentials
from profiles.clients import usage
from profiles.http.access import Access
from profiles.http.parameters import BODY_AT_MOST
from profiles.models import OAuthApplication

from .access import declaring
from .api import CURRENT, get
from .conftest import KeyPair, make_token, works
from .hostile import (
    a_long_request_is_long_to_read,
    authorizations,
    content_types,
    forms,
    hostile,
    latin_1,
    lengths,
    methods,
    mostly,
    other_headers,
    paths,
    queries,
)
from .oauth import TOKEN
from .routes import PROGRAMS, Surface, addresses
from .wsgi_request import Answer, Request, send

OAUTH = addresses(Surface.OAUTH)
NEEDS_TOKEN = [route.address() for route in declaring(Access.BEARER)]
OPEN = [route.address() for route in declaring(Access.ANYONE) if route.surface in PROGRAMS]

pytestmark = [pytest.mark.django_db, a_long_request_is_long_to_read]


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


@pytest.mark.parametrize("whose", ["key", "api_client"])
@pytest.mark.parametrize("path", NEEDS_TOKEN)
def test_an_api_address_takes_whatever_comes(path, whose, key, unharmed, request):  # security 47, 48
    pair: KeyPair = request.getfixturevalue(whose)
    offered = make_token(pair)
    names = ["size", "offset", "uid", "name", "fields", "orderBy", "access_token", "company"]
    values = {
        "size": st.sampled_from(["1", "2", "100", "500", "501", "0", "-1", "1.0", "\uff11", "1" * 5000, ""]),
        "offset": st.sampled_from(["0", "2147483647", "9223372036854775808", "+1", " 1", ""]),
        "uid": st.sampled_from(["0" * 32, "f" * 32, "A" * 32, "%", "\0"]),
        "name": st.sampled_from(["a", "%", "_", "\\", "'", "\0", "\ud800", "İ", "ß", "x" * 151]),
        "fields": st.sampled_from(["uid", "name", "uid,name", "email,picture", ",", "password", "uid," * 1000]),
        "orderBy": st.sampled_from(["name", "-name,+uid", "--name", "name,-name", "-lastUsed,created", "-,"]),
    }

    @hostile
    @given(
        method=mostly(st.just("GET"), methods),
        query=forms(names, values).map(lambda data: data[: 1 << 16].decode("latin-1")) | queries(names),
        content_type=content_types,
        authorization=mostly(
            st.just({"Authorization": f"Bearer {offered}"}),
            authorizations([f"bearer  {offered} ", pair.basic, f"Bearer {pair.secret}", f"Bearer {offered[:-1]}"]),
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
    assert works(pair.client_id, pair.secret)
    assert get(CURRENT, offered).status_code == 200


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
        sent = Request("POST", TOKEN, "", headers | {"Content-Type": form}, b"grant_type=client_credentials")
        usage._noted.clear()  # so that each writes address and client
        OAuthApplication.objects.update(last_used=None)
        answer = send(sent)
        assert answer.status == 200
        assert_of_its_surface(sent, answer)

    run()
    unharmed()
