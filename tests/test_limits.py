"""Failed client authentication is limited, by client and by address; the right secret always gets in."""

from __future__ import annotations

import io
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from django.db import connection

from airvantage_keys.wsgi import application
from profiles import credentials
from profiles.limits import client_failures
from profiles.models import FailureCount

from .conftest import basic
from .oauth import GRANT, INTROSPECT, REVOKE, TOKEN, ask, assert_oauth_error, post
from .redis_server import redis_server
from .server import Server, postgres_url, running, sqlite_url
from .visitor import Visitor

pytestmark = pytest.mark.django_db

FORM = "grant_type=client_credentials"


@pytest.fixture(autouse=True)
def _small_limits(settings):
    settings.CLIENT_FAILURES_PER_MINUTE = 3
    settings.ADDRESS_FAILURES_PER_MINUTE = 5


@pytest.fixture(autouse=True)
def _one_minute(monkeypatch) -> None:
    """All of a test is in one minute, whenever it runs."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)


def fail(client_id: str, address: str = "203.0.113.7", url: str = TOKEN) -> int:
    response = post(url, [GRANT], basic(client_id, credentials.new_secret()), REMOTE_ADDR=address)
    return response.status_code


def other_process() -> None:
    client_failures._reached.clear()


def test_failures_of_one_client_are_limited(key):  # security 44
    assert [fail(key.client_id, f"203.0.113.{n}") for n in range(5)] == [401, 401, 401, 429, 429]


def test_failures_of_one_address_are_limited():  # security 44
    clients = [credentials.new_client_id() for _ in range(7)]
    assert [fail(client) for client in clients] == [401] * 5 + [429] * 2


def test_the_limit_holds_across_processes(key):  # security 44
    statuses = []
    for n in range(5):
        statuses.append(fail(key.client_id, f"203.0.113.{n}"))
        other_process()
    assert statuses == [401, 401, 401, 429, 429]


def test_it_says_how_long_to_wait_and_what_to_show_in_the_usual_form(key):  # security 76
    for _ in range(3):
        fail(key.client_id)
    response = post(TOKEN, [GRANT], basic(key.client_id, credentials.new_secret()))
    assert_oauth_error(response, 429, "too_many_requests")
    assert 1 <= int(response["Retry-After"]) <= 61


def test_a_flood_does_not_stop_the_right_secret(key):  # security 44
    for _ in range(10):
        fail(key.client_id)
    assert ask(key, REMOTE_ADDR="203.0.113.7").status_code == 200
    assert ask(key, REMOTE_ADDR="198.51.100.1").status_code == 200


def test_all_endpoints_count_together(key):
    assert [fail(key.client_id, url=url) for url in (TOKEN, INTROSPECT, REVOKE, TOKEN)] == [401, 401, 401, 429]


def test_limits_can_be_switched_off(key, settings):
    settings.RATE_LIMITS = False
    assert [fail(key.client_id) for _ in range(8)] == [401] * 8


def test_the_next_minute_is_a_new_one(key, monkeypatch):
    now = time.time()
    for _ in range(4):
        fail(key.client_id)
    monkeypatch.setattr(time, "time", lambda: now + client_failures.WINDOW)
    assert fail(key.client_id) == 401


# --- What is a failure --------------------------------------------------------------------------------------

ID, SECRET = credentials.new_client_id(), credentials.new_secret()

NOTHING_SHOWN = {
    "nothing at all": ([], None),
    "an empty header": ([], ""),
    "a blank header": ([], "  "),
    "another scheme": ([], "Digest username=x"),
    "a token": ([], f"Bearer {credentials.new_token()}"),
    "a first step of Negotiate": ([], "Negotiate YII="),
    "a scheme alone": ([], "Basic"),
    "nobody and nothing": ([], basic("", "")),
    "empty fields": ([("client_id", ""), ("client_secret", "")], None),
    "a Client ID alone": ([("client_id", ID)], None),
    "a Client ID alone by Basic": ([], basic(ID, "")),
}


@pytest.mark.parametrize("what", NOTHING_SHOWN)
@pytest.mark.parametrize("url", [TOKEN, INTROSPECT, REVOKE])
def test_who_shows_no_secret_is_challenged_and_counts_as_nothing(key, url, what):  # security 76
    fields, authorization = NOTHING_SHOWN[what]
    for _ in range(20):
        assert_oauth_error(post(url, [GRANT, *fields], authorization), 401, "invalid_client")
    assert not FailureCount.objects.exists()
    assert fail(key.client_id, "127.0.0.1") == 401


def test_who_shows_no_secret_is_challenged_also_where_the_limit_is_reached(key):  # security 76
    for _ in range(9):
        fail(key.client_id)
        fail(credentials.new_client_id())
    assert_oauth_error(post(TOKEN, [GRANT], REMOTE_ADDR="203.0.113.7"), 401, "invalid_client")


COUNTED_BY_ADDRESS_ALONE = {
    "a name that is no Client ID": ([], basic("nobody", "guess")),
    "a name that is no Client ID, in the form": ([("client_id", "nobody"), ("client_secret", SECRET)], None),
    "a secret without a Client ID": ([("client_secret", SECRET)], None),
    "no Base64": ([], "Basic %%%"),
    "no UTF-8": ([], "Basic /////w=="),
    "no colon": ([], "Basic YWJj"),
}


@pytest.mark.parametrize("what", COUNTED_BY_ADDRESS_ALONE)
def test_what_names_no_client_counts_for_its_address_alone(what):  # security 76
    fields, authorization = COUNTED_BY_ADDRESS_ALONE[what]
    statuses = [post(TOKEN, [GRANT, *fields], authorization).status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    assert [row.name for row in FailureCount.objects.all()] == ["address:127.0.0.1"]


@pytest.mark.parametrize(
    "secret",
    [SECRET, SECRET[:-1], "guess", "avs_" + "0" * 49],
    ids=["wrong", "cut off", "a word", "with a wrong CRC"],
)
def test_a_wrong_or_malformed_secret_counts_for_its_client(secret):
    statuses = [post(TOKEN, [GRANT], basic(ID, secret), REMOTE_ADDR=f"203.0.113.{n}").status_code for n in range(4)]
    assert statuses == [401, 401, 401, 429]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([("grant_type", "password")], 400),
        ([GRANT, GRANT], 400),
        ([GRANT, ("client_secret", SECRET)], 400),
        ([GRANT, ("client_id", credentials.new_client_id())], 400),
    ],
    ids=["another grant", "a field twice", "two methods", "two clients"],
)
def test_a_request_that_is_not_well_made_counts_as_nothing(fields, status):  # security 76
    for _ in range(10):
        assert post(TOKEN, fields, basic(ID, SECRET)).status_code == status
    assert not FailureCount.objects.exists()


def test_the_right_secret_and_a_scope_too_many_count_as_nothing(key):  # security 76
    for _ in range(10):
        assert ask(key).status_code == 200
        assert ask(key, ("scope", "no.such.right")).status_code == 400
    assert not FailureCount.objects.exists()


# --- Whose failure it is ------------------------------------------------------------------------------------


def test_no_two_names_share_a_counter():  # security 76
    """Twice as many names as there once were counters: with so many, chance made strangers share them."""
    names = [f"10.{n >> 8}.{n & 255}.1" for n in range(8192)]
    counted = [client_failures._limits(credentials.new_client_id(), name) for name in names]
    assert len({counter for counters in counted for counter in counters}) == 2 * len(names)


def test_strangers_without_a_client_id_do_not_count_together(key):  # security 76
    for n in range(21):
        assert post(TOKEN, [GRANT], basic("nobody", "guess"), REMOTE_ADDR=f"198.51.100.{n}").status_code == 401
    assert fail("nobody", "203.0.113.9") == 401
    assert fail(key.client_id, "203.0.113.9") == 401


@pytest.mark.parametrize(
    "same",
    [
        ["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:DB8:1:2:3:4:5:6", "2001:db8:0001:2:0:0:0:9"],
        ["203.0.113.7", "::ffff:203.0.113.7", "::ffff:cb00:7107", "203.0.113.7"],
    ],
    ids=["a network of IPv6", "an IPv4 address in IPv6"],
)
def test_addresses_that_are_one_count_together(same):  # security 76
    statuses = [fail(credentials.new_client_id(), address) for address in (*same, *same)]
    assert statuses == [401] * 5 + [429] * 3


def test_other_addresses_do_not_count_together():  # security 76
    addresses = ["2001:db8:1:2::1", "2001:db8:1:3::1", "203.0.113.7", "203.0.113.8", "::1"]
    for address in addresses:
        assert [fail(credentials.new_client_id(), address) for _ in range(5)] == [401] * 5
    assert FailureCount.objects.filter(name__startswith="address:").count() == len(addresses)


def test_where_there_is_no_address_nobody_counts_for_all(key):  # security 76
    for _ in range(20):
        assert fail(credentials.new_client_id(), "") == 401
    assert [fail(key.client_id, "") for _ in range(4)] == [401, 401, 401, 429]


def test_a_client_that_does_not_exist_is_limited_like_one_that_does(key):  # security 46, 76
    unknown = credentials.new_client_id()
    real, made_up = ([fail(client, f"203.0.113.{n}") for n in range(5)] for client in (key.client_id, unknown))
    assert real == made_up == [401, 401, 401, 429, 429]


# --- What a flood costs -------------------------------------------------------------------------------------


def test_once_reached_the_limit_costs_nothing_more(key, django_assert_num_queries):  # security 45
    for _ in range(4):
        fail(key.client_id)
    for _ in range(6):
        fail(credentials.new_client_id())
    with django_assert_num_queries(2):  # is the secret right, and was it?
        assert fail(key.client_id) == 429


def test_made_up_client_ids_of_one_address_fill_nothing():  # security 76
    for _ in range(100):
        fail(credentials.new_client_id())
    assert FailureCount.objects.count() <= 1 + 5 + 1  # the address, its clients, and the one too many


def test_the_counters_of_a_minute_that_is_over_are_deleted(key, monkeypatch):  # security 76
    now = time.time()
    for n in range(20):
        fail(credentials.new_client_id(), f"203.0.113.{n}")
    assert FailureCount.objects.count() == 40
    for minutes, left in ((1, 42), (2, 2 + 2)):
        monkeypatch.setattr(time, "time", lambda minutes=minutes: now + minutes * client_failures.WINDOW)
        fail(credentials.new_client_id(), f"198.51.100.{minutes}")
        assert FailureCount.objects.count() == left


def test_a_flood_is_told_in_the_log_once(key, caplog):
    for _ in range(20):
        fail(key.client_id)
    assert caplog.text.count("client refused: ") == 3
    assert caplog.text.count(f"too many failed authentications in this minute: client:{key.client_id}") == 1


def refused(client_id: str) -> str:
    """What the server's application answers to a wrong secret, without what a test's client adds."""
    body = FORM.encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": TOKEN,
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "203.0.113.7",
        "HTTP_AUTHORIZATION": basic(client_id, credentials.new_secret()),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
    }
    statuses: list[str] = []
    list(application(environ, lambda status, headers: statuses.append(status)))
    return statuses[0].split()[0]


def test_a_hundred_wrong_secrets_cost_less_than_a_tenth_of_a_second(key):  # security 45
    refused(key.client_id)  # what is done once
    before = time.thread_time()
    statuses = Counter(refused(key.client_id) for _ in range(100))
    assert time.thread_time() - before < 0.1
    assert statuses == {"401": 2, "429": 98}


# --- All at once --------------------------------------------------------------------------------------------


def at_once(number: int, do: Callable[[int], Any]) -> list[Any]:
    """What `do` gives for each of the numbers, all begun at the same moment."""
    start = threading.Barrier(number)

    def one(which: int) -> Any:
        start.wait()
        try:
            return do(which)
        finally:
            connection.close()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def fail_from(client_id: str, number: int) -> int:
    return fail(client_id, f"203.0.113.{number}")


@pytest.mark.django_db(transaction=True)
def test_of_many_failures_at_once_none_is_lost(key):  # security 76
    if connection.vendor == "sqlite":
        pytest.skip("its threads share one connection in a test; see the running server below")
    for _ in range(5):
        client_id = credentials.new_client_id()
        statuses = at_once(8, partial(fail_from, client_id))
        assert Counter(statuses) == {401: 3, 429: 5}
        FailureCount.objects.all().delete()
        other_process()


@pytest.mark.django_db(transaction=True)
def test_counting_and_deleting_at_once_hold_nobody_up(key):  # security 76
    if connection.vendor == "sqlite":
        pytest.skip("its threads share one connection in a test")
    now = int(time.time() // client_failures.WINDOW)
    FailureCount.objects.bulk_create(
        FailureCount(name=f"address:203.0.{n >> 8}.{n & 255}", minute=now - 5, number=1) for n in range(5000)
    )

    def count_and_delete(which: int) -> None:
        for n in range(50):
            client_failures._swept = 0
            number = (n * 7 + which) % 5000
            client_failures._count_in_table([f"address:203.0.{number >> 8}.{number & 255}", "client:x"], now)

    at_once(8, count_and_delete)
    assert FailureCount.objects.get(name="client:x").number == 8 * 50
    assert not FailureCount.objects.filter(minute=now - 5).exists()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def limited_server(request, tmp_path: Path) -> Iterator[Server]:
    """A running site of two processes, with limits."""
    few = {"RATE_LIMITS": "on", "CLIENT_FAILURES_PER_MINUTE": "5", "ADDRESS_FAILURES_PER_MINUTE": "30"}
    if request.param == "sqlite":
        with running(tmp_path, sqlite_url(tmp_path), **few) as server:
            yield server
    else:
        with postgres_url() as url, running(tmp_path, url, **few) as server:
            yield server


def within_a_minute(seconds: float) -> None:
    """Wait until the minute of the server's clock has so much left."""
    left = 60 - datetime.now(UTC).second
    if left < seconds:
        time.sleep(left + 1)


