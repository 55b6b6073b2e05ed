"""The promises that only real processes can break: many at once, on a real server, on both databases.

Each round sends requests from many connections while the key changes, and then looks whether anything of
before is still accepted. FIRE_ROUNDS asks for more rounds; --log-level=INFO --log-cli-level=INFO tells the figures.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Barrier, Event
from typing import TypeVar
from uuid import uuid4

import pytest
import requests

from profiles.models import User

from .server import Server
from .visitor import Form, Visitor, credentials_on

pytestmark = pytest.mark.server

T = TypeVar("T")

logger = logging.getLogger(__name__)

CONNECTIONS = 8
ROUNDS = int(os.environ.get("FIRE_ROUNDS", "5"))
OWNERS = 4
WINDOWS = 4
OWNER = "user@demo.example"
RIGHT = "accountNetwork.users.view"
OLD_SECRET = ["now", "first-use", "24h"]


@pytest.fixture
def visitor(server: Server) -> Visitor:
    """The demo user, signed in, without a key."""
    visitor = Visitor(server.url).sign_in("user@demo.example")
    if visitor.has_key():
        visitor.delete()
    return visitor


def ask(site: str, client_id: str, secret: str, scope: str = "") -> requests.Response:
    return requests.post(
        f"{site}/api/oauth/token",
        data={"grant_type": "client_credentials", "scope": scope},
        auth=(client_id, secret),
        timeout=60,
    )


def call(site: str, token: str, path: str = "/api/v1/users/current") -> requests.Response:
    return requests.get(site + path, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def introspect(site: str, client_id: str, secret: str, token: str) -> requests.Response:
    return requests.post(f"{site}/api/oauth/introspect", data={"token": token}, auth=(client_id, secret), timeout=60)


def send_at_once(form: Form, action: str, windows: list[Visitor]) -> list[requests.Response]:
    """Send the same form from all these windows at the same moment."""
    barrier = Barrier(len(windows))

    def send(window: Visitor) -> requests.Response:
        barrier.wait()
        return window.send(form, action)

    with ThreadPoolExecutor(len(windows)) as pool:
        return list(pool.map(send, windows))


def test_any_number_of_creates_at_once_give_one_key(visitor):  # security 13
    action = "/profile/api-key/create/"
    for _ in range(ROUNDS):
        form = visitor.form("/profile/", action)
        answers = send_at_once(form, action, [visitor.copy() for _ in range(CONNECTIONS)])
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * (CONNECTIONS - 1)
        (winner,) = [answer for answer in answers if answer.status_code == 200]
        assert ask(visitor.site, *credentials_on(winner)).status_code == 200
        visitor.delete()


def test_of_two_regenerates_at_once_one_wins_and_says_so(visitor):  # security 14
    action = "/profile/api-key/regenerate/"
    visitor.create()
    for _ in range(ROUNDS):
        form = visitor.form(action, action)
        answers = send_at_once(form, action, [visitor.copy(), visitor.copy()])
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        (winner,) = [answer for answer in answers if answer.status_code == 200]
        assert ask(visitor.site, *credentials_on(winner)).status_code == 200


@dataclass
class Regenerates:
    """Windows of one owner that regenerate at the same time, each with the choices in turn, and use what they get."""

    visitor: Visitor
    server: Server
    done: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        with ThreadPoolExecutor(WINDOWS) as pool:
            list(pool.map(self.live, range(WINDOWS)))

    def live(self, number: int) -> None:
        """Regenerate until it was done a number of times."""
        path, window, done = "/profile/api-key/regenerate/", self.visitor.copy(), 0
        while done < ROUNDS:
            old_secret = OLD_SECRET[(number + done) % len(OLD_SECRET)]
            answer = window.submit(path, path, old_secret=old_secret)
            self.answers[f"regenerate {answer.status_code}"] += 1
            if answer.ok:
                done += 1
                self.done[old_secret] += 1
                used = ask(self.server.url, *credentials_on(answer))  # refused where another one came meanwhile
                self.answers[f"token {used.status_code}"] += 1
            without_end, live = self.secrets()
            assert without_end == 1
            assert 1 <= live <= 2

    def secrets(self) -> tuple[int, int]:
        """How many secrets of the key are good until further notice, and how many are live."""
        ((without_end, live),) = self.server.sql(
            "SELECT sum(CASE WHEN s.ends IS NULL THEN 1 ELSE 0 END), sum(CASE WHEN s.ended THEN 0 ELSE 1 END)"
            " FROM profiles_clientsecret s JOIN profiles_oauthapplication k ON k.id = s.application_id"
            " JOIN profiles_user u ON u.id = k.user_id WHERE u.email = %s",
            OWNER,
        )
        return without_end, live

    def events(self) -> Counter[str]:
        """What was chosen in the Regenerates that the log of events has of this key."""
        rows = self.server.sql(
            "SELECT e.old_secret, count(*) FROM profiles_keyevent e JOIN profiles_user u ON u.id = e.owner_id"
            " JOIN profiles_oauthapplication k ON k.client_id = e.client_id"
            " WHERE u.email = %s AND e.action = 'regenerated' GROUP BY e.old_secret",
            OWNER,
        )
        return Counter(dict(rows))


def test_whatever_is_chosen_at_once_two_secrets_are_live_at_most(visitor, server):  # security 14, 27
    visitor.create()
    regenerates = Regenerates(visitor, server)
    regenerates.run()
    assert set(regenerates.answers) <= {"regenerate 200", "regenerate 409", "token 200", "token 401"}
    assert regenerates.events() == regenerates.done
    logger.info("%s %s", dict(regenerates.done), dict(regenerates.answers))


@pytest.mark.parametrize("old_secret", OLD_SECRET)
def test_of_many_regenerates_from_one_page_one_is_done(visitor, server, old_secret):  # security 14, 27
    action = "/profile/api-key/regenerate/"
    visitor.create()
    for _ in range(ROUNDS):
        form = visitor.form(action, action)
        form.fields["old_secret"] = old_secret
        answers = send_at_once(form, action, [visitor.copy() for _ in range(CONNECTIONS)])
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * (CONNECTIONS - 1)
    regenerates = Regenerates(visitor, server)
    assert regenerates.events() == {old_secret: ROUNDS}
    assert regenerates.secrets() == (1, 1 if old_secret == "now" else 2)


@dataclass
class Fire:
    """Connections on which tokens are asked for, used and introspected as fast as the server answers."""

    site: str
    client_id: str
    secret: str
    scope: str = ""
    path: str = "/api/v1/users/current"
    changed: Event = field(default_factory=Event)
    issued: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    # What was answered to requests sent after the change.
    late: list[tuple[str, int]] = field(default_factory=list)
    surviving: int = 0

    def steps(self) -> dict[str, Callable[[], requests.Response]]:
        steps: dict[str, Callable[[], requests.Response]] = {"token": self.ask}
        if self.issued:
            token = self.issued[-1]
            steps["call"] = lambda: call(self.site, token, self.path)
            steps["introspect"] = lambda: introspect(self.site, self.client_id, self.secret, token)
        return steps

    def ask(self) -> requests.Response:
        return ask(self.site, self.client_id, self.secret, self.scope)

    def burn(self) -> None:
        """Until one round has been sent after the change."""
        while True:
            after = self.changed.is_set()
            for name, send in self.steps().items():
                response = send()
                self.seen[f"{name} {response.status_code}"] += 1
                if name == "token" and response.status_code == 200:
                    self.issued.append(response.json()["access_token"])
                if after:
                    self.late.append((name, response.status_code))
            if after:
                return

    def around(self, change: Callable[[], T]) -> T:
        """Have all connections burn, make the change in the middle, wait until they are done; what the change gave."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            connections = [pool.submit(self.burn) for _ in range(CONNECTIONS)]
            try:
                while len(self.issued) < 2 * CONNECTIONS:  # all are under way
                    assert not any(connection.done() for connection in connections)
                changed = change()
            finally:
                self.changed.set()
            for connection in connections:
                connection.result(timeout=120)
        assert not [answer for answer in self.seen if answer.split()[1].startswith("5")], self.seen
        return changed

    def assert_refused(self, **expected: int) -> None:
        """Whatever was sent after the change got this answer, and something of each kind was."""
        assert set(self.late) == set(expected.items())

    def assert_dead(self, client_id: str, secret: str) -> None:
        """No token of before is accepted, and the key of now, which may be the same row, knows none of them."""
        self.surviving = sum(call(self.site, token).status_code != 401 for token in self.issued)
        assert self.surviving == 0
        for token in self.issued[-CONNECTIONS:]:
            assert introspect(self.site, client_id, secret, token).json() == {"active": False}


