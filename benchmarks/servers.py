"""The servers that are compared: how each is set up and started, and the requests that it is asked."""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from .load import Request, basic, once
from .machine import ROOT, WORK, Failed, Process, free_port, run

PEERS = Path(__file__).parent / "peers"
WORKERS, THREADS = 2, 4
FORM = "grant_type=client_credentials"
PASSWORD = secrets.token_urlsafe(20)
# The owner of the peers' clients, as a call with a token is to answer it; of ours it is one of the demo data.
OWNER: Mapping[str, object] = {
    "company": {"uid": "5bd3c0cf4d5e4a8f8a4e0e3a9c1f7d26", "name": "Demo Company"},
    "uid": "8c1f0a7b2e9d4c35b6a4d3e2f1908877",
    "email": "bench@demo.example",
    "name": "Bench User",
    "phoneNumber": "+33123456789",
    "profile": {"uid": "0f6b1d2c3a4e4f5d8c7b9a8e6d5c4b3a", "name": "Operator"},
    "picture": None,
}


@dataclass
class Server:
    """A server that runs, with its requests: `token`, `bearer`, `introspection` and others of its own."""

    name: str
    process: Process
    database_url: str
    requests: dict[str, Request]
    first_answer: float  # seconds from the start
    tokens_in: LiteralString = ""  # the SQL that counts its tokens
    owner: Mapping[str, object] | None = None  # what `bearer` answers, where it is the same for each token
    slow: frozenset[str] = frozenset()  # requests that get few connections and more time, to be answered at all

    def count_tokens(self) -> int:
        if self.database_url.startswith("sqlite:"):
            with closing(sqlite3.connect(self.database_url.removeprefix("sqlite:///"))) as database:
                return int(database.execute(self.tokens_in).fetchone()[0])
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(self.tokens_in).fetchone()
            return int(row[0]) if row else 0

    def new_token(self) -> str:
        answer = once(self.process.url, self.requests["token"])
        if answer.status != 200 or answer.json().get("token_type") != "Bearer":
            raise Failed(f"{self.name}: no token: {answer}")
        return str(answer.json()["access_token"])

    def check(self) -> None:
        """Every request gets the expected answer; a token just issued is active, and another one is not."""
        for name, request in self.requests.items():
            answer = once(self.process.url, request)
            if answer.status != request.status:
                raise Failed(f"{self.name}: {name}: {answer}")
            if name == "introspection" and answer.json().get("active") is not True:
                raise Failed(f"{self.name}: {name}: {answer}")
            if name == "bearer" and self.owner and answer.json() != self.owner:
                raise Failed(f"{self.name}: {name}: {answer}, and not {self.owner}")
        token = self.new_token()
        if not self.is_live(token) or self.is_live(token.swapcase()):
            raise Failed(f"{self.name} does not tell its own token from another")

    def is_live(self, token: str) -> bool:
        bearer = Request(self.requests["bearer"].path, authorization=f"Bearer {token}")
        return once(self.process.url, bearer).status == 200


@dataclass(frozen=True)
class Kind:
    """A server that can be started on a database: `start(name, folder, database_url)`."""

    name: str
    title: str
    start: Callable[[str, Path, str], Server]


