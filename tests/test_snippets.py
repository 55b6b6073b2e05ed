"""The programs that the pages give to paste are run as they stand: each against the running site.

curl with bash, Python and Node.js always: Playwright brings a Node.js. Go only where the machine has it, also in
CI: it would take half a gigabyte. The workflow of GitHub Actions by the shell that a runner starts for it. The
collection by `postman.mjs`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import playwright
import pytest
import requests
import yaml
from django.test import Client
from openapi_schema_validator import OAS31Validator

from profiles import credentials
from profiles.api import openapi
from profiles.api.collection import collection
from profiles.http.snippets import snippets, text_of

from .between import Between, between
from .server import ROOT, Server, running, sqlite_url

NODE = str(Path(playwright.__file__).parent / "driver" / "node")
GO = shutil.which("go")
TOKEN = "/api/oauth/token"
ME = "/api/v1/users/current"
RIGHTS = "/api/v1/users/rights"
SECONDS_AT_MOST = 120  # Go is compiled

KEYS = ["curl", "python", "go", "node", "github"]
ALL = [*KEYS, "collection"]


# --- The site, and how each is run ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("site")
    with running(folder, sqlite_url(folder)) as server:
        yield server


@pytest.fixture(scope="module")
def minute(site: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same site, where a token lives for a minute."""
    database = site.environment["DATABASE_URL"]
    server = Server(tmp_path_factory.mktemp("minute"), database, ACCESS_TOKEN_EXPIRE_SECONDS="60")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(site: Server) -> tuple[str, str]:
    """An API Client: its Client ID and its Secret key."""
    return site.make_client("Operator")


class Runner:
    """Runs a snippet that is made for a site as it would be pasted there."""

    def __init__(self, folder: Path, client: tuple[str, str], settings: Any) -> None:
        self.folder, self.client, self.settings = folder, client, settings

    def run(self, key: str, site: Between, *, client_id: bool = True) -> subprocess.CompletedProcess[str]:
        """Run it with its Client ID in it, or without: then that is in the environment as well."""
        if key == "go" and not GO:
            pytest.skip("there is no Go on this machine")
        self.settings.BASE_URL = site.url
        given, secret = self.client
        environment = {**os.environ, "CLIENT_SECRET": secret, "GOCACHE": str(self.folder / "go")}
        environment.pop("CLIENT_ID", None)
        if not client_id:
            environment["CLIENT_ID"] = given
        if key == "collection":
            whole = collection(given)
            text = json.dumps(whole | {"item": whole["item"][:2]})
        else:
            text = text_of(key, given if client_id else "")
        assert (given in text) == client_id
        assert not re.search(credentials.SECRET_PATTERN, text)
        commands: dict[str, Callable[[str], list[str]]] = {
            "curl": lambda text: ["bash", self.file("airvantage.sh", text)],
            "python": lambda text: [sys.executable, self.file("airvantage.py", text)],
            "go": lambda text: ["go", "run", self.file("main.go", text)],
            "node": lambda text: [NODE, self.file("airvantage.mjs", text)],
            "github": lambda text: self.of_workflow(text, environment),
            "collection": lambda text: [NODE, str(ROOT / "tests/postman.mjs"), self.file("collection.json", text)],
        }
        done = subprocess.run(
            commands[key](text),
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_AT_MOST,
            check=False,
        )
        basic = base64.b64encode(":".join(self.client).encode()).decode()
        for hidden in (secret, basic, *site.tokens):
            assert hidden not in done.stdout + done.stderr
        assert not site.shown
        return done

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def of_workflow(self, text: str, environment: dict[str, str]) -> list[str]:
        """The only step of the workflow, with its environment; the shell as GitHub starts it."""
        [job] = yaml.safe_load(text)["jobs"].values()
        [step] = job["steps"]
        known = {"secrets.CLIENT_SECRET": environment.pop("CLIENT_SECRET")}
        known["vars.CLIENT_ID"] = environment.pop("CLIENT_ID", "")
        for name, value in step["env"].items():
            environment[name] = re.sub(r"\${{ ([\w.]+) }}", lambda found: known[found[1]], value)
        assert step["shell"] == "bash"
        return ["bash", "--noprofile", "--norc", "-eo", "pipefail", self.file("step.sh", step["run"])]


