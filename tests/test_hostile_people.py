"""Bad input of any kind to a page gets a clear 4xx as a page, never a 5xx, and loses nothing (promise 7)."""

from __future__ import annotations

import pytest
from django.conf import settings as site
from hypothesis import given
from hypothesis import strategies as st

from profiles.models import KeyEvent, OAuthApplication

from .conftest import make_key, sign_in, works
from .hostile import (
    a_long_request_is_long_to_read,
    anything,
    content_types,
    cookies,
    encoded,
    forms,
    hostile,
    methods,
    mostly,
    other_headers,
    queries,
)
from .page import version
from .routes import PEOPLE, Surface, addresses, routes
from .wsgi_request import Answer, Request, send

PAGES = addresses(*PEOPLE)
# Without those of one row each: a suffix makes addresses of rows that there are and are not.
ADMIN_PAGES = [route.address() for route in routes(Surface.ADMIN) if not route.parameters]
CSRF = "c" * 32

pytestmark = [pytest.mark.django_db, a_long_request_is_long_to_read]


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
    before = version(user)
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
    assert works(bystander.client_id, bystander.secret)
    changes = KeyEvent.objects.filter(owner=user).exclude(action=KeyEvent.Action.PASSWORD_REFUSED)
    assert (changes.count() > 1) == (version(user) != before)
    assert OAuthApplication.objects.filter(user=user).exists() == (changes[0].action != KeyEvent.Action.DELETED)
    if not signed_in:
        assert version(user) == before


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