def tell(fires: list[Fire]) -> None:
    seen = sum((fire.seen for fire in fires), Counter[str]())
    issued = sum(len(fire.issued) for fire in fires)
    surviving = sum(fire.surviving for fire in fires)
    logger.info("rounds=%s issued=%s surviving=%s %s", len(fires), issued, surviving, dict(seen))


@pytest.mark.parametrize("action", ["regenerate", "delete"])
def test_nothing_of_before_is_accepted_once_the_change_was_answered(visitor, action):  # security 15, 17, 19, 20
    path = f"/profile/api-key/{action}/"
    fires = []
    for _ in range(ROUNDS):
        fire = Fire(visitor.site, *(visitor.create() if not visitor.has_key() else visitor.regenerate()))
        fires.append(fire)
        answer = fire.around(partial(visitor.send, visitor.form(path, path), path))
        assert answer.ok
        fire.assert_refused(token=401, call=401, introspect=401)
        fire.assert_dead(*(credentials_on(answer) if action == "regenerate" else visitor.create()))
    tell(fires)


def test_nothing_of_the_old_secret_is_accepted_once_the_new_one_was_used(visitor):  # security 27
    fires = []
    visitor.create()
    for _ in range(ROUNDS):
        fire = Fire(visitor.site, *visitor.regenerate())
        fires.append(fire)
        new = visitor.regenerate("first-use")
        answer = fire.around(partial(ask, visitor.site, *new))
        assert answer.status_code == 200
        fire.assert_refused(token=401, call=401, introspect=401)
        fire.assert_dead(*new)
        assert call(visitor.site, answer.json()["access_token"]).status_code == 200
    tell(fires)


