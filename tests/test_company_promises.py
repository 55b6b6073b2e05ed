"""What is promised of API Clients and that only real processes can break: under fire, on both databases."""

from __future__ import annotations

from functools import partial

import pytest

from .server import Server
from .test_promises import CONNECTIONS, ROUNDS, Fire, ask, call, introspect, tell
from .visitor import Visitor

pytestmark = pytest.mark.server

COMPANY = "Demo Company"
# Done as the pages and the admin site do it.
CHANGE = """
from profiles.clients import company
from profiles.models import KeyEvent, OAuthApplication, User
from profiles.origin import Origin
client = OAuthApplication.objects.get(client_id={client_id!r})
origin = Origin(User.objects.get(email="user@demo.example"), KeyEvent.Via.COMMAND)
"""
SWITCH = CHANGE + "company.switch(company=client.company, client_id=client.client_id, enabled={to!r}, origin=origin)"
LET_INTROSPECT = CHANGE + "company.let_introspect(client=client, allowed={to!r}, origin=origin)"


@pytest.fixture
def api_client(server: Server) -> tuple[str, str]:
    return server.make_client("Viewer")


@pytest.fixture(params=["key", "client"])
def credentials(server: Server, request: pytest.FixtureRequest) -> tuple[str, str]:
    """Those of a user's key, and those of an API Client, of the demo company."""
    if request.param == "client":
        return server.make_client("Viewer")
    owner = Visitor(server.url).sign_in("user@demo.example")
    return owner.regenerate() if owner.has_key() else owner.create()


def change(server: Server, code: str, client_id: str, *, to: bool) -> None:
    server.manage("shell", "-c", code.format(client_id=client_id, to=to))


def assert_none_is_accepted(fire: Fire) -> None:
    fire.assert_refused(token=401, call=401, introspect=401)
    fire.surviving = sum(call(fire.site, token).status_code != 401 for token in fire.issued)
    assert fire.surviving == 0


def assert_all_are_back(fire: Fire) -> None:
    assert fire.ask().status_code == 200
    assert {call(fire.site, token).status_code for token in fire.issued} == {200}


def test_a_client_that_is_disabled_is_refused_at_once(server, api_client):
    client_id, _ = api_client
    fires = []
    for _ in range(ROUNDS):
        fire = Fire(server.url, *api_client)
        fires.append(fire)
        fire.around(partial(change, server, SWITCH, client_id, to=False))
        assert_none_is_accepted(fire)
        change(server, SWITCH, client_id, to=True)
        assert_all_are_back(fire)
    tell(fires)


def test_a_company_that_is_switched_off_is_refused_at_once(server, credentials):
    off, on = (
        partial(server.sql, "UPDATE profiles_company SET is_active = %s WHERE name = %s", active, COMPANY)
        for active in (False, True)
    )
    fires = []
    for _ in range(ROUNDS):
        fire = Fire(server.url, *credentials)
        fires.append(fire)
        try:
            fire.around(off)
            assert_none_is_accepted(fire)
        finally:
            on()
        assert_all_are_back(fire)
    tell(fires)


class Questions(Fire):
    """Connections on which a resource server asks about somebody else's token."""

    def burn(self) -> None:
        while True:
            after = self.changed.is_set()
            answer = introspect(self.site, self.client_id, self.secret, self.path)
            self.seen[f"introspect {answer.status_code}"] += 1
            self.issued.append("")
            if after:
                self.late.append(("active", answer.json()["active"]))
                return


def test_what_lets_a_client_introspect_is_taken_at_once(server, api_client):
    other = ask(server.url, *server.make_client("Viewer")).json()["access_token"]
    client_id, secret = api_client
    for _ in range(ROUNDS):
        change(server, LET_INTROSPECT, client_id, to=True)
        assert introspect(server.url, client_id, secret, other).json()["active"] is True
        fire = Questions(server.url, client_id, secret, path=other)
        fire.around(partial(change, server, LET_INTROSPECT, client_id, to=False))
        assert fire.late == [("active", False)] * CONNECTIONS
        assert call(server.url, other).status_code == 200
