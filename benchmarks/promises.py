"""Programs and people that use a site through two servers without pause, and remember what each answer promised."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import requests

from tests.visitor import Visitor, client_id_in, form_on, secret_in

from .load import Request, basic, once

FORM = "grant_type=client_credentials"
GIVEN_UP_AFTER = 100  # seconds that a client waits for an answer
TOKENS = 3  # that are taken with each secret


@dataclass(frozen=True)
class Answered:
    """One answer: of which kind of request, when it was sent and answered, from which server; 0 is no answer."""

    kind: str
    server: int
    sent: float
    at: float
    status: int

    @property
    def seconds(self) -> float:
        return self.at - self.sent

    @property
    def is_good(self) -> bool:
        return 0 < self.status < 500


@dataclass(frozen=True)
class Secret:
    """A secret with all tokens that were obtained with it."""

    client_id: str
    secret: str
    tokens: list[str] = field(default_factory=list)

    @property
    def request(self) -> Request:
        return Request("/api/oauth/token", FORM, basic(self.client_id, self.secret))


class Ledger:
    """What was answered, what has ended by an answer and so must be refused for ever, and which answers were wrong."""

    def __init__(self, servers: Sequence[str]) -> None:
        self.servers = servers
        self.answers: list[Answered] = []
        self.ended: list[Secret] = []
        self.wrong: list[str] = []
        self.changes: Counter[str] = Counter()
        self._told: set[str] = set()

    def ask(self, kind: str, server: int, request: Request) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of an answer; 0 and nothing without one."""
        sent = time.monotonic()
        try:
            answer = once(self.servers[server], request, timeout=GIVEN_UP_AFTER)
            status, said = answer.status, answer.json()
        except (OSError, ValueError):
            status, said = 0, {}
        self.answers.append(Answered(kind, server, sent, time.monotonic(), status))
        return status, said

    def take_token(self, secret: Secret, server: int) -> int:
        status, said = self.ask("token", server, secret.request)
        if status == 200:
            secret.tokens.append(str(said["access_token"]))
        return status

    def call(self, token: str, server: int) -> int:
        return self.ask("call", server, Request("/api/v1/users/current", authorization=f"Bearer {token}"))[0]

    def found_wrong(self, what: str, which: str) -> None:
        """Counted once for each secret or token that it happened to."""
        if which not in self._told:
            self._told.add(which)
            self.wrong.append(what)

    def check_refused(self, secret: Secret, server: int, *, now: str) -> None:
        """An ended secret and its tokens are refused. Asks until there is an answer."""
        if definite(lambda: self.ask("ended secret", server, secret.request)[0]) == 200:
            self.found_wrong(f"an ended secret was accepted {now}", secret.secret)
        for token in secret.tokens:
            if definite(lambda token=token: self.call(token, server)) == 200:  # type: ignore[misc]
                self.found_wrong(f"a token of an ended secret was accepted {now}", token)

    def check_all_refused(self, secrets: Iterable[Secret], *, now: str) -> int:
        """Both servers are asked about each; how many they were."""
        jobs = [(secret, server) for secret in secrets for server in range(len(self.servers))]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda job: self.check_refused(*job, now=now), jobs))
        return len(jobs) // len(self.servers)


def definite(ask: Callable[[], int]) -> int:
    """The first status that is not "try later"."""
    while not 0 < (status := ask()) < 500:
        time.sleep(0.2)
    return status


