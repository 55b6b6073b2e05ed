"""OAuth clients that others wrote, against the running site: token, call, regenerate, refused, delete, refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

from .server import Server
from .visitor import Visitor

pytestmark = pytest.mark.server

# From credentials to a session that holds an access token; raises if the credentials are refused.
SignIn = Callable[[str, str, str], requests.Session]


def authlib_basic(site: str, client_id: str, secret: str) -> requests.Session:
    return _authlib(site, client_id, secret, "client_secret_basic")


def authlib_post(site: str, client_id: str, secret: str) -> requests.Session:
    return _authlib(site, client_id, secret, "client_secret_post")


def _authlib(site: str, client_id: str, secret: str, method: str) -> requests.Session:
    session = AuthlibSession(client_id, secret, token_endpoint_auth_method=method)
    session.fetch_token(f"{site}/api/oauth/token", grant_type="client_credentials")
    return session


def requests_oauthlib(site: str, client_id: str, secret: str) -> requests.Session:
    session = OAuth2Session(client=BackendApplicationClient(client_id))
    session.fetch_token(f"{site}/api/oauth/token", client_secret=secret, include_client_id=True)
    return session


def plain_requests(site: str, client_id: str, secret: str) -> requests.Session:
    """As the profile page shows it."""
    answer = requests.post(
        f"{site}/api/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(client_id, secret),
        timeout=60,
    )
    answer.raise_for_status()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return session


@pytest.fixture(autouse=True)
def _plain_http_is_fine_on_loopback(monkeypatch):
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.mark.parametrize("sign_in", [authlib_basic, authlib_post, requests_oauthlib, plain_requests])
def test_the_whole_life_of_a_key(server: Server, sign_in: SignIn):
    visitor = Visitor(server.url).sign_in("other@demo.example")
    if visitor.has_key():
        visitor.delete()
    client_id, secret = visitor.create()

    session = sign_in(server.url, client_id, secret)
    assert current_user(session, server)["email"] == "other@demo.example"

    same_client_id, new_secret = visitor.regenerate()
    assert same_client_id == client_id
    assert session.get(f"{server.url}/api/v1/users/current").status_code == 401
    assert_refused(sign_in, server, client_id, secret)

    session = sign_in(server.url, client_id, new_secret)
    assert current_user(session, server)["email"] == "other@demo.example"

    visitor.delete()
    assert session.get(f"{server.url}/api/v1/users/current").status_code == 401
    assert_refused(sign_in, server, client_id, new_secret)


def current_user(session: requests.Session, server: Server) -> dict[str, Any]:
    answer = session.get(f"{server.url}/api/v1/users/current")
    assert answer.status_code == 200, answer.text
    user: dict[str, Any] = answer.json()
    return user


def assert_refused(sign_in: SignIn, server: Server, client_id: str, secret: str) -> None:
    with pytest.raises(Exception, match=r"(?i)invalid_client|401|authentication failed"):
        sign_in(server.url, client_id, secret)


def test_a_client_finds_its_way_by_the_metadata(sqlite_server: Server):  # security 52
    document = requests.get(f"{sqlite_server.url}/.well-known/oauth-authorization-server", timeout=60).json()
    visitor = Visitor(sqlite_server.url).sign_in("other@demo.example")
    client_id, secret = visitor.regenerate() if visitor.has_key() else visitor.create()
    session = AuthlibSession(client_id, secret, token_endpoint_auth_method="client_secret_basic")
    token = session.fetch_token(document["token_endpoint"], grant_type="client_credentials")
    known = session.introspect_token(document["introspection_endpoint"], token=token["access_token"])
    assert known.json()["active"] is True
    session.revoke_token(document["revocation_endpoint"], token=token["access_token"])
    known = session.introspect_token(document["introspection_endpoint"], token=token["access_token"])
    assert known.json() == {"active": False}
