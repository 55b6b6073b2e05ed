"""OAuth and the API read parameters by one parser: what it refuses is refused by both, each in its own shape."""

from __future__ import annotations

import pytest

from profiles.http.parameters import BODY_AT_MOST, PARAMETERS_AT_MOST

from .api import CURRENT, assert_api_error, get
from .oauth import GRANT, TOKEN, assert_oauth_error, post

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("a=%FF", "request.malformed"),
        ("a=%ED%A0%80", "request.malformed"),
        ("&".join(f"p{number}" for number in range(PARAMETERS_AT_MOST + 1)), "request.malformed"),
        ("a=1&a=1", "parameter.repeated"),
        ("a=1&%61=", "parameter.repeated"),
        ("a&a", "parameter.repeated"),
        ("access_token=x", "token.misplaced"),
        ("a=1&client%5Fsecret=x", "token.misplaced"),
        ("refresh_token=x", "token.misplaced"),
    ],
)
def test_a_query_string_that_one_refuses_the_other_refuses_too(key, token, query, code):  # security 37, 39, 47
    body = assert_api_error(get(CURRENT, token, query), 400, code)
    description = assert_oauth_error(post(f"{TOKEN}?{query}", [GRANT], key.basic), 400, "invalid_request")
    assert "query string" in description
    if code == "request.malformed":
        assert body["error_description"] == description
        assert str(PARAMETERS_AT_MOST) in description
    else:
        assert body["errorParameters"] in (["a"], ["access_token"], ["client_secret"], ["refresh_token"])


@pytest.mark.parametrize("query", ["", "a=%zz", "&&", "=", "a[]=1&a[1]=2", "a=1;a=2", "x=%00"])
def test_a_query_string_that_one_takes_the_other_takes_too(key, token, query):  # security 39
    assert get(CURRENT, token, query).status_code == 200
    assert post(f"{TOKEN}?{query}", [GRANT], key.basic).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"grant_type=%FF", 400, f"The body must be well-formed form data in UTF-8, with at most {PARAMETERS_AT_MOST}"),
        (b"&".join(b"p%d=1" % number for number in range(PARAMETERS_AT_MOST + 1)), 400, "The body must be well-formed"),
        (b"grant_type=client_credentials&a=&a=", 400, "The body has a parameter more than once."),
        (b"a=" + b"x" * BODY_AT_MOST, 413, "The body is too long."),
    ],
)
def test_a_body_is_read_by_the_same_rules(key, body, status, said):  # security 37, 39
    assert said in assert_oauth_error(post(TOKEN, body, key.basic), status, "invalid_request")
