"""Failed client authentication is limited, by client and by address; the right secret always gets in."""

import time

import pytest

from profiles import credentials, limits

from .conftest import basic
from .oauth import GRANT, INTROSPECT, TOKEN, ask, post

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _small_limits(settings):
    settings.CLIENT_FAILURES_PER_MINUTE = 3
    settings.ADDRESS_FAILURES_PER_MINUTE = 5


def fail(client_id: str, address: str = "203.0.113.7", url: str = TOKEN) -> int:
    response = post(url, [GRANT], basic(client_id, credentials.new_secret()), REMOTE_ADDR=address)
    return response.status_code


def other_process() -> None:
    limits._reached.clear()


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


def test_it_says_how_long_to_wait_in_the_usual_form(key):
    for _ in range(3):
        fail(key.client_id)
    response = post(TOKEN, [GRANT], basic(key.client_id, credentials.new_secret()))
    assert response.status_code == 429
    assert 1 <= int(response["Retry-After"]) <= 60
    assert response["Cache-Control"] == "no-store"
    assert set(response.json()) == {"error", "error_description"}


def test_a_flood_does_not_stop_the_right_secret(key):  # security 44
    for _ in range(10):
        fail(key.client_id)
    assert ask(key, REMOTE_ADDR="203.0.113.7").status_code == 200
    assert ask(key, REMOTE_ADDR="198.51.100.1").status_code == 200


def test_malformed_credentials_count_as_well():
    statuses = [post(TOKEN, [GRANT], basic("nobody", "guess")).status_code for _ in range(4)]
    assert statuses == [401, 401, 401, 429]


def test_all_endpoints_count_together(key):
    assert [fail(key.client_id, url=url) for url in (TOKEN, INTROSPECT, TOKEN, INTROSPECT)] == [401, 401, 401, 429]


def test_once_reached_the_limit_costs_no_look_at_the_database(key, django_assert_num_queries):  # security 45
    for _ in range(4):
        fail(key.client_id)
    for _ in range(6):
        fail(credentials.new_client_id())
    with django_assert_num_queries(1):  # is the secret right?
        assert fail(key.client_id) == 429


def test_limits_can_be_switched_off(key, settings):
    settings.RATE_LIMITS = False
    assert [fail(key.client_id) for _ in range(8)] == [401] * 8


def test_the_next_minute_is_a_new_one(key, monkeypatch):
    now = time.time()
    for _ in range(4):
        fail(key.client_id)
    monkeypatch.setattr(time, "time", lambda: now + limits.WINDOW)
    assert fail(key.client_id) == 401
