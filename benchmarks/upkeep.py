"""benchmarks/upkeep TOKENS: how purging so many expired tokens affects full load, and how much disk a token needs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import psycopg

from . import report
from .compare import run, sample, summary
from .machine import ROOT, Cluster, Failed, Process, free_port, postgres, temporary_folder
from .machine import run as run_program
from .measured import Sample
from .servers import FLOOR, Server, ask_ours, environment_of_ours, serve_ours

SECONDS = 5
CALM = 4  # loads without the purge
PURGE_WITHIN = 600  # seconds


def upkeep(tokens: int) -> list[str]:
    with temporary_folder() as folder, postgres() as cluster:
        port = free_port()
        environment = environment_of_ours(cluster.create("ours"), port)
        key = ask_ours(environment, "prepare")
        command = [sys.executable, "-m", "benchmarks.fill", "1", str(tokens), "expired"]
        json.loads(run_program(command, environment=environment, folder=ROOT, show=True))
        servers = [serve_ours("ours", folder, environment, port, key)]
        try:
            servers.append(FLOOR.start("floor", folder, cluster.create("floor")))
            without, beside, purge = _beside_load(servers[0], cluster, environment, folder)
            disk = [_disk(server, table) for server, table in zip(servers, TABLES, strict=True)]
        finally:
            for server in servers:
                server.process.stop()
    calm, busy = summary("without", without), summary("beside the purge", beside)
    lines = [f"## Purging {tokens:,} expired tokens beside full load", "", *report.others([calm, busy])]
    lines += report.requests("token, 32 connections", [calm, busy], {"without": calm})
    lines += [f"p99: {busy.p99 / calm.p99:.2f} times that without.", "", purge, ""]
    lines += ["| a token | table and indexes, bytes | WAL, bytes |", "| --- | ---: | ---: |"]
    lines += [
        f"| {server.name} | {size:,.0f} | {wal:,.0f} |" for server, (size, wal) in zip(servers, disk, strict=True)
    ]
    return [*lines, ""]


def _beside_load(
    server: Server, cluster: Cluster, environment: dict[str, str], folder: Path
) -> tuple[list[Sample], list[Sample], str]:
    without = [sample(server, cluster, "token", SECONDS) for _ in range(CALM)][1:]
    rows = server.count_tokens()
    beside: list[Sample] = []
    command = [sys.executable, str(ROOT / "manage.py"), "purgetokens"]
    purge = Process("purgetokens", command, port=0, folder=folder, environment=environment)
    peak, cpu = 0, 0.0
    try:
        while not purge.ended():
            if time.monotonic() - purge.started > PURGE_WITHIN:
                raise Failed(f"purgetokens is not done after {PURGE_WITHIN} s")
            beside.append(sample(server, cluster, "token", SECONDS, others_delete=True))
            peak, cpu = max(peak, purge.peak_bytes()), max(cpu, purge.cpu())
    finally:
        purge.stop()
    made = sum(one.load.answers for one in beside)
    left = server.count_tokens()
    said = purge.log.read_text().splitlines()
    text = f"`purgetokens` said: {said[-1] if said else ''} Its peak memory: {peak / 1e6:.0f} MB. "
    return without, beside, text + f"Rows: {rows:,} before, {made:,} tokens made meanwhile, {left:,} after."


TABLES = ("profiles_accesstoken", "oauth2_provider_accesstoken")


def _disk(server: Server, table: str) -> tuple[float, float]:
    """Bytes of table and indexes, and of WAL, for each of the tokens that some seconds of load make."""
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        # A purged table has free space that new rows reuse at no cost; TRUNCATE so that they need new space.
        connection.execute(f"TRUNCATE {table} CASCADE")
        connection.execute("CHECKPOINT")
        before = _written(connection, table)
        sample(server, None, "token", SECONDS)
        after = _written(connection, table)
    made = server.count_tokens()
    return (after[0] - before[0]) / made, (after[1] - before[1]) / made


def _written(connection: psycopg.Connection, table: str) -> tuple[int, int]:
    sql = "SELECT pg_total_relation_size(%s), pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
    row = connection.execute(sql, [table]).fetchone()
    if row is None:
        raise Failed("PostgreSQL did not tell how much it has written")
    return int(row[0]), int(row[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/upkeep", description=__doc__)
    parser.add_argument("tokens", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--write", action="store_true", help="put it in benchmarks/RESULTS.md")
    options = parser.parse_args()
    lines = report.heading(rounds=1, seconds=SECONDS)
    lines += upkeep(max(1000, options.tokens))
    report.say(*lines)
    if options.write:
        report.write("upkeep", lines)


if __name__ == "__main__":
    run(main)
