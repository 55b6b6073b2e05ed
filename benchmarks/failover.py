"""benchmarks/failover: does what was answered hold, and how long is there no answer, when PostgreSQL fails over?"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from . import report
from .compare import run
from .machine import Failed, temporary_folder
from .nodes import TTL, Node, Nodes
from .promises import Answered, Ledger, Loop, Owner, Program, Secret
from .servers import PASSWORD, Server, ask_ours, environment_of_ours, free_port, serve_ours

SERVERS = 2
OWNERS = 4
BEFORE = 3  # seconds of load before each trouble
READY_WITHIN = 120  # seconds
# How many ended secrets of earlier rounds are tried again after each trouble; all of them at the end.
TRIED_AGAIN = 100

EVENTS = ("kill", "lag", "switchover", "hang", "orphan", "standby")
TITLES = {
    "kill": "primary killed, PostgreSQL and Patroni",
    "lag": "primary sends nothing to its standbys for 2 s, then is killed",
    "switchover": "`patronictl switchover`",
    "hang": "primary stopped for 40 s (SIGSTOP), then continued",
    "orphan": "only Patroni of the primary killed",
    "standby": "a standby killed, the synchronous one if there is one",
}
LAGS_FOR = 2
HANGS_FOR = 40  # seconds: longer than the lease


@dataclass(frozen=True)
class Outcome:
    """What one trouble did: seconds without an answer to a token request and to a call, and what came back."""

    event: str
    writes: float
    reads: float
    unavailable: int
    unanswered: int
    errors: int
    slowest: float
    late: int  # 5xx after the first good answer of that server


def failover(nodes: Nodes, folder: Path, events: Sequence[str], extra: dict[str, str]) -> list[str]:
    nodes.start()
    ports = [free_port() for _ in range(SERVERS)]
    at = [environment_of_ours(nodes.database_url, port, REAUTHENTICATION_TIMEOUT="36000", **extra) for port in ports]
    key = ask_ours(at[0], "prepare", "static")
    emails = ask_ours(at[0], "owners", str(OWNERS))
    servers = [serve_ours(f"ours-{port}", folder, each, port, key) for port, each in zip(ports, at, strict=True)]
    ledger = Ledger([server.process.url for server in servers])
    stop = threading.Event()
    programs = [Program(ledger, stop, Secret(key["client_id"], key["secret"]), number) for number in range(SERVERS)]
    loops = [*programs, *(Owner(ledger, stop, email, PASSWORD) for email in emails)]
    for loop in loops:
        loop.start()
    outcomes, checked = [], 0
    try:
        for number, event in enumerate(events, 1):
            report.progress(f"{number} of {len(events)}: {event}")
            outcomes.append(_trouble(nodes, ledger, programs, event, checked))
            checked = len(ledger.ended)
            sys.stderr.write(f"{outcomes[-1]} {dict(ledger.changes)} wrong: {Counter(ledger.wrong)}\n")
            _raise_problem_of(loops)
    finally:
        stop.set()
    for loop in loops:
        loop.join(READY_WITHIN)
    _raise_problem_of(loops)
    ledger.check_all_refused(ledger.ended, now="at the end")
    return _told(nodes, ledger, outcomes, servers)


def _raise_problem_of(loops: Sequence[Loop]) -> None:
    """One that ended by itself would remember nothing more, and nothing would seem wrong."""
    if problem := next((loop.problem for loop in loops if loop.problem), None):
        raise problem


def _trouble(nodes: Nodes, ledger: Ledger, programs: Sequence[Program], event: str, checked: int) -> Outcome:
    nodes.wait_until_whole()
    _wait_until_ready(ledger)
    time.sleep(BEFORE)
    begun = time.monotonic()
    mended = _DO[event](nodes)
    # Until every server is asked by programs that get good answers again.
    _wait_until_ready(ledger)
    time.sleep(BEFORE)
    for program in programs:
        for token in program.secret.tokens[-200:]:
            if ledger.call(token, program.server) == 401:
                ledger.found_wrong("a token was lost", token)
    known = ledger.ended[:checked]
    sample = random.sample(known, min(TRIED_AGAIN, len(known)))
    ledger.check_all_refused([*ledger.ended[checked:], *sample], now="after a failover")
    mended()
    nodes.wait_until_whole()
    return _outcome(event, [one for one in ledger.answers if one.at >= begun - 1])


def _kill(nodes: Nodes) -> Callable[[], None]:
    node = _leader(nodes)
    node.kill()
    _wait_for_another(nodes, node)
    return node.start


def _lag(nodes: Nodes) -> Callable[[], None]:
    """What the primary answers in these seconds, no standby has."""
    node = _leader(nodes)
    node.stop_sending()
    time.sleep(LAGS_FOR)
    node.kill()
    _wait_for_another(nodes, node)
    return node.start


def _switch_over(nodes: Nodes) -> Callable[[], None]:
    nodes.switch_over()
    return lambda: None


def _hang(nodes: Nodes) -> Callable[[], None]:
    """The stopped primary does not know, when it goes on, that it is none any more."""
    node, begun = _leader(nodes), time.monotonic()
    node.signal(signal.SIGSTOP)
    _wait_for_another(nodes, node)
    time.sleep(max(0, begun + HANGS_FOR - time.monotonic()))
    node.signal(signal.SIGCONT)
    return lambda: None


def _orphan(nodes: Nodes) -> Callable[[], None]:
    """PostgreSQL goes on as a primary, and nobody is there to tell it that there is another."""
    node = _leader(nodes)
    node.kill_patroni()
    _wait_for_another(nodes, node)
    time.sleep(10)

    def mend() -> None:
        node.kill()
        node.start()

    return mend


def _standby(nodes: Nodes) -> Callable[[], None]:
    leader = _leader(nodes)
    node = nodes.synchronous_standby() or next(node for node in nodes.nodes if node is not leader)
    node.kill()
    time.sleep(TTL)
    return node.start


_DO = {"kill": _kill, "lag": _lag, "switchover": _switch_over, "hang": _hang, "orphan": _orphan, "standby": _standby}


def _leader(nodes: Nodes) -> Node:
    leader = nodes.leader()
    if leader is None:
        raise Failed("there is no primary")
    return leader


def _wait_for_another(nodes: Nodes, node: Node) -> None:
    nodes.wait_for(lambda: nodes.leader() not in (None, node), "other primary")


def _wait_until_ready(ledger: Ledger) -> None:
    end = time.monotonic() + READY_WITHIN
    for url in ledger.servers:
        while not _is_ready(url):
            if time.monotonic() > end:
                raise Failed(f"{url}/readyz is not 200 within {READY_WITHIN} s")
            time.sleep(0.2)


def _is_ready(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/readyz", timeout=READY_WITHIN).close()  # noqa: S310 - loopback
    except urllib.error.HTTPError:
        return False
    return True


def _outcome(event: str, answers: Sequence[Answered]) -> Outcome:
    unavailable = [one for one in answers if one.status == 503]
    return Outcome(
        event=event,
        writes=_longest_gap([one for one in answers if one.kind == "token"]),
        reads=_longest_gap([one for one in answers if one.kind == "call"]),
        unavailable=len(unavailable),
        unanswered=sum(one.status == 0 for one in answers),
        errors=sum(one.status >= 500 and one.status != 503 for one in answers),
        slowest=max(one.seconds for one in answers),
        late=_late(answers),
    )


def _longest_gap(answers: Sequence[Answered]) -> float:
    """The most seconds between two good answers of one server."""
    by_server = defaultdict(list)
    for one in answers:
        if one.is_good:
            by_server[one.server].append(one.at)
    return max(
        (later - earlier for times in by_server.values() for earlier, later in pairwise(sorted(times))), default=0
    )


def _late(answers: Sequence[Answered]) -> int:
    """How many requests failed that were sent after the first good answer to a later request of their kind."""
    late = 0
    for kind, server in {(one.kind, one.server) for one in answers}:
        mine = sorted((one for one in answers if (one.kind, one.server) == (kind, server)), key=lambda one: one.sent)
        failed = [one for one in mine if not one.is_good]
        if failed:
            back = next((one.at for one in mine if one.is_good and one.sent > failed[0].at), float("inf"))
            late += sum(one.sent > back for one in failed)
    return late


def _told(nodes: Nodes, ledger: Ledger, outcomes: Sequence[Outcome], servers: Sequence[Server]) -> list[str]:
    kind = "synchronous" if nodes.synchronous else "asynchronous"
    lines = [f"### {kind.capitalize()}, by {nodes.way}", ""]
    lines += [
        "| | times | s without a token: median, worst | s without a call | 503 | of these late | slowest answer, s |"
    ]
    lines += ["| --- |" + " ---: |" * 6]
    for event in EVENTS:
        found = [one for one in outcomes if one.event == event]
        if found:
            writes, reads = [one.writes for one in found], [one.reads for one in found]
            cells = [TITLES[event], len(found), f"{median(writes):.1f}, {max(writes):.1f}"]
            cells += [f"{median(reads):.1f}, {max(reads):.1f}", sum(one.unavailable for one in found)]
            cells += [sum(one.late for one in found), f"{max(one.slowest for one in found):.1f}"]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    tokens = sum(len(secret.tokens) for secret in ledger.ended)
    unhandled = sum(server.process.log.read_text().count("unhandled:") for server in servers)
    internal = sum(server.process.log.read_text().count("Internal Server Error") for server in servers)
    lines += [
        "",
        f"{len(ledger.answers):,} answers. Changes of keys: {ledger.changes['answered']:,} answered, "
        f"{ledger.changes['not answered']:,} not. Ended and tried again: {len(ledger.ended):,} secrets and {tokens:,} "
        f"tokens of theirs. Other 5xx: {sum(one.errors for one in outcomes)}; not answered at all: "
        f"{sum(one.unanswered for one in outcomes)}; unhandled errors in the logs: {unhandled + internal}.",
        "Wrong: "
        + (", ".join(f"{count} times {what}" for what, count in Counter(ledger.wrong).items()) or "nothing")
        + ".",
        "",
    ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/failover", description=__doc__)
    parser.add_argument(
        "events",
        nargs="*",
        default=["kill"] * 6 + ["lag", "switchover", "switchover", "hang", "orphan", "standby"],
        help="in order",
    )
    parser.add_argument("--asynchronous", action="store_true", help="without a synchronous standby")
    ways = ("haproxy", "hosts", "pgbouncer", "pgbouncer-prepared")
    parser.add_argument("--way", choices=ways, default="haproxy", help="how the product finds the primary")
    parser.add_argument("--pgbouncer", default="pgbouncer", help="the program; prepared statements need 1.21 or later")
    parser.add_argument("--keep-log", type=Path, help="a folder for the logs of all programs")
    options = parser.parse_args()
    extra = {"TRANSACTION_POOLING": "on"} if options.way == "pgbouncer" else {}
    with temporary_folder() as folder:
        nodes = Nodes(folder, synchronous=not options.asynchronous, way=options.way, pgbouncer=options.pgbouncer)
        try:
            report.say(*failover(nodes, folder, options.events, extra))
        finally:
            nodes.stop()
            if options.keep_log:
                options.keep_log.mkdir(parents=True, exist_ok=True)
                for log in folder.rglob("*.log"):
                    (options.keep_log / log.name).write_bytes(log.read_bytes())


if __name__ == "__main__":
    run(main)
