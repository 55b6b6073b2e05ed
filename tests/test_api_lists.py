"""Lists: what is in them, page by page, and each parameter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from profiles.models import AccessProfile, Company, OAuthApplication, User

from .api import ALL_NEEDED, CLIENTS, PROFILES, USERS, assert_api_error, get
from .conftest import make_client, make_key, use

pytestmark = pytest.mark.django_db
every_list = pytest.mark.parametrize("address", [USERS, PROFILES, CLIENTS])


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


@pytest.fixture
def clients(user: User) -> list[OAuthApplication]:
    """Three API Clients of the user's company: made and used at different moments, one never, one disabled."""
    profile = AccessProfile.objects.create(name="Of clients", rights=[])
    day = datetime(2026, 1, 1, 12, 30, 15, 999_000, UTC)
    made = [
        ("Weekly", "f" * 32, day + timedelta(days=3), day + timedelta(days=5), ""),
        ("audit", "0" * 32, day + timedelta(days=1), None, ""),
        ("Nightly", "8" * 32, day + timedelta(days=2), day + timedelta(days=4), "Of the fleet\nof Älmhult"),
    ]
    for name, client_id, created, last_used, note in made:
        client = OAuthApplication.objects.create(
            company=user.company, name=name, client_id=client_id, access_profile=profile, note=note, last_used=last_used
        )
        # Django says when it was made.
        OAuthApplication.objects.filter(pk=client.pk).update(created=created, disabled=name == "audit")
    return list(OAuthApplication.objects.filter(company=user.company).order_by("id"))


def test_clients_in_this_form(token, clients):
    profile = {"uid": clients[0].access_profile.uid, "name": "Of clients"}
    assert get(CLIENTS, token).json() == {
        "items": [
            {
                "uid": "0" * 32,
                "name": "audit",
                "note": "",
                "profile": profile,
                "enabled": False,
                "created": "2026-01-02T12:30:15Z",
                "lastUsed": None,
            },
            {
                "uid": "8" * 32,
                "name": "Nightly",
                "note": "Of the fleet\nof Älmhult",
                "profile": profile,
                "enabled": True,
                "created": "2026-01-03T12:30:15Z",
                "lastUsed": "2026-01-05T12:30:15Z",
            },
            {
                "uid": "f" * 32,
                "name": "Weekly",
                "note": "",
                "profile": profile,
                "enabled": True,
                "created": "2026-01-04T12:30:15Z",
                "lastUsed": "2026-01-06T12:30:15Z",
            },
        ],
        "count": 3,
        "size": 3,
        "offset": 0,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("orderBy=uid", ["audit", "Nightly", "Weekly"]),
        ("orderBy=-uid", ["Weekly", "Nightly", "audit"]),
        ("orderBy=-created", ["Weekly", "Nightly", "audit"]),
        ("orderBy=created", ["audit", "Nightly", "Weekly"]),
        ("orderBy=lastUsed", ["audit", "Nightly", "Weekly"]),
        ("orderBy=-lastUsed,name", ["Weekly", "Nightly", "audit"]),
        ("orderBy=-name", ["Weekly", "Nightly", "audit"]),
        ("orderBy=-name&size=1&offset=1", ["Nightly"]),
        ("uid=" + "8" * 32, ["Nightly"]),
        ("uid=" + "9" * 32, []),
        ("name=LY", ["Nightly", "Weekly"]),
    ],
)
def test_clients_have_order_and_filters(query, expected, token, clients):
    assert names(get(CLIENTS, token, query)) == expected


def test_clients_are_those_of_the_company_and_no_keys(token, user, other_user, manager, client_profile, clients):
    make_key(other_user)
    manager.company = Company.objects.create(name="Else")
    manager.save()
    strange = make_client(manager, client_profile, "Strange")
    assert names(get(CLIENTS, token)) == ["audit", "Nightly", "Weekly"]
    assert get(CLIENTS, token, f"uid={strange.client_id}").json()["items"] == []
    User.objects.filter(pk=user.pk).update(company=None)
    assert get(CLIENTS, token).json()["count"] == 0


def test_a_client_is_shown_without_secret_digest_hint_and_address(token, api_client):  # security 3
    use(api_client, address="198.51.100.9", user_agent="export/1")
    every = "name,note,profile,enabled,created,lastUsed"
    with CaptureQueriesContext(connection) as queries:
        answer = get(CLIENTS, token, f"fields={every}")
    assert answer.json()["items"][0]["lastUsed"] is not None
    assert not any(it in answer.content.decode() for it in ("198.51.100.9", "export/1", "Mia", "hint", "digest"))
    [read] = [it["sql"] for it in queries if "LIMIT" in it["sql"]]
    assert "last_used_address" not in read
    assert "clientsecret" not in read
    for field in ("secret", "hint", "digest", "maker", "lastUsedAddress", "client_id"):
        assert_api_error(get(CLIENTS, token, f"fields={field}"), 400, "fields.unknown")


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


def test_queries_of_a_list(token, colleagues, clients, django_assert_num_queries):
    get(USERS, token)  # notes the use
    # 1. the token  2. the users with company and profile
    for query in ("", "size=6", "name=nobody", "fields=company,profile"):
        with django_assert_num_queries(2):
            get(USERS, token, query)
    # 3. how many there are, which a full page or an empty one after the first cannot tell
    for query in ("size=5", "size=1", "offset=9"):
        with django_assert_num_queries(3):
            get(USERS, token, query)
    # 1. the token  2. the profiles, or the clients with their profiles
    with django_assert_num_queries(2):
        get(PROFILES, token, "fields=rights")
    with django_assert_num_queries(2):
        get(CLIENTS, token)


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
