"""What a running server has counted is in the database when it has stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from .server import Server, postgres_url, sqlite_url

pytestmark = pytest.mark.server

TOKENS, CALLS = 5, 20


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A site of its own, for it is stopped."""
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        url = sqlite_url(folder) if request.param == "sqlite" else stack.enter_context(postgres_url())
        server = Server(folder, url)
        server.prepare()
        server.start(workers=2)
        stack.callback(server.stop)
        yield server


def test_a_server_that_is_stopped_writes_what_it_has_counted(server):
    pair = server.make_client("Operator")
    grant = {"grant_type": "client_credentials"}
    answers = [requests.post(f"{server.url}/api/oauth/token", grant, auth=pair, timeout=60) for _ in range(TOKENS)]
    token = answers[-1].json()["access_token"]
    for _ in range(CALLS):
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.get(f"{server.url}/api/v1/users/current", headers=headers, timeout=60).ok
    server.stop()  # before the minute is over after which all but the first would be written
    assert server.sql("SELECT tokens, calls FROM profiles_usedon") == [(TOKENS, CALLS)], server.log.read_text()
    assert server.sql("SELECT COUNT(*) FROM profiles_usedfrom") == [(1,)]
    assert "could not note" not in server.log.read_text()
