"""The release before this one runs on the schema of this one, beside its servers: a rolling upgrade, and the way back.

Its code, all of it, is in `release_before.tar.xz`. With each release, put that one in its place:

    git archive COMMIT -- manage.py airvantage_keys profiles templates static locale ':!*.po' | xz -9e > FILE
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from profiles.http.access import Access

from .access import declaring
from .server import ROOT, Server, postgres_url, running
from .test_promises import ask, call
from .visitor import Visitor

pytestmark = [pytest.mark.server, pytest.mark.postgres]

OWNER = "user@demo.example"
REGENERATE = "/profile/api-key/regenerate/"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the release before."""
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(ROOT / "tests/release_before.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    (folder / "var").mkdir()
    return folder


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A site of this version."""
    with postgres_url() as url, running(tmp_path_factory.mktemp("here"), url) as server:
        yield server


@pytest.fixture(scope="module")
def there(here: Server, code: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same site, by a server of the release before."""
    server = Server(
        tmp_path_factory.mktemp("there"),
        here.environment["DATABASE_URL"],
        SECRET_KEY=here.environment["SECRET_KEY"],
    )
    server.code = code
    server.manage("collectstatic", "--no-input", "--verbosity", "0")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["here", "there"])
def sides(request: pytest.FixtureRequest, here: Server, there: Server) -> tuple[Server, Server]:
    """Both, either of them first."""
    return (here, there) if request.param == "here" else (there, here)


def without_key(server: Server) -> Visitor:
    visitor = Visitor(server.url).sign_in(OWNER)
    if visitor.has_key():
        visitor.delete()
    return visitor


def at(server: Server, visitor: Visitor) -> Visitor:
    """The same browser at the other server, as a balancer would send it."""
    other = visitor.copy()
    other.site = server.url
    return other


def works(server: Server, pair: tuple[str, str]) -> bool:
    response = ask(server.url, *pair)
    assert response.status_code in (200, 401), response.text
    return bool(response.ok)


def test_no_migration_of_it_was_edited(code):
    """Sites have applied them: an edit would be missing there, and only there."""
    migrations = Path("profiles/migrations")
    names = {path.name for path in (code / migrations).glob("0*.py")}
    assert len(names) >= 13
    for name in names:
        assert (ROOT / migrations / name).read_bytes() == (code / migrations / name).read_bytes(), name


def test_a_key_lives_the_same_life_on_both(sides):
    one, other = sides
    visitor = without_key(one)
    first = visitor.create()
    assert works(other, first)
    second = at(other, visitor).regenerate("24h")
    assert [works(server, pair) for server in sides for pair in (first, second)] == [True] * 4
    tokens = [ask(server.url, *pair).json()["access_token"] for server in sides for pair in (first, second)]
    assert {call(server.url, token).status_code for server in sides for token in tokens} == {200}
    third = visitor.regenerate()
    assert [works(server, pair) for server in sides for pair in (first, second, third)] == [False, False, True] * 2
    assert {call(server.url, token).status_code for server in sides for token in tokens} == {401}
    at(other, visitor).delete()
    assert [works(server, third) for server in sides] == [False, False]


def test_a_form_of_one_is_taken_by_the_other_and_once(sides):
    one, other = sides
    visitor = without_key(one)
    visitor.create()
    form = visitor.form(REGENERATE, REGENERATE)
    assert at(other, visitor).send(form, REGENERATE).status_code == 200
    assert visitor.send(form, REGENERATE).status_code == 409


def test_an_api_client_lives_the_same_life_on_both(sides):
    one, other = sides
    pair = one.make_client("Operator")
    assert [works(server, pair) for server in sides] == [True, True]
    token = ask(other.url, *pair).json()["access_token"]
    paths = [route.address() for route in declaring(Access.BEARER)]
    answers = [[call(server.url, token, path) for path in paths] for server in sides]
    assert [it.status_code for it in answers[0]] == [it.status_code for it in answers[1]]
    assert all(it.status_code < 500 for it in answers[0])


def test_its_pages_and_commands_work(here, there):
    visitor = Visitor(there.url).sign_in("admin@demo.example")
    for route in (*declaring(Access.SIGNED_IN), *declaring(Access.STAFF)):
        assert visitor.get(route.address()).status_code < 500, route
    without_key(there)
    pair = there.manage("createkey", OWNER).split()
    assert works(here, (pair[0].partition("=")[2], pair[1].partition("=")[2]))
    there.manage("purgetokens")
    there.manage("clearsessions")
    assert requests.get(f"{here.url}/readyz", timeout=60).ok
    assert requests.get(f"{there.url}/readyz", timeout=60).ok
    assert " ERROR " not in there.log.read_text()
