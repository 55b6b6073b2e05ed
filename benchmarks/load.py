"""Load on one address by wrk. Without wrk, or for very short loads, a small loader of our own is used: it is slow, so
only for the smoke test."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from .machine import Failed

SCRIPT = Path(__file__).parent / "load.lua"


@dataclass(frozen=True)
class Request:
    """What is sent, and the status that is the right answer."""

    path: str
    body: str | None = None
    authorization: str | tuple[str, ...] | None = None  # several: used in turn
    cookie: str | None = None
    status: int = 200

    def with_authorization(self, authorization: tuple[str, ...]) -> Request:
        return replace(self, authorization=authorization)

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"

    @property
    def headers(self) -> dict[str, str]:
        authorization = self.authorization
        headers = {
            "Authorization": authorization[0] if isinstance(authorization, tuple) else authorization,
            "Cookie": self.cookie,
        }
        if self.body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, object]:
        parsed: dict[str, object] = json.loads(self.body)
        return parsed


@dataclass(frozen=True)
class Load:
    """What came back. `refused` counts the answers of 400 and above, `lost` those that never arrived."""

    answers: int
    refused: int
    lost: int
    seconds: float
    p50: float  # milliseconds
    p99: float
    bytes: int = 0

    def wrong(self, request: Request) -> int:
        """How many requests did not get the right answer."""
        return self.lost + (self.answers - self.refused if request.status >= 400 else self.refused)


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def once(url: str, request: Request, *, timeout: float = 60) -> Answer:
    """One request, and its answer whatever the status."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    try:
        connection.request(request.method, request.path, request.body, request.headers)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode("utf-8", "replace"), dict(response.headers))
    finally:
        connection.close()


def load(url: str, request: Request, *, connections: int, seconds: float) -> Load:
    if seconds >= 1 and shutil.which("wrk"):
        return _wrk(url, request, connections, seconds)
    return _plain(url, request, connections, seconds)


def _wrk(url: str, request: Request, connections: int, seconds: float) -> Load:
    environment = {
        "LOAD_METHOD": request.method,
        "LOAD_BODY": request.body,
        "LOAD_AUTHORIZATION": request.headers.get("Authorization"),
        "LOAD_AUTHORIZATIONS": ",".join(request.authorization) if isinstance(request.authorization, tuple) else None,
        "LOAD_COOKIE": request.cookie,
    }
    # One thread: it can send far more than any server here can answer.
    command = ["wrk", "--threads=1", f"--connections={connections}", f"--duration={round(seconds)}s"]
    command += ["--timeout=60s", f"--script={SCRIPT}", url + request.path]
    given = {name: value for name, value in environment.items() if value is not None}
    try:
        done = subprocess.run(  # noqa: S603 - our command
            command, env={**os.environ, **given}, capture_output=True, text=True, check=True, timeout=seconds + 90
        )
    except subprocess.SubprocessError as error:
        raise Failed(
            f"wrk: {error} {error.stderr if isinstance(error, subprocess.CalledProcessError) else ''}"
        ) from None
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOAD "))
    return Load(**json.loads(line.removeprefix("LOAD ")))


def _plain(url: str, request: Request, connections: int, seconds: float) -> Load:
    times: list[float] = []
    refused = lost = 0
    lock = threading.Lock()
    end = time.monotonic() + seconds

    def worker() -> None:
        nonlocal refused, lost
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        while (start := time.monotonic()) < end:
            try:
                connection.request(request.method, request.path, request.body, request.headers)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                with lock:
                    lost += 1
                continue
            with lock:
                times.append((time.monotonic() - start) * 1000)
                refused += response.status >= 400
        connection.close()

    threads = [threading.Thread(target=worker) for _ in range(connections)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
    return Load(len(times), refused, lost, time.monotonic() - started, cuts[49], cuts[98])