def test_an_owner_made_inactive_is_refused_at_once(visitor, server):  # security 21
    deactivate, reactivate = (
        partial(server.sql, "UPDATE profiles_user SET is_active = %s WHERE email = %s", active, OWNER)
        for active in (False, True)
    )

    fires = []
    for _ in range(ROUNDS):
        fire = Fire(visitor.site, *(visitor.create() if not visitor.has_key() else visitor.regenerate()))
        fires.append(fire)
        try:
            fire.around(deactivate)
            fire.assert_refused(token=401, call=401, introspect=401)
            fire.surviving = sum(call(fire.site, token).status_code != 401 for token in fire.issued)
            assert fire.surviving == 0
            assert "/accounts/login/" in visitor.get("/profile/").url
        finally:
            reactivate()
        # Made active again, the owner has the key back as it was, with the tokens that have not expired.
        assert fire.ask().status_code == 200
        assert {call(fire.site, token).status_code for token in fire.issued} == {200}
    tell(fires)


@pytest.mark.parametrize("scope", ["", RIGHT], ids=["inherited", "named"])
def test_a_right_taken_away_is_gone_at_once(visitor, server, scope):  # security 23
    ((profile, text),) = server.sql(
        "SELECT p.id, CAST(p.rights AS text) FROM profiles_accessprofile p"
        " JOIN profiles_user u ON u.access_profile_id = p.id WHERE u.email = %s",
        OWNER,
    )
    held = json.loads(text)

    def give(rights: list[str]) -> None:
        server.sql("UPDATE profiles_accessprofile SET rights = %s WHERE id = %s", json.dumps(rights), profile)

    fires = []
    for _ in range(ROUNDS):
        client_id, secret = visitor.create() if not visitor.has_key() else visitor.regenerate()
        fire = Fire(visitor.site, client_id, secret, scope, "/api/v1/users?size=1")
        fires.append(fire)
        try:
            fire.around(partial(give, [right for right in held if right != RIGHT]))
            # A token can still be had, unless it is for this very right; it does not carry it.
            fire.assert_refused(token=400 if scope else 200, call=403, introspect=200)
            fire.surviving = sum(call(fire.site, token, fire.path).status_code != 403 for token in fire.issued)
            assert fire.surviving == 0
            for token in fire.issued[-CONNECTIONS:]:
                assert RIGHT not in call(fire.site, token, "/api/v1/users/rights").json()
                assert RIGHT not in introspect(fire.site, client_id, secret, token).json()["scope"].split()
        finally:
            give(held)
        assert call(fire.site, fire.issued[0], fire.path).status_code == 200
    tell(fires)


def test_owners_do_not_get_in_each_others_way(server):
    """All regenerate under fire at the same time; a token is its owner's, and ends with their change."""
    emails = [f"owner-{uuid4().hex}@demo.example" for _ in range(OWNERS)]
    for email in emails:
        add_owner(server, email)

    def live(email: str) -> list[Fire]:
        owner = Visitor(server.url).sign_in(email)
        path = "/profile/api-key/regenerate/"
        credentials = owner.create()
        fires = []
        for _ in range(ROUNDS):
            fire = Fire(server.url, *credentials)
            fires.append(fire)
            credentials = credentials_on(fire.around(partial(owner.send, owner.form(path, path), path)))
            fire.assert_refused(token=401, call=401, introspect=401)
            fire.assert_dead(*credentials)
            token = ask(server.url, *credentials).json()["access_token"]
            assert call(server.url, token).json()["email"] == email
        owner.delete()
        return fires

    with ThreadPoolExecutor(OWNERS) as pool:
        fires = [fire for fires in pool.map(live, emails) for fire in fires]
    tell(fires)


def add_owner(server: Server, email: str) -> None:
    """Another user like the demo user, with the same password: to hash one takes long."""
    changed = {"email": email, "uid": uuid4().hex}
    columns = [str(field.column) for field in User._meta.concrete_fields if not field.primary_key]
    copied = ", ".join("%s" if column in changed else column for column in columns)
    server.sql(
        f"INSERT INTO profiles_user ({', '.join(columns)}) SELECT {copied} FROM profiles_user WHERE email = %s",
        *(changed[column] for column in columns if column in changed),
        OWNER,
    )
