"""API Clients of a running site, made and changed by a command in a process of its own, as the company's manager."""

from __future__ import annotations

import json

from .server import Server

_BEGIN = """
import json
from profiles.clients import company
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


def _run(server: Server, code: str) -> str:
    return server.manage("shell", "--verbosity", "0", "--command", _BEGIN + code).strip()
