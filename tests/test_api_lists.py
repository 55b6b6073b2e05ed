"""Lists: what is in them, page by page, and each parameter."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from profiles.models import AccessProfile, Company, User

from .api import ALL_NEEDED, PROFILES, USERS, assert_api_error, get

pytestmark = pytest.mark.django_db
every_list = pytest.mark.parametrize("address", [USERS, PROFILES])


@pytest.fixture
def token(token: str, access_profile: AccessProfile) -> str:
    access_profile.rights = ALL_NEEDED
    access_profile.save()
    return token


@pytest.fixture
def colleagues(user: User) -> list[User]:
    """Four more of the same company: with `user`, five in all."""
    names = ["alma", "Bert", "chris 100%", "Dora_"]
    return User.objects.bulk_create(
        User(email=f"{number}@example.com", name=name, company=user.company, phone_number=f"+{9 - number}")
        for number, name in enumerate(names)
    )


def names(response) -> list[str]:
    return [item["name"] for item in response.json()["items"]]


def test_users_in_this_form(token, user):
    reference = {"uid": user.access_profile.uid, "name": "Operator"}
    assert get(USERS, token).json() == {
        "items": [
            {
                "company": {"uid": user.company.uid, "name": "Fleet Ltd"},
                "uid": user.uid,
                "email": "user@example.com",
                "name": "Uma User",
                "phoneNumber": "",
                "profile": reference,
            }
        ],
        "count": 1,
        "size": 1,
        "offset": 0,
    }


def test_profiles_in_this_form(token, access_profile):
    other = AccessProfile.objects.create(name="Beginner", rights=["entities.systems.view", "entities.gone"])
    assert get(PROFILES, token).json() == {
        "items": [{"uid": other.uid, "name": "Beginner"}, {"uid": access_profile.uid, "name": "Operator"}],
        "count": 2,
        "size": 2,
        "offset": 0,
    }
    rights = get(PROFILES, token, f"uid={other.uid}&fields=uid,name,rights").json()["items"]
    assert rights == [{"uid": other.uid, "name": "Beginner", "rights": ["entities.systems.view"]}]


@pytest.mark.parametrize("query", ["", "name=stranger", "uid={uid}", "company={company}", "orderBy=-email&size=500"])
def test_another_company_is_not_seen(query, token, user):
    company = Company.objects.create(name="Else")
    stranger = User.objects.create(email="s@else.example", name="stranger", company=company)
    User.objects.create(email="n@nowhere.example", name="stranger without company")
    query = query.format(uid=stranger.uid, company=company.uid)
    assert {item["uid"] for item in get(USERS, token, query).json()["items"]} <= {user.uid}


def test_an_owner_without_a_company_is_alone(token, user, admin_user):
    User.objects.filter(pk=user.pk).update(company=None)
    assert admin_user.company is None
    assert [item["uid"] for item in get(USERS, token).json()["items"]] == [user.uid]


def test_pages_hold_each_user_once(token, colleagues):
    seen: list[str] = []
    while True:
        page = get(USERS, token, f"size=2&offset={len(seen)}").json()
        assert (page["count"], page["offset"], page["size"]) == (5, len(seen), len(page["items"]))
        seen += [item["uid"] for item in page["items"]]
        if page["offset"] + page["size"] >= page["count"]:
            break
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize(("offset", "size"), [(4, 1), (5, 0), (6, 0), (2**31 - 1, 0)])
def test_after_the_end_there_is_no_more(offset, size, token, colleagues):
    page = get(USERS, token, f"offset={offset}").json()
    assert (page["size"], page["offset"], page["count"]) == (size, offset, 5)


def test_the_default_size_is_100_and_the_largest_500(token, user):
    User.objects.bulk_create(
        User(email=f"{number}@example.com", name="Many", company=user.company) for number in range(520)
    )
    for query, size in (("", 100), ("size=500", 500), ("size=500&offset=500", 21)):
        page = get(USERS, token, query).json()
        assert (page["size"], len(page["items"]), page["count"]) == (size, size, 521)


def test_equal_names_have_an_order_too(token, user):
    User.objects.bulk_create(
        User(email=f"{number}@example.com", name="Same", company=user.company) for number in range(30)
    )
    whole = [item["uid"] for item in get(USERS, token, "orderBy=-name").json()["items"]]
    parts = [get(USERS, token, f"orderBy=-name&size=1&offset={at}").json()["items"][0]["uid"] for at in range(31)]
    assert parts == whole
    # SQLite keeps such an order by chance; PostgreSQL need not.
    with CaptureQueriesContext(connection) as queries:
        get(USERS, token, "orderBy=-name")
    assert 'DESC, "profiles_user"."id" ASC LIMIT' in queries[1]["sql"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["alma", "Bert", "chris 100%", "Dora_", "Uma User"]),
        ("orderBy=", ["alma", "Bert", "chris 100%", "Dora_", "Uma User"]),
        ("orderBy=-name", ["Uma User", "Dora_", "chris 100%", "Bert", "alma"]),
        ("orderBy=%2Bname", ["alma", "Bert", "chris 100%", "Dora_", "Uma User"]),
        ("orderBy=+name", ["alma", "Bert", "chris 100%", "Dora_", "Uma User"]),
        ("orderBy=phoneNumber", ["Uma User", "Dora_", "chris 100%", "Bert", "alma"]),
        ("orderBy=-email,name", ["Uma User", "Dora_", "chris 100%", "Bert", "alma"]),
        ("orderBy=name,-name", ["alma", "Bert", "chris 100%", "Dora_", "Uma User"]),
        ("name=A", ["alma", "Dora_", "Uma User"]),
        ("name=%25", ["chris 100%"]),
        ("name=_", ["Dora_"]),
        ("name=100%25", ["chris 100%"]),
        ("name=", ["alma", "Bert", "chris 100%", "Dora_", "Uma User"]),
        ("name=nobody", []),
        ("name=" + quote("'; DROP TABLE profiles_user; --"), []),
        ("uid=" + "0" * 32, []),
        ("size=007&offset=0", ["alma", "Bert", "chris 100%", "Dora_", "Uma User"]),
    ],
)
def test_order_and_filters(query, expected, token, colleagues):
    assert names(get(USERS, token, query)) == expected


def test_one_user_by_uid(token, colleagues):
    page = get(USERS, token, f"uid={colleagues[1].uid}").json()
    assert [item["name"] for item in page["items"]] == ["Bert"]
    assert page["count"] == 1


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("fields=", ["company", "uid", "email", "name", "phoneNumber", "profile"]),
        ("fields=email", ["uid", "email"]),
        ("fields=name,uid,name", ["uid", "name"]),
        ("fields=picture,profile", ["uid", "profile", "picture"]),
    ],
)
def test_fields_are_as_asked_with_uid(query, fields, token):
    assert list(get(USERS, token, query).json()["items"][0]) == fields


@every_list
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("size=0", "size.invalid"),
        ("size=501", "size.invalid"),
        ("size=", "size.invalid"),
        ("size=-1", "size.invalid"),
        ("size=1e2", "size.invalid"),
        ("size=1.0", "size.invalid"),
        ("size=%2B1", "size.invalid"),
        ("size=1_0", "size.invalid"),
        ("size=%D9%A3", "size.invalid"),
        ("size=" + "9" * 10_000, "size.invalid"),
        ("offset=-1", "offset.invalid"),
        ("offset=x", "offset.invalid"),
        ("offset=2147483648", "offset.invalid"),
        ("offset=9223372036854775808", "offset.invalid"),
        ("offset=%00", "offset.invalid"),
        ("uid=", "uid.invalid"),
        ("uid=" + "A" * 32, "uid.invalid"),
        ("uid=" + "0" * 32 + "%0A", "uid.invalid"),
        ("uid=%00", "uid.invalid"),
        ("uid=" + "0" * 10_000, "uid.invalid"),
        ("name=a%00b", "name.invalid"),
        ("name=" + "x" * 151, "name.invalid"),
        ("name=" + "x" * 10_000, "name.invalid"),
        ("fields=password", "fields.unknown"),
        ("fields=uid,,id", "fields.unknown"),
        ("fields=key__client_secret", "fields.unknown"),
        ("fields=" + "uid," * 4_000 + "x" * 10_000, "fields.unknown"),
        ("orderBy=password", "orderBy.unknown"),
        ("orderBy=company__name", "orderBy.unknown"),
        ("orderBy=--name", "orderBy.unknown"),
        ("orderBy=name,,uid", "orderBy.unknown"),
        ("orderBy=?", "orderBy.unknown"),
        ("orderBy=" + "name," * 1_000 + "x" * 10_000, "orderBy.unknown"),
        ("size=1&size=1", "parameter.repeated"),
        ("company=a&company=b", "parameter.repeated"),
        (f"{'x' * 1_000}&{'x' * 1_000}", "parameter.repeated"),
        ("name=%FF", "request.malformed"),
        ("name=%ED%A0%80", "request.malformed"),
        ("name=\xff", "request.malformed"),
        ("&".join(f"p{number}=1" for number in range(51)), "request.malformed"),
    ],
)
def test_a_bad_parameter_is_400_and_says_which(address, query, code, token):
    body = assert_api_error(get(address, token, query), 400, code)
    assert all(len(parameter) <= 100 for parameter in body["errorParameters"])


@every_list
def test_a_parameter_that_is_none_of_ours_does_no_harm(address, token):
    assert get(address, token, "company=x&nonsense=%00&=&&size=1").status_code == 200


text = st.text(max_size=60) | st.text(alphabet="0123456789+-,. \0%_\\'", max_size=30)
parameters = st.lists(
    st.tuples(
        st.sampled_from(["size", "offset", "name", "uid", "fields", "orderBy", "company"]) | text,
        text | st.integers().map(str),
    ),
    max_size=5,
)


@every_list
@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(query=parameters.map(urlencode) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
@example(query="name=%5C&size=1")
@example(query="size=1&offset=2147483647&orderBy=-uid,name&fields=name&name=%25")
def test_no_query_is_too_strange(address, query, token):  # promise 7
    response = get(address, token, query)
    assert response.status_code in (200, 400)
    body = response.json()
    if response.status_code == 400:
        assert_api_error(response, 400, body["error"])
    else:
        assert list(body) == ["items", "count", "size", "offset"]
        assert body["size"] == len(body["items"])
        assert body["size"] > 0 or body["offset"] >= body["count"]


def test_queries_of_a_list(token, colleagues, django_assert_num_queries):
    get(USERS, token)  # notes the use
    # 1. the token  2. the users with company and profile
    for query in ("", "size=6", "name=nobody", "fields=company,profile"):
        with django_assert_num_queries(2):
            get(USERS, token, query)
    # 3. how many there are, which a full page or an empty one after the first cannot tell
    for query in ("size=5", "size=1", "offset=9"):
        with django_assert_num_queries(3):
            get(USERS, token, query)
    # 1. the token  2. the profiles
    with django_assert_num_queries(2):
        get(PROFILES, token, "fields=rights")


def test_a_password_is_not_even_read(token, colleagues):  # security 3
    with CaptureQueriesContext(connection) as queries:
        get(USERS, token)
    assert "profiles_user" in queries[1]["sql"]
    assert '"password"' not in queries[1]["sql"]


def test_no_one_sees_a_page_that_promises_more_and_is_empty(token, user, monkeypatch):
    """Rows that come between the page and the count must not make a client ask for ever."""
    monkeypatch.setattr("django.db.models.query.QuerySet.count", lambda self: 1_000)
    page = get(USERS, token, "offset=3").json()
    assert (page["size"], page["count"]) == (0, 3)
    monkeypatch.setattr("django.db.models.query.QuerySet.count", lambda self: 0)
    page = get(USERS, token, "size=1").json()
    assert (page["size"], page["count"]) == (1, 1)
