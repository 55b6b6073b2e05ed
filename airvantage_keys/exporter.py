"""The metrics of one server for Prometheus, at METRICS_HOST:METRICS_PORT/metrics: a process beside the workers.

    python -m airvantage_keys.exporter PARENT GRANIAN

`server` starts it, ends it, and starts it again when it fails. It ends, too, when the process PARENT has. It adds up
what all workers have counted, those that are gone included (`metrics`), adds what granian itself counts, which it
fetches from port GRANIAN of this machine, and what the database says.

In a process of its own, because the first process of the server must stay small and without threads that hold locks:
workers are forked from it.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import django
from django.conf import settings
from django.db import Error, connection, transaction
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

logger = logging.getLogger(__name__)

# Seconds. The database is asked when Prometheus asks us, at most once in EVERY, and for at most 1 % of the time,
# however long its tables are, and also where that comes to nothing. A statement is given up after STATEMENT, and an
# answer waits WAIT for all of them; what takes longer is in the next one.
EVERY, SHARE, STATEMENT, WAIT = 60, 0.01, 10, 2
# How often it looks whether its port is free, and whether its parent is there, which costs next to nothing.
RETRY, LOOK = 1, 0.5
# A reader of ours has this long for its request, and for taking the answer.
READER = 10

_CANCELED = "57014"  # PostgreSQL's query_canceled

# Tokens that were ended before their time count until it has come: a look at the secret and owner of each takes longer.
TOKENS = "SELECT count(*) FROM profiles_accesstoken WHERE expires > %s"
CLIENTS = """
SELECT user_id IS NULL, CASE WHEN disabled THEN 'disabled' WHEN live.application_id IS NULL THEN 'no_live_secret'
                             ELSE 'live' END, count(*)
  FROM profiles_oauthapplication client
  LEFT JOIN (SELECT DISTINCT application_id FROM profiles_clientsecret
              WHERE NOT ended AND (ends IS NULL OR ends > %s)) live ON live.application_id = client.id
 GROUP BY 1, 2
"""


class Readings:
    """What the database says, read in a thread of its own: an answer never waits longer than WAIT for it."""

    def __init__(self, read: Callable[[], Iterator[GaugeMetricFamily]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._found: list[GaugeMetricFamily] = []
        self._is_up = False
        self._due = 0.0
        self._read_once = threading.Event()
        self._read_once.set()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Called by prometheus-client for each answer."""
        with self._lock:
            if self._read_once.is_set() and time.monotonic() >= self._due:
                self._read_once.clear()
                threading.Thread(target=self._read_now, name="readings", daemon=True).start()
        is_there = self._read_once.wait(WAIT)
        yield GaugeMetricFamily(
            "airvantage_keys_database_up", "Whether the database can be read.", is_there and self._is_up
        )
        yield from self._found if is_there else ()

    def _read_now(self) -> None:
        begun, found, least = time.monotonic(), [], 0
        try:
            for family in self._read():
                found.append(family)  # noqa: PERF402 - what came before a failure is kept
            self._is_up, least = True, EVERY
        except Error as error:
            # What took too long is left out; the database is up. After another failure it is asked again soon.
            self._is_up = _took_too_long(error)
            logger.warning("metrics of the database not read: %r", error)
        finally:
            self._found = found
            self._due = begun + max(least, (time.monotonic() - begun) / SHARE)
            connection.close()
            self._read_once.set()


def _took_too_long(error: Error) -> bool:
    """Whether it is by us that the statement was given up (`_limit`)."""
    return getattr(error.__cause__, "sqlstate", "") == _CANCELED or str(error) == "interrupted"


def read() -> Iterator[GaugeMetricFamily]:
    """Ask the database, the quickest first. Raises django.db.Error, also when something takes too long."""
    now = timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        _limit()
        yield _upkeep()
        cursor.execute(CLIENTS, [now])
        clients = GaugeMetricFamily(
            "airvantage_keys_clients", "Personal keys and API Clients, by state.", labels=["kind", "state"]
        )
        numbers = {(bool(is_companys), state): number for is_companys, state, number in cursor.fetchall()}
        for is_companys, kind in ((False, "key"), (True, "client")):
            for state in ("live", "disabled", "no_live_secret"):
                clients.add_metric([kind, state], numbers.get((is_companys, state), 0))
        yield clients
        cursor.execute(TOKENS, [now])
        yield GaugeMetricFamily(
            "airvantage_keys_tokens_unexpired", "Access tokens whose time has not come.", cursor.fetchone()[0]
        )
        yield _health()


def _limit() -> None:
    """Have the database give up a statement that takes too long."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT}s'")
    else:
        until = time.monotonic() + STATEMENT
        connection.connection.set_progress_handler(lambda: time.monotonic() > until, 100_000)


def _upkeep() -> GaugeMetricFamily:
    """When each task of `manage maintain` last succeeded; 0 for one that never did."""
    from profiles.models import Upkeep  # not at the top: models need the settings

    found = GaugeMetricFamily(
        "airvantage_keys_upkeep_last_success_timestamp_seconds",
        "When a task of `manage maintain` last succeeded.",
        labels=["task"],  # Prometheus has a label `job` of its own
    )
    for name, succeeded in Upkeep.objects.values_list("name", "succeeded"):
        found.add_metric([name], succeeded.timestamp() if succeeded else 0)
    return found


def _health() -> GaugeMetricFamily:
    """How many clients are at which risk, as the admin site shows it, but counted to the end."""
    from profiles.clients import health  # not at the top: it needs the models
    from profiles.models import OAuthApplication

    found = GaugeMetricFamily(
        "airvantage_keys_clients_at_risk", "Personal keys and API Clients, by what is wrong with them.", labels=["risk"]
    )
    for risk, at_risk in health.clients_at_each().items():
        found.add_metric([risk], OAuthApplication.objects.filter(at_risk).count())
    return found


class Handler(BaseHTTPRequestHandler):
    """Answers GET /metrics, and nothing else."""

    timeout = READER
    server_version = sys_version = ""
    answer: Callable[[], bytes]

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        body = type(self).answer()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """No line for each answer."""


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        logger.warning("metrics not given: %r", sys.exc_info()[1])


def of_granian(port: int) -> bytes:
    """What granian counts, in the same format; nothing if it does not answer."""
    asked = HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        asked.request("GET", "/metrics")
        return asked.getresponse().read() + b"\n"
    except (OSError, HTTPException):
        return b""
    finally:
        asked.close()


def listening() -> Listener:
    """Our port, as soon as it is free: a server that is being replaced may still have it."""
    said = False
    while True:
        try:
            return _listener()
        except OSError as error:
            if not said:
                logger.warning("waiting for %s:%s: %r", settings.METRICS_HOST, settings.METRICS_PORT, error)
            said = True
            time.sleep(RETRY)  # nothing tells when a port becomes free


def _listener() -> Listener:
    host = settings.METRICS_HOST
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind: Any = type("Listener", (Listener,), {"address_family": family})
    listener: Listener = kind((host, settings.METRICS_PORT), Handler)
    return listener


def main(parent: int, granian: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "airvantage_keys.settings")
    django.setup(set_prefix=False)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    registry.register(Readings(read))
    Handler.answer = staticmethod(lambda: generate_latest(registry) + of_granian(granian))
    threading.Thread(target=lambda: listening().serve_forever(), name="metrics", daemon=True).start()
    while os.getppid() == parent:
        time.sleep(LOOK)  # nothing tells a process that its parent has gone, whatever ended that


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
