"""The policy of a company at the running site, behind a proxy, with more than one process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from profiles.policy import Policy

from .server import Server, postgres_url, running, sqlite_url

pytestmark = pytest.mark.server

INSIDE, OUTSIDE = "203.0.113.7", "198.51.100.9"
NETWORKS = ("203.0.113.0/24", "2001:db8::/32")
ROUNDS = 10  # so that each process is asked


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("policy")
    if request.param == "sqlite":
        with running(folder, sqlite_url(folder), TRUSTED_PROXIES="1") as server:
            yield server
    else:
        with postgres_url() as url, running(folder, url, TRUSTED_PROXIES="1") as server:
            yield server


@pytest.fixture(params=["key", "API Client"])
def pair(request: pytest.FixtureRequest, site: Server) -> tuple[str, str]:
    site.sql("UPDATE profiles_company SET policy = %s", "")
    if request.param == "API Client":
        return site.make_client("Viewer")
    site.sql("DELETE FROM profiles_oauthapplication WHERE user_id IS NOT NULL")
    lines = site.manage("createkey", "other@demo.example").split()
    client_id, secret = (line.partition("=")[2] for line in lines)
    return client_id, secret


def lay_down(site: Server, **said: object) -> None:
    site.sql("UPDATE profiles_company SET policy = %s", str(Policy(**said)))  # type: ignore[arg-type]


def ask(site: Server, pair: tuple[str, str], address: str) -> requests.Response:
    form, headers = {"grant_type": "client_credentials"}, {"X-Forwarded-For": address}
    return requests.post(f"{site.url}/api/oauth/token", form, auth=pair, headers=headers, timeout=60)


def call(site: Server, token: str, address: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
    return requests.get(f"{site.url}/api/v1/users/current", headers=headers, timeout=60)


@pytest.mark.parametrize("inside", [INSIDE, f"::ffff:{INSIDE}", f"{OUTSIDE}, {INSIDE}:4711", "[2001:db8::9]:443"])
def test_tokens_are_asked_for_and_used_from_its_networks_alone(site, pair, inside):
    lay_down(site, networks=NETWORKS)
    answer = ask(site, pair, inside)
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    assert call(site, token, inside).status_code == 200
    for outside in (OUTSIDE, f"{INSIDE}, {OUTSIDE}", f"::ffff:{OUTSIDE}", "[2001:db9::9]:443", "nonsense", ""):
        refused = ask(site, pair, outside)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client"), outside
        refused = call(site, token, outside)
        assert (refused.status_code, refused.json()["error"]) == (403, "address.not.allowed"), outside


def test_what_is_laid_down_counts_in_every_process_at_the_next_request(site, pair):
    token = ask(site, pair, OUTSIDE).json()["access_token"]
    for networks, accepted in ((NETWORKS, False), ((), True), (("198.51.100.0/24",), True), (NETWORKS, False)):
        lay_down(site, networks=networks)
        statuses = {(ask(site, pair, OUTSIDE).ok, call(site, token, OUTSIDE).ok) for _ in range(ROUNDS)}
        assert statuses == {(accepted, accepted)}, networks


def test_a_secret_that_is_too_old_is_refused_with_its_tokens_until_it_is_not(site, pair):
    token = ask(site, pair, OUTSIDE).json()["access_token"]
    made = "2026-01-01 00:00:00+00:00" if "postgres" in site.environment["DATABASE_URL"] else "2026-01-01 00:00:00"
    site.sql("UPDATE profiles_clientsecret SET created = %s WHERE client_id = %s", made, pair[0])
    for days, accepted in ((1, False), (3650, True), (2, False)):
        lay_down(site, days=days)
        refused = ask(site, pair, OUTSIDE)
        assert (refused.ok, call(site, token, OUTSIDE).ok) == (accepted, accepted)
        assert accepted or f"older than the {days} days" in refused.json()["error_description"]