class Loop(threading.Thread):
    """Does its turn again and again until it is told to stop. What it raises ends it, and is kept."""

    def __init__(self, ledger: Ledger, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.ledger, self._stop_asked = ledger, stop
        self.servers = cycle(range(len(ledger.servers)))
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                self.turn()
        except BaseException as problem:  # noqa: BLE001 - shown by whoever waits for it
            self.problem = problem

    def turn(self) -> None:
        raise NotImplementedError


class Program(Loop):
    """Takes a token and calls the API with one, 20 times a second, with a key that nobody changes."""

    def __init__(self, ledger: Ledger, stop: threading.Event, secret: Secret, server: int) -> None:
        super().__init__(ledger, stop)
        self.secret, self.server = secret, server

    def turn(self) -> None:
        self.ledger.take_token(self.secret, self.server)
        if self.secret.tokens and self.ledger.call(self.secret.tokens[-1], self.server) == 401:
            self.ledger.found_wrong("a token was lost", self.secret.tokens.pop())
        time.sleep(0.05)


class Owner(Loop):
    """Creates, regenerates and deletes a key through the pages of both servers by turns, and uses it in between."""

    def __init__(self, ledger: Ledger, stop: threading.Event, email: str, password: str) -> None:
        super().__init__(ledger, stop)
        self.visitors = [Visitor(url).sign_in(email, password) for url in ledger.servers]
        self.live: Secret | None = None

    def turn(self) -> None:
        if self.live is None:
            self._create() if self._has_no_key() else self._change("regenerate")
            return
        for _ in range(TOKENS):
            if self.ledger.take_token(self.live, next(self.servers)) in (400, 401):
                self.ledger.found_wrong("a created or regenerated secret was lost", self.live.secret)
                self.live = None
                return
        for token in list(self.live.tokens):
            if self.ledger.call(token, next(self.servers)) == 401:
                self.ledger.found_wrong("a token was lost", token)
                self.live.tokens.remove(token)
        # A form whose choices are rows.
        self._page(next(self.servers), lambda visitor: visitor.get("/develop/api/clients/create/"))
        time.sleep(0.1)  # so that several owners leave the machine time for the servers
        self._change(random.choice(("regenerate", "regenerate", "delete")))  # noqa: S311 - not a secret

    def _create(self) -> None:
        self.live = self._shown(self._send("create"))

    def _change(self, action: str) -> None:
        """The old secret ends, if the answer says so; if none comes, nobody knows, and its use will tell."""
        before, response = self.live, self._send(action)
        shown = self._shown(response) if action == "regenerate" else None
        done = shown is not None or (action == "delete" and _is_deleted(response))
        if done:
            self.live = shown
        elif before and not self._still_works(before):
            self.live = None  # and that is for ever, too
        if before and self.live is not before:
            self.ledger.check_refused(before, next(self.servers), now="by the next request")
            self.ledger.ended.append(before)

    def _still_works(self, secret: Secret) -> bool:
        return definite(lambda: self.ledger.ask("token", next(self.servers), secret.request)[0]) == 200

    def _has_no_key(self) -> bool:
        while True:
            response = self._page(next(self.servers), lambda visitor: visitor.get("/profile/"))
            if response is not None and response.ok:
                return 'data-action="create"' in response.text
            time.sleep(0.2)

    def _send(self, action: str) -> requests.Response | None:
        """The answer to the form; None if the page with the form did not come, so that it was not sent."""
        server, path = next(self.servers), f"/profile/api-key/{action}/"
        page = "/profile/" if action == "create" else path
        opened = self._page(server, lambda visitor: visitor.get(page))
        if opened is None or not opened.ok:
            time.sleep(0.2)
            return None
        filled = form_on(opened.text, path, page).fields | ({"old_secret": "now"} if action == "regenerate" else {})
        response = self._page(server, lambda visitor: visitor.post(path, filled), action)
        answered = response is not None and response.status_code < 500
        self.ledger.changes["answered" if answered else "not answered"] += 1
        return response

    def _page(
        self, server: int, visit: Callable[[Visitor], requests.Response], kind: str = "page"
    ) -> requests.Response | None:
        sent = time.monotonic()
        try:
            response = visit(self.visitors[server])
        except requests.RequestException:
            response = None
        # Of a form, the answer is the first: what it leads to is another request.
        first = response and (response.history or [response])[0]
        status = first.status_code if first is not None else 0
        self.ledger.answers.append(Answered(kind, server, sent, time.monotonic(), status))
        return response

    @staticmethod
    def _shown(response: requests.Response | None) -> Secret | None:
        if response is None or response.status_code != 200:
            return None
        client_id, secret = client_id_in(response.text), secret_in(response.text)
        return Secret(client_id, secret) if client_id and secret else None


def _is_deleted(response: requests.Response | None) -> bool:
    return response is not None and bool(response.history) and response.history[0].status_code == 302
