"""The server is killed in the middle of whatever it does, and started again on the same database.

Then the key is as it was before or as it is after, never between: one secret works at most, the page and the event
log say which, and what was answered holds. The moment is chosen at random, so each run tries other ones.
FIRE_ROUNDS asks for more of them; --log-level=INFO --log-cli-level=INFO tells the figures.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event

import pytest
import requests

from .server import Server, postgres_url, sqlite_url
from .visitor import Visitor, client_id_in, secret_in

pytestmark = pytest.mark.server

logger = logging.getLogger(__name__)

ROUNDS = int(os.environ.get("FIRE_ROUNDS", "12"))
TOKEN_CLIENTS = 2
TOKENS_TRIED = 20  # of one round, the last ones first: they are the ones that were issued late
OWNER = "user@demo.example"
EVENTS = {"create": "created", "regenerate": "regenerated", "delete": "deleted"}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A site of its own, with one worker: it starts faster, and all is killed at once anyway."""
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        url = sqlite_url(folder) if request.param == "sqlite" else stack.enter_context(postgres_url())
        server = Server(folder, url, REAUTHENTICATION_TIMEOUT="86400")
        server.prepare()
        server.start(workers=1)
        stack.callback(server.stop, signal.SIGKILL)
        yield server


@dataclass(frozen=True)
class State:
    """The key as the database has it."""

    live_secrets: int
    client_id: str | None
    events: list[tuple[str, str]]


def state_of(server: Server) -> State:
    ((owner,),) = server.sql("SELECT id FROM profiles_user WHERE email = %s", OWNER)
    keys = server.sql("SELECT client_id FROM profiles_oauthapplication WHERE user_id = %s", owner)
    events = server.sql("SELECT action, client_id FROM profiles_keyevent WHERE owner_id = %s ORDER BY id", owner)
    secrets = server.sql(
        "SELECT s.id FROM profiles_clientsecret s JOIN profiles_oauthapplication k ON k.id = s.application_id"
        " WHERE k.user_id = %s AND NOT s.ended",
        owner,
    )
    return State(len(secrets), keys[0][0] if keys else None, [(action, client_id) for action, client_id in events])


@dataclass
class Sent:
    """A change that was sent, and how much of its answer came."""

    answered: bool = False
    secret: str | None = None
    client_id: str | None = None


@dataclass
class Owner:
    """What the owner knows: of their key, and of what they were told."""

    visitor: Visitor
    client_id: str = ""
    secret: str = ""
    # Within so many seconds a change is killed. It follows how fast the machine is: half of them should be in time.
    window: float = 0.2
    figures: Counter[str] = field(default_factory=Counter)

    def send(self, action: str, fields: dict[str, str]) -> Sent:
        """Send a change, and keep what comes, be it cut short."""
        sent = Sent()
        text = b""
        try:
            response = self.visitor.post(
                f"/profile/api-key/{action}/", fields, stream=True, allow_redirects=False, timeout=30
            )
            assert response.status_code in (200, 302), response.status_code
            for part in response.iter_content(512):
                text += part
            sent.answered = True
        except requests.RequestException:
            pass  # killed
        page = text.decode(errors="ignore")
        sent.client_id, sent.secret = client_id_in(page), secret_in(page)
        return sent

    def ask(self) -> requests.Response:
        return requests.post(
            f"{self.visitor.site}/api/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(self.client_id, self.secret),
            timeout=30,
        )

    def token_works(self, token: str) -> bool:
        response = requests.get(
            f"{self.visitor.site}/api/v1/users/current", headers={"Authorization": f"Bearer {token}"}, timeout=30
        )
        assert response.status_code in (200, 401), response.text
        return response.status_code == 200


def ask_until_killed(owner: Owner, killed: Event) -> list[str]:
    """Ask for tokens until the server is gone; the tokens that came."""
    issued = []
    while not killed.is_set():
        try:
            response = owner.ask()
            assert response.status_code in (200, 401), response.text
            if response.status_code == 200:
                issued.append(response.json()["access_token"])
        except requests.RequestException:
            break
    return issued