def granian(target: str, port: int) -> list[str]:
    """Granian unchanged, with the processes, threads and supervision that ours has."""
    command = [sys.executable, "-m", "granian", target, "--interface", "wsgi", "--no-ws", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", str(WORKERS), "--blocking-threads", str(THREADS)]
    return [*command, "--respawn-failed-workers", "--respawn-interval", "1", "--workers-kill-timeout", "30"]


# --- Ours -------------------------------------------------------------------------------------------------


def environment_of_ours(database_url: str, port: int, **more: str) -> dict[str, str]:
    return {
        "SECRET_KEY": "for-benchmarks-only-" + "x" * 40,
        "BASE_URL": f"http://127.0.0.1:{port}",
        "DATABASE_URL": database_url,
        "DEMO_PASSWORD": PASSWORD,
        # With limits, the benchmark would measure refusals.
        "RATE_LIMITS": "off",
        "EMAIL_URL": "dummymail://",
        "PYTHONPATH": str(ROOT),
        **more,
    }


def ask_ours(environment: Mapping[str, str], *arguments: str) -> Any:
    """What `benchmarks.ours` answers."""
    command = [sys.executable, "-m", "benchmarks.ours", *arguments]
    return json.loads(run(command, environment=environment, folder=ROOT))


def start_ours(name: str, folder: Path, database_url: str, *, pages: bool = True) -> Server:
    port = free_port()
    environment = environment_of_ours(database_url, port)
    return serve_ours(name, folder, environment, port, ask_ours(environment, "prepare", *["static"] * pages))


def serve_ours(name: str, folder: Path, environment: Mapping[str, str], port: int, key: Mapping[str, Any]) -> Server:
    """Start ours on a database that is prepared, and has this key."""
    # The command that script/server ends in.
    command = [sys.executable, "-m", "airvantage_keys.server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(WORKERS)]
    process = Process(name, command, port=port, folder=folder, environment=environment)
    first_answer = process.wait("/readyz")
    client_id, secret = key["client_id"], key["secret"]
    good = Request("/api/oauth/token", FORM, basic(client_id, secret))
    server = Server(name, process, environment["DATABASE_URL"], {"token": good}, first_answer)
    server.tokens_in, server.owner = "SELECT count(*) FROM profiles_accesstoken", key["owner"]
    token = server.new_token()
    unknown = ("0" if client_id[0] != "0" else "1") + client_id[1:]
    server.requests |= {
        "bearer": Request("/api/v1/users/current", authorization=f"Bearer {token}"),
        "introspection": Request("/api/oauth/introspect", f"token={token}", good.authorization),
        "wrong secret": Request("/api/oauth/token", FORM, basic(client_id, key["other_secret"]), status=401),
        "unknown client": Request("/api/oauth/token", FORM, basic(unknown, secret), status=401),
        "malformed secret": Request("/api/oauth/token", FORM, basic(client_id, secret[:-1]), status=401),
    }
    return server


# --- The floor of a token: the product's statements alone -------------------------------------------------


def start_floor(name: str, folder: Path, database_url: str) -> Server:
    """On the product's schema, with a key and an owner of the product's."""
    port = free_port()
    of_ours = environment_of_ours(database_url, port)
    key = ask_ours(of_ours, "prepare")
    environment = {
        "DATABASE_URL": database_url,
        "STATEMENTS": json.dumps(ask_ours(of_ours, "statements")),
        "PYTHONPATH": str(PEERS),
    }
    process = Process(name, granian("floor:application", port), port=port, folder=folder, environment=environment)
    first_answer = process.wait("/")
    server = Server(name, process, database_url, {}, first_answer)
    server.tokens_in, server.owner = "SELECT count(*) FROM profiles_accesstoken", key["owner"]
    server.requests["token"] = Request("/", FORM, basic(key["client_id"], key["secret"]))
    server.requests["bearer"] = Request("/", authorization=f"Bearer {server.new_token()}")
    return server


# --- Django: the toolkit and the bare view ----------------------------------------------------------------


def start_django(variant: str) -> Callable[[str, Path, str], Server]:
    def start(name: str, folder: Path, database_url: str) -> Server:
        port, client_id, secret = free_port(), secrets.token_hex(16), secrets.token_urlsafe(48)
        environment = {
            "PEER": variant,
            "DATABASE_URL": database_url,
            "CLIENT_ID": client_id,
            "CLIENT_SECRET": secret,
            "OWNER": json.dumps(OWNER),
            "PYTHONPATH": f"{PEERS / 'django'}:{ROOT}",
        }
        run([sys.executable, str(PEERS / "django" / "prepare.py")], environment=environment, folder=folder)
        process = Process(name, granian("wsgi:application", port), port=port, folder=folder, environment=environment)
        first_answer = process.wait("/floor/json/")
        server = Server(name, process, database_url, {}, first_answer)
        server.tokens_in, server.owner = "SELECT count(*) FROM oauth2_provider_accesstoken", OWNER
        if variant == "floor":
            server.requests["token"] = Request("/floor/token/", f"{FORM}&client_id={client_id}")
            server.requests["bearer"] = Request("/floor/resource/", authorization=f"Bearer {server.new_token()}")
            server.requests["page"] = Request("/floor/page/")
            server.requests["constant"] = Request("/floor/json/")
            return server
        server.requests["token"] = Request("/token/", FORM, basic(client_id, secret))
        token = server.new_token()
        server.requests["bearer"] = Request("/resource/", authorization=f"Bearer {token}")
        server.requests["introspection"] = Request("/introspect/", f"token={token}", basic(client_id, secret))
        if variant == "toolkit":
            server.slow = frozenset(("token", "introspection"))
        return server

    return start


# --- Node -------------------------------------------------------------------------------------------------


def install_node() -> Path | None:
    """The folder in which the npm packages of the lock are, or None without node."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    source, folder = PEERS / "node", WORK / "node"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (source / "package-lock.json").read_bytes()
    stamp = folder / "installed"
    for file in (*source.glob("*.js"), *source.glob("*.json")):
        shutil.copy(file, folder)
    if not stamp.exists() or stamp.read_bytes() != lock:
        # better-sqlite3 is compiled if there is no ready-made one: the only package whose install script may run.
        run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder=folder)
        run(["npm", "rebuild", "better-sqlite3", "--ignore-scripts=false"], folder=folder)
        stamp.write_bytes(lock)
    return folder


def start_node(peer: str, *, paths: Mapping[str, str]) -> Callable[[str, Path, str], Server]:
    def start(name: str, folder: Path, database_url: str) -> Server:
        installed = install_node()
        if installed is None:
            raise Failed("node and npm are not installed")
        port, client_id, secret = free_port(), secrets.token_hex(16), secrets.token_urlsafe(48)
        environment = {
            "PORT": str(port),
            "DATABASE_URL": database_url,
            "CLIENT_ID": client_id,
            "CLIENT_SECRET": secret,
            "OWNER": json.dumps(OWNER),
            "WORKERS": str(WORKERS),
            "NODE_ENV": "production",
        }
        command = [shutil.which("node") or "node", str(installed / "server.js"), peer]
        process = Process(name, command, port=port, folder=folder, environment=environment)
        first_answer = process.wait("/")
        server = Server(name, process, database_url, {}, first_answer)
        server.tokens_in, server.owner = "SELECT count(*) FROM documents WHERE expires IS NOT NULL", OWNER
        server.requests["token"] = Request("/token", FORM, basic(client_id, secret))
        token = server.new_token()
        server.requests["bearer"] = Request("/resource", authorization=f"Bearer {token}")
        if introspection := paths.get("introspection"):
            server.requests["introspection"] = Request(introspection, f"token={token}", basic(client_id, secret))
        return server

    return start


OURS = Kind("ours", "AirVantage Keys", start_ours)
OURS_WITHOUT_PAGES = Kind("ours", "AirVantage Keys", partial(start_ours, pages=False))
TOOLKIT = Kind("toolkit", "django-oauth-toolkit as it comes", start_django("toolkit"))
TOOLKIT_SHA256 = Kind("toolkit-sha256", "the same, SHA-256 secret hasher", start_django("toolkit-sha256"))
OIDC = Kind("oidc", "node oidc-provider", start_node("oidc", paths={"introspection": "/token/introspection"}))
OAUTH2 = Kind("oauth2", "@node-oauth/oauth2-server", start_node("oauth2", paths={}))
FLOOR_WSGI = Kind("floor-wsgi", "floor: our statements in a bare WSGI function", start_floor)
FLOOR = Kind("floor", "floor: bare Django view", start_django("floor"))
KINDS = (OURS, OIDC, OAUTH2, TOOLKIT_SHA256, TOOLKIT, FLOOR_WSGI, FLOOR)
BEST_PEERS = (OIDC.name, OAUTH2.name, TOOLKIT_SHA256.name)
