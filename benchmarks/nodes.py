"""A highly available PostgreSQL on one machine: etcd, Patroni with three nodes, HAProxy, and pgbouncer if wanted.

Of what they can do only the settings that matter are here; docs/scaling.md says what each is for.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .machine import Failed, Process, account_for_postgresql, family, free_port, postgresql_programs, run

PACKAGES = {"patroni": "patroni python3-etcd", "etcd": "etcd-server", "haproxy": "haproxy", "setpriv": "util-linux"}
# Seconds: the life of the primary's lease, and how often each node looks. Patroni wants loop_wait + 2 * retry_timeout
# to be at most ttl, and a ttl of 20 or more.
TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 3, 5
SETTLED_WITHIN = 180  # seconds
USER = "keys"


@dataclass
class Node:
    """One PostgreSQL with its Patroni. Its processes are signalled together, as if the machine was."""

    name: str
    folder: Path
    port: int
    rest_port: int
    command: list[str | Path]
    patroni: Process | None = None
    starts: int = 0

    def start(self) -> None:
        self.starts += 1
        name = f"{self.name}-{self.starts}"
        self.patroni = Process(name, self.command, port=self.rest_port, folder=self.folder, environment={})

    def kill(self) -> None:
        """End all at once, Patroni before it could give the lease back: as when the power fails."""
        self.signal(signal.SIGSTOP)
        self.signal(signal.SIGKILL)
        self.patroni = None

    def kill_patroni(self) -> None:
        if self.patroni:
            os.kill(self.patroni.pid, signal.SIGKILL)

    def stop_sending(self) -> None:
        """The standbys get nothing more of what this primary writes."""
        for root in self._postmaster():
            for pid in family(root):
                with suppress(OSError):
                    if b"walsender" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGSTOP)

    def signal(self, sent: signal.Signals) -> None:
        roots = [self.patroni.pid] if self.patroni else []
        for pid in {pid for root in (*roots, *self._postmaster()) for pid in family(root)}:
            with suppress(ProcessLookupError):
                os.kill(pid, sent)

    def _postmaster(self) -> list[int]:
        try:
            pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
            ours = str(self.folder) in Path(f"/proc/{pid}/cmdline").read_text()
        except (OSError, ValueError, IndexError):
            return []
        return [pid] if ours else []


class Nodes:
    """The whole of it. `database_url` is what the product is given."""

    def __init__(self, folder: Path, *, synchronous: bool, way: str, pgbouncer: str) -> None:
        missing = [packages for program, packages in PACKAGES.items() if not shutil.which(program, path=_PATH)]
        if way.startswith("pgbouncer") and not shutil.which(pgbouncer, path=_PATH):
            missing.append("pgbouncer")
        if missing:
            raise Failed(f"not installed: apt-get install {' '.join(missing)}")
        self.folder, self.synchronous, self.way, self._pgbouncer = folder, synchronous, way, pgbouncer
        self._account = account_for_postgresql()
        self._etcd_port = free_port()
        self.nodes = [self._node(f"node{number}") for number in (1, 2, 3)]
        self.database_url = ""

    def start(self) -> None:
        self._start_etcd()
        self.nodes[0].start()
        self.wait_for(lambda: self.leader() is not None, "a primary")
        for node in self.nodes[1:]:
            node.start()
        self.wait_until_whole()
        port = self._start_haproxy()
        hosts = f"127.0.0.1:{port}"
        if self.way == "hosts":
            hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        elif self.way.startswith("pgbouncer"):
            hosts = f"127.0.0.1:{self._start_pgbouncer(port)}"
        self._create_database()
        # A connection is refused or made within 3 seconds; what was sent is acknowledged within 10, or it ends.
        options = "connect_timeout=3&tcp_user_timeout=10000"
        if self.way == "hosts":
            options += "&target_session_attrs=read-write"
        self.database_url = f"postgres://{USER}@{hosts}/keys?{options}"

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    # --- What the cluster says of itself --------------------------------------------------------------------

    def members(self) -> list[dict[str, Any]]:
        """As a node that answers knows them; empty if none does."""
        for node in self.nodes:
            address = f"http://127.0.0.1:{node.rest_port}/cluster"
            with suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=2) as answer:
                members: list[dict[str, Any]] = json.load(answer)["members"]
                return members
        return []

    def leader(self) -> Node | None:
        """The node that takes writes, by its own word: another node's may be old."""
        for node in self.nodes:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{node.rest_port}/primary", timeout=2).close()
                return node
        return None

    def synchronous_standby(self) -> Node | None:
        names = [member["name"] for member in self.members() if member["role"] == "sync_standby"]
        return next((node for node in self.nodes if node.name in names), None)

    def is_whole(self) -> bool:
        """One primary, two standbys that follow it, one of them synchronous if that is wanted."""
        members = self.members()
        roles = sorted(member["role"] for member in members)
        wanted = ["leader", "replica", "sync_standby" if self.synchronous else "replica"]
        return (
            roles == wanted
            and all(member["state"] in ("running", "streaming") for member in members)
            and len({member.get("timeline") for member in members}) == 1
            and all(member.get("lag", 0) in range(1024**2) for member in members)  # "unknown" at times
        )

    def wait_until_whole(self) -> None:
        self.wait_for(self.is_whole, "a primary and two standbys")

    def wait_for(self, state: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + SETTLED_WITHIN
        while not state():
            if time.monotonic() > end:
                raise Failed(f"no {what} within {SETTLED_WITHIN} s: {self.members()}")
            time.sleep(0.2)

    def switch_over(self) -> None:
        """Move the primary to a standby, in order."""
        leader, standby = self.leader(), self.synchronous_standby()
        others = [node for node in self.nodes if node is not leader]
        command = ["patronictl", "-c", str(self.nodes[0].folder / "patroni.json"), "switchover", "--force"]
        command += ["--leader", leader.name if leader else "", "--candidate", (standby or others[0]).name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our command
        if done.returncode:
            raise Failed(f"patronictl: {done.stdout}{done.stderr}")

    # --- Programs -------------------------------------------------------------------------------------------

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        if self._account:
            shutil.chown(folder, self._account)
        return folder

    def _as_postgres(self) -> list[str]:
        """PostgreSQL refuses to run as root."""
        if not self._account:
            return []
        return ["setpriv", f"--reuid={self._account}", f"--regid={self._account}", "--clear-groups"]

    def _node(self, name: str) -> Node:
        folder, port, rest_port = self._folder(name), free_port(), free_port()
        file = folder / "patroni.json"  # JSON is YAML
        parameters = {"synchronous_commit": "on", "max_connections": 200, "unix_socket_directories": ""}
        configuration = {
            "scope": "keys",
            "name": name,
            "restapi": {"listen": f"127.0.0.1:{rest_port}", "connect_address": f"127.0.0.1:{rest_port}"},
            "etcd3": {"host": f"127.0.0.1:{self._etcd_port}"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL,
                    "loop_wait": LOOP_WAIT,
                    "retry_timeout": RETRY_TIMEOUT,
                    "synchronous_mode": self.synchronous,
                    "postgresql": {"use_pg_rewind": True, "parameters": parameters},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{port}",
                "connect_address": f"127.0.0.1:{port}",
                "data_dir": str(folder / "data"),
                "bin_dir": str(postgresql_programs()),
                "pgpass": str(folder / "pgpass"),
                "authentication": {name: {"username": USER} for name in ("superuser", "replication", "rewind")},
                "pg_hba": ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
            },
        }
        file.write_text(json.dumps(configuration, indent=1))
        # Debian's program, with Debian's Python, whatever the environment says.
        command = [*self._as_postgres(), "env", "-u", "PYTHONPATH", "patroni", file]
        return Node(name, folder, port, rest_port, command)

    def _start_etcd(self) -> None:
        folder = self._folder("etcd")
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        command: list[str | Path] = [*self._as_postgres(), "etcd", "--name", "one", "--data-dir", folder / "data"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"one={peer}"]
        Process("etcd", command, port=self._etcd_port, folder=folder, environment={}).wait("/health")

    def _start_haproxy(self) -> int:
        port = free_port()
        servers = "\n".join(
            f"  server {node.name} 127.0.0.1:{node.port} check port {node.rest_port}" for node in self.nodes
        )
        file = self.folder / "haproxy.cfg"
        file.write_text(f"""
global
  maxconn 1000
defaults
  mode tcp
  timeout connect 2s
  timeout check 2s
  timeout client 60m
  timeout server 60m
listen primary
  bind 127.0.0.1:{port}
  option httpchk OPTIONS /primary
  http-check expect status 200
  default-server inter 1s fastinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
""")
        path = shutil.which("haproxy", path=_PATH) or "haproxy"
        Process("haproxy", [path, "-db", "-f", file], port=port, folder=self.folder, environment={})
        return port

    def _start_pgbouncer(self, haproxy_port: int) -> int:
        port, folder = free_port(), self._folder("pgbouncer")
        users = folder / "users"
        users.write_text(f'"{USER}" ""\n')
        prepared = "max_prepared_statements = 100\n" if self.way == "pgbouncer-prepared" else ""
        file = folder / "pgbouncer.ini"
        file.write_text(f"""
[databases]
keys = host=127.0.0.1 port={haproxy_port} dbname=keys
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 8
{prepared}max_client_conn = 1000
query_wait_timeout = 5
server_connect_timeout = 3
server_login_retry = 1
""")
        path = shutil.which(self._pgbouncer, path=_PATH) or self._pgbouncer
        command: list[str | Path] = [*self._as_postgres(), path, file]
        Process("pgbouncer", command, port=port, folder=folder, environment={})
        return port

    def _create_database(self) -> None:
        leader = self.leader()
        if leader is None:
            raise Failed("there is no primary")
        program = str(postgresql_programs() / "createdb")
        run([program, "-h", "127.0.0.1", "-p", str(leader.port), "-U", USER, "keys"], folder=Path("/"))


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
