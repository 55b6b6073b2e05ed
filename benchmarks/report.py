"""What the benchmarks say: tables in Markdown, on the terminal and in RESULTS.md."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from .machine import description
from .measured import Row
from .servers import Server

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
PARTS = ("compare", "scale", "upkeep")
# With fewer cores than this taken by others during a load, the machine counts as quiet.
QUIET_CORES = 0.1


def say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


def progress(text: str) -> None:
    """What is being done now, in one line that the next replaces; only on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def bar(done: int, of: int, what: str) -> None:
    """A progress bar."""
    width = 30 * done // max(of, 1)
    progress(f"[{'#' * width}{' ' * (30 - width)}] {done:,} of {of:,} {what}")


def heading(*, rounds: int, seconds: float) -> list[str]:
    """When, where, with what."""
    return [
        f"{datetime.now(UTC):%Y-%m-%d}; {description()}.",
        f"{', '.join(_versions())}.",
        f"{rounds} interleaved rounds of {seconds:g} s; the load comes from the same machine. Medians; of CPU times, "
        "which other work only adds to, the minimum.",
        "",
    ]


def others(rows: Iterable[Row]) -> list[str]:
    """How much other work there was during these loads."""
    cores = max([0.0, *(row.others for row in rows)])
    said = f"Other work took at most {cores:.2f} cores during a load"
    return [f"{said}: quiet." if cores <= QUIET_CORES else f"**{said}; so only CPU times mean much here.**", ""]


def requests(title: str, rows: Sequence[Row], compared: Mapping[str, Row]) -> list[str]:
    """A table of one request. With what is compared, a ratio of requests a second and one of CPU time."""
    head = ["server", "requests/s", "p50 ms", "p99 ms", "CPU µs: server", "database", "both"]
    head += [f"{what} {name}" for name in compared for what in ("requests/s :", "CPU :")]
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for row in rows:
        cells = [row.name, f"{row.per_second:,.0f}", f"{row.p50:,.1f}", f"{row.p99:,.1f}"]
        cells += [f"{value:,.0f}" for value in (row.server_us, row.database_us, row.us)]
        for other in compared.values():
            cells += [f"{row.per_second / other.per_second:.2f}", f"{row.us / other.us:.2f}" if other.us else "-"]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def servers(started: Sequence[Server]) -> list[str]:
    lines = ["| server | largest process, MB resident | s from start to first answer |", "| --- | ---: | ---: |"]
    for server in started:
        resident = server.process.worker_bytes() / 1e6
        lines.append(f"| {server.name} | {resident:.0f} | {server.first_answer:.1f} |")
    return [*lines, ""]


def write(part: str, lines: Sequence[str]) -> None:
    """Put this part in RESULTS.md, and leave the other parts as they are."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    parts = dict(re.findall(r"<!-- (\w+) -->\n(.*?)(?=<!-- \w+ -->|\Z)", text, re.DOTALL))
    parts[part] = "\n".join(lines).strip() + "\n\n"
    body = "".join(f"<!-- {name} -->\n{parts[name]}" for name in PARTS if name in parts)
    RESULTS.write_text(f"# Results\n\nWritten by the commands that README.md describes, with `--write`.\n\n{body}")


def _versions() -> list[str]:
    packages = ("Django", "granian", "psycopg", "django-oauth-toolkit")
    lock = json.loads((HERE / "peers" / "node" / "package-lock.json").read_text())["packages"]
    peers = ("oidc-provider", "@node-oauth/oauth2-server")
    programs = (*sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/postgres")))[-1:], "node", "wrk")
    return [
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in packages),
        *(f"{name} {lock[f'node_modules/{name}']['version']}" for name in peers),
        *(f"{Path(name).name} {_version(name)}" for name in programs if shutil.which(name)),
    ]


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    said = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return said[0] if said else "?"
