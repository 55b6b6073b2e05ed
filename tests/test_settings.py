"""Settings: a wrong value stops the start with one sentence; every variable is in the README."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from .settings_values import BAD, GOOD

ROOT = Path(__file__).resolve().parent.parent
START = "import django; django.setup(); from django.conf import settings as s; print(eval(WHAT))"


CLEAN = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "airvantage_keys.settings", "SECRET_KEY": "x"}


def start(what: str = "None", **environment: str) -> subprocess.CompletedProcess[str]:
    """Start Django in a process of its own with these variables, and print an expression of the settings."""
    code = START.replace("WHAT", repr(what))
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=CLEAN | environment, capture_output=True, text=True, check=False
    )


def value(what: str, **environment: str) -> str:
    done = start(what, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Read by `manage.py demodata` (see test_demodata), and by the scripts (see test_deploy).
ELSEWHERE = {"DEMO_PASSWORD", "AIRVANTAGE_KEYS_ENVIRONMENT"}
SERVED = "airvantage_keys.wsgi:application"

# Imports the settings again and again, each time with other variables; shortens what several settings say together.
MANY = """
import importlib, json, logging.config, os, sys
from django.core.exceptions import ImproperlyConfigured

def postgres(settings):
    database = settings["DATABASES"]["default"]
    return [database[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")]

def mail(settings):
    names = ("HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL")
    return [settings.get("EMAIL_" + name, False) for name in names]

def redis(settings):
    # What Django makes of it, which connects only when it is used.
    import django.conf, django.core.cache
    cache = settings["CACHES"]["default"]
    backend = django.core.cache.backends.redis.RedisCache(cache["LOCATION"], {})
    pool = backend._cache._get_connection_pool(write=True)
    return pool.connection_kwargs | {"TLS": "SSL" in pool.connection_class.__name__}

import django.core.cache.backends.redis
cases, outcomes = json.load(sys.stdin), []
for name, value, what in cases:
    os.environ[name] = value
    sys.modules.pop("airvantage_keys.settings", None)
    try:
        settings = vars(importlib.import_module("airvantage_keys.settings"))
        logging.config.dictConfig(settings["LOGGING"])
        short = {"POSTGRES": postgres, "MAIL": mail, "REDIS": redis}.get(what)
        outcome = ["taken", short(settings) if short else eval(what, dict(settings))]
    except ImproperlyConfigured as problem:
        outcome = ["refused", str(problem)]
    except Exception as error:
        outcome = ["failed", repr(error)]
    os.environ.pop(name)
    if name == "SECRET_KEY":
        os.environ[name] = "x"
    outcomes.append(outcome)
json.dump(outcomes, sys.stdout, default=repr)
"""
ALL_GOOD = [(name, *case) for name, cases in GOOD.items() for case in cases]
ALL_BAD = [(name, value) for name, values in BAD.items() for value in values]


def names(cases: list[Any]) -> list[str]:
    return [f"{name}={value[:40]!a}-{number}" for number, (name, value, *_) in enumerate(cases)]


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str, str], tuple[str, Any]]:
    """What became of each value; all in one process, since a start takes half a second."""
    cases = [(name, value, what) for name, value, what, _ in ALL_GOOD] + [(*case, "1") for case in ALL_BAD]
    done = subprocess.run(
        [sys.executable, "-c", MANY],
        cwd=ROOT,
        env=CLEAN,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(cases, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("name", "value", "what", "expected"), ALL_GOOD, ids=names(ALL_GOOD))
def test_a_right_value_works(name, value, what, expected, outcomes):
    kind, found = outcomes[name, value, what]
    assert kind == "taken", found
    if isinstance(expected, dict):
        assert expected.items() <= found.items()
    else:
        assert found == (list(expected) if isinstance(expected, tuple) else expected)


@pytest.mark.parametrize(("name", "value"), ALL_BAD, ids=names(ALL_BAD))
def test_a_wrong_value_is_one_sentence_that_names_the_variable(name, value, outcomes):
    kind, sentence = outcomes[name, value, "1"]
    assert kind == "refused"
    assert re.match(rf"{name} (must be|is not set)", sentence)
    assert sentence.isprintable()
    assert sentence.endswith(".")
    assert len(sentence) < 300
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    "command",
    [["manage.py", "check"], ["manage.py", "migrate"], ["-m", "granian", "--interface", "wsgi", "--port", "0", SERVED]],
    ids=["check", "migrate", "server"],
)
@pytest.mark.parametrize(("name", "wrong"), [("LOG_LEVEL", "nonsense"), ("DATABASE_URL", "oracle://u:hunter2@h/n")])
def test_whoever_starts_it_reads_that_sentence_and_no_traceback(command, name, wrong):
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=CLEAN | {name: wrong}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    told = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("[")]  # the server's log
    assert len(told) == 1
    assert re.fullmatch(rf"(manage\.py|airvantage_keys): {name} must be .*\.", told[0])
    assert "hunter2" not in told[0]


def test_a_database_that_is_not_there_is_one_sentence_too():
    away = CLEAN | {"DATABASE_URL": "postgres://u:hunter2@127.0.0.1:1/n?connect_timeout=2"}
    command = [sys.executable, "manage.py", "migrate"]
    done = subprocess.run(command, cwd=ROOT, env=away, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"manage\.py: the database named by DATABASE_URL failed: .* refused.*\n", done.stderr)
    assert "hunter2" not in done.stderr
    done = subprocess.run([*command, "--traceback"], cwd=ROOT, env=away, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr


def test_a_database_host_that_does_not_answer_is_given_up_soon():
    # As if it had no power: while its queue is full, Linux does not answer who wants to connect.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(silent.getsockname())
        away = CLEAN | {"DATABASE_URL": f"postgres://u@127.0.0.1:{silent.getsockname()[1]}/n"}
        command = [sys.executable, "manage.py", "migrate"]
        done = subprocess.run(command, cwd=ROOT, env=away, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert re.fullmatch(r"manage\.py: the database named by DATABASE_URL failed: .*timeout expired.*\n", done.stderr)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("PORT", "8o80"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "\u0668\u0660\u0660\u0660"),
        ("PORT", "8_000"),
        ("HOST", "a..b"),
        ("HOST", "nobody.invalid"),
        ("DATABASE_URL", "sqlite://:memory:"),
    ],
)
def test_the_server_says_at_once_what_it_can_not_listen_on(name, wrong):
    done = subprocess.run(
        [ROOT / "script/server"],
        env=os.environ | {name: wrong},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"script/server: (can't listen on .*|{name} must .*)\.\n", done.stderr)


@pytest.mark.parametrize(
    ("environment", "reachable"),
    [
        ({}, False),
        ({"HOST": "localhost", "ALLOWED_HOSTS": "localhost,127.0.0.1"}, False),
        ({"BASE_URL": "http://[::1]:8000"}, False),
        ({"BASE_URL": "https://localhost", "SECRET_KEY": uuid4().hex * 2}, True),
        ({"BASE_URL": "http://keys.example"}, True),
        ({"HOST": "0.0.0.0", "BASE_URL": "http://127.0.0.1:8000"}, True),
        ({"ALLOWED_HOSTS": "localhost,192.0.2.7"}, True),
        ({"TRUSTED_PROXIES": "1"}, True),
        ({"SERVER_HOSTS": "2", "DATABASE_URL": "postgres://keys@db.example/keys"}, True),
    ],
)
def test_whether_others_reach_the_site(environment, reachable):  # security 90
    assert value("s.REACHABLE", **environment) == str(reachable)


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


def test_every_variable_is_in_the_readme_and_tried_above():
    settings = (ROOT / "airvantage_keys/settings.py").read_text()
    server = (ROOT / "script/server").read_text()
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', settings))
    read |= set(re.findall(r"\$\{([A-Z][A-Z_]+):-", server))
    assert len(read) > 15
    table = set(re.findall(r"^\| `([A-Z_]+)`(?:, `([A-Z_]+)`)? \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    listed = {name for row in table for name in row if name}
    assert read - {"GRANIAN_BLOCKING_THREADS"} <= listed, f"not in the README: {read - listed}"
    assert GOOD.keys() == BAD.keys() == listed - ELSEWHERE


def test_no_variable_of_the_caller_changes_what_is_tested():
    unset = re.search(r"^unset (.*?[^\\])$", (ROOT / "script/test").read_text(), re.MULTILINE | re.DOTALL)
    assert unset is not None
    assert GOOD.keys() | ELSEWHERE <= {*unset.group(1).replace("\\\n", " ").split(), "SECRET_KEY"}


@pytest.mark.parametrize(
    ("pooling", "expected"), [("off", "(True, 5, True)"), ("on", "(None, None, True)")], ids=["off", "on"]
)
def test_behind_a_pooler_of_transactions_nothing_is_kept_in_a_connection(pooling, expected):
    told = value(
        "(lambda d: (d['OPTIONS'].get('server_side_binding'), d['OPTIONS']['prepare_threshold'], "
        "d.get('DISABLE_SERVER_SIDE_CURSORS', False)))(s.DATABASES['default'])",
        DATABASE_URL="postgres://keys@db.example/keys",
        TRANSACTION_POOLING=pooling,
    )
    assert told == expected
