"""Settings: a wrong value stops the start with one sentence; every variable is in the README."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

ROOT = Path(__file__).resolve().parent.parent
START = "import django; django.setup(); from django.conf import settings as s; print(eval(WHAT))"


def start(what: str = "None", **environment: str) -> subprocess.CompletedProcess[str]:
    """Start Django in a process of its own with these variables, and print an expression of the settings."""
    code = START.replace("WHAT", repr(what))
    clean = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "airvantage_keys.settings", "SECRET_KEY": "x"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=False
    )


def value(what: str, **environment: str) -> str:
    done = start(what, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("SECRET_KEY", ""),
        ("DEBUG", "maybe"),
        ("BASE_URL", "keys.example"),
        ("BASE_URL", "https://keys.example/"),
        ("BASE_URL", "ftp://keys.example"),
        ("TRUSTED_PROXIES", "-1"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "oracle5://user:hunter2@host/name"),
        ("CACHE_URL", "nonsense://user:hunter2@host"),
        ("EMAIL_URL", "nonsense://user:hunter2@host"),
        ("ACCESS_TOKEN_EXPIRE_SECONDS", "an hour"),
        ("ACCESS_TOKEN_EXPIRE_SECONDS", "0"),
        ("RATE_LIMITS", "banana"),
    ],
)
def test_a_wrong_value_stops_the_start_with_one_sentence(name, wrong):
    done = start(**{name: wrong})
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert re.search(rf"ImproperlyConfigured: {name} (must be|is not set)", last)
    assert "hunter2" not in done.stderr


def test_debug_is_off_unless_asked_for():
    assert value("s.DEBUG") == "False"
    assert value("s.DEBUG", DEBUG="1") == "True"


def test_an_https_origin_brings_secure_cookies_and_hsts():
    what = "s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.SECURE_HSTS_SECONDS"
    assert (
        value(what, BASE_URL="https://keys.example", SECRET_KEY=uuid4().hex * 2)
        == "('__Host-session', '__Host-csrf', True, 31536000)"
    )
    assert value(what) == "('session', 'csrf', False, 0)"


def test_sqlite_is_set_up_to_survive():
    options = value("s.DATABASES['default']['OPTIONS']")
    assert "journal_mode=WAL" in options
    assert "synchronous=FULL" in options
    assert "IMMEDIATE" in options


def test_passwords_never_get_the_hasher_of_secrets():  # security 4
    assert value("s.PASSWORD_HASHERS[0].rpartition('.')[2]") == "PBKDF2PasswordHasher"


def test_every_variable_is_in_the_readme():
    settings = (ROOT / "airvantage_keys/settings.py").read_text()
    server = (ROOT / "script/server").read_text()
    read = set(re.findall(r'(?:env\.\w+|_flag|_number|_address)\(\s*"([A-Z_]+)"', settings))
    read |= set(re.findall(r"env\.str\('([A-Z_]+)'", settings))
    read |= set(re.findall(r"\$\{([A-Z][A-Z_]+):-", server))
    assert len(read) > 15
    table = set(re.findall(r"^\| `([A-Z_]+)`(?:, `([A-Z_]+)`)? \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    listed = {name for row in table for name in row if name} | {"GRANIAN_BLOCKING_THREADS"}
    assert read <= listed, f"not in the README: {read - listed}"


@pytest.mark.parametrize(
    ("pooling", "expected"), [("off", "(True, 5, False)"), ("on", "(None, None, True)")], ids=["off", "on"]
)
def test_behind_a_pooler_of_transactions_nothing_is_kept_in_a_connection(pooling, expected):
    told = value(
        "(lambda d: (d['OPTIONS'].get('server_side_binding'), d['OPTIONS']['prepare_threshold'], "
        "d.get('DISABLE_SERVER_SIDE_CURSORS', False)))(s.DATABASES['default'])",
        DATABASE_URL="postgres://keys@db.example/keys",
        TRANSACTION_POOLING=pooling,
    )
    assert told == expected
