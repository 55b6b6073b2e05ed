"""Commands that run inside the product, in a process of their own with its settings; they print JSON.

python -m benchmarks.ours prepare [static]    the tables, the demo data, a key, and the static files if they are wanted
python -m benchmarks.ours statements          the SQL of a token and of a call with one, for `peers/floor.py`
python -m benchmarks.ours page                the queries of the profile page
python -m benchmarks.ours changes EMAIL N     seconds of N times Create, Regenerate and Delete for this user
python -m benchmarks.ours key EMAIL           a key for this user
python -m benchmarks.ours regenerate EMAIL    seconds of one Regenerate
python -m benchmarks.ours owners N            so many users with the demo password; their addresses
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import django
import msgspec
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "airvantage_keys.settings")
KEY_OF = "other@demo.example"


def prepare(*static: str) -> dict[str, Any]:
    from profiles import credentials
    from profiles.api import schemas
    from profiles.clients import lifecycle
    from profiles.models import User

    call_command("migrate", verbosity=0)
    call_command("createcachetable")
    call_command("demodata")
    if static:
        call_command("collectstatic", interactive=False, verbosity=0)
    owner = User.objects.get(email=KEY_OF)
    key, secret = lifecycle.create(owner=owner, origin=_origin())
    # A well-formed secret that belongs to no key.
    other = credentials.new_secret()
    every = {"fields": ",".join(schemas.USERS.fields)}
    [shown] = msgspec.to_builtins(schemas.USERS.page_of(User.objects.filter(pk=owner.pk), every))["items"]
    return {"client_id": key.client_id, "secret": secret, "other_secret": other, "owner": shown}


def statements() -> dict[str, str]:
    """The one place that knows their names in the product."""
    from profiles.clients import tokens

    return {"issue": tokens.ISSUE.sql, "find": tokens.FIND.sql}


def page() -> list[str]:
    """The page for a browser that has just signed in: with all middleware, without the server."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from profiles.models import User

    browser = Client(SERVER_NAME="127.0.0.1")
    browser.force_login(User.objects.get(email=KEY_OF))
    for _ in range(10):
        if browser.get("/profile/").status_code != 200:
            raise SystemExit("GET /profile/ did not answer 200")
    with CaptureQueriesContext(connection) as queries:
        browser.get("/profile/")
    return [query["sql"] for query in queries.captured_queries]


def changes(email: str, times: str) -> dict[str, list[float]]:
    """Each change is a transaction, so these are seconds by the clock. The user must have no key; has none after."""
    from profiles.clients import lifecycle
    from profiles.models import User

    owner = User.objects.get(email=email)
    three = {"create": lifecycle.create, "regenerate": lifecycle.regenerate, "delete": lifecycle.delete}
    found: dict[str, list[float]] = {name: [] for name in three}
    for _ in range(int(times)):
        for name, change in three.items():
            found[name].append(_seconds(partial(change, owner=owner, origin=_origin())))
    return found


def key(email: str) -> None:
    from profiles.clients import lifecycle
    from profiles.models import User

    lifecycle.create(owner=User.objects.get(email=email), origin=_origin())


def regenerate(email: str) -> list[float]:
    from profiles.clients import lifecycle
    from profiles.models import User

    owner = User.objects.get(email=email)
    # A warm-up: what only the first change of a process has to compile is not measured.
    changes("admin@demo.example", "5")
    return [_seconds(partial(lifecycle.regenerate, owner=owner, origin=_origin()))]


def owners(number: str) -> list[str]:
    from profiles.models import User

    like = User.objects.get(email="user@demo.example")
    of_it = {"name": "Owner", "company": like.company, "access_profile": like.access_profile}
    emails = [f"owner{index}@failover.example" for index in range(int(number))]
    for email in emails:
        User.objects.create_user(email, os.environ["DEMO_PASSWORD"], **of_it)
    return emails


def _origin() -> Any:
    from profiles.models import KeyEvent
    from profiles.origin import Origin

    return Origin(actor=None, via=KeyEvent.Via.COMMAND)


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    django.setup()
    name, *arguments = sys.argv[1:]
    commands: dict[str, Callable[..., Any]] = {
        "prepare": prepare,
        "statements": statements,
        "page": page,
        "changes": changes,
        "key": key,
        "regenerate": regenerate,
        "owners": owners,
    }
    with redirect_stdout(sys.stderr):
        answer = commands[name](*arguments)
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
