"""benchmarks/run: ours beside its peers and the floors, on PostgreSQL and on SQLite, in interleaved rounds."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import browser, report
from .load import load
from .machine import Cluster, Failed, Process, busy_seconds, cpu_seconds, postgres, temporary_folder
from .measured import Row, Sample
from .servers import (
    BEST_PEERS,
    FLOOR,
    FLOOR_WSGI,
    KINDS,
    OURS,
    OURS_WITHOUT_PAGES,
    PASSWORD,
    Kind,
    Server,
    ask_ours,
    environment_of_ours,
)

# Request -> connections. The order is that of the tables.
CONNECTIONS = {
    "token": 32,
    "bearer": 8,
    "introspection": 8,
    "wrong secret": 32,
    "unknown client": 32,
    "malformed secret": 32,
    "page": 8,
    "constant": 8,
}
SLOW_CONNECTIONS, SLOW_SECONDS = 2, 8.0
WARM_UP = 2  # seconds; just-in-time compilers need them
TOKENS_TRIED = 5  # after each round


def sample(
    server: Server, cluster: Cluster | None, name: str, seconds: float, *, others_delete: bool = False
) -> Sample:
    """One load, all its answers checked."""
    request = server.requests[name]
    connections = CONNECTIONS[name]
    if name in server.slow:
        connections, seconds = SLOW_CONNECTIONS, max(seconds, SLOW_SECONDS)
    rows = server.count_tokens() if name == "token" else 0
    before, start = _cpu_seconds(server, cluster), time.monotonic()
    result = load(server.process.url, request, connections=connections, seconds=seconds)
    time.sleep(0.05)  # for requests in progress when the time was over
    after, took = _cpu_seconds(server, cluster), time.monotonic() - start
    cpu, database, others = (now - then for now, then in zip(after, before, strict=True))
    if wrong := result.wrong(request):
        raise Failed(f"{server.name}: {name}: {wrong} of {result.answers} answers were wrong or missing")
    if not result.answers:
        raise Failed(f"{server.name}: {name}: no answer in {seconds} s")
    if name == "token":
        made = server.count_tokens() - rows
        if made < result.answers and not others_delete:
            raise Failed(f"{server.name}: {result.answers} tokens were answered and {made} written")
        if not all(server.is_live(server.new_token()) for _ in range(TOKENS_TRIED)):
            raise Failed(f"{server.name} refuses its own token")
    return Sample(result, cpu / result.answers * 1e6, database / result.answers * 1e6, others / took)


def _cpu_seconds(server: Server, cluster: Cluster | None) -> tuple[float, float, float]:
    """The CPU time so far of the server, of the database, and of all that is neither this program's nor the database's.

    All servers and the load are this program's processes.
    """
    database = cluster.cpu() if cluster else 0.0
    return server.process.cpu(), database, busy_seconds() - cpu_seconds(os.getpid()) - database


def summary(name: str, samples: Sequence[Sample]) -> Row:
    return Row(
        name,
        per_second=statistics.median(one.load.answers / one.load.seconds for one in samples),
        p50=statistics.median(one.load.p50 for one in samples),
        p99=statistics.median(one.load.p99 for one in samples),
        server_us=min(one.server_us for one in samples),
        database_us=min(one.database_us for one in samples),
        answers=sum(one.load.answers for one in samples),
        others=max(one.others for one in samples),
    )


def measure(
    servers: Sequence[Server], cluster: Cluster | None, *, rounds: int, seconds: float, warm_up: float = WARM_UP
) -> dict[str, list[Row]]:
    """Request -> a row for each server. Each round measures each request on each server once: equal conditions."""
    samples: dict[tuple[str, str], list[Sample]] = {}
    for number in range(rounds + bool(warm_up)):
        for name in CONNECTIONS:
            for server in servers:
                if name in server.requests:
                    report.progress(f"round {number} of {rounds}: {name}, {server.name}")
                    one = sample(server, cluster, name, seconds if number or not warm_up else warm_up)
                    if number or not warm_up:
                        samples.setdefault((name, server.name), []).append(one)
    report.progress("")
    return {
        name: [summary(server.name, samples[name, server.name]) for server in servers if name in server.requests]
        for name in CONNECTIONS
        if any(name in server.requests for server in servers)
    }


@contextmanager
def running(kinds: Iterable[Kind], folder: Path, cluster: Cluster | None) -> Iterator[list[Server]]:
    """The servers, started, and each checked to answer correctly."""
    servers: list[Server] = []
    try:
        for kind in kinds:
            report.progress(f"starting {kind.name}")
            database = kind.name.replace("-", "_")
            url = cluster.create(database) if cluster else f"sqlite:///{folder / database}.sqlite3"
            server = kind.start(kind.name, folder, url)
            servers.append(server)
            server.check()
        yield servers
    finally:
        for server in servers:
            server.process.stop()


def compare(kinds: Sequence[Kind], database: str, *, rounds: int, seconds: float) -> list[str]:
    """The tables for one database, as lines of Markdown."""
    with temporary_folder() as folder, _cluster(database) as cluster, running(kinds, folder, cluster) as servers:
        ours = next((server for server in servers if server.name == OURS.name), None)
        page: list[str] = []
        if ours:
            cookie = browser.sign_in(ours.process.url, "other@demo.example", PASSWORD)
            ours.requests["page"] = browser.request(cookie)
            first, following = browser.bytes_over_the_wire(ours.process.url, cookie)
            queries = ask_ours(environment_of_ours(ours.database_url, ours.process.port), "page")
            page = [
                f"GET {browser.PAGE}, signed in: {len(queries)} queries. With what it refers to, {first / 1000:.1f} "
                f"kB over the wire on a first visit and {following / 1000:.1f} kB on the next."
            ]
        rows = measure(servers, cluster, rounds=rounds, seconds=seconds)
        lines = [f"## {database}", "", *report.others(row for found in rows.values() for row in found)]
        for name, found in rows.items():
            lines += report.requests(f"{name}, {CONNECTIONS[name]} connections", found, _ratios(name, rows))
        return [*lines, *report.servers(servers), *page, ""]


def _ratios(name: str, rows: dict[str, list[Row]]) -> dict[str, Row]:
    """What the rows of one request are compared with: title -> row."""
    found = {row.name: row for row in rows[name]}
    compared: dict[str, Row] = {}
    if peers := [found[peer] for peer in BEST_PEERS if peer in found]:
        compared["best peer"] = max(peers, key=lambda row: row.per_second)
    if floor := found.get(FLOOR_WSGI.name, found.get(FLOOR.name)):
        compared[floor.name] = floor
    good = {row.name: row for row in rows.get("token", [])}
    if name in ("wrong secret", "unknown client", "malformed secret") and OURS.name in good:
        compared["good token"] = good[OURS.name]
    return compared


@contextmanager
def _cluster(database: str) -> Iterator[Cluster | None]:
    if database == "SQLite":
        yield None
    else:
        with postgres() as cluster:
            yield cluster


def smoke() -> None:
    """Ours and its floor, on SQLite, for a moment: a check that the scripts still work."""
    seconds = {"token": 1, "bearer": 0.2, "wrong secret": 0.2}
    with temporary_folder() as folder, running([OURS_WITHOUT_PAGES, FLOOR_WSGI], folder, None) as servers:
        rows = {
            name: [
                summary(server.name, [sample(server, None, name, seconds[name])])
                for server in servers
                if name in server.requests
            ]
            for name in seconds
        }
    for name, found in rows.items():
        report.say(*report.requests(name, found, _ratios(name, rows)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of load a request, server and round (5)")
    parser.add_argument("--only", default="", help=f"some of {','.join(kind.name for kind in KINDS)}")
    parser.add_argument("--database", choices=("PostgreSQL", "SQLite"), help="one of the two")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md")
    parser.add_argument("--smoke", action="store_true", help="ours and its floor, on SQLite, for a moment")
    options = parser.parse_args()
    if options.smoke:
        smoke()
        return
    kinds = [kind for kind in KINDS if not options.only or kind.name in options.only.split(",")]
    lines = report.heading(rounds=options.rounds, seconds=options.seconds)
    for database in ("PostgreSQL", "SQLite"):
        if options.database in (None, database):
            lines += compare(kinds, database, rounds=options.rounds, seconds=options.seconds)
    report.say(*lines)
    if options.write:
        report.write("compare", lines)


def run(command: Callable[[], None]) -> None:
    """Run one of the commands. However it ends, the processes that it started end too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    # What the caller's shell says to script/server must not change what is measured.
    for name in ("DJANGO_SETTINGS_MODULE", "DEBUG", "CACHE_URL", "LOG_LEVEL", "WEB_CONCURRENCY", "CONN_MAX_AGE"):
        os.environ.pop(name, None)
    try:
        command()
    except Failed as problem:
        sys.exit(f"benchmarks: {problem}")
    finally:
        for process in Process.started_here:
            process.stop()


if __name__ == "__main__":
    run(main)