def act_and_kill(server: Server, owner: Owner, action: str) -> tuple[Sent, list[str]]:
    """Send the change while tokens are asked for, and kill the server about then."""
    path = f"/profile/api-key/{action}/"
    fields = owner.visitor.form("/profile/" if action == "create" else path, path).fields if action != "wait" else {}
    after = random.uniform(0, owner.window)
    killed = Event()
    with ThreadPoolExecutor(TOKEN_CLIENTS + 1) as pool:
        clients = [pool.submit(ask_until_killed, owner, killed) for _ in range(TOKEN_CLIENTS if owner.secret else 0)]
        time.sleep(random.uniform(0, 0.02))
        sending = pool.submit(owner.send, action, fields) if action != "wait" else None
        time.sleep(after)
        server.stop(signal.SIGKILL)
        killed.set()
        return sending.result() if sending else Sent(), [token for client in clients for token in client.result()]


def assert_before_or_after(server: Server, owner: Owner, before: State, action: str, sent: Sent, issued: list[str]):
    """All that can be seen says the same: nothing was done, or all of it."""
    now = state_of(server)
    done = len(now.events) > len(before.events)
    assert now.live_secrets == (1 if now.client_id else 0)
    assert now.events[:-1] == before.events if done else now.events == before.events
    assert done or not (sent.answered and action != "wait")
    assert done or not sent.secret, "a secret was shown that was never kept"
    # The event log agrees with the state.
    last_action, last_client_id = now.events[-1] if now.events else ("deleted", "")
    assert not done or last_action == EVENTS[action]
    assert now.client_id == (None if last_action == "deleted" else last_client_id)
    # So does the page.
    page = owner.visitor.get("/profile/").text
    assert ('data-action="regenerate"' in page) == (now.client_id is not None)
    assert ('data-action="create"' in page) == (now.client_id is None)
    assert client_id_in(page) == now.client_id
    # The old secret and its tokens work exactly if nothing was done.
    if owner.secret:
        assert (owner.ask().status_code == 200) == (not done)
    works = [owner.token_works(token) for token in issued[-TOKENS_TRIED:]]
    assert all(works) if not done else not any(works)
    owner.figures["tokens issued"] += len(issued)
    owner.figures["done, answered" if sent.answered else "done, answer lost" if done else "nothing done"] += 1
    if action != "wait":
        owner.window *= 0.9 if done else 1.1
    if done:
        follow(owner, action, sent, now)


def follow(owner: Owner, action: str, sent: Sent, now: State) -> None:
    """After a change that was made: what was shown works, and what was not shown can be made anew."""
    owner.client_id = owner.secret = ""
    if action == "delete":
        return
    if sent.secret:
        assert sent.client_id == now.client_id
        owner.client_id, owner.secret = sent.client_id or "", sent.secret
    else:
        owner.client_id, owner.secret = owner.visitor.regenerate()
    assert owner.client_id == now.client_id
    assert owner.ask().status_code == 200


def test_killed_at_any_moment_the_key_is_as_before_or_as_after(server):  # security 13, 14, 15, 16
    owner = Owner(Visitor(server.url).sign_in(OWNER))
    for _ in range(ROUNDS):
        before = state_of(server)
        choices = ["regenerate", "regenerate", "delete", "wait"] if before.client_id else ["create"]
        action = random.choice(choices)
        owner.figures[action] += 1
        sent, issued = act_and_kill(server, owner, action)
        server.start(workers=1)
        assert_before_or_after(server, owner, before, action, sent, issued)
    if server.environment["DATABASE_URL"].startswith("sqlite"):
        assert server.sql("PRAGMA integrity_check") == [("ok",)]
    logger.info("rounds=%s %s", ROUNDS, dict(owner.figures))
