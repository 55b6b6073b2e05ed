"""Stands between a program and a running site: hands on each request, notes it, and may end tokens meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

HANDED_ON = ("Authorization", "Content-Type", "User-Agent")
Watch = Callable[["Between", str, requests.Response], None]


class Between(ThreadingHTTPServer):
    """`asked` are the requests so far, as (path, status of the answer)."""

    daemon_threads = True

    def __init__(self, site: str, client: tuple[str, str], watch: Watch | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site, self.client, self.watch = site, client, watch
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, int]] = []
        self.tokens: list[str] = []
        self.shown: set[str] = set()
        """Of the processes that had the secret or a token among their arguments during a request, the names."""

    def end(self, token: str) -> None:
        """End this token at the site, as its client may."""
        answer = requests.post(f"{self.site}/api/oauth/revoke", auth=self.client, data={"token": token}, timeout=60)
        assert answer.status_code == 200, answer.text


class _Handler(BaseHTTPRequestHandler):
    server: Between

    def do_GET(self) -> None:
        self._hand_on()

    def do_POST(self) -> None:
        self._hand_on()

    def _hand_on(self) -> None:
        between = self.server
        answer = requests.request(
            self.command,
            between.site + self.path,
            headers={name: self.headers[name] for name in HANDED_ON if name in self.headers},
            data=self.rfile.read(int(self.headers.get("Content-Length", "0"))),
            timeout=60,
        )
        between.asked.append((self.path, answer.status_code))
        if answer.ok and self.command == "POST":
            between.tokens.append(answer.json()["access_token"])
        between.shown |= _processes_with(between.client[1], *between.tokens)
        if between.watch:
            between.watch(between, self.path, answer)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Nothing: requests are noted in `asked`."""


def _processes_with(*secrets: str) -> set[str]:
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if any(secret in command for secret in secrets):
            found.add(command.partition("\0")[0])
    return found


@contextmanager
def between(site: str, client: tuple[str, str], watch: Watch | None = None) -> Iterator[Between]:
    """One before `site`, for a program that acts as `client`. `watch` is called before an answer is handed back."""
    server = Between(site, client, watch)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
