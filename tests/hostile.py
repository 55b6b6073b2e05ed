"""Requests made by Hypothesis, valid and invalid ones of every kind; and a check that they did no harm.

The WSGI application answers them in this process, which is fast enough for many of them. The requests are the same
each time; HOSTILE_EXAMPLES is a number of other ones to make instead.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlencode

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from profiles import credentials
from profiles.clients import tokens
from profiles.models import KeyEvent, OAuthApplication, User

from .conftest import KeyPair, make_key, make_token, works
from .page import version

T = TypeVar("T")

_examples = os.environ.get("HOSTILE_EXAMPLES")
hostile = settings(
    max_examples=int(_examples or 100),
    derandomize=_examples is None,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # no shrinking: that takes minutes, and a failing request can be read as it is
    # One key and one token for all requests: the test is whether they still work at the end.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

a_long_request_is_long_to_read = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")


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
    """The good one in three of four cases: if everything were bad, the first check would refuse each request."""
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


# --- What it did --------------------------------------------------------------------------------------------


@pytest.fixture
def bystander(other_user: User) -> KeyPair:
    """Somebody else's key, whose credentials are in no request."""
    return make_key(other_user)


@pytest.fixture
def unharmed(user: User, key: KeyPair, token: str, bystander: KeyPair) -> Callable[[], None]:
    """To be called in the end: nobody's key or token has suffered."""
    other, before = make_token(bystander), version(user)

    def check() -> None:
        for pair, kept in ((key, token), (bystander, other)):
            assert works(pair.client_id, pair.secret)
            assert tokens.find(kept)
        assert version(user) == before
        assert OAuthApplication.objects.filter(company=None).count() == 2
        assert set(KeyEvent.objects.values_list("action", flat=True)) == {KeyEvent.Action.CREATED}

    return check
