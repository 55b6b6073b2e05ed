"""deploy/nginx in a real nginx, before two servers that only note what reaches them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .server import ROOT, START_WITHIN, free_port

NAME = "keys.example.com"
LINKS = [
    "/accounts/password/reset/key/hunter2/",
    "/accounts/email/confirm/hunter2/",
    "/accounts/login/?next=%2Faccounts%2Femail%2Fconfirm%2Fhunter2%2F",
    "/accounts/login/?next=%252Faccounts%252Femail%252Fconfirm%252Fhunter2%252F",
    "//accounts//password//reset//key//hunter2",
]


class Behind(ThreadingHTTPServer):
    """A server behind nginx: has only the static file of its own name, and cuts the connection where it is asked to."""

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.port = self.server_address[1]
        Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def _answer(self) -> None:
        self.server.seen.append((self.command, self.path, {name.lower(): it for name, it in self.headers.items()}))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "X-Cut" in self.headers:
            self.close_connection = True
            return
        is_missing = self.path.startswith("/static/") and self.path != f"/static/{self.server.name}"
        self.send_response(404 if is_missing else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = _answer  # noqa: N815 - the names that the standard library looks for

    def log_message(self, *_arguments: object) -> None:
        pass


class Front:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers = [Behind("one"), Behind("two")]
        self.http, self.https = free_port(), free_port()
        make_certificate(folder)
        own = (ROOT / "deploy/nginx/airvantage-keys.conf").read_text()
        own = re.sub(r"^ *listen \[.*\n", "", own, flags=re.MULTILINE)
        for old, new in (
            ("listen 80;", f"listen 127.0.0.1:{self.http};"),
            ("listen 443 ", f"listen 127.0.0.1:{self.https} "),
            ("127.0.0.1:8001", f"127.0.0.1:{self.servers[0].port}"),
            ("127.0.0.1:8002", f"127.0.0.1:{self.servers[1].port}"),
            (f"/etc/letsencrypt/live/{NAME}", str(folder)),
            ("/etc/nginx", str(folder)),
            ("/var/log/nginx", str(folder)),
        ):
            assert old in own, old
            own = own.replace(old, new)
        (folder / "own.conf").write_text(own)
        shutil.copy(ROOT / "deploy/nginx/airvantage-keys-proxy.conf", folder)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"{'user root;' if os.geteuid() == 0 else ''} daemon off; worker_processes 1; pid {folder}/pid;"
            f"error_log {folder}/error.log; events {{}} http {{ {temporary} include {folder}/own.conf; }}"
        )

    def command(self, *arguments: str) -> list[str]:
        return ["nginx", "-e", f"{self.folder}/error.log", "-p", str(self.folder), "-c", "nginx.conf", *arguments]

    def ask(self, method: str, path: str, *, tls: bool = True, **options: Any) -> requests.Response:
        address = f"https://127.0.0.1:{self.https}" if tls else f"http://127.0.0.1:{self.http}"
        options["headers"] = {"Host": NAME, **options.get("headers", {})}
        return requests.request(
            method, address + path, verify=False, allow_redirects=False, timeout=START_WITHIN, **options
        )

    def seen(self, path: str) -> list[tuple[str, dict[str, str]]]:
        return [(method, headers) for server in self.servers for method, at, headers in server.seen if at == path]


def make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx"),
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    front = Front(tmp_path_factory.mktemp("nginx"))
    tested = subprocess.run(front.command("-t"), capture_output=True, text=True, check=False)
    assert (tested.returncode, "[warn]" in tested.stderr) == (0, False), tested.stderr
    process = subprocess.Popen(front.command(), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_WITHIN
        while True:
            try:
                socket.create_connection(("127.0.0.1", front.https)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield front
    finally:
        process.terminate()
        process.wait(timeout=60)
        for server in front.servers:
            server.shutdown()
            server.server_close()


def test_the_site_is_told_who_asks_and_how(front):
    front.ask("GET", "/told", headers={"X-Request-ID": "forged", "X-Forwarded-Proto": "http"})
    [(_, headers)] = front.seen("/told")
    assert headers["host"] == NAME
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
    front.ask("GET", "/told-more", headers={"X-Forwarded-For": "192.0.2.1"})
    [(_, headers)] = front.seen("/told-more")
    assert headers["x-forwarded-for"] == "192.0.2.1, 127.0.0.1"


def test_over_http_people_are_redirected_and_programs_reach_the_refusal_of_the_site(front):
    moved = front.ask("GET", "/profile/?x=1", tls=False, headers={"Host": "another.example"})
    assert (moved.status_code, moved.headers["Location"]) == (301, f"https://{NAME}/profile/?x=1")
    front.ask("POST", "/api/oauth/token", tls=False)
    [(_, headers)] = front.seen("/api/oauth/token")
    assert headers["x-forwarded-proto"] == "http"


def test_a_static_file_that_one_server_has_not_comes_from_the_other(front):
    for name in ("one", "two"):
        assert [front.ask("GET", f"/static/{name}").status_code for _ in range(4)] == [200] * 4
    assert front.ask("GET", "/static/neither").status_code == 404


def test_a_post_is_never_repeated(front):
    assert front.ask("POST", "/cut", data="x", headers={"X-Cut": "yes"}).status_code == 502
    assert len(front.seen("/cut")) == 1


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("/profile/picture/", 2_000_000, 200), ("/profile/picture/", 17_000_000, 413), ("/profile/", 2_000_000, 413)],
)
def test_bodies_have_the_size_that_the_site_takes(path, size, status, front):
    assert front.ask("POST", path, data=b"x" * size).status_code == status


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("link", LINKS)
def test_no_link_that_is_a_credential_is_logged(link, tls, front):  # security 80
    """Nor when the servers fail, of which nginx has a log of its own."""
    agent, log = uuid4().hex, front.folder / "airvantage-keys.log"
    headers = {"Referer": f"https://{NAME}{LINKS[0]}", "User-Agent": agent, "X-Cut": "yes"}
    assert front.ask("GET", link, tls=tls, headers=headers).status_code == (502 if tls else 301)
    deadline = time.monotonic() + START_WITHIN
    while agent not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (line,) = [line for line in log.read_text().splitlines() if agent in line]
    assert "[hidden]" in line
    assert "hunter2" not in line
    assert "hunter2" not in (front.folder / "error.log").read_text()