@pytest.mark.server
def test_eight_at_once_pass_the_limit_of_the_running_server_by_none(limited_server):  # security 44, 76
    visitor = Visitor(limited_server.url).sign_in("user@demo.example")
    client_id, secret = visitor.create()

    def guess(client: str, wrong: str) -> requests.Response:
        body = {"grant_type": "client_credentials"}
        return requests.post(limited_server.url + TOKEN, data=body, auth=(client, wrong), timeout=60)

    def statuses(client: Callable[[], str]) -> Counter[int]:
        return Counter(at_once(8, lambda _: guess(client(), credentials.new_secret()).status_code))

    within_a_minute(30)
    assert sum((statuses(lambda: client_id) for _ in range(3)), Counter()) == {401: 5, 429: 19}
    # Of these 24, those that came to a process which had not seen the limit reached counted for the address, too.
    others = sum((statuses(credentials.new_client_id) for _ in range(5)), Counter())
    assert 30 - 24 <= others[401] <= 30 - 5
    assert others[429] == 40 - others[401]
    right = guess(client_id, secret)
    assert right.status_code == 200, right.text


@pytest.mark.server
@pytest.mark.parametrize(
    "program",
    [
        [
            "wget",
            "--quiet",
            "--output-document=-",
            "--user={id}",
            "--password={secret}",
            f"--post-data={FORM}",
            "{url}",
        ],
        ["curl", "--silent", "--anyauth", "--user", "{id}:{secret}", "--data", FORM, "{url}"],
    ],
    ids=["wget", "curl"],
)
def test_a_program_that_asks_first_without_credentials_gets_in_each_time(limited_server, program):  # security 76
    visitor = Visitor(limited_server.url).sign_in("user@demo.example")
    client_id, secret = visitor.create()
    command = [part.format(id=client_id, secret=secret, url=limited_server.url + TOKEN) for part in program]
    for _ in range(40):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert '"access_token":"avt_' in done.stdout, (done.stdout, done.stderr)


# --- In Redis -----------------------------------------------------------------------------------------------


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with redis_server(tmp_path) as server:
        yield server.url


def count(name: str, _: int) -> int:
    return client_failures._count([name], 1)[name]


def test_in_redis_none_is_lost_and_nothing_stays(key, settings, redis_url):  # security 76
    settings.CACHES = {"default": {"BACKEND": "profiles.limits.shared_cache.RedisOrTable", "LOCATION": [redis_url]}}
    for name in ["client:x", *(f"client:{n}" for n in range(19))]:
        assert sorted(at_once(8, partial(count, name))) == list(range(1, 9))
    assert [fail(key.client_id, f"203.0.113.{n}") for n in range(5)] == [401, 401, 401, 429, 429]
    assert not FailureCount.objects.exists()
    found = redis.Redis.from_url(redis_url)
    assert found.dbsize() == 20 + 5
    assert all(0 < found.ttl(name) <= 2 * client_failures.WINDOW for name in found.scan_iter())
