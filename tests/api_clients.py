"""API Clients of a running site, made and changed by a command in a process of its own, as the company's manager."""

from __future__ import annotations

import json
from typing import Any

from .server import Server

_BEGIN = """
import json
from profiles.clients import company, tokens
from profiles.models import *
from profiles.origin import Origin
rights = ["accountNetwork.apiClients." + verb for verb in ("view", "create", "edit", "delete")]
rights.append("accountNetwork.users.view")
manager, _ = User.objects.get_or_create(email="manager@demo.example", defaults={
    "name": "Mia Manager",
    "company": Company.objects.get_or_create(name="Fleet Ltd")[0],
    "access_profile": AccessProfile.objects.get_or_create(name="Manager of clients", defaults={"rights": rights})[0],
})
profile, _ = AccessProfile.objects.get_or_create(name="Integration", defaults={"rights": rights[-1:]})
of = {"company": manager.company, "origin": Origin(actor=manager, via="clients", address="203.0.113.7")}
"""


def make(server: Server, name: str) -> tuple[str, str]:
    """A new API Client: its Client ID and its secret."""
    about = f"company.About({name!r}, 'A note', profile)"
    said = _run(
        server, f"client, secret = company.create(about={about}, **of)\nprint(json.dumps([str(client), secret]))"
    )
    client_id, secret = json.loads(said)
    return client_id, secret


def change(server: Server, client_id: str, verb: str, arguments: str = "") -> None:
    """Change one: `arguments` as they are written in Python, beside those of every change."""
    _run(server, f"company.{verb}(client_id={client_id!r}, {arguments}{', ' if arguments else ''}**of)")


_AT_ONCE = """
import threading, time
from concurrent.futures import ThreadPoolExecutor
from django.db import connection, transaction

def one(deed, barrier, scope):
    barrier.wait()
    try:
        exec(deed, scope)
        return "done"
    except Exception as error:
        return type(error).__name__
    finally:
        connection.close()

rounds = []
for number in range(ROUNDS):
    scope = {**globals(), "number": number}
    exec(BEFORE, scope)
    barrier = threading.Barrier(len(DEEDS))
    with ThreadPoolExecutor(len(DEEDS)) as pool:
        outcomes = list(pool.map(lambda deed: one(deed, barrier, dict(scope)), DEEDS))
    rounds.append([outcomes, eval(AFTER, scope)])
print(json.dumps(rounds))
"""


def at_once(
    server: Server, deeds: list[str], *, before: str = "", after: str = "None", rounds: int = 3
) -> list[tuple[list[str], Any]]:
    """Have these deeds, in Python, done by as many threads at the same moment, each with a connection of its own.

    Of each round, what became of each deed ("done", or the name of its exception), and the value of `after`.
    `before` makes what a round needs, which has a `number`.
    """
    begin = f"ROUNDS, BEFORE, AFTER, DEEDS = {rounds}, {before!r}, {after!r}, {deeds!r}\n"
    return [(outcomes, value) for outcomes, value in json.loads(_run(server, begin + _AT_ONCE).splitlines()[-1])]


def _run(server: Server, code: str) -> str:
    return server.manage("shell", "--verbosity", "0", "--command", _BEGIN + code).strip()
