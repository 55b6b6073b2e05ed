"""benchmarks/scale KEYS TOKENS: what a request and a change of a key cost with so many rows, and with none."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from . import report
from .compare import measure, run
from .fill import HEAVY
from .load import basic
from .machine import ROOT, free_port, postgres, temporary_folder
from .machine import run as run_program
from .servers import Server, ask_ours, environment_of_ours, serve_ours

ROWS = ("token", "bearer", "introspection", "wrong secret", "unknown client")
CHANGED = "admin@demo.example"  # has no key


def _start(name: str, url: str, folder: Path, keys: int = 0, tokens: int = 0) -> Server:
    port = free_port()
    environment = environment_of_ours(url, port)
    key = ask_ours(environment, "prepare")
    # The key that will have many tokens, or none.
    ask_ours(environment, "key", HEAVY)
    sample = None
    if keys:
        command = [sys.executable, "-m", "benchmarks.fill", str(keys), str(tokens)]
        sample = json.loads(run_program(command, environment=environment, folder=ROOT, show=True))
    server = serve_ours(name, folder, environment, port, key)
    if sample:
        by_turns = tuple(basic(*pair) for pair in sample["keys"])
        server.requests["token"] = server.requests["token"].with_authorization(by_turns)
        held = tuple(f"Bearer {token}" for token in sample["tokens"])
        server.requests["bearer"] = server.requests["bearer"].with_authorization(held)
        server.owner = None  # each token has another
    server.requests = {name: server.requests[name] for name in ROWS}
    return server


def scale(keys: int, tokens: int, *, rounds: int, seconds: float, times: int) -> list[str]:
    servers: list[Server] = []
    with temporary_folder() as folder, postgres() as cluster:
        try:
            servers = [_start("one key", cluster.create("one"), folder)]
            servers.append(_start("so many", cluster.create("many"), folder, keys, tokens))
            for server in servers:
                server.check()
            rows = measure(servers, cluster, rounds=rounds, seconds=seconds)
            milliseconds = _changes(servers, times)
        finally:
            for server in servers:
                server.process.stop()
    lines = [f"## {keys:,} keys and {tokens:,} active tokens beside one key and none", ""]
    lines += ["The requests of the second row go to 200 of its keys and tokens by turns.", ""]
    lines += report.others(row for found in rows.values() for row in found)
    for name, (one, many) in rows.items():
        lines += report.requests(name, [one, many], {"one key": one})
    title = ["change, in the process, by the clock", "one key, ms", "so many, ms", "ratio"]
    lines += [f"| {' | '.join(title)} |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {name} | {one:.2f} | {many:.2f} | {many / one:.2f} |" for name, (one, many) in milliseconds.items()]
    heavy = f"Regenerate (heavy) is of a key with {tokens // 10:,} active tokens, beside one with none."
    return [*lines, "", heavy, ""]


def _changes(servers: list[Server], times: int) -> dict[str, list[float]]:
    """Change -> median milliseconds on each server, measured by turns."""
    found: dict[str, list[list[float]]] = {}
    for turn in range(4):
        for position, server in enumerate(servers):
            environment = environment_of_ours(server.database_url, server.process.port)
            answers = ask_ours(environment, "changes", CHANGED, str(times))
            if turn == 0:
                answers["regenerate (heavy)"] = ask_ours(environment, "regenerate", HEAVY)
            for name, seconds in answers.items():
                found.setdefault(name, [[], []])[position] += seconds
    return {name: [statistics.median(side) * 1000 for side in sides] for name, sides in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/scale", description=__doc__)
    parser.add_argument("keys", type=int, nargs="?", default=1_000_000)
    parser.add_argument("tokens", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of load a request, server and round (4)")
    parser.add_argument("--times", type=int, default=50, help="that each change is made, in each of four turns (50)")
    parser.add_argument("--write", action="store_true", help="put it in benchmarks/RESULTS.md")
    options = parser.parse_args()
    lines = report.heading(rounds=options.rounds, seconds=options.seconds)
    keys, tokens = max(1, options.keys), max(1, options.tokens)
    lines += scale(keys, tokens, rounds=options.rounds, seconds=options.seconds, times=options.times)
    report.say(*lines)
    if options.write:
        report.write("scale", lines)


if __name__ == "__main__":
    run(main)