@pytest.fixture
def client_of_django() -> Client:
    """A browser, where `client` is an API Client."""
    return Client()


@pytest.fixture
def runner(tmp_path: Path, client: tuple[str, str], settings: Any) -> Runner:
    return Runner(tmp_path, client, settings)


# --- What they do ---------------------------------------------------------------------------------------------


@pytest.mark.server
@pytest.mark.parametrize(
    ("key", "client_id"),
    [*((key, where) for key in KEYS for where in (True, False)), ("collection", True)],
)
def test_two_calls_take_one_token(key, client_id, runner, site, client):  # page 11
    with between(site.url, client) as through:
        done = runner.run(key, through, client_id=client_id)
    assert done.returncode == 0, done.stderr
    assert through.asked == [(TOKEN, 200), (ME, 200), (RIGHTS, 200)]
    [[name]] = site.sql("SELECT name FROM profiles_oauthapplication WHERE client_id = %s", client[0])
    assert name in done.stdout
    assert "entities.systems.view" in done.stdout


@pytest.mark.server
@pytest.mark.parametrize("key", ALL)
def test_a_token_is_renewed_a_minute_before_it_ends(key, runner, minute, client):
    with between(minute.url, client) as through:
        done = runner.run(key, through)
    assert done.returncode == 0, done.stderr
    assert through.asked == [(TOKEN, 200), (ME, 200), (TOKEN, 200), (RIGHTS, 200)]


def end_at_first_use(through: Between, path: str, answer: requests.Response) -> None:
    """The first token, after the first call with it."""
    if path == ME:
        through.end(through.tokens[0])


@pytest.mark.server
@pytest.mark.parametrize("key", ALL)
def test_a_refused_token_is_asked_for_anew(key, runner, site, client):
    with between(site.url, client, end_at_first_use) as through:
        done = runner.run(key, through)
    assert done.returncode == 0, done.stderr
    assert through.asked == [(TOKEN, 200), (ME, 200), (RIGHTS, 401), (TOKEN, 200), (RIGHTS, 200)]


def end_each(through: Between, path: str, answer: requests.Response) -> None:
    """Each token, before its client has it."""
    if path == TOKEN:
        through.end(through.tokens[-1])


@pytest.mark.server
@pytest.mark.parametrize("key", ALL)
def test_it_is_asked_for_anew_once(key, runner, site, client):
    said = []

    def end_and_hear(through: Between, path: str, answer: requests.Response) -> None:
        end_each(through, path, answer)
        if path != TOKEN:
            said.append(answer.json()["error_description"])

    with between(site.url, client, end_and_hear) as through:
        done = runner.run(key, through)
    assert done.returncode != 0
    assert said[-1] in done.stdout + done.stderr
    once = [(TOKEN, 200), (ME, 401), (TOKEN, 200), (ME, 401)]
    if key == "collection":  # which goes on with the next one
        once += [(TOKEN, 200), (RIGHTS, 401), (TOKEN, 200), (RIGHTS, 401)]
    assert through.asked == once


