"""The metrics of a running server: over all of its processes, and what the files in deploy/ ask of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import OperationalError, connection
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from airvantage_keys import exporter

from .server import ROOT, Server, free_port, postgres_url, running, sqlite_url

pytestmark = pytest.mark.server

WITHIN = 60  # seconds
SAMPLES = re.compile(r"\b(?:airvantage_keys|granian)_\w+")


class Metrics:
    """The metrics of one running server, and a key of its demo user."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{server.environment['METRICS_PORT']}/metrics"
        created = dict(line.split("=") for line in server.manage("createkey", "other@demo.example").splitlines())
        server.manage("maintain")
        self.key = (created["CLIENT_ID"], created["CLIENT_SECRET"])

    def read(self) -> dict[str, float]:
        """All samples, by name and labels as they are written."""
        text = requests.get(self.url, timeout=30).text
        families = text_string_to_metric_families(text)
        samples = [sample for family in families for sample in family.samples]
        return {
            sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
            for sample in samples
        }

    def wait_for(self, holds: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        deadline = time.monotonic() + WITHIN
        while True:
            try:
                found = self.read()
            except requests.ConnectionError:  # it is started after the server
                found = {}
            if holds(found):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.2)

    def token(self, secret: str = "") -> str:
        """Ask for a token, with another secret if one is given, in a connection of its own: any process may answer."""
        url = f"{self.server.url}/api/oauth/token"
        auth = (self.key[0], secret or self.key[1])
        answer = requests.post(url, {"grant_type": "client_credentials"}, auth=auth, timeout=60)
        return str(answer.json().get("access_token", ""))

    def call(self, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{self.server.url}/api/v1/users/current", headers=headers, timeout=60).status_code


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def metrics(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Metrics]:
    on = {"METRICS_PORT": str(free_port()), "GRANIAN_METRICS_SCRAPE_INTERVAL": "1"}
    if request.param == "sqlite":
        with running(tmp_path, sqlite_url(tmp_path), **on) as server:
            yield Metrics(server)
    else:
        with postgres_url() as url, running(tmp_path, url, **on) as server:
            yield Metrics(server)


def workers(server: Server) -> list[int]:
    """The processes that the server was split into, without the exporter."""
    assert server._process
    parent = server._process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"exporter" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_what_was_done_is_counted_once_also_by_processes_that_are_gone(metrics):
    before = metrics.wait_for(lambda found: "airvantage_keys_database_up" in found)
    assert before["airvantage_keys_tokens_issued_total"] == 0
    tokens = [metrics.token() for _ in range(6)]
    (killed, *_) = workers(metrics.server)
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + WITHIN
    while killed in workers(metrics.server) or len(workers(metrics.server)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    tokens += [metrics.token() for _ in range(4)]
    assert metrics.token("avs_x") == ""
    assert [metrics.call(token) for token in (*tokens, "x")] == [200] * 10 + [401]
    assert requests.get(f"{metrics.server.url}/accounts/login/", timeout=60).ok
    found = metrics.read()
    assert found["airvantage_keys_tokens_issued_total"] == 10
    assert found["airvantage_keys_tokens_refused_total reason=malformed_secret"] == 1
    assert found["airvantage_keys_calls_total route=/api/oauth/token status=200"] == 10
    assert found["airvantage_keys_calls_total route=/api/v1/users/current status=200"] == 10
    assert found["airvantage_keys_calls_total route=/api/v1/users/current status=401"] == 1
    assert found["airvantage_keys_token_seconds_count"] == 11
    assert found["airvantage_keys_call_seconds_bucket le=+Inf"] == 11
    assert found["airvantage_keys_pages_total status=2xx"] == 1
    assert found["airvantage_keys_clients kind=key state=live"] == 1
    assert found["airvantage_keys_clients kind=client state=no_live_secret"] == 0
    assert found["airvantage_keys_clients_at_risk risk=old-secret"] == 0
    assert found["airvantage_keys_upkeep_last_success_timestamp_seconds task=secrets"] > time.time() - 3600

    # Every metric that the files in deploy/ name.
    found = metrics.wait_for(lambda found: "granian_connections_active worker=1" in found)
    exported = {name.partition(" ")[0] for name in found}
    for file in ("grafana/airvantage-keys.json", "prometheus/alerts.yml"):
        named = set(SAMPLES.findall((ROOT / "deploy" / file).read_text()))
        assert len(named) > 4
        assert named - exported == set(), file


def test_it_answers_nothing_else_and_ends_with_the_server(metrics):
    metrics.wait_for(lambda found: "airvantage_keys_database_up" in found)
    assert requests.get(metrics.url.removesuffix("metrics"), timeout=30).status_code == 404
    assert requests.post(metrics.url, timeout=30).status_code == 501
    assert requests.get(f"{metrics.server.url}/metrics", timeout=60).status_code == 404
    assert metrics.server._process
    pid = metrics.server._process.pid
    os.kill(pid, signal.SIGTERM)  # the first process alone, as systemd may do
    metrics.server._process.wait(timeout=WITHIN)
    metrics.server._process = None
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            requests.get(metrics.url, timeout=30)
        except requests.ConnectionError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)


def up(readings: exporter.Readings) -> list[float]:
    """What is exported of the database: whether it could be read, and the one metric that was."""
    return [family.samples[0].value for family in readings.collect()]


def test_the_database_is_read_once_a_minute_and_again_soon_after_a_failure():
    answers: list[Any] = [OperationalError("away"), 5, 6]

    def read() -> Iterator[GaugeMetricFamily]:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        yield GaugeMetricFamily("x", "x", answer)

    readings = exporter.Readings(read)
    assert up(readings) == [0]
    assert readings._due < time.monotonic() + 30  # soon: it failed at once
    readings._due = 0
    assert [up(readings) for _ in range(2)] == [[1, 5], [1, 5]]
    readings._due = time.monotonic()
    assert up(readings) == [1, 6]
    assert time.monotonic() + exporter.EVERY - 30 < readings._due < time.monotonic() + exporter.EVERY


@pytest.mark.django_db
def test_what_takes_too_long_is_left_out_and_not_asked_again_at_once(monkeypatch):
    """The rest is there, and the database is up: of that another alert tells."""
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT count(*) FROM n"
    monkeypatch.setattr(exporter, "TOKENS", f"{slow} WHERE %s IS NOT NULL")
    monkeypatch.setattr(exporter, "STATEMENT", 1)
    monkeypatch.setattr(exporter, "WAIT", WITHIN)
    monkeypatch.setattr(connection, "close", lambda: None)  # in this test it is that of a transaction
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.run)
    readings = exporter.Readings(exporter.read)
    begun = time.monotonic()
    (is_up, *found) = readings.collect()
    if connection.vendor == "sqlite":
        connection.connection.set_progress_handler(None, 0)
    assert is_up.samples[0].value == 1
    assert {family.name for family in found} == {
        "airvantage_keys_upkeep_last_success_timestamp_seconds",
        "airvantage_keys_clients",
    }
    assert readings._due > begun + 1 / exporter.SHARE


def test_an_answer_does_not_wait_for_a_database_that_hangs(monkeypatch):
    monkeypatch.setattr(exporter, "WAIT", 0.01)
    goes_on = threading.Event()
    readings = exporter.Readings(lambda: iter([GaugeMetricFamily("x", "x", goes_on.wait(WITHIN))]))
    assert [up(readings) for _ in range(3)] == [[0]] * 3
    goes_on.set()
    readings._read_once.wait(WITHIN)
    assert up(readings) == [1, 1]


def test_without_a_port_nothing_of_it_is_loaded():
    code = "import sys; from airvantage_keys import wsgi; print('prometheus_client' in sys.modules)"
    environment = {**os.environ, "DATABASE_URL": "sqlite://:memory:", "PROMETHEUS_MULTIPROC_DIR": "/nowhere"}
    environment.pop("METRICS_PORT", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_the_dashboard_is_json_and_each_panel_has_a_query():
    panels = json.loads((ROOT / "deploy/grafana/airvantage-keys.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 5
    assert all(target["expr"] for panel in panels for target in panel["targets"])
