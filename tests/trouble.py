"""A running site while its database cannot be reached: its answers then, and that everything works afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import requests

from profiles import credentials
from profiles.http.access import Access

from .access import declaring
from .server import Server
from .visitor import Visitor

OWNER = "user@demo.example"
BACK_WITHIN = 30  # seconds, for a database that was started again


def assert_503_oauth(response) -> None:
    """From an OAuth endpoint, in the shape of their errors."""
    assert_503_json(response, "temporarily_unavailable")


def assert_503_json(response, error: str = "server.unavailable") -> None:
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["error"] == error
    assert int(response.headers["Retry-After"]) > 0


def assert_503_page(response, text: str) -> None:
    assert response.status_code == 503
    assert response.headers["Content-Type"].startswith("text/html")
    assert int(response.headers["Retry-After"]) > 0
    assert "no-store" in response.headers["Cache-Control"]
    assert "The site is not available at the moment</h1>" in text
    assert "Traceback" not in text


@dataclass
class Site:
    """A running site whose demo user has a key and a token, and the page on which Regenerate is confirmed."""

    server: Server
    visitor: Visitor
    client_id: str
    secret: str
    token: str
    fields: dict[str, str]

    def ask(self) -> requests.Response:
        return self._oauth("token", grant_type="client_credentials")

    def introspect(self) -> requests.Response:
        return self._oauth("introspect", token=self.token)

    def revoke(self) -> requests.Response:
        return self._oauth("revoke", token=credentials.new_token())

    def call(self, path: str = "/api/v1/users/current", token: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return requests.get(self.server.url + path, headers=headers, timeout=60)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.server.url + path, timeout=60)

    def regenerate(self) -> requests.Response:
        return self.visitor.post("/profile/api-key/regenerate/", self.fields)

    def sign_in(self) -> requests.Response:
        form = {"login": OWNER, "password": "wrong", "csrfmiddlewaretoken": "c" * 32}
        return requests.post(
            f"{self.server.url}/accounts/login/",
            data=form,
            cookies={"csrf": "c" * 32},
            headers={"Origin": self.server.url},
            timeout=60,
        )

    def _oauth(self, endpoint: str, **fields: str) -> requests.Response:
        url = f"{self.server.url}/api/oauth/{endpoint}"
        return requests.post(url, data=fields, auth=(self.client_id, self.secret), timeout=60)

    def assert_well(self) -> None:
        """Nothing has changed, and everything works."""
        assert self.get("/readyz").status_code == 200
        assert self.ask().status_code == 200
        assert self.call().status_code == 200
        assert self.introspect().json()["active"] is True
        assert self.visitor.has_key()
        path = "/profile/api-key/regenerate/"
        assert self.visitor.form(path, path).fields["version"] == self.fields["version"]

    def assert_away(self) -> None:
        """Everything that needs the database answers 503; the process itself is alive."""
        assert self.get("/livez").status_code == 200
        assert_503_json(self.get("/readyz"))
        for answer in (self.ask(), self.introspect(), self.revoke()):
            assert_503_oauth(answer)
        for route in declaring(Access.BEARER):
            assert_503_json(self.call(route.address()))
        for page in (self.visitor.get("/profile/"), self.regenerate(), self.sign_in()):
            assert_503_page(page, page.text)


def site_on(server: Server) -> Site:
    visitor = Visitor(server.url).sign_in(OWNER)
    if visitor.has_key():
        visitor.delete()
    client_id, secret = visitor.create()
    path = "/profile/api-key/regenerate/"
    site = Site(server, visitor, client_id, secret, "", visitor.form(path, path).fields)
    site.token = site.ask().json()["access_token"]
    return site


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BACK_WITHIN
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