@pytest.mark.server
def test_every_request_of_the_collection_is_answered(site, client, settings, tmp_path):
    """Also those that the other tests leave out. The picture is that of the document's example, whom nobody knows."""
    with between(site.url, client) as through:
        settings.BASE_URL = through.url
        document = openapi.document()
        file = tmp_path / "collection.json"
        file.write_bytes(requests.get(f"{site.url}/api/collections/{client[0]}.json", timeout=60).content)
        text = file.read_text().replace(site.url, through.url)
        file.write_text(text)
        subprocess.run(
            [NODE, str(ROOT / "tests/postman.mjs"), str(file)],
            env={**os.environ, "CLIENT_SECRET": client[1]},
            timeout=SECONDS_AT_MOST,
            check=False,
        )
    token, *asked = through.asked
    assert token == (TOKEN, 200)
    opened_by_token = {
        path for path, methods in document["paths"].items() if "oauth2" in str(methods.get("get", {}).get("security"))
    }
    assert len(asked) == len(opened_by_token)
    assert {path for path, status in asked if status == 200} == {path for path in opened_by_token if "{" not in path}
    assert {status for path, status in asked if "picture" in path} == {404}


@pytest.mark.server
@pytest.mark.parametrize("key", KEYS)
def test_a_refused_secret_is_the_end(key, runner, site, client):
    """It is refused as well if it is sent again: many in a row would only use up what the limits leave to others."""
    runner.client = (client[0], site.make_client("Viewer")[1])
    said = []

    def hear(through: Between, path: str, answer: requests.Response) -> None:
        said.append(answer.json()["error_description"])

    with between(site.url, runner.client, hear) as through:
        done = runner.run(key, through)
    assert done.returncode != 0
    assert "401" in done.stdout + done.stderr
    assert said[0] in done.stdout + done.stderr
    assert through.asked == [(TOKEN, 401)]


# --- Where they stand -----------------------------------------------------------------------------------------


def test_the_readme_has_the_curl_example(settings):
    settings.BASE_URL = "http://127.0.0.1:8000"
    assert f"```bash\n{text_of('curl')}\n```\n" in (ROOT / "README.md").read_text()


def test_the_documentation_has_each_of_them(settings, client_of_django):
    page = unescape(client_of_django.get("/api/docs").content.decode())
    for snippet in snippets():
        assert f"<code>{snippet.text}</code>" in page
        assert snippet.name in page


def test_each_template_is_used():
    used = {snippet.id for snippet in snippets()} | {"before_request", "after_answer"}
    assert {path.stem for path in (ROOT / "templates/snippets").iterdir()} == used


@pytest.mark.parametrize("uid", ["0" * 31, "0" * 33, "A" * 32, "{{TOKEN}}", '"'])
def test_only_a_client_id_has_a_collection(uid, client_of_django):
    answer = client_of_django.get(f"/api/collections/{quote(uid)}.json")
    assert (answer.status_code, answer.json()["error"]) == (404, "resource.unknown")


# What we use of https://schema.postman.com/json/collection/v2.1.0/docs/index.html, and nothing besides.
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}


def an_object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties.keys() - {"disabled"}),
        "additionalProperties": False,
    }


def a_list(**properties: Any) -> dict[str, Any]:
    return {"type": "array", "items": an_object(**properties)}


PARAMETERS = a_list(key=TEXT, value=TEXT, description=TEXT, disabled={"type": "boolean"})
URL = an_object(raw=TEXT, host=TEXTS, path=TEXTS, query=PARAMETERS, variable=PARAMETERS)
POSTMAN = an_object(
    info=an_object(
        name=TEXT,
        description=TEXT,
        schema={"const": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"},
    ),
    auth=an_object(type={"const": "bearer"}, bearer=a_list(key={"const": "token"}, value=TEXT, type=TEXT)),
    event=a_list(
        listen={"enum": ["prerequest", "test"]}, script=an_object(type={"const": "text/javascript"}, exec=TEXTS)
    ),
    variable=a_list(key=TEXT, value=TEXT, type={"const": "string"}),
    item=a_list(name=TEXT, request=an_object(method={"const": "GET"}, url=URL, description=TEXT)),
)


def test_the_collection_is_one_of_postman_2_1():
    made = collection("0" * 32)
    OAS31Validator(POSTMAN).validate(made)
    names = [item["name"] for item in made["item"]]
    assert len(names) == len(set(names))  # by the name a request is sent again
