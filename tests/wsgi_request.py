"""A request of any bytes, answered by the application in this process: also one that no client library would send."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from django.core.signals import got_request_exception, request_started
from django.db import close_old_connections

from airvantage_keys.wsgi import application


@dataclass
class Request:
    """Header values and the query are bytes, written as latin-1."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: str | None = None  # the value of Content-Length; None for the true one

    def environ(self) -> dict[str, object]:
        environ: dict[str, object] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": self.query,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "REMOTE_ADDR": "192.0.2.1",
            "HTTP_HOST": "127.0.0.1:8000",
            "CONTENT_LENGTH": str(len(self.body)) if self.length is None else self.length,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(self.body),
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        return environ


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    content: bytes
    failure: BaseException | None  # the exception behind a 500

    def __getitem__(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())


def send(request: Request) -> Answer:
    answers: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
        answers.append((status, headers))
        return sys.stdout.buffer.write  # never called

    failures: list[BaseException | None] = [None]

    def note(**kwargs: object) -> None:
        failures.append(sys.exc_info()[1])

    got_request_exception.connect(note)
    # It would close the database connection of the test. Each time, because Django's test client connects it again.
    request_started.disconnect(close_old_connections)
    try:
        content = b"".join(application(request.environ(), start_response))
    finally:
        request_started.connect(close_old_connections)
        got_request_exception.disconnect(note)
    ((status, headers),) = answers
    return Answer(int(status[:3]), headers, content, failures[-1])
