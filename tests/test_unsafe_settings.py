"""Settings that are unsafe where the site is stop the start with one sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from uuid import uuid4

import pytest

from .test_settings import ROOT, start

PRODUCTION = {
    "BASE_URL": "https://keys.example",
    "SECRET_KEY": uuid4().hex * 2,
    "DATABASE_URL": "postgres://keys@db.example/keys",
}


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1].removeprefix("django.core.exceptions.ImproperlyConfigured: ")


def test_production_as_documented_starts():
    done = start(**PRODUCTION)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "where",
    [
        PRODUCTION,
        {"BASE_URL": "http://keys.example"},
        {"BASE_URL": "http://192.0.2.7:8000"},
        {"HOST": "0.0.0.0", "BASE_URL": "http://127.0.0.1:8000"},
        {"ALLOWED_HOSTS": "localhost,keys.example"},
        {"ALLOWED_HOSTS": "*"},
        {"TRUSTED_PROXIES": "1"},
        {"SERVER_HOSTS": "2", "DATABASE_URL": "postgres://keys@db.example/keys"},
    ],
)
def test_debug_where_others_can_reach_it(where):
    assert sentence(start(DEBUG="on", **where)).startswith("DEBUG must be off")


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"HOST": "localhost", "PORT": "9000"},
        {"BASE_URL": "http://[::1]:8000"},
        {"BASE_URL": "http://keys.localhost:8000", "ALLOWED_HOSTS": "127.0.0.2"},
    ],
)
def test_debug_on_loopback_is_for_developers(where):
    done = start(DEBUG="on", **where)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "key",
    ["x", "debug-only-not-a-secret", "x" * 60, "changeme" * 8, "0123456789" * 6, uuid4().hex],
    ids=["short", "default", "one letter", "a word", "digits", "half of what it should be"],
)
def test_a_weak_secret_key_with_https(key):
    done = start(**PRODUCTION | {"SECRET_KEY": key})
    assert sentence(done).startswith("SECRET_KEY must be 50 random characters")
    if len(key) > 1:
        assert key not in done.stderr


def test_any_host_with_https():
    assert sentence(start(ALLOWED_HOSTS="*", **PRODUCTION)).startswith("ALLOWED_HOSTS must be names")


def test_sqlite_on_several_hosts():
    assert sentence(start(SERVER_HOSTS="2")).startswith("DATABASE_URL must be postgres://")
    assert start(SERVER_HOSTS="1").returncode == 0
    assert start(SERVER_HOSTS="2", **PRODUCTION).returncode == 0


@pytest.mark.parametrize("cache", ["locmemcache://", "dummycache://"])
def test_limits_that_no_other_process_sees(cache):
    assert sentence(start(CACHE_URL=cache, **PRODUCTION)).startswith("CACHE_URL must be redis://")
    assert start(CACHE_URL=cache).returncode == 0


@pytest.mark.parametrize("command", ["check", "migrate", "purgetokens", "runserver"])
def test_a_command_says_the_sentence_and_nothing_else(command):
    environment = {"PATH": os.environ["PATH"], "SECRET_KEY": "x", "BASE_URL": "https://keys.example"}
    done = subprocess.run(
        [sys.executable, "manage.py", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(r"manage\.py: SECRET_KEY must be [^\n]*\.\n", done.stderr)


@pytest.mark.parametrize("former", ["short", "2cb8e0f4d7a14c6f9b3e5d80a7c1f6e2" * 2 + ",short", "a" * 80])
def test_a_former_key_that_can_be_guessed(former):
    """What it has signed holds as if SECRET_KEY had."""
    assert sentence(start(**PRODUCTION, SECRET_KEY_FALLBACKS=former)).startswith("SECRET_KEY_FALLBACKS must be keys")
    assert start(**PRODUCTION, SECRET_KEY_FALLBACKS=uuid4().hex * 2).returncode == 0
