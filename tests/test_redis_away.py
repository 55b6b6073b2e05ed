"""Redis is away or hangs: the database counts, and everybody signs in, works and is refused as before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests
from django.core.cache import cache

from profiles import credentials
from profiles.account.mfa import codes
from profiles.limits import shared_cache
from profiles.models import User

from .redis_server import RedisServer, redis_server
from .server import Server, running, sqlite_url
from .trouble import OWNER, assert_503_json, until
from .visitor import Visitor

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def redis_away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def site(redis_away: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("site")
    limits = {"RATE_LIMITS": "on", "CLIENT_FAILURES_PER_MINUTE": "3", "ADDRESS_FAILURES_PER_MINUTE": "1000"}
    with running(folder, sqlite_url(folder), CACHE_URL=redis_away.url, **limits) as server:
        yield server


def failures(site: Server) -> list[int]:
    """The answers to wrong secrets of one client."""
    client_id = credentials.new_client_id()
    return [
        requests.post(
            f"{site.url}/api/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(client_id, credentials.new_secret()),
            timeout=60,
        ).status_code
        for _ in range(9)
    ]


def assert_served(site: Server) -> None:
    visitor = Visitor(site.url).sign_in(OWNER)
    if visitor.has_key():
        visitor.delete()
    visitor.create()
    wrong = Visitor(site.url)
    assert wrong.submit("/accounts/login/", "/accounts/login/", login=OWNER, password="wrong").status_code == 200
    # allauth's own limits are in the cache.
    reset = wrong.submit("/accounts/password/reset/", "/accounts/password/reset/", email=f"{time.time()}@demo.example")
    assert reset.status_code in (200, 429)
    assert set(failures(site)) == {401, 429}


@pytest.mark.parametrize("away", ["stop", "freeze"])
def test_without_redis_all_works_and_the_probe_says_so(away, redis_away, site):  # security 89
    until(lambda: requests.get(f"{site.url}/readyz", timeout=60).ok)
    before = site.log.read_text()
    getattr(redis_away, away)()
    try:
        begun = time.monotonic()
        response = requests.get(f"{site.url}/readyz", timeout=60)
        assert time.monotonic() - begun < 4  # two are promised, on a machine that does nothing else
        assert_503_json(response, "server.cache.unavailable")
        assert "cache" in response.json()["error_description"]
        assert_served(site)
        said = site.log.read_text().removeprefix(before)
        # One line in each process; nobody is told of the database.
        assert 1 <= said.count("Redis unavailable, the database takes its place: ") <= 2, said
        assert "database unavailable" not in said
        assert "Traceback" not in said
    finally:
        redis_away.start() if away == "stop" else redis_away.thaw()
    until(lambda: requests.get(f"{site.url}/readyz", timeout=60).ok)
    until(lambda: "Redis available again, after " in site.log.read_text().removeprefix(before))
    assert_served(site)


@pytest.fixture
def in_redis(tmp_path: Path, settings) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        settings.CACHES = {
            "default": {
                "BACKEND": "profiles.limits.shared_cache.RedisOrTable",
                "LOCATION": [server.url],
                "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 0.5},
            },
            "once": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": server.url},
        }
        yield server


def test_one_request_waits_for_a_redis_that_hangs_and_the_next_ones_do_not(in_redis, monkeypatch):
    now = 1000.0
    failed: list[None] = []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    note = shared_cache.state.failed
    monkeypatch.setattr(shared_cache.state, "failed", lambda error: failed.append(note(error)))
    cache.set("a", 1)
    in_redis.freeze()
    cache.set("a", 2)
    assert len(failed) == 1
    assert [cache.get("a"), cache.add("a", 3), cache.incr("a")] == [2, False, 3]
    assert len(failed) == 1
    now += shared_cache.PAUSE + 1
    cache.set("a", 4)
    assert len(failed) == 2
    now += shared_cache.PAUSE + 1
    in_redis.thaw()
    cache.set("b", 5)
    assert len(failed) == 2
    assert redis.Redis.from_url(in_redis.url).get(":1:b") == b"5"


def test_what_is_used_once_is_not_forgotten_when_redis_goes(in_redis):  # security 68
    """Neither a code of an authenticator app nor the challenge of a passkey is in Redis."""
    user = User(pk=1)
    assert codes.spend(user, "123456")
    in_redis.stop()
    assert not codes.spend(user, "123456")
