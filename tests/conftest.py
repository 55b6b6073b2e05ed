"""The fixtures of most tests: a user, another one of the same company, an administrator, a key, a token."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client, TransactionTestCase
from django.utils import translation

from airvantage_keys import request_ids
from profiles import credentials
from profiles.clients import company as company_clients
from profiles.clients import lifecycle, tokens, usage, uses
from profiles.events import append_only
from profiles.http import outages
from profiles.limits import client_failures, shared_cache
from profiles.mail import notices
from profiles.models import AccessProfile, ClientSecret, Company, KeyEvent, OAuthApplication, User
from profiles.origin import Origin

from .server import Server, postgres_url, running, sqlite_url

pytest_plugins = ["tests.browser", "tests.hostile"]

PASSWORD = "Correct horse battery staple"


def pytest_configure() -> None:
    # A fast hasher: that the real one is slow on purpose is tested by Django.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

    _flush_lifts_the_protection_of_events()


def _flush_lifts_the_protection_of_events() -> None:
    """After a test that commits, all tables are emptied, which the triggers on events forbid: they are removed first.

    The flush ends with the signal of `migrate`, which sets the triggers again.
    """
    empty = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]

    def teardown(self: TransactionTestCase) -> None:
        append_only.lift(connection)
        empty(self)

    TransactionTestCase._fixture_teardown = teardown  # type: ignore[attr-defined]


@dataclass(frozen=True)
class KeyPair:
    """A key and its secret, as they stand on the page that made them."""

    key: OAuthApplication
    secret: str

    @property
    def client_id(self) -> str:
        return self.key.client_id

    @property
    def basic(self) -> str:
        """The Authorization header by which a client shows them."""
        return basic(self.client_id, self.secret)


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def make_key(owner: User) -> KeyPair:
    return KeyPair(*lifecycle.create(owner=owner, origin=Origin(actor=owner, via=KeyEvent.Via.PAGE)))


def make_client(maker: User, profile: AccessProfile, name: str = "Nightly export", note: str = "") -> KeyPair:
    """An API Client of the maker's company; the maker must be allowed to make it."""
    assert maker.company
    about = company_clients.About(name, note, profile)
    origin = Origin(actor=maker, via=KeyEvent.Via.CLIENTS)
    return KeyPair(*company_clients.create(company=maker.company, about=about, origin=origin))


def works(client_id: str, secret: str) -> bool:
    """Whether the secret is accepted: one of an existing key that has not ended."""
    try:
        tokens.authenticate(client_id=client_id, secret=secret)
    except tokens.Refused:
        return False
    return True


def use(pair: KeyPair, *, address: str | None = "203.0.113.7", user_agent: str = "curl/8") -> None:
    """As if a program had just shown the key's secret."""
    secret = ClientSecret.objects.get(digest=credentials.digest(pair.secret))
    origin = Origin(None, KeyEvent.Via.OAUTH, address, user_agent)
    usage.note_authentication(tokens.ProvenClient(pair.key.pk, secret.pk), lambda: origin)


def make_token(pair: KeyPair, scope: str = "inherit") -> str:
    return tokens.issue(client_id=pair.client_id, secret=pair.secret, scope=scope).token


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process caches between requests must not pass from test to test: the database is rolled back, too."""
    usage._noted.clear()
    usage._used_before.clear()
    uses._counted.clear()
    uses._written.clear()
    monkeypatch.setattr(uses, "_wake_writer", lambda: None)  # it would write into another test's database
    client_failures._reached.clear()
    monkeypatch.setattr(shared_cache, "state", type(shared_cache.state)())
    monkeypatch.setattr(outages, "database", outages.Outage())
    # Who watches for the end of an outage would find another test's database.
    monkeypatch.setattr(outages.Outage, "_watch", lambda _: None)
    request_ids._current.set("")
    translation.deactivate()  # the language that the last page left behind


class _AtOnce(Executor):
    """Runs what it is given before it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@pytest.fixture(autouse=True)
def _mails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mails to owners go out when their change is committed, and not into the next test."""
    monkeypatch.setattr(notices, "_mailers", _AtOnce())


@pytest.fixture
def company(db) -> Company:
    return Company.objects.create(name="Fleet Ltd")


@pytest.fixture
def access_profile(db) -> AccessProfile:
    return AccessProfile.objects.create(name="Operator", rights=["accountNetwork.users.view", "entities.systems.view"])


@pytest.fixture
def user(company: Company, access_profile: AccessProfile) -> User:
    return User.objects.create_user(
        "user@example.com", PASSWORD, name="Uma User", company=company, access_profile=access_profile
    )


@pytest.fixture
def client_profile(db) -> AccessProfile:
    """The access profile of the API Client `api_client`; `manager` holds all of it."""
    return AccessProfile.objects.create(name="Integration", rights=["entities.systems.view"])


@pytest.fixture
def manager(company: Company) -> User:
    """Somebody of the same company who may do everything to its API Clients."""
    client_rights = [f"accountNetwork.apiClients.{verb}" for verb in ("view", "create", "edit", "delete")]
    profile = AccessProfile.objects.create(name="Manager", rights=[*client_rights, "entities.systems.view"])
    return User.objects.create_user(
        "manager@example.com", PASSWORD, name="Mia Manager", company=company, access_profile=profile
    )


@pytest.fixture
def other_manager(manager: User) -> User:
    """Somebody who may do the same in another company."""
    other = Company.objects.create(name="Other Ltd")
    return User.objects.create_user(
        "manager@other.example", PASSWORD, name="Max Manager", company=other, access_profile=manager.access_profile
    )


@pytest.fixture
def api_client(manager: User, client_profile: AccessProfile) -> KeyPair:
    return make_client(manager, client_profile)


@pytest.fixture
def with_email_codes(user: User) -> User:
    """The user, with codes by e-mail as their second factor."""
    user.email_codes = True
    user.save(update_fields=["email_codes"])
    return user


@pytest.fixture
def other_user(company: Company, access_profile: AccessProfile) -> User:
    return User.objects.create_user(
        "other@example.com", PASSWORD, name="Otto Other", company=company, access_profile=access_profile
    )


@pytest.fixture
def admin_user(db) -> User:
    return User.objects.create_superuser("admin@example.com", PASSWORD, name="Ada Admin")


@pytest.fixture
def key(user: User) -> KeyPair:
    """The key of `user`."""
    return make_key(user)


@pytest.fixture
def token(key: KeyPair) -> str:
    """A active access token of `user`, with all their rights."""
    return make_token(key)


def sign_in(client: Client, user: User) -> Client:
    """Sign in as a person does, so that the session knows when the password was given."""
    response = client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    assert response.status_code == 302, response.content.decode()
    return client


@pytest.fixture
def signed_in(client: Client, user: User) -> Client:
    """A browser in which `user` has just signed in."""
    return sign_in(client, user)


@pytest.fixture(autouse=True)
def _a_test_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's application would close a connection that is in a transaction, as it is in a test.

    Django's test client keeps it open in the same way.
    """
    monkeypatch.setattr("airvantage_keys.api_way.close_old_connection", lambda: None)


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The running site on SQLite."""
    folder = tmp_path_factory.mktemp("sqlite")
    with running(folder, sqlite_url(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The running site on PostgreSQL."""
    with postgres_url() as url, running(tmp_path_factory.mktemp("postgres"), url) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest) -> Server:
    """The running site, on each database in turn."""
    running_server: Server = request.getfixturevalue(f"{request.param}_server")
    return running_server
